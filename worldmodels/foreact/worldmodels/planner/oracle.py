"""The simulator itself as a model of futures: what no learned model can beat.

It knows the state, not what is hidden: that is drawn anew for every future, as for the sets of true futures. All
candidates of a state meet the same draws, so that what differs between them is what they do.
Shape letters: S = states, N = candidates of each, K = futures of each, T = control steps, A = action elements.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.branching import keyed_draws
from foreact.worldmodels.futures import Futures
from foreact.worldmodels.scenes import Scene

__all__ = ["SimulatorOracle"]

MOST_WORLDS = 4096
"""Forked at once; beyond it memory grows and speed does not."""

KEPT = 3
"""Sizes of forks that are kept to be used again."""


class SimulatorOracle:
    """True futures of live worlds.

    Args:
        scene: The task and what is hidden in it.
        futures: K.
        horizon: T.
        seed: Of the hidden draws; one seed gives a world's future number k the same draws in every call.
    """

    def __init__(self, scene: Scene, futures: int = 8, horizon: int = 16, seed: int = 0) -> None:
        if futures < 1:
            raise ValueError(f"futures is {futures}, expected 1 or more")
        self.scene, self.futures, self.horizon, self.seed = scene, futures, horizon, seed
        self._forks: dict[tuple[int, int], TaskWorlds] = {}

    def imagine(self, worlds: TaskWorlds, ids: np.ndarray, actions: np.ndarray) -> Futures:
        """Futures of some worlds under chunks of actions.

        Args:
            worlds: Live; they stay as they are.
            ids: Worlds, int (S,).
            actions: Candidates of each, (S, N, T, A).

        Returns:
            Futures of B = S * N chunks, those of one state side by side.
        """
        states, candidates = actions.shape[:2]
        at_once = max(1, MOST_WORLDS // (candidates * self.futures))
        parts = [
            self._block(worlds, ids[start : start + at_once], actions[start : start + at_once])
            for start in range(0, states, at_once)
        ]
        names = ("values", "log_weights", "success", "contact", "reward")
        return Futures(*(torch.cat([getattr(part, name) for part in parts]) for name in names))

    def at(self, worlds: TaskWorlds, world: int) -> Callable[[Tensor], Futures]:
        """Futures of chunks (n, T, A) from where one world is, for a planner."""
        return lambda chunks: self.imagine(worlds, np.array([world]), chunks.numpy()[None])

    def _block(self, worlds: TaskWorlds, ids: np.ndarray, actions: np.ndarray) -> Futures:
        states, candidates, steps, _ = actions.shape
        rows = states * candidates * self.futures
        number = ids[:, None, None] * self.futures + np.arange(self.futures)
        keys = np.broadcast_to(number, (states, candidates, self.futures)).reshape(-1).astype(np.uint64)
        keys = keys + (np.uint64(self.seed) << np.uint64(32))
        hidden = (keyed_draws(keys), *self.scene.hidden)
        key = id(worlds.backend.model), rows
        forks = worlds.fork(ids, candidates * self.futures, hidden, self.seed, self._forks.pop(key, None))
        self._forks[key] = forks  # plans ask for the same few sizes again and again
        while len(self._forks) > KEPT:
            self._forks.pop(next(iter(self._forks)))
        commands = np.repeat(actions.reshape(states * candidates, steps, -1), self.futures, axis=0)
        return self._stepped(forks, commands, states * candidates)

    def _stepped(self, forks: TaskWorlds, commands: np.ndarray, chunks: int) -> Futures:
        rows, steps = commands.shape[:2]
        seen = np.empty((rows, steps, forks.observation_size), np.float32)
        reward, success, contact = (np.zeros((rows, steps), np.float32) for _ in range(3))
        for step in range(steps):
            taken = forks.step(commands[:, step])
            seen[:, step], reward[:, step], success[:, step] = taken.observation, taken.reward, taken.success
            contact[:, step] = self.scene.touching(forks)
        shape = (chunks, self.futures, steps)
        even = torch.full((chunks, self.futures), -float(np.log(self.futures)))
        numbers = (torch.from_numpy(each).reshape(shape) for each in (success, contact, reward))
        return Futures(torch.from_numpy(seen).reshape(*shape, -1), even, *numbers)
