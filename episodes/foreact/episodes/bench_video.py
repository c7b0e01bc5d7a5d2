"""What a frame of a video costs, in CPU time, so that a busy machine does not change the figure."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.episodes.sources.video import Video

__all__ = ["VideoCosts", "measure_video"]


@dataclass(frozen=True)
class VideoCosts:
    """CPU time of one video, in one thread.

    Attributes:
        open_ms: To open it and scan its packets [ms].
        sequential_ms: Of a frame, all in order, into one buffer [ms].
        random_ms: Of a frame, in random order, into one buffer [ms]; the mean.
        seek_p95_ms: Of a frame in random order [ms]; 95 of 100 are cheaper.
    """

    open_ms: float
    sequential_ms: float
    random_ms: float
    seek_p95_ms: float


def measure_video(file: Path, *, samples: int = 200, seed: int = 0) -> VideoCosts:
    """Measure a video file.

    Args:
        file: The video.
        samples: Frames read, in order and at random.
        seed: Of the random order.

    Raises:
        SourceError: It cannot be read.
    """
    opened = _costs(lambda: Video(file).close(), 3)
    with Video(file) as video:
        out = np.zeros(video.shape, np.uint8)  # touched: fresh pages are dear
        video.read(len(video) - 1, out)
        count = min(samples, len(video))
        ordered = [_cost(lambda index=index: video.read(index, out)) for index in range(count)]
        picks = np.random.default_rng(seed).integers(0, len(video), samples).tolist()
        random = [_cost(lambda index=index: video.read(index, out)) for index in picks]
    p95 = float(np.percentile(random, 95))
    return VideoCosts(min(opened), float(np.mean(ordered)), float(np.mean(random)), p95)


def _costs(work: Callable[[], object], times: int) -> list[float]:
    return [_cost(work) for _ in range(times)]


def _cost(work: Callable[[], object]) -> float:
    """CPU time of all threads of the process [ms]."""
    begin = time.process_time_ns()
    work()
    return (time.process_time_ns() - begin) / 1e6
