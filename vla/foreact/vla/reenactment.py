"""An evaluated episode once more, from its layout seed and its recorded actions, to look at it from outside.

The simulation is deterministic, so nothing needs to be filmed while a policy is evaluated.
Shape letters: T control steps, A action elements, S state elements, F frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.sim.cameras import WorldStates, joined
from foreact.sim.registry import definition

if TYPE_CHECKING:
    from foreact.sim.definitions import ShownWorlds

__all__ = ["Reenactment", "ReenactmentError", "frame_steps", "reenact"]


class ReenactmentError(RuntimeError):
    """An episode that was played again went another way than recorded."""


@dataclass(frozen=True)
class Reenactment:
    """What happened, with the poses needed to draw it.

    Attributes:
        worlds: One world after the last step; it knows what pictures are drawn of.
        states: Proprioception before each step and after the last, (T + 1, S) float32.
        actions: Commands, (T, A) float32.
        steps: Control step of each frame, (F,) int64; the last one is T.
        poses: What to draw at these steps, F of them.
    """

    worlds: ShownWorlds
    states: np.ndarray
    actions: np.ndarray
    steps: np.ndarray
    poses: WorldStates


def frame_steps(steps: int, every: int) -> np.ndarray:
    """Control steps to draw, (F,) int64: every so many from the reset on, and the end.

    Args:
        steps: Control steps of the episode.
        every: Control steps between frames.
    """
    return np.append(np.arange(0, steps, every), steps)


def reenact(episode: Mapping[str, Any], every: int) -> Reenactment:
    """Play a recorded episode again.

    Args:
        episode: A row of `foreact.vla.evaluate.load_results`.
        every: Control steps between frames.

    Raises:
        ReenactmentError: It ended with another result than recorded.
    """
    worlds = definition(episode["task"]).make(1)
    worlds.reset([int(episode["seed"])])
    actions = np.asarray(episode["actions"], np.float32).reshape(-1, 4)
    steps = frame_steps(len(actions), every)
    states, poses, success = [worlds.states()], [worlds.poses()], False
    for step, action in enumerate(actions, start=1):
        success |= bool(worlds.step(action[None]).success[0])
        states.append(worlds.states())
        if step in steps:
            poses.append(worlds.poses())
    if success != episode["success"]:
        words = {True: "success", False: "failure"}
        raise ReenactmentError(
            f"{episode['task']} number {episode['index']} (layout {episode['seed']}) was recorded as "
            f"{words[episode['success']]}, but its actions now end in {words[success]}: the simulator or the machine "
            "is not the one that evaluated it. Evaluate again into another folder, or type videos=0"
        )
    return Reenactment(worlds, np.concatenate(states), actions, steps, joined(poses))
