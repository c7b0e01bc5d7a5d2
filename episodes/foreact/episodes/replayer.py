"""Playing a timeline: in time, faster, slower or as fast as possible, with pause, step, seek and loop.

One thread plays, any other may control. Deadlines are absolute, so that time lost on one step is not lost on the next.
Shape letters: T = steps.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from foreact.episodes.timeline import Step, Timeline

__all__ = ["Pacing", "Replayer"]

FASTEST = float("inf")


@dataclass(frozen=True)
class Pacing:
    """How well steps kept their times.

    Attributes:
        steps: That were played.
        dropped: That were left out because they would have come more than a period late.
        lateness_ns: Of each played step against its deadline, int64 [ns]; empty as fast as possible.
        drift_ns: Lateness of the last less that of the first step [ns].
    """

    steps: int
    dropped: int
    lateness_ns: np.ndarray

    @property
    def drift_ns(self) -> int:
        """Lateness of the last step less that of the first [ns]."""
        return int(self.lateness_ns[-1] - self.lateness_ns[0]) if len(self.lateness_ns) else 0

    @property
    def p99_ns(self) -> float:
        """99th percentile of lateness [ns]; 0 as fast as possible."""
        return float(np.quantile(self.lateness_ns, 0.99)) if len(self.lateness_ns) else 0.0


class Replayer:
    """Gives the steps of a timeline when they are due.

    Args:
        timeline: What to play.
        times: When to step, int64 (T,) [ns], ascending; see `Timeline.times`.
        rate: Times real time, above 0; infinity plays as fast as steps are taken, and drops none.
        loop: Begin anew after the last step.
        drop: In time, leave out steps that would come more than a period late, and count them.
        clock: Time now [ns]; `time.monotonic_ns`.

    Raises:
        ValueError: No step, times that do not ascend, or a rate that is not above 0.
    """

    def __init__(
        self,
        timeline: Timeline,
        times: np.ndarray,
        *,
        rate: float = FASTEST,
        loop: bool = False,
        drop: bool = True,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        if not len(times) or (np.diff(times) <= 0).any():
            raise ValueError("replay: expected at least one time, each after the one before")
        self.timeline, self.times, self.loop = timeline, times, loop
        self._view = memoryview(np.ascontiguousarray(times, np.int64))  # gives int, and faster
        self._drop, self._clock = drop, clock
        self._changed = threading.Condition()
        self._rate = _above_zero(rate)
        self._next, self._before, self._anchor = 0, None, (0, 0)
        self._paused, self._single, self._stopped, self._due = False, 0, False, True
        self._lateness: list[int] = []
        self._played, self._dropped = 0, 0

    def __iter__(self) -> Iterator[Step]:
        while (number := self._wait()) is not None:
            before = None if self._before is None else self._view[self._before]
            self._before = number
            yield self.timeline.at(number, self._view[number], before)

    def play(self) -> None:
        """Go on."""
        with self._changed:
            self._paused, self._due = False, True
            self._changed.notify_all()

    def pause(self) -> None:
        """Stand still; `step` and `seek` work."""
        with self._changed:
            self._paused = True
            self._changed.notify_all()

    def step(self, count: int = 1) -> None:
        """Pause, and give the next steps at once; a negative count goes back and gives one."""
        with self._changed:
            self._paused = True
            if count < 0:
                self._go((self._next - 1 if self._before is None else self._before) + count)
            self._single = max(count, 1)
            self._changed.notify_all()

    def seek(self, time_ns: int) -> None:
        """Go to the first step at or after a time; whether it plays or stands still stays as it is.

        Raises:
            ValueError: The time is after the last step.
        """
        place = int(np.searchsorted(self.times, time_ns, "left"))
        if place == len(self.times):
            raise ValueError(f"seek: {time_ns} ns is after the last step at {int(self.times[-1])} ns")
        with self._changed:
            self._go(place)
            self._single = 1 if self._paused else 0
            self._changed.notify_all()

    def set_rate(self, rate: float) -> None:
        """Play at another rate from here on.

        Raises:
            ValueError: It is not above 0.
        """
        with self._changed:
            self._rate, self._due = _above_zero(rate), True
            self._changed.notify_all()

    def stop(self) -> None:
        """End: no further step."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def paused(self) -> bool:
        """Whether it stands still."""
        return self._paused

    def pacing(self) -> Pacing:
        """How well steps have kept their times so far."""
        return Pacing(self._played, self._dropped, np.array(self._lateness, np.int64))

    def _go(self, place: int) -> None:
        self._next, self._before, self._due = max(place, 0), None, True

    def _wait(self) -> int | None:
        """The number of the next step when it is due; None at the end."""
        with self._changed:
            while not self._stopped:
                if self._next == len(self.times):
                    if not self.loop:
                        return None
                    self._go(0)
                if self._paused and not self._single:
                    self._changed.wait()
                    continue
                if self._single:
                    self._single -= 1
                    return self._taken()
                if self._rate == FASTEST:
                    return self._taken()
                if self._due:  # from here on time counts from this step
                    self._anchor, self._due = (self._clock(), self._view[self._next]), False
                left = self._deadline(self._next) - self._clock()
                if left > 0:
                    self._changed.wait(left / 1e9)
                    continue
                return self._late()
        return None

    def _late(self) -> int:
        """The step that is due, or the newest of those whose time is over."""
        now = self._clock()
        if self._drop:
            behind = self._next
            while self._next + 1 < len(self.times) and self._deadline(self._next + 1) <= now:
                self._next += 1
            self._dropped += self._next - behind
        self._lateness.append(now - self._deadline(self._next))
        return self._taken()

    def _deadline(self, number: int) -> int:
        start, first = self._anchor
        return start + round((self._view[number] - first) / self._rate)

    def _taken(self) -> int:
        self._played += 1
        self._next += 1
        return self._next - 1


def _above_zero(rate: float) -> float:
    if not rate > 0:
        raise ValueError(f"rate={rate} must be above 0; inf plays as fast as possible")
    return rate
