"""What training does to pictures."""

import colorsys

import pytest
import torch

from foreact.perception.omnivorous.augment import MapWays, adjusted, foreign, mixed, photometric, shown, windows
from foreact.perception.omnivorous.palette import coloured


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scalar(value: float) -> torch.Tensor:
    return torch.tensor([[value]])


def test_no_change_is_no_change() -> None:
    rgb = torch.rand(1, 3, 4, 4, generator=random())
    assert torch.allclose(adjusted(rgb, scalar(0), scalar(1), scalar(0), scalar(1)), rgb, atol=1e-4)


def test_brightness_contrast_and_saturation_by_hand() -> None:
    rgb = torch.tensor([[[0.2, 0.4]], [[0.2, 0.4]], [[0.2, 0.4]]])[None]
    assert torch.allclose(adjusted(rgb, scalar(0.1), scalar(1), scalar(0), scalar(1)), rgb + 0.1, atol=1e-4)
    stretched = adjusted(rgb, scalar(0), scalar(1), scalar(0), scalar(2))  # about the mean 0.3
    assert torch.allclose(stretched[0, 0], torch.tensor([[0.1, 0.5]]), atol=1e-4)
    red = torch.tensor([0.5, 0.1, 0.1]).view(1, 3, 1, 1)
    faded = adjusted(red, scalar(0), scalar(0), scalar(0), scalar(1)).flatten()
    assert torch.allclose(faded, torch.full((3,), 0.299 * 0.5 + 0.701 * 0.1), atol=1e-3)  # luma alone is left


def test_a_third_of_a_turn_makes_green_of_red() -> None:
    red = torch.tensor([0.5, 0.4, 0.4]).view(1, 3, 1, 1)
    turned = [adjusted(red, scalar(0), scalar(1), scalar(turn), scalar(1)) for turn in (1 / 3, -1 / 3)]
    found = [each.flatten().tolist() for each in turned]
    hues = sorted(colorsys.rgb_to_hsv(*each)[0] for each in found)
    assert hues[0] == pytest.approx(1 / 3, abs=0.12) and hues[1] == pytest.approx(2 / 3, abs=0.12)


def test_pictures_change_each_in_its_own_way_and_the_same_for_the_same_seed() -> None:
    rgb = torch.rand(1, 3, 4, 4, generator=random()).expand(4, -1, -1, -1)
    found = photometric(rgb, random(1))
    assert found.min() >= 0 and found.max() <= 1
    assert len({round(each.sum().item(), 4) for each in found}) == 4
    assert torch.equal(found, photometric(rgb, random(1)))


def test_windows_stay_inside_and_half_are_mirrored() -> None:
    window = windows(400, 16, 0.5, True, random())
    assert window.rows.min() >= 0 and window.rows.max() <= 15 and window.columns.max() <= 15
    assert (window.rows.diff(dim=1) >= 0).all()
    mirrored = (window.columns[:, 0] > window.columns[:, -1]).float().mean()
    assert 0.4 < mirrored < 0.6
    edges = (window.rows[:, -1] - window.rows[:, 0]).float()
    assert edges.min() >= 6 and edges.max() == 15 and edges.std() > 1
    whole = windows(3, 16, 1.0, False, random())
    assert torch.equal(whole.rows, torch.arange(16).expand(3, -1)) and torch.equal(whole.columns, whole.rows)


def test_maps_are_shown_in_the_ways_asked_for() -> None:
    unit, rgb = torch.rand(300, 4, 4, generator=random()), torch.rand(300, 3, 4, 4, generator=random(1))
    found = shown("depth", unit, rgb, MapWays(0.5, 0.3, 0.2), random(2))
    ways = [unit[:, None].expand(-1, 3, -1, -1), coloured(unit, foreign("depth", rgb)), coloured(unit, rgb)]
    shares = [(found == way).flatten(1).all(1).float().mean().item() for way in ways]
    assert sum(shares) == pytest.approx(1.0)
    assert shares == pytest.approx([0.5, 0.3, 0.2], abs=0.08)


def test_two_kinds_of_a_scene_never_take_the_colours_of_the_same_other_scene() -> None:
    rgb = torch.arange(5.0).view(5, 1, 1, 1).expand(5, 3, 1, 1)
    depth, segments = foreign("depth", rgb)[:, 0, 0, 0], foreign("segmentation", rgb)[:, 0, 0, 0]
    own = rgb[:, 0, 0, 0]
    assert not ((depth == segments) | (depth == own) | (segments == own)).any()


def test_mixing_takes_up_to_so_much_and_ends() -> None:
    zeros, ones = torch.zeros(500, 3, 2, 2), torch.ones(500, 3, 2, 2)
    shares = mixed(zeros, ones, 0.4, random())[:, 0, 0, 0]
    assert shares.min() >= 0 and 0.35 < shares.max() <= 0.4 and shares.mean() == pytest.approx(0.2, abs=0.02)
    assert mixed(zeros, ones, 0.0, random()) is zeros
    ways = MapWays(mix=0.4, mix_until=0.5)
    assert [ways.mix_at(done) for done in (0.0, 0.25, 0.5, 0.9)] == pytest.approx([0.4, 0.2, 0.0, 0.0])


@pytest.mark.parametrize("values", [{"grey": 0.7}, {"foreign": -0.5, "own": 0.5}, {"mix": 2.0}, {"mix_until": 0.0}])
def test_ways_that_make_no_sense_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="ways"):
        MapWays(**values)
