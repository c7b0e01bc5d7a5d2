"""What a task with demonstrations consists of, for the registry: its texts, its worlds, and facts of its scene.

Shape letters: N = worlds, n = selected worlds, A = 4 action elements, S = 4 state elements, L = landmarks,
C = cameras, D = numbers drawn at reset.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from foreact.sim.instructions import TaskText, metaworld_text

if TYPE_CHECKING:
    import mujoco

    from foreact.episodes.contract import CameraSpec
    from foreact.sim.cameras import WorldStates

__all__ = ["SceneFacts", "ShownWorlds", "StepBatch", "TaskDefinition", "metaworld_definition"]


class StepBatch(Protocol):
    """What one control step of N worlds gave."""

    @property
    def reward(self) -> np.ndarray:
        """Shape (N,); 0 for a world that was not stepped."""
        ...

    @property
    def success(self) -> np.ndarray:
        """Shape (N,), bool; False for a world that was not stepped."""
        ...


class ShownWorlds(Protocol):
    """N worlds of one task with an expert, landmarks and pictures; each is the same alone and among others.

    `ids` are sorted numbers of worlds, int (n,); all if None.

    Attributes:
        name: Full name of the task.
        nworld: N.
        time_limit: Most control steps of an episode.
    """

    name: str
    nworld: int
    time_limit: int

    def reset(self, seeds: Sequence[int] | np.ndarray, ids: np.ndarray | None = None) -> Any:
        """Start episodes with these n layout seeds, whatever the worlds did before."""
        ...

    def step(self, actions: np.ndarray, ids: np.ndarray | None = None) -> StepBatch:
        """Advance one control step by commands (N, A); worlds that are not selected stand still.

        Raises:
            ValueError: The shape is wrong, or a command of a stepped world is not finite.
        """
        ...

    def states(self) -> np.ndarray:
        """Proprioception of all worlds, (N, S) float32."""
        ...

    def fingertips(self) -> np.ndarray:
        """Middle of the finger tips of all worlds [m], (N, 3)."""
        ...

    def landmarks(self) -> np.ndarray:
        """Named places for training, of all worlds: position in the world frame [m] and presence, (N, L, 4) float32."""
        ...

    def expert_actions(self, ids: np.ndarray | None = None) -> np.ndarray:
        """The scripted expert's commands, (N, A) float32; 0 for worlds not asked for."""
        ...

    @property
    def shown_model(self) -> mujoco.MjModel:
        """What pictures are drawn of."""
        ...

    def poses(self, ids: np.ndarray | None = None) -> WorldStates:
        """What decides the pictures of some worlds now, a copy."""
        ...

    def camera_poses(self, cameras: Sequence[CameraSpec]) -> tuple[np.ndarray, np.ndarray]:
        """Where cameras are in all worlds: positions [m], (N, C, 3), and axes as columns, (N, C, 3, 3)."""
        ...


@dataclass(frozen=True)
class SceneFacts:
    """What a task's scene is made of.

    Attributes:
        scene: File name of the MJCF scene.
        horizon: Most control steps of an episode.
        reset_low: Lower ends of the numbers drawn at reset [m], length D.
        reset_high: Upper ends [m], length D.
    """

    scene: str
    horizon: int
    reset_low: tuple[float, ...]
    reset_high: tuple[float, ...]


@dataclass(frozen=True)
class TaskDefinition:
    """One registered task.

    Attributes:
        name: Full name.
        text: Its sentences and its rule of success.
        make: Builds so many worlds of this task.
        facts: Reads the scene's facts; may load the simulator.
    """

    name: str
    text: TaskText
    make: Callable[[int], ShownWorlds]
    facts: Callable[[], SceneFacts]


def metaworld_definition(name: str) -> TaskDefinition:
    """The definition of a Meta-World v3 task.

    Args:
        name: Full name, for example `reach-v3`.
    """
    return TaskDefinition(name, metaworld_text(name), lambda nworld: _worlds(name, nworld), lambda: _facts(name))


def _worlds(name: str, nworld: int) -> ShownWorlds:
    from foreact.sim.metaworld_worlds import VectorMetaWorld

    return VectorMetaWorld(name, nworld)


def _facts(name: str) -> SceneFacts:
    from foreact.sim.metaworld import TIME_LIMIT
    from foreact.sim.metaworld_worlds.own import seeded_environment

    env = seeded_environment(name)
    box = env._random_reset_space
    low, high = ([round(float(x), 4) for x in end] for end in (box.low, box.high))
    return SceneFacts(Path(env.fullpath).name, TIME_LIMIT, tuple(low), tuple(high))
