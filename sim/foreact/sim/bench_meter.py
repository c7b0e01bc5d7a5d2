"""What a benchmark of worlds is made of: sides that take turns, each timed in CPU seconds of all its threads and wall.

Shape letters: R = rounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["Clock", "Side", "Spread", "Window", "ratio", "spread", "timed", "window_steps"]

Clock = Callable[[], float]
"""CPU seconds used so far."""


@dataclass(frozen=True)
class Window:
    """One timed stretch.

    Attributes:
        steps: Control steps of one world, all worlds added up.
        cpu_seconds: Of all threads and processes that took part.
        wall_seconds: On the clock.
    """

    steps: int
    cpu_seconds: float
    wall_seconds: float

    @property
    def per_cpu_second(self) -> float:
        """Control steps per CPU second."""
        return self.steps / self.cpu_seconds

    @property
    def per_second(self) -> float:
        """Control steps per second of wall time."""
        return self.steps / self.wall_seconds


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of the rounds."""

    median: float
    lower: float
    upper: float


class Side(Protocol):
    """Something that is measured; making it burns it in."""

    def window(self) -> Window:
        """Do one stretch of work, timed."""
        ...

    def close(self) -> None:
        """Let go of processes and memory."""
        ...


def timed(work: Callable[[], object], steps: int, clock: Clock = time.process_time) -> Window:
    """Time one call.

    Args:
        work: What to call.
        steps: Control steps that it does.
        clock: CPU seconds so far; this process with all its threads if not given.
    """
    cpu, wall = clock(), time.perf_counter()
    work()
    wall = time.perf_counter() - wall
    return Window(steps, clock() - cpu, wall)


def window_steps(burnt_in: Window, nworld: int, seconds: float) -> int:
    """Control steps of each world in a window of about so many seconds of wall time, judged by the burn-in."""
    return max(2, round(seconds * burnt_in.per_second / nworld))


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of one figure per round, (R,)."""
    lower, median, upper = np.percentile(values, [25, 50, 75])
    return Spread(float(median), float(lower), float(upper))


def ratio(ours: Sequence[Window], theirs: Sequence[Window]) -> Spread:
    """How many times as many steps per CPU second, paired by round: both sides of a pair met the same load."""
    return spread([one.per_cpu_second / other.per_cpu_second for one, other in zip(ours, theirs, strict=True)])
