"""What a frame of a video costs, in CPU time, so that a busy machine changes the figures little; bare PyAV beside it.

All sides take turns in every round. Shape letters: R = rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from foreact.episodes.sources.parts import Part
from foreact.episodes.sources.video import VideoPool
from foreact.episodes.sources.video_index import open_container, video_stream
from foreact.episodes.sources.video_part import video_part

__all__ = ["VideoCosts", "VideoMeter", "cpu_ms", "measure_video"]

WARM = 20  # frames decoded before the clock starts


@dataclass(frozen=True)
class VideoCosts:
    """CPU time of frames as RGB, one thread; (R,) means of a round [ms], unless it says otherwise.

    Attributes:
        sequential: In order.
        random: In random order.
        seeks: Of each frame that was read in random order, all rounds.
        bare: Decoded by PyAV in order, not made RGB.
        bare_rgb: The same, made RGB.
        bare_random: The frames of `random`, sought and decoded by PyAV, not made RGB; empty where frames say no times.
    """

    sequential: np.ndarray
    random: np.ndarray
    seeks: np.ndarray
    bare: np.ndarray
    bare_rgb: np.ndarray
    bare_random: np.ndarray


def measure_video(file: Path, *, samples: int = 200, rounds: int = 1, seed: int = 0) -> VideoCosts:
    """Measure a video file, after one round that does not count.

    Args:
        file: The video.
        samples: Frames of a round, of each side.
        rounds: How many.
        seed: Of the random order.

    Raises:
        SourceError: It cannot be read.
    """
    with VideoMeter.open(file, samples, seed) as meter:
        for _ in range(rounds + 1):
            meter.round()
        return meter.costs()


class VideoMeter:
    """A video that is read in several ways, round by round; the first round warms up and does not count.

    Args:
        file: The video.
        part: The video as replay reads it.
        picks: Numbers of frames, in random order.
        ticks: When these are shown, in units of the file; empty where it does not say.
    """

    def __init__(self, file: Path, part: Part, picks: list[int], ticks: list[int]) -> None:
        self._file, self._part, self._picks, self._ticks = file, part, picks, ticks
        self._rounds: list[list[float]] = []
        self._seeks: list[list[float]] = []

    @classmethod
    @contextmanager
    def open(cls, file: Path, samples: int, seed: int) -> Iterator[VideoMeter]:
        """Open a video for rounds of so many frames.

        Raises:
            SourceError: It cannot be read.
        """
        with ExitStack() as stack:
            pool = VideoPool()
            stack.callback(pool.close)
            index = pool.index(file)
            picks = np.random.default_rng(seed).integers(0, len(index.stamps), samples)
            ticks = index.ticks[picks].tolist() if index.seekable else []
            yield cls(file, video_part("camera", pool, file), picks.tolist(), ticks)

    def round(self) -> None:
        """Every side once."""
        count = min(len(self._picks), max(len(self._part.stamps) - WARM, 1))
        self._rounds.append(
            [self._sequential(count), self._bare(count, False), self._bare(count, True), self._bare_random()]
        )
        self._seeks.append([cpu_ms(lambda index=index: self._part.read(index)) for index in self._picks])

    def costs(self) -> VideoCosts:
        """Of all rounds but the first."""
        sequential, bare, bare_rgb, bare_random = np.array(self._rounds[1:], float).reshape(-1, 4).T
        seeks = np.array(self._seeks[1:])
        known = bare_random[~np.isnan(bare_random)]
        return VideoCosts(sequential, seeks.mean(axis=1), seeks.ravel(), bare, bare_rgb, known)

    def _sequential(self, count: int) -> float:
        warm = min(WARM, len(self._part.stamps) - count)
        for index in range(warm):
            self._part.read(index)

        def work() -> None:
            for index in range(warm, warm + count):
                self._part.read(index)

        return cpu_ms(work) / count

    def _bare(self, count: int, rgb: bool) -> float:
        with closing(open_container(self._file)) as container:
            frames = container.decode(video_stream(container, 0, str(self._file)))
            for _ in islice(frames, min(WARM, len(self._part.stamps) - count)):
                pass

            def work() -> None:
                for frame in islice(frames, count):
                    if rgb:
                        frame.to_ndarray(format="rgb24")

            return cpu_ms(work) / count

    def _bare_random(self) -> float:
        with closing(open_container(self._file)) as container:
            stream = video_stream(container, 0, str(self._file))

            def work() -> None:
                for tick in self._ticks:
                    container.seek(tick, stream=stream)
                    for frame in container.decode(stream):
                        if frame.pts is not None and frame.pts >= tick:
                            break

            return cpu_ms(work) / len(self._ticks) if self._ticks else float("nan")


def cpu_ms(work: Callable[[], object]) -> float:
    """CPU time of all threads of the process [ms]."""
    begin = time.process_time_ns()
    work()
    return (time.process_time_ns() - begin) / 1e6
