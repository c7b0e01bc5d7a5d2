"""Built-in controllers that need no training, to check a task and an evaluation before a policy is involved.

Shape letters: N = worlds, A = 4 action elements.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from foreact.sim.worlds import Worlds

__all__ = ["Controller", "ControllerName", "controller"]

ControllerName = Literal["zero", "random", "expert"]

Controller = Callable[[Worlds, np.ndarray], np.ndarray]
"""Called as controller(worlds, active) with active bool (N,); returns commands (N, A) float32, 0 where not active."""


def controller(name: ControllerName, seeds: list[int] | np.ndarray) -> Controller:
    """A built-in controller.

    Args:
        name: `zero` holds still, `random` draws uniformly from [-1, 1], `expert` asks the scripted expert.
        seeds: One per world: `random` draws from a stream per world, so that what a world does depends neither on its
            place nor on the other worlds.

    Raises:
        ValueError: There is no such controller.
    """
    if name == "zero":
        return lambda worlds, active: np.zeros((len(worlds), 4), np.float32)
    if name == "expert":
        return lambda worlds, active: worlds.expert_actions(active)
    if name == "random":
        return _RandomController(seeds)
    raise ValueError(f"controller {name!r} is not one of {', '.join(get_args(ControllerName))}")


class _RandomController:
    def __init__(self, seeds: list[int] | np.ndarray) -> None:
        self._streams = [np.random.default_rng([int(seed), 1]) for seed in seeds]

    def __call__(self, worlds: Worlds, active: np.ndarray) -> np.ndarray:
        if len(self._streams) != len(worlds):
            raise ValueError(f"random controller: {len(self._streams)} seeds for {len(worlds)} worlds")
        actions = np.zeros((len(worlds), 4), np.float32)
        for index in np.flatnonzero(active):
            actions[index] = self._streams[index].uniform(-1, 1, 4)
        return actions
