"""Meta-World's own environment of a task, with layouts from a seed, on current MuJoCo.

Shape letters: O = 39 observation elements, M = goal markers.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

__all__ = ["begin", "marker_positions", "seeded_environment"]

PARKED = (0.0, 0.0, -10.0)  # [m] where a marker waits that the task does not use now


def seeded_environment(name: str) -> Any:
    """Meta-World's environment with fresh layouts from a seed, the goal in the observation and working welds.

    Args:
        name: A Meta-World v3 task, for example `reach-v3`.

    Raises:
        KeyError: There is no such task.
    """
    return _environment_class(name)()


def begin(env: Any, seed: int) -> np.ndarray:
    """Draw the layout of this seed and bring the hand to its start; the same seed gives the same world.

    Args:
        env: Of `seeded_environment`.
        seed: Layout seed, a non-negative integer.

    Returns:
        Its first observation, float64 (O,).
    """
    import mujoco

    # a used world must equal a new one: engine state left from the last episode (warm starts) would leak otherwise
    mujoco.mj_resetData(env.model, env.data)
    env.seed(seed)
    return env.reset()[0]


def marker_positions(env: Any) -> np.ndarray:
    """Where the goal markers of an environment that was begun are [m], (M, 3); M = 0 where a fixture is the goal."""
    # Meta-World parks the unused goal of a pair 10 m away along every axis
    places = [np.asarray(position, np.float64)[:3] for _, position in env._target_site_config]
    places = [place if np.abs(place).max() < 5 else np.array(PARKED) for place in places]
    return np.array(places, np.float64).reshape(-1, 3)


@cache
def _environment_class(name: str) -> type:
    import mujoco
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    base = ALL_V3_ENVIRONMENTS[name]

    class SeededEnvironment(base):
        def __init__(self) -> None:
            super().__init__()
            self._set_task_called = True  # layouts come from seed(), not from Meta-World's pickled task list
            self._freeze_rand_vec = False
            self.seeded_rand_vec = True
            self._partially_observable = False
            self.max_path_length = 2**31  # who runs the episode ends it; a robot is not switched off after 500 steps
            self.__dict__.pop("sawyer_observation_space", None)  # cached while the goal was still hidden

        def reset_mocap_welds(self) -> None:
            # metaworld 3.0.0 writes 11 numbers into weld rows that have 12 since mujoco 3.17; the twelfth stays
            for weld in np.flatnonzero(self.model.eq_type == mujoco.mjtEq.mjEQ_WELD):
                self.model.eq_data[weld, :11] = (0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5)

    return SeededEnvironment
