"""Losses: against numbers worked out by hand."""

import math

import pytest
import torch

from foreact.perception.omnivorous.decoder import PictureDecoder, borders, class_weights, scene_losses
from foreact.perception.omnivorous.objective import Temperature, anchor, matching, own_tokens


def test_matching_by_hand() -> None:
    first = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    # cosines 1 and 0, factor ln 3: softmax of own = 3 / (3 + 1), both ways
    assert matching(first, first, math.log(3)).item() == pytest.approx(-math.log(0.75), abs=1e-6)
    # partners exchanged: 1 / 4
    assert matching(first, first.flip(0), math.log(3)).item() == pytest.approx(-math.log(0.25), abs=1e-6)
    # nothing known: log B
    assert matching(torch.ones(8, 4), torch.ones(8, 4), 10.0).item() == pytest.approx(math.log(8), abs=1e-5)


def test_matching_is_symmetric() -> None:
    first, second = (torch.randn(6, 5, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert matching(first, second, 5.0).item() == pytest.approx(matching(second, first, 5.0).item(), abs=1e-6)


def test_tokens_of_the_same_scene_are_no_negatives() -> None:
    masked = own_tokens(2, 2)
    expected = [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert masked.int().tolist() == expected
    # two scenes of two tokens; the tokens of a scene are alike, those of scenes at right angles
    tokens = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    without = matching(tokens, tokens, math.log(3), masked).item()
    assert without == pytest.approx(-math.log(3 / (3 + 1 + 1)), abs=1e-6)
    assert matching(tokens, tokens, math.log(3)).item() == pytest.approx(-math.log(3 / 8), abs=1e-6)


def test_the_temperature_is_learned_and_clipped() -> None:
    factor = Temperature()
    assert factor().item() == pytest.approx(1 / 0.07, rel=1e-5)
    factor().backward()
    assert factor.log.grad is not None and factor.log.grad.item() == pytest.approx(1 / 0.07, rel=1e-5)
    with torch.no_grad():
        factor.log.fill_(20.0)
    assert factor().item() == 100.0


def test_the_anchor_is_one_minus_the_cosine_and_pulls_only_the_student() -> None:
    student = torch.tensor([[3.0, 0.0], [1.0, 1.0]], requires_grad=True)
    teacher = torch.tensor([[1.0, 0.0], [1.0, -1.0]], requires_grad=True)
    value = anchor(student, teacher)
    assert value.item() == pytest.approx((0 + 1) / 2, abs=1e-6)
    value.backward()
    assert student.grad is not None and teacher.grad is None


def test_borders_are_where_segments_change() -> None:
    segments = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.5]]])
    assert borders(segments)[0, 0].int().tolist() == [[0, 1, 0], [1, 1, 1], [0, 0, 0]]


def test_a_rare_class_weighs_more_and_pixels_one_on_average() -> None:
    weights = class_weights(torch.tensor([900.0, 100.0, 0.0]))
    assert weights[1] / weights[0] == pytest.approx(3.0)
    assert (0.9 * weights[0] + 0.1 * weights[1]).item() == pytest.approx(1.0)
    assert weights[2] == 0


def test_a_decoder_draws_each_patch_from_its_token() -> None:
    decoder = PictureDecoder(4, (2, 2), 6, {"colours": 3, "depth": 1})
    tokens = torch.randn(1, 4, 4)
    before = decoder(tokens)
    assert before["colours"].shape == (1, 3, 6, 6) and before["depth"].shape == (1, 1, 6, 6)
    tokens[0, 1] += 1 + torch.arange(4)  # the upper right one
    changed = (decoder(tokens)["depth"] != before["depth"])[0, 0]
    assert changed[:3, 3:].all() and not changed[3:].any() and not changed[:, :3].any()
    with pytest.raises(ValueError, match="do not divide"):
        PictureDecoder(4, (4, 4), 6, {"depth": 1})


def test_errors_of_what_was_drawn_by_hand() -> None:
    rgb, depth = torch.zeros(1, 3, 2, 2), torch.full((1, 2, 2), 0.5)
    drawn = {"colours": torch.full((1, 3, 2, 2), 0.1), "depth": torch.zeros(1, 1, 2, 2)}
    found = scene_losses(drawn, rgb, depth, depth)
    assert {name: value.item() for name, value in found.items()} == pytest.approx({"colours": 0.1, "depth": 0.5})
