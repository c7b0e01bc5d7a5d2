"""Short H.264 films that any browser plays, written whole or not at all.

Shape letters: F frames, H and W = image height and width.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

if TYPE_CHECKING:
    from av.video.stream import VideoStream

__all__ = ["FilmError", "read_film", "write_film"]

QUALITY = "24"  # x264's constant rate factor: 18 looks lossless, 28 is blocky


class FilmError(ValueError):
    """A film cannot be written or read."""


def write_film(path: Path, frames: Iterable[np.ndarray], rate_hz: Fraction) -> None:
    """Write frames as an MP4 with its index in front, so that it plays while it loads.

    Args:
        path: Where to write; its folder is created.
        frames: RGB, F of uint8 (H, W, 3), H and W even, F at least 1; an array or one after the other.
        rate_hz: Frames per second.

    Raises:
        FilmError: The frames are not such pictures.
    """
    import av

    ordered = iter(frames)
    first = next(ordered, None)
    if first is None:
        raise FilmError(f"the film {path} needs at least one frame")
    _check(first, first.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with av.open(str(temporary), "w", format="mp4", options={"movflags": "+faststart"}) as container:
            # one thread: a small picture gains nothing from more, and the file is the same on every machine
            options = {"crf": QUALITY, "preset": "medium", "threads": "1"}
            stream = cast("VideoStream", container.add_stream("libx264", rate=rate_hz, options=options))
            stream.height, stream.width = first.shape[:2]
            stream.pix_fmt = "yuv420p"  # browsers decode no other layout
            for frame in itertools.chain([first], ordered):
                _check(frame, first.shape)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
            container.mux(stream.encode(None))
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_film(path: Path) -> np.ndarray:
    """All frames of a film, RGB uint8 (F, H, W, 3).

    Args:
        path: A film.

    Raises:
        FilmError: It is missing or damaged.
    """
    import av

    frames: list[np.ndarray] = []
    try:
        with av.open(str(path)) as container:
            frames += [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    except (OSError, ValueError) as error:
        raise FilmError(f"the film {path} cannot be read: {error}") from error
    if not frames:
        raise FilmError(f"the film {path} holds no frame")
    return np.stack(frames)


def _check(frame: np.ndarray, shape: tuple[int, ...]) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
        raise FilmError(f"a film needs uint8 frames (H, W, 3) of one size, got {frame.dtype} {frame.shape}")
    if shape[0] % 2 or shape[1] % 2:
        raise FilmError(f"a film's height and width must be even, got {shape[0]} x {shape[1]}")
