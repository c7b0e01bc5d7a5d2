"""The sides of a benchmark that are ours: worlds of a task, and the engine alone on what these worlds just did.

Shape letters: N = worlds, A = action elements.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from foreact.sim.bench_meter import Window, timed, window_steps
from foreact.sim.bench_raw import RawWindow, log_window
from foreact.sim.task import SimTask
from foreact.sim.taskworlds import TaskWorlds

__all__ = ["BURN_IN", "OwnAndRaw", "OwnWall"]

BURN_IN = 1.0
"""Simulated time before anything is timed [s]: contacts at a reset are not those of an episode."""

PLANS = 64
"""Different random actions per world; they are taken in turns."""


class _Burnt:
    """Worlds that have been running for a while under random actions, their episodes at any point."""

    def __init__(self, task: SimTask, nworld: int, seed: int, seconds: float, threads: int) -> None:
        self.worlds = TaskWorlds(task, nworld, seed=seed, threads=threads)
        self.worlds.reset(seeds=np.arange(nworld) + seed * nworld)
        rng = np.random.default_rng(seed)
        low, high = self.worlds.low, self.worlds.high
        self._plans = rng.uniform(low, high, (PLANS, nworld, len(low))).astype(np.float32)
        self._next = 0
        control_steps = max(2, round(BURN_IN / self.worlds.views.dt))
        self.run(self.actions(control_steps - control_steps // 2))
        half = self.actions(control_steps // 2)
        burnt = timed(lambda: self.run(half), nworld * len(half))
        # as many episodes end in any one step as in any other
        self.worlds.steps[:] = np.maximum(self.worlds.steps, rng.integers(0, task.limit, nworld))
        self.length = window_steps(burnt, nworld, seconds)

    def actions(self, count: int) -> list[np.ndarray]:
        """The next actions, float32 (N, A) each."""
        start, self._next = self._next, self._next + count
        return [self._plans[index % PLANS] for index in range(start, start + count)]

    def run(self, actions: list[np.ndarray]) -> None:
        """Control steps of the full environment."""
        for action in actions:
            self.worlds.step(action)


class OwnAndRaw:
    """Full worlds on one thread, and raw stepping of the same states and controls.

    Args:
        task: What the worlds do.
        nworld: N.
        seed: Of episodes and actions.
        seconds: Length of a window [s].

    Raises:
        RawDiffers: The raw side does not reproduce the worlds.
    """

    def __init__(self, task: SimTask, nworld: int, seed: int, seconds: float) -> None:
        self._burnt = _Burnt(task, nworld, seed, seconds, threads=1)
        self._checked = False

    def windows(self, *, raw_first: bool) -> tuple[Window, Window]:
        """The next stretch of the worlds: full, and raw.

        Args:
            raw_first: Which of the two goes first.
        """
        worlds, actions = self._burnt.worlds, self._burnt.actions(self._burnt.length)
        start = worlds.snapshot()
        raw = RawWindow(worlds, log_window(worlds, actions))
        if not self._checked:
            raw.check()
            self._checked = True
        worlds.restore(start)
        steps = len(worlds) * len(actions)
        before = timed(raw.step, steps) if raw_first else None
        full = timed(lambda: self._burnt.run(actions), steps)
        return full, before or timed(raw.step, steps)


class OwnWall:
    """Full worlds on all cores.

    Args:
        task: What the worlds do.
        nworld: N.
        seed: Of episodes and actions.
        seconds: Length of a window [s].
    """

    def __init__(self, task: SimTask, nworld: int, seed: int, seconds: float) -> None:
        self._burnt = _Burnt(task, nworld, seed, seconds, threads=0)

    def window(self) -> Window:
        """One stretch, timed."""
        actions: list[Any] = self._burnt.actions(self._burnt.length)
        return timed(lambda: self._burnt.run(actions), len(self._burnt.worlds) * len(actions))

    def close(self) -> None:
        """Let go of the worlds."""
        self.__dict__.pop("_burnt", None)
