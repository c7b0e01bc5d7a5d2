"""Meta-World's scripted experts by task name. Shape letters: O = 39 observation elements, A = 4 action elements."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

__all__ = ["Expert", "expert_for"]

Expert = Callable[[np.ndarray], np.ndarray]
"""Maps Meta-World's observation with the goal, shape (O,), to a command in [-1, 1], shape (A,), float64."""


def expert_for(task_name: str) -> Expert:
    """The scripted expert of a Meta-World task.

    Args:
        task_name: A Meta-World v3 task, for example `reach-v3`.

    Returns:
        A function of the observation alone: the experts keep no memory, so one may serve many worlds.

    Raises:
        KeyError: Meta-World has no expert of that name; ask `foreact.sim.registry` for names with near matches.
    """
    from metaworld.policies import ENV_POLICY_MAP

    policy = ENV_POLICY_MAP[task_name]()

    def expert(observation: np.ndarray) -> np.ndarray:
        if not observation[-3:].any():
            raise ValueError(f"{task_name}: the observation hides the goal (its last three elements are 0)")
        with warnings.catch_warnings():
            # far from its target an expert asks for more than 1 and says so each step; we clip, as Meta-World does
            warnings.filterwarnings("ignore", message="Constant")
            action = policy.get_action(observation)
        return np.clip(action, -1.0, 1.0).astype(np.float64)

    return expert
