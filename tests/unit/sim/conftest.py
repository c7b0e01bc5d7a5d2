"""A task without a simulator: solved after a number of steps, with an expert that always says the same."""

from collections.abc import Callable

import numpy as np
import pytest

from foreact.sim.metaworld import StepResult

LABEL = np.array([0.9, -0.25, 0.0, 1.0], np.float32)


class StubTask:
    """Walks by what it is told; its layout is the seed."""

    def __init__(self, name: str = "reach-v3", solved_after: int | None = 12, time_limit: int = 30) -> None:
        self.name, self.solved_after, self.time_limit = name, solved_after, time_limit
        self.reset(0)

    def reset(self, seed: int) -> None:
        self.seed, self.steps = seed, 0
        self.position = np.full(4, seed % 97, np.float32)

    def step(self, action: np.ndarray) -> StepResult:
        self.steps += 1
        self.position = self.position + np.asarray(action, np.float32)
        return StepResult(float(self.steps), self.solved_after is not None and self.steps >= self.solved_after)

    def state(self) -> np.ndarray:
        return self.position.copy()

    def landmarks(self) -> np.ndarray:
        return np.full((3, 4), self.steps, np.float32)

    def expert_action(self) -> np.ndarray:
        return LABEL.copy()

    def snapshot(self, cameras: object) -> tuple[int, int]:
        return self.seed, self.steps


@pytest.fixture
def stub_task() -> Callable[..., StubTask]:
    """The class `StubTask`."""
    return StubTask
