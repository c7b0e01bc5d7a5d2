"""Waiting for absolute points in time, so that one late step never shifts the steps after it."""

import time
from collections.abc import Callable

__all__ = ["Ticker"]

SPIN_NS = 300_000  # the last stretch is spent looking at the clock: a sleep wakes up to about this much late


class Ticker:
    """Deadlines at a fixed rate.

    Args:
        rate_hz: Deadlines per second [Hz].
        clock_ns: The clock [ns].
        sleep_s: Sleeps for so long [s].
    """

    def __init__(
        self,
        rate_hz: float,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep_s: Callable[[float], None] = time.sleep,
    ) -> None:
        self.period_ns = round(1e9 / rate_hz)
        self._clock_ns, self._sleep_s = clock_ns, sleep_s
        self._start_ns = 0

    def start(self) -> None:
        """Set deadline 0 to now."""
        self._start_ns = self._clock_ns()

    def wait(self, tick: int) -> int:
        """Return at deadline `tick`, or at once if it is over.

        Returns:
            How late it is [ns], 0 or more.
        """
        # deadline = start + tick * period, never last wake-up + period
        deadline = self._start_ns + tick * self.period_ns
        while (left := deadline - self._clock_ns()) > SPIN_NS:
            self._sleep_s((left - SPIN_NS) / 1e9)
        while (now := self._clock_ns()) < deadline:
            pass
        return now - deadline

    def is_past(self, tick: int) -> bool:
        """Whether deadline `tick` is over."""
        return self._clock_ns() > self._start_ns + tick * self.period_ns

    def elapsed_s(self) -> float:
        """Time since `start` [s]."""
        return (self._clock_ns() - self._start_ns) / 1e9
