"""Viewing rays against numbers worked out by hand."""

from typing import Any

import pytest
import torch

from foreact.kernels.preprocess import camera_rays, rgbd_to_planes

IDENTITY = [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
QUARTER_TURN = [[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]  # about z: x -> y, y -> -x
CAMERA: dict[str, Any] = {"fx": 2.0, "fy": 4.0, "cx": 1.0, "cy": 1.0, "width": 2, "height": 2, "rotation": IDENTITY}


def test_rays_of_a_two_by_two_image_by_hand() -> None:
    # x = (0.5 - 1) / 2 = -0.25 and +0.25; y = -(0.5 - 1) / 4 = +0.125 in the upper row and -0.125 in the lower.
    expected = [[[-0.25, 0.125, -1.0], [0.25, 0.125, -1.0]], [[-0.25, -0.125, -1.0], [0.25, -0.125, -1.0]]]
    rays = camera_rays(**CAMERA)
    assert rays.dtype == torch.float32
    assert rays.tolist() == expected


def test_rotation_is_camera_to_target() -> None:
    # A quarter turn about z takes (x, y, z) to (-y, x, z).
    expected = [[[-0.125, -0.25, -1.0], [-0.125, 0.25, -1.0]], [[0.125, -0.25, -1.0], [0.125, 0.25, -1.0]]]
    assert camera_rays(**{**CAMERA, "rotation": torch.tensor(QUARTER_TURN)}).tolist() == expected


def test_rays_have_rows_and_columns_of_the_image() -> None:
    assert camera_rays(**{**CAMERA, "width": 3, "height": 5}).shape == (5, 3, 3)


def test_planar_depth_puts_a_wall_at_one_distance() -> None:
    # The camera at (0, 0, 2) looks down at a floor: planar depth is 2 m in every pixel, and every point has z = 0.
    rays = camera_rays(8.0, 8.0, 4.0, 4.0, 8, 8, IDENTITY)
    depth = torch.full((1, 8, 8), 2000, dtype=torch.int32)
    rgb = torch.zeros(1, 8, 8, 3, dtype=torch.uint8)
    points = rgbd_to_planes(rgb, depth, rays, torch.tensor([[0.0, 0.0, 2.0]]))[0, 3:]
    assert points[2].abs().max() == 0.0
    # The upper left pixel is 3.5 px from the centre: 3.5 / 8 * 2 m = 0.875 m to the left and up.
    assert points[:2, 0, 0].tolist() == [-0.875, 0.875]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fx": 0.0}, "focal lengths are fx=0.0"),
        ({"fy": float("nan")}, "fy=nan"),
        ({"width": 0}, "0 x 2 px"),
        ({"rotation": [[1.0, 0.0], [0.0, 1.0]]}, r"rotation has shape \(2, 2\)"),
        ({"rotation": [[2.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]}, "not a rotation"),
        ({"rotation": [[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]}, "not a rotation"),
        ({"rotation": [[float("nan")] * 3] * 3}, "not a rotation"),
    ],
)
def test_wrong_cameras_are_errors(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        camera_rays(**{**CAMERA, **changes})
