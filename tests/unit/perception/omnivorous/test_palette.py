"""Maps become pictures: against numbers worked out by hand."""

import math

import pytest
import torch
from torch import Tensor

from foreact.perception.omnivorous.palette import SEGMENTS, coloured, fixed_keys, grey, unit_depth, unit_segments


def test_depth_is_logarithmic_and_holes_are_farthest() -> None:
    unit = unit_depth(torch.tensor([[[100, 1000, 10_000, 0]], [[0, 0, 500, 500]], [[0, 0, 0, 0]]]))
    assert torch.allclose(unit[0, 0], torch.tensor([0.0, 0.5, 1.0, 1.0]), atol=1e-5)
    assert torch.equal(unit[1:], torch.zeros(2, 1, 4))  # all alike, and a camera that saw nothing: no NaN


def test_segments_are_spread_evenly_in_the_order_of_keys() -> None:
    segments = torch.tensor([[[7, 7, 200], [3, 0, 0]], [[5, 5, 5], [5, 5, 5]]])
    keys = torch.zeros(1, SEGMENTS)
    keys[0, [200, 0, 7, 3]] = torch.tensor([0.1, 0.2, 0.3, 0.4])
    unit = unit_segments(segments, keys)
    third = 1 / 3
    assert torch.allclose(unit[0], torch.tensor([[2 * third, 2 * third, 0.0], [1.0, third, third]]))
    assert torch.equal(unit[1], torch.zeros(2, 3))


def test_other_numbers_of_segments_give_the_same_greys_in_another_order() -> None:
    generator = torch.Generator().manual_seed(0)
    segments = torch.randint(0, 9, (4, 8, 8), generator=generator)
    keys = torch.rand(4, SEGMENTS, generator=generator)
    first, second = unit_segments(segments, keys), unit_segments(segments + 100, keys.roll(100, 1))
    assert torch.equal(first, second)  # what a segment is called does not matter, only its key
    assert not torch.equal(first, unit_segments(segments, torch.rand(4, SEGMENTS, generator=generator)))


def test_fixed_keys_differ_and_stay() -> None:
    keys = fixed_keys()
    assert keys.shape == (1, SEGMENTS) and len(keys.unique()) == SEGMENTS
    assert (keys[0, 1:40] - keys[0, :39]).abs().min() > 0.3  # neighbours lie far apart
    assert torch.equal(keys, fixed_keys())


def test_a_palette_by_hand() -> None:
    # four pixels: two in bin 0, one in bin 2, one in bin 63
    unit = torch.tensor([[[0.0, 0.01], [2.5 / 64, 1.0]]])
    rgb = torch.zeros(1, 3, 2, 2)
    rgb[0, 0] = torch.tensor([[0.2, 0.4], [0.9, 0.8]])  # red
    found = coloured(unit, rgb)[0]
    # five bins wide: bins 0 and 2 see each other, (0.2 + 0.4 + 0.9) / 3; bin 63 is alone
    assert torch.allclose(found[0], torch.tensor([[0.5, 0.5], [0.5, 0.8]]), atol=1e-5)
    assert torch.equal(found[1:], torch.zeros(2, 2, 2))


def far_bins() -> tuple[Tensor, Tensor]:
    unit = torch.tensor([0.0, 0.25, 0.5, 0.75])[torch.randint(0, 4, (3, 6, 6), generator=torch.Generator())]
    return unit, torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(1))


def test_bins_far_apart_take_the_mean_colours_of_their_own_pixels() -> None:
    unit, rgb = far_bins()
    found = coloured(unit, rgb)
    for picture in range(3):
        for value in unit[picture].unique():
            pixels = unit[picture] == value
            mean = rgb[picture][:, pixels].mean(1)
            assert torch.allclose(found[picture][:, pixels], mean[:, None].expand(-1, int(pixels.sum())), atol=1e-5)
    assert torch.allclose(found.mean((2, 3)), rgb.mean((2, 3)), atol=1e-5)  # the same colours on the whole: the leak


def test_a_foreign_palette_tells_nothing_of_the_own_picture() -> None:
    unit, rgb = far_bins()
    before = coloured(unit, rgb.roll(1, 0))[0]
    rgb[0] = torch.rand(3, 6, 6)
    assert torch.equal(coloured(unit, rgb.roll(1, 0))[0], before)
    assert not torch.allclose(coloured(unit, rgb)[0], before)


def test_grey_is_three_times_the_map() -> None:
    unit = torch.rand(2, 3, 3)
    assert torch.equal(grey(unit), torch.stack([unit] * 3, 1))


@pytest.mark.parametrize(("bin_", "mixed"), [(63, 0.5), (61, 0.5), (60, 1.0), (0, 1.0)])
def test_the_largest_value_is_in_the_last_bin_which_sees_two_more(bin_: int, mixed: float) -> None:
    unit = torch.tensor([[[1.0, (bin_ + 0.5) / 64]]])
    found = coloured(unit, torch.tensor([1.0, 0.0]).expand(1, 3, 1, 2))
    assert math.isclose(found[0, 0, 0, 0].item(), mixed, abs_tol=1e-5)
