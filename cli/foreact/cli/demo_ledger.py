"""Seconds and memory of a demo over all its attempts: a demo that was killed and continued cost what both cost."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreact.cli.demo_meter import Meter, metered
from foreact.episodes.runfolder import write_json_atomic

__all__ = ["Ledger", "StageCost"]

SECONDS_BETWEEN_WRITES = 5.0  # what a killed attempt may lose


@dataclass(frozen=True)
class StageCost:
    """What something cost: wall-clock and CPU seconds [s]."""

    wall_s: float
    cpu_s: float

    def __add__(self, other: "StageCost") -> "StageCost":
        return StageCost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s)


class Ledger:
    """The ledger file of a demo.

    Args:
        path: The JSON file; it is read if it exists.

    Raises:
        ValueError: The file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._meter: Meter | None = None
        self._open: dict[str, tuple[float, float]] = {}  # what runs now -> its start: clock [s], CPU [s]
        self._written = float("-inf")
        kept = _read(path)
        self._attempts = [StageCost(**cost) for cost in kept["attempts"]]
        self._stages = {name: StageCost(**cost) for name, cost in kept["stages"].items()}
        self._peak_bytes = int(kept["peak_bytes"])

    @property
    def total(self) -> StageCost:
        """Everything, over all attempts."""
        return sum(self._attempts, StageCost(0.0, 0.0))

    @property
    def stages(self) -> dict[str, StageCost]:
        """Each stage, over all attempts, in the order of their first start."""
        return dict(self._stages)

    @property
    def peak_bytes(self) -> int:
        """Most memory of the process tree at one time [bytes]."""
        return self._peak_bytes

    @property
    def attempts(self) -> int:
        """How often the demo was started."""
        return len(self._attempts)

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Measure one attempt; stages are measured inside."""
        try:
            with metered(self._write_now_and_then) as self._meter:
                self._open["attempt"] = self._now()
                yield
        finally:
            with self._lock:
                self._attempts.append(self._cost("attempt"))
                del self._open["attempt"]
                self._write()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure one stage of the present attempt.

        Args:
            name: Of the stage; its seconds are added to those of earlier attempts.
        """
        self._open[name] = self._now()
        try:
            yield
        finally:
            with self._lock:
                self._stages[name] = self._stages.get(name, StageCost(0.0, 0.0)) + self._cost(name)
                del self._open[name]
                self._write()

    def _now(self) -> tuple[float, float]:
        assert self._meter is not None, "a stage is measured inside an attempt"
        return time.monotonic(), self._meter.cpu_s()

    def _cost(self, name: str) -> StageCost:
        (clock, cpu), (clock_before, cpu_before) = self._now(), self._open[name]
        return StageCost(clock - clock_before, cpu - cpu_before)

    def _write_now_and_then(self) -> None:
        with self._lock:
            if self._meter is not None and time.monotonic() - self._written >= SECONDS_BETWEEN_WRITES:
                self._write()

    def _write(self) -> None:
        """Write what is closed, and what is open as if it ended now."""
        if self._meter is not None:
            self._peak_bytes = max(self._peak_bytes, self._meter.peak_bytes)
        attempts, stages = list(self._attempts), dict(self._stages)
        for name in tuple(self._open):
            if name == "attempt":
                attempts.append(self._cost(name))
            else:
                stages[name] = stages.get(name, StageCost(0.0, 0.0)) + self._cost(name)
        content = {"attempts": attempts, "stages": stages, "peak_bytes": self._peak_bytes}
        write_json_atomic(self._path, content)
        self._written = time.monotonic()


def _read(path: Path) -> dict[str, Any]:
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"attempts": [], "stages": {}, "peak_bytes": 0}
    except ValueError as error:
        raise ValueError(f"{path} is damaged: {error}. Delete it; the demo then counts its seconds anew") from error
    return kept
