"""Whether pictures show anything: black, constant and noise frames are refused before they become data.

Shape letters: n = frames, H and W = image height and width.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

__all__ = ["BadFrames", "check_frames"]

BLACK = 4.0  # brightest value that still counts as black, of 255
CONSTANT = 1.0  # standard deviation below which a frame shows one colour, of 255
NOISE = 0.3  # correlation of neighbours below which a frame is noise: scenes have 0.85 and more, white noise 0


class BadFrames(ValueError):
    """Frames that show nothing; the message names stream, frames and fault."""


def check_frames(images: Mapping[str, np.ndarray]) -> None:
    """Refuse frames that no working camera gives.

    Colours must not be black, constant or noise; depth not empty, constant or noise; segmentation not empty, and one
    geom may fill it. Noise is told by the correlation of each pixel with its right and lower neighbours: of a picture
    that shows things it is high, of independent pixels 0 within 1 / sqrt(H W).

    Args:
        images: As `WorldPictures.draw` returns them: `camera.NAME.STREAM`, (n, H, W) or (n, H, W, 3).

    Raises:
        BadFrames: Some frame is bad.
        ValueError: No frame, or frames smaller than 2 x 2 pixels.
    """
    if not images or any(not len(frames) for frames in images.values()):
        raise ValueError("check_frames: expected at least one frame")
    found = []
    for key, frames in images.items():
        for fault, bad in _faults(key, np.asarray(frames)).items():
            if bad.any():
                numbers = np.flatnonzero(bad)
                shown = ", ".join(str(number) for number in numbers[:5]) + (", ..." if len(numbers) > 5 else "")
                found.append(f"{key}: {fault} in {len(numbers)} of {len(bad)} frames ({shown})")
    if found:
        raise BadFrames("; ".join(found))


def _faults(key: str, frames: np.ndarray) -> dict[str, np.ndarray]:
    """Which frames have which fault, bool (n,) each."""
    if min(frames.shape[1:3]) < 2:
        raise ValueError(f"check_frames: {key} has frames of {frames.shape[1]}x{frames.shape[2]} px; 2x2 are needed")
    stream = key.rsplit(".", 1)[-1]
    grey = frames.astype(np.float64)
    grey = grey.mean(-1) if frames.ndim == 4 else grey
    spread = grey.std(axis=(1, 2))
    empty = grey.max(axis=(1, 2)) <= (BLACK if stream == "rgb" else 0)
    least = {"rgb": CONSTANT, "depth": 1e-9}.get(stream, 0.0)  # one geom may fill a segmentation
    noise = np.zeros(len(frames), bool)
    varied = ~empty & (spread > max(least, 1e-9))
    noise[varied] = _correlation(grey[varied]) < NOISE
    return {"black" if stream == "rgb" else "nothing hit": empty, "constant": ~empty & (spread < least), "noise": noise}


def _correlation(grey: np.ndarray) -> np.ndarray:
    """Correlation of neighbours, the mean of both directions, (n,)."""
    pairs = ((grey[:, :, :-1], grey[:, :, 1:]), (grey[:, :-1], grey[:, 1:]))
    return np.mean([_pearson(one, other) for one, other in pairs], axis=0)


def _pearson(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Correlation within frames, (n,); that of a constant counts as 1."""
    # r = <x'y'> / sqrt(<x'x'><y'y'>), primes: less the mean
    x, y = (each - each.mean(axis=(1, 2), keepdims=True) for each in (x, y))
    scale = np.sqrt((x * x).sum(axis=(1, 2)) * (y * y).sum(axis=(1, 2)))
    return np.where(scale > 0, (x * y).sum(axis=(1, 2)) / np.where(scale > 0, scale, 1), 1.0)
