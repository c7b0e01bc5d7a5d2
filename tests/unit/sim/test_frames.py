"""Frames that show nothing are told from those that do."""

from __future__ import annotations

import numpy as np
import pytest

from foreact.sim.frames import BadFrames, check_frames

RNG = np.random.default_rng(0)


def scene(stream: str) -> np.ndarray:
    """Three frames of a bright disc before a slope, (3, 48, 64) or (3, 48, 64, 3)."""
    y, x = np.mgrid[:48, :64]
    disc = (x - 30) ** 2 + (y - 20) ** 2 < 120
    values = np.stack([np.where(disc, 200 - 10 * n, x + y) for n in range(3)])
    if stream == "rgb":
        return np.repeat(values[..., None], 3, axis=-1).astype(np.uint8)
    return (values * 10).astype(np.uint16) if stream == "depth" else (1 + disc + 0 * values).astype(np.uint8)


@pytest.mark.parametrize("stream", ["rgb", "depth", "segmentation"])
def test_a_scene_is_good_and_one_bad_frame_is_named(stream: str) -> None:
    frames = scene(stream)
    check_frames({f"camera.front.{stream}": frames})
    frames[1] = 0
    fault = "black" if stream == "rgb" else "nothing hit"
    with pytest.raises(BadFrames, match=rf"camera\.front\.{stream}: {fault} in 1 of 3 frames \(1\)"):
        check_frames({f"camera.front.{stream}": frames})


@pytest.mark.parametrize("stream", ["rgb", "depth"])
def test_constant_frames_are_bad(stream: str) -> None:
    frames = np.full_like(scene(stream), 99)
    with pytest.raises(BadFrames, match="constant in 3 of 3"):
        check_frames({f"camera.a.{stream}": frames})


def test_one_geom_may_fill_a_segmentation() -> None:
    check_frames({"camera.a.segmentation": np.full((2, 8, 8), 3, np.uint8)})


def test_noise_is_bad_and_a_noisy_scene_is_good() -> None:
    noise = RNG.integers(0, 256, (4, 48, 64, 3)).astype(np.uint8)
    with pytest.raises(BadFrames, match="noise in 4 of 4"):
        check_frames({"camera.a.rgb": noise})
    with pytest.raises(BadFrames, match="depth: noise"):
        check_frames({"camera.a.depth": RNG.integers(1, 5000, (1, 48, 64)).astype(np.uint16)})
    grainy = np.clip(scene("rgb") + RNG.normal(0, 15, scene("rgb").shape), 0, 255).astype(np.uint8)
    check_frames({"camera.a.rgb": grainy})


def test_no_frame_and_too_small_frames_are_errors() -> None:
    with pytest.raises(ValueError, match="at least one frame"):
        check_frames({})
    with pytest.raises(ValueError, match="2x2 are needed"):
        check_frames({"camera.a.rgb": np.zeros((1, 1, 5, 3), np.uint8)})
