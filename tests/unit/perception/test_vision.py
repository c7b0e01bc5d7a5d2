"""Spatial attention against numbers worked out by hand."""

import pytest
import torch

from foreact.perception.vision import FeatureModulation, KeypointEncoder


def encoder(planes: int = 6) -> KeypointEncoder:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    return KeypointEncoder.Config(channels=(4, 6), keypoints=2, summary=3).build(planes, language=5)


def pictures(planes: int = 6) -> torch.Tensor:
    return torch.randn(2, planes, 16, 16, generator=torch.Generator().manual_seed(1))


def silence(layer: torch.nn.Conv2d) -> None:
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)


def test_uniform_attention_attends_to_the_mean_of_its_cells() -> None:
    eye, seen = encoder(), pictures()
    silence(eye.attention)
    points = eye(seen, torch.zeros(2, 5)).points
    # cells stand for every second pixel along both axes
    expected = seen[:, 3:, ::2, ::2].mean((2, 3))
    assert torch.allclose(points[:, 0], expected, atol=1e-5)
    assert torch.allclose(points[:, 1], expected, atol=1e-5)


def test_a_sharp_head_returns_the_point_of_the_cell_that_stands_out() -> None:
    eye, seen = encoder(), torch.zeros(1, 6, 16, 16)
    # the stem passes plane 0 of its patch's inner pixel (row 1 of the padded patch) on to channel 0, all else is silent
    for parameter in eye.parameters():
        torch.nn.init.zeros_(parameter)
    (second,) = eye.layers
    assert isinstance(second, torch.nn.Conv2d)
    eye.stem.weight.data[0, 0, 1, 1] = 1.0
    second.weight.data[0, 0, 1, 1] = 1.0
    eye.attention.weight.data[0, 0] = 1.0  # head 0, first of its four cells in each patch
    seen[0, 0, 8, 4] = 1.0
    seen[0, 3:, 8, 4] = torch.tensor([0.3, -0.2, 0.9])
    found = eye(seen, torch.zeros(1, 5))
    assert found.points[0, 0].tolist() == pytest.approx([0.3, -0.2, 0.9], abs=1e-3)
    # one cell of 64 at 1 and 63 at 0: (1 - 1/64) / sqrt(63) * 64 = sqrt(63) standard deviations above the mean
    assert found.strength[0, 0].item() == pytest.approx(63**0.5, rel=1e-2)


def test_without_depth_places_are_picture_coordinates() -> None:
    eye = encoder(3)
    silence(eye.attention)
    points = eye(pictures(3), torch.zeros(2, 5)).points
    # mean over pixels 0, 2, ..., 14 of -1 + 2 i / 15
    assert points[0, 0].tolist() == pytest.approx([-1 + 14 / 15, -1 + 14 / 15, 0.0], abs=1e-6)


def test_modulation_starts_as_the_identity_and_then_scales_and_shifts() -> None:
    film, features = FeatureModulation(5, 2), torch.ones(1, 2, 3, 3)
    assert torch.equal(film(features, torch.ones(1, 5)), features)
    film.project.bias.data = torch.tensor([0.5, -1.0, 2.0, 3.0])  # scales, then shifts
    changed = film(features, torch.zeros(1, 5))
    assert changed[0, :, 0, 0].tolist() == [1.5 + 2.0, 0.0 + 3.0]
