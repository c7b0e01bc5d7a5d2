"""Worlds without a simulator: solved after a number of steps, with an expert that always says the same."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foreact.sim.cameras import WorldStates

LABEL = np.array([0.9, -0.25, 0.0, 1.0], np.float32)


class StubWorlds:
    """They walk by what they are told; the layout is the seed."""

    def __init__(
        self, nworld: int = 1, name: str = "reach-v3", solved_after: int | None = 12, time_limit: int = 30
    ) -> None:
        self.nworld, self.name, self.solved_after, self.time_limit = nworld, name, solved_after, time_limit
        self.seed, self.count = np.zeros(nworld, int), np.zeros(nworld, int)
        self.position = np.zeros((nworld, 4), np.float32)

    def reset(self, seeds: Sequence[int], ids: np.ndarray | None = None) -> None:
        rows = np.arange(self.nworld) if ids is None else ids
        self.seed[rows], self.count[rows] = seeds, 0
        self.position[rows] = (self.seed[rows] % 97)[:, None]

    def step(self, actions: np.ndarray, ids: np.ndarray | None = None) -> Any:
        rows = np.arange(self.nworld) if ids is None else ids
        self.count[rows] += 1
        self.position[rows] += actions[rows].astype(np.float32)
        reward, success = np.zeros(self.nworld), np.zeros(self.nworld, bool)
        reward[rows] = self.count[rows]
        success[rows] = self.solved_after is not None and self.count[rows] >= self.solved_after
        return SimpleNamespace(reward=reward, success=success)

    def states(self) -> np.ndarray:
        return self.position.copy()

    def landmarks(self) -> np.ndarray:
        return np.tile(self.count[:, None, None], (1, 3, 4)).astype(np.float32)

    def expert_actions(self, ids: np.ndarray | None = None) -> np.ndarray:
        actions = np.zeros((self.nworld, 4), np.float32)
        actions[slice(None) if ids is None else ids] = LABEL
        return actions

    def poses(self, ids: np.ndarray | None = None) -> WorldStates:
        """Seed and step in the place of joint positions."""
        rows = np.arange(self.nworld) if ids is None else ids
        return WorldStates(np.stack([self.seed[rows], self.count[rows]], axis=1), None, None, {})


@pytest.fixture
def stub_worlds() -> Callable[..., StubWorlds]:
    """The class `StubWorlds`."""
    return StubWorlds
