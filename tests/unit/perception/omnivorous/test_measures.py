"""Retrieval and probes: against numbers worked out by hand."""

import pytest
import torch

from foreact.perception.omnivorous.model import Seen
from foreact.perception.omnivorous.probe import Hits, fit_probe, interval, probed, token_classes
from foreact.perception.omnivorous.retrieval import cosines, features, found_first, recall_interval, recalls


def test_recall_by_hand() -> None:
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert found_first(queries, 3 * queries).tolist() == [True, True, True]
    # the second query finds the third key, the third the second
    assert found_first(queries, queries[[0, 2, 1]]).tolist() == [True, False, False]


def test_ties_count_as_failures() -> None:
    queries = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert found_first(queries, queries).tolist() == [False, False, True]
    assert not found_first(torch.ones(5, 3), torch.ones(5, 3)).any()


def seen(seed: int, count: int = 40) -> Seen:
    random = torch.Generator().manual_seed(seed)
    return Seen(torch.randn(count, 16, 8, generator=random), torch.randn(count, 8, generator=random))


def test_aligned_kinds_are_found_and_displaced_ones_are_not() -> None:
    found = recalls({kind: seen(0) for kind in ("rgb", "depth", "segmentation")})
    assert {name: values["mean"] for name, values in found.items()} == {"cls": 1.0, "pooled": 1.0, "quarters": 1.0}
    assert len(found["cls"]) == 7 and "depth_to_segmentation" in found["cls"]
    shifted = recalls({kind: seen(0) for kind in ("rgb", "depth", "segmentation")}, shift=1)
    assert shifted["cls"]["mean"] == 0.0
    apart = recalls({kind: seen(seed) for seed, kind in enumerate(("rgb", "depth", "segmentation"))})
    assert apart["pooled"]["mean"] < 0.15


def test_the_interval_of_recall_is_that_of_a_share() -> None:
    half = torch.eye(400)
    half[::2] = 1.0  # every second scene ties with the others like it
    each = Seen(torch.zeros(400, 4, 1), half)
    low, high = recall_interval({kind: each for kind in ("rgb", "depth", "segmentation")}, "cls")
    assert (low, high) == pytest.approx((0.5 - 1.96 * 0.025, 0.5 + 1.96 * 0.025), abs=0.008)


def test_quarters_keep_where_things_are() -> None:
    tokens = torch.arange(16.0).view(1, 16, 1)
    found = features(Seen(tokens, torch.zeros(1, 1)))
    assert found["quarters"].flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert found["pooled"].item() == 7.5


def test_cosines_of_kinds_and_of_scenes() -> None:
    one = Seen(torch.zeros(2, 4, 2), torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    found = cosines({"rgb": one, "depth": one, "segmentation": Seen(one.tokens, one.cls.flip(0))}, "cls")
    assert found["rgb_depth"] == 1.0 and found["segmentation_rgb"] == 0.0 and found["rgb_other_scene"] == 0.0


def test_a_patch_counts_where_one_class_covers_three_quarters() -> None:
    classes = torch.tensor([[[0, 0, 1, 1], [0, 2, 1, 2], [2, 2, 1, 0], [2, 2, 0, 1]]])
    assert token_classes(classes, 2, 3).tolist() == [[0, 1, 2, -1]]


def test_a_probe_separates_what_is_linear_however_rare() -> None:
    random = torch.Generator().manual_seed(0)
    classes = (torch.rand(1000, generator=random) < 0.05).long()
    tokens = torch.randn(1000, 3, generator=random) + 5 * classes[:, None] * torch.tensor([100.0, 0.0, 0.0])
    probe = fit_probe(tokens, classes, 4)
    assert torch.equal(probe(tokens), classes)
    near = torch.randn(1000, 1, generator=random) + 2 * classes[:, None]  # the middle is 1: 84 % of either class
    told = fit_probe(near, classes, 4)(near) == classes
    assert [told[classes == each].float().mean().item() for each in (0, 1)] == pytest.approx([0.84, 0.84], abs=0.1)
    with pytest.raises(ValueError, match="fewer than two classes"):
        fit_probe(tokens, torch.zeros(1000, dtype=torch.long), 4)


def test_balanced_accuracy_by_hand() -> None:
    hits = Hits(torch.tensor([[8.0, 1.0, 0.0]]), torch.tensor([[10.0, 2.0, 1.0]]), torch.tensor([True, True, False]))
    assert hits.accuracy == pytest.approx((0.8 + 0.5) / 2)
    assert interval(hits, hits) == (0.0, 0.0)


def test_probes_are_asked_about_scenes_they_were_not_fitted_on() -> None:
    random = torch.Generator().manual_seed(0)
    classes = torch.randint(0, 2, (40, 16), generator=random)
    useful = torch.nn.functional.one_hot(classes, 2).float() + 0.1 * torch.randn(40, 16, 2, generator=random)
    noise = torch.randn(40, 16, 300, generator=random)  # wide enough to learn any labels by heart
    known = probed(useful, {"same": useful, "turned": useful.flip(-1)}, classes, 3)
    assert known["same"].accuracy == 1.0 and known["turned"].accuracy == 0.0
    assert probed(noise, {"noise": noise}, classes, 3)["noise"].accuracy == pytest.approx(0.5, abs=0.1)
    low, high = interval(known["same"], probed(noise, {"noise": noise}, classes, 3)["noise"])
    assert 0.3 < low < 0.5 < high < 0.65
    with pytest.raises(ValueError, match="fewer than two classes"):
        probed(useful, {"same": useful}, torch.zeros(40, 16, dtype=torch.long), 3)
