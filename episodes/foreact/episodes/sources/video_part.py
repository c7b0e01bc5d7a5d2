"""A video file as a stream of a recording."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foreact.episodes.sources.encoded import Clip
from foreact.episodes.sources.parts import Part
from foreact.episodes.sources.protocol import Stream
from foreact.episodes.sources.video import VideoPool
from foreact.episodes.sources.video_index import VideoIndex

__all__ = ["describe_video", "video_part"]


def video_part(
    name: str,
    pool: VideoPool,
    path: Path,
    *,
    track: int = 0,
    clock: str = "video",
    stamps: np.ndarray | None = None,
    first: int = 0,
    rate_hz: float | None = None,
) -> Part:
    """Frames of a video, decoded when they are asked for; what it lacks is in `pool.index(path, track).notes`.

    Args:
        name: Of the stream, such as `camera.front`.
        pool: Which opens it.
        path: The video.
        track: Number among its video tracks.
        clock: Which clock `stamps` are of.
        stamps: int64 (k,) [ns], one for each frame from `first` on; None for those of the file.
        first: Frame of the file that is sample 0.
        rate_hz: Nominal rate; None for that of the file.

    Raises:
        SourceError: It cannot be opened.
        ValueError: Fewer frames than stamps.
    """
    index = pool.index(path, track)
    stamps = index.stamps[first:] if stamps is None else stamps
    if first + len(stamps) > len(index.stamps):
        raise ValueError(f"{path}: {len(index.stamps)} frames, needed are {first} to {first + len(stamps)}")

    def read(number: int) -> np.ndarray:
        with pool.video(path, track) as video:
            return video.read(first + number)

    def read_range(start: int, stop: int) -> np.ndarray:
        with pool.video(path, track) as video:
            return video.read_range(first + start, first + stop)

    stream = Stream(
        name,
        "image",
        (*index.size, 3),
        "uint8",
        clock=clock,
        rate_hz=index.rate_hz if rate_hz is None else rate_hz,
        elements=("r", "g", "b"),
        description=describe_video(index),
    )
    return Part(stream, stamps, read, read_range, Clip(path, track, first))


def describe_video(index: VideoIndex) -> str:
    """Codec, distance of key frames, and what of the file is not applied to the frames."""
    gaps = np.diff(index.keyframes)
    every = f", a key frame every {int(np.median(gaps))} frames" if len(gaps) else ", one key frame"
    turn = (
        f"; the file asks for a turn by {index.rotation} degrees clockwise, which is not made" if index.rotation else ""
    )
    colours = f"; colours are {index.colours}, made RGB as if BT.601" if index.colours not in ("", "smpte170m") else ""
    return f"{index.codec}{every}{turn}{colours}"
