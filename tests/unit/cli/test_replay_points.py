"""Cameras of a contract as the point clouds want them."""

import numpy as np
import pytest

from foreact.cli.replay_points import lens_of_contract
from foreact.episodes.contract import CameraSpec


def seen(pixel: tuple[float, float], mount: str = "world") -> np.ndarray:
    """Where a ray of a camera that looks down from (1, 2, 3) meets the plane 2 m below it."""
    spec = CameraSpec("front", 8, 4, ("rgb", "depth"), 10, 10, 4, 2, mount, (1, 2, 3), (1, 0, 0, 0))
    lens = lens_of_contract(spec)
    assert lens.frame == ("" if mount == "unknown" else mount)
    ray = lens.rays(np.array([pixel]))
    return lens.to_frame(ray / ray[:, 2:] * 2)[0]


def test_a_camera_that_looks_down_by_hand() -> None:
    assert seen((3.5, 1.5)) == pytest.approx([1, 2, 1])  # between the middle pixels, whose centres are at +0.5
    assert seen((8.5, 1.5)) == pytest.approx([1 + 2 * 5 / 10, 2, 1])  # to the right of the picture is x
    assert seen((3.5, 6.5)) == pytest.approx([1, 2 - 2 * 5 / 10, 1])  # down in it is against y
    assert seen((3.5, 6.5), "unknown") == pytest.approx([0, 1, 2])  # in the camera: x right, y down, z ahead
