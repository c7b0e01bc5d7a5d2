"""Many Meta-World worlds at once against Meta-World's own environment, on the same episodes.

Shape letters: N = worlds, T = control steps, A = 4 action elements.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from foreact.sim.bench_meter import Window, timed
from foreact.sim.bench_worlds import BURN_IN
from foreact.sim.metaworld_worlds import VectorMetaWorld
from foreact.sim.metaworld_worlds.own import begin, seeded_environment

__all__ = ["SEEDS", "MetaWorldPair"]

SEEDS = 8
"""Different layouts; each fills an equal share of our worlds."""

CONTROL_RATE = 80
"""Meta-World's control steps per second of simulated time."""

TIMED = 40
"""Control steps that are timed in each round, after the burn-in."""


class MetaWorldPair:
    """Our worlds on one thread and Meta-World's own environment, both burnt in by the same actions.

    Args:
        name: A Meta-World v3 task.
        nworld: N, rounded up to a multiple of the layouts.
        seed: Of layouts and actions.
    """

    def __init__(self, name: str, nworld: int, seed: int) -> None:
        self._seeds = np.arange(SEEDS) + seed * SEEDS
        self._burn_in = round(BURN_IN * CONTROL_RATE)
        rng = np.random.default_rng(seed)
        self._plans = rng.uniform(-1, 1, (self._burn_in + TIMED, SEEDS, 4))
        self._copies = -(-nworld // SEEDS)
        self._env: Any = seeded_environment(name)
        self._worlds = VectorMetaWorld(name, SEEDS * self._copies, 1)
        self._worlds.reset(np.repeat(self._seeds, self._copies))
        self._run(slice(self._burn_in))
        self._start = self._worlds.snapshot()

    def windows(self) -> tuple[Window, Window]:
        """The same stretch of the same episodes: ours, theirs."""
        self._worlds.restore(self._start)
        return timed(lambda: self._run(slice(self._burn_in, None)), TIMED * len(self._worlds)), self._theirs()

    def _run(self, part: slice) -> None:
        for action in np.repeat(self._plans[part], self._copies, axis=1):
            self._worlds.step(action)

    def _theirs(self) -> Window:
        env = self._env
        parts = []
        for index, seed in enumerate(self._seeds):
            begin(env, int(seed))
            plan = self._plans[:, index]
            for action in plan[: self._burn_in]:
                env.step(action)
            parts.append(timed(lambda plan=plan: [env.step(action) for action in plan[self._burn_in :]], TIMED))
        return Window(
            *(sum(getattr(each, name) for each in parts) for name in ("steps", "cpu_seconds", "wall_seconds"))
        )
