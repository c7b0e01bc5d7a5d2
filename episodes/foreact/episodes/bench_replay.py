"""What replay costs beside decoding, how well it keeps time, and whether its memory grows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.episodes.replayer import Pacing, Replayer
from foreact.episodes.sources import Kind, Source, Stream, open_collection
from foreact.episodes.sources.parts import Part, PartsSource, array_part
from foreact.episodes.timeline import Timeline

__all__ = ["Memory", "drift_ns", "memory_of_loops", "paced", "resident_bytes", "step_costs", "wearable"]

STEP_HZ = 30.0
# name, kind, rate [Hz], shape, clock: what a pair of Project Aria glasses and its machine perception services give.
# Streams of one clock have the same stamps, as the columns of a table of those services have.
STREAMS: tuple[tuple[str, Kind, float, tuple[int, ...], str], ...] = (
    ("imu.right", "imu", 1000, (6,), "imu.right"),
    ("imu.left", "imu", 800, (6,), "imu.left"),
    ("pose.trajectory", "pose", 1000, (7,), "trajectory"),
    ("pose.trajectory.velocity", "vector", 1000, (3,), "trajectory"),
    ("pose.trajectory.turning", "vector", 1000, (3,), "trajectory"),
    ("pose.trajectory.gravity", "vector", 1000, (3,), "trajectory"),
    ("pose.trajectory.quality", "vector", 1000, (1,), "trajectory"),
    ("magnetometer", "vector", 10, (3,), "magnetometer"),
    ("barometer", "vector", 50, (2,), "barometer"),
    ("gaze", "gaze", 30, (3,), "gaze"),
    ("hand.left.landmarks", "hand", 30, (21, 3), "hands"),
    ("hand.right.landmarks", "hand", 30, (21, 3), "hands"),
    ("hand.left.wrist", "pose", 30, (7,), "hands"),
    ("hand.right.wrist", "pose", 30, (7,), "hands"),
)


def wearable(seconds: float, seed: int = 0, more: Sequence[Part] = ()) -> PartsSource:
    """A recording in memory of 14 streams of seeded noise, at the rates of Aria glasses, without video.

    Args:
        seconds: Length [s].
        seed: Of values, and of the phases of the clocks.
        more: Further streams.
    """
    draw = np.random.default_rng(seed)
    begins = {clock: int(draw.integers(0, 1_000_000)) for *_, clock in STREAMS}
    parts = []
    for name, kind, rate, shape, clock in STREAMS:
        stamps = begins[clock] + (np.arange(int(seconds * rate) + 1) * (1e9 / rate)).astype(np.int64)
        values = draw.standard_normal((len(stamps), *shape))
        if kind == "pose":
            values[:, 3:] /= np.linalg.norm(values[:, 3:], axis=1, keepdims=True)
        parts.append(array_part(Stream(name, kind, shape, "float64"), stamps, values))
    return PartsSource("wearable", [*parts, *more])


def step_costs(source: Source, rounds: int) -> np.ndarray:
    """CPU time of a step at 30 Hz, as fast as possible, (R,) means of a round [us]; a round before them warms up.

    Args:
        source: A recording without video.
        rounds: How many.
    """
    timeline = Timeline.of({"recording": source})
    times = timeline.times(STEP_HZ)

    def work() -> float:
        begin = time.process_time_ns()
        for _ in Replayer(timeline, times):
            pass
        return (time.process_time_ns() - begin) / 1e3 / len(times)

    work()
    return np.array([work() for _ in range(rounds)])


def paced(source: Source, seconds: float, report: Callable[[float], None]) -> tuple[Pacing, np.ndarray]:
    """Play a recording at its own pace, a step every 1/30 s.

    Args:
        source: The recording; at least so long.
        seconds: How long [s].
        report: Told the seconds played.

    Returns:
        How well steps kept their times, and how late after its time each was in hand, with all that is decoded for it,
        int64 [ns].
    """
    timeline = Timeline.of({"recording": source})
    times = timeline.times(STEP_HZ)
    times = times[: round(seconds * STEP_HZ)]
    replayer = Replayer(timeline, times, rate=1.0)
    late, told = [], 0.0
    origin = time.monotonic_ns()  # the first step is due at once
    for step in replayer:
        due = step.time_ns - int(times[0])
        late.append(time.monotonic_ns() - origin - due)
        if due / 1e9 - told > 0.5:
            told = due / 1e9
            report(told)
    return replayer.pacing(), np.array(late, np.int64)


def drift_ns(lateness_ns: np.ndarray) -> float:
    """Median lateness of the last tenth of steps less that of the first tenth, int64 (steps,) [ns].

    One late step is no drift.
    """
    count = -(-len(lateness_ns) // 10)
    return float(np.median(lateness_ns[-count:]) - np.median(lateness_ns[:count])) if count else 0.0


@dataclass(frozen=True)
class Memory:
    """Resident memory after each loop, int64 (loops,) [bytes]."""

    after: np.ndarray

    @property
    def change(self) -> float:
        """Largest difference from the memory after the first loop, as a share of it."""
        return float(np.abs(self.after / self.after[0] - 1).max())


def memory_of_loops(paths: Sequence[Path], loops: int, report: Callable[[int], None]) -> Memory:
    """Open, replay as fast as possible and close recordings, again and again.

    Args:
        paths: What lies there is played: of many recordings the first three.
        loops: How many times.
        report: Told the loops done.

    Raises:
        SourceError: It cannot be read.
    """
    after = []
    for number in range(loops):
        for path in paths:
            _played(path)
        after.append(resident_bytes())
        report(number + 1)
    return Memory(np.array(after, np.int64))


def _played(path: Path) -> None:
    collection = open_collection(path)
    try:
        for key in collection.keys()[:3]:
            with collection.open(key) as source:
                timeline = Timeline.of({"recording": source})
                cameras = [name for name, track in timeline.tracks.items() if track.stream.kind == "image"]
                for _ in Replayer(timeline, timeline.times(cameras[0] if cameras else STEP_HZ)):
                    pass
    finally:
        collection.close()


def resident_bytes() -> int:
    """Memory of this process that lies in RAM [bytes].

    Raises:
        OSError: The system has no /proc.
    """
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
