"""Worlds of a task as a Gymnasium vector environment, with the three ways Gymnasium has of starting new episodes.

`TaskVectorEnv` is made when it is first asked for, because its base class comes with gymnasium.
Shape letters: N = worlds, n = worlds that ended, O = observation elements, A = action elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.sim.backends.base import on_host
from foreact.sim.registry import sim_task
from foreact.sim.task import SimTask
from foreact.sim.taskworlds import Step, TaskWorlds

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv

__all__ = ["TaskVectorEnv", "make_task_vector_env", "register_tasks"]

NAMESPACE = "foreact"


class _TaskVector:
    """Worlds of a task as a `gymnasium.vector.VectorEnv`; arrays are float32 and bool, on the host.

    An episode that ended starts anew as `autoreset_mode` says:

    - `NextStep`: the next call returns the first observation of the new episode; the action is ignored, the reward 0.
    - `SameStep`: at once; the last observation is in `info["final_obs"]`, what was known of it in `info["final_info"]`.
    - `Disabled`: not before `reset(options={"reset_mask": mask})` asks for it.

    Args:
        task: A task, or the name of one.
        num_envs: N.
        backend: `cpu`, `ref` or `warp`.
        autoreset_mode: One of these names, or Gymnasium's `AutoresetMode`.
        copy: Return arrays that later calls leave alone; without it they are overwritten.
        seed: Of episodes before the first `reset` with a seed.
        options: Further options of the backend, such as `threads=2`.

    Raises:
        ValueError: Unknown task or mode.
    """

    def __init__(
        self,
        task: SimTask | str,
        num_envs: int = 1,
        backend: Any = "cpu",
        autoreset_mode: Any = "NextStep",
        *,
        copy: bool = True,
        seed: int = 0,
        **options: Any,
    ) -> None:
        from gymnasium.vector import AutoresetMode

        self.autoreset_mode = AutoresetMode(autoreset_mode)
        self.num_envs, self._copy = num_envs, copy
        self._same_step = self.autoreset_mode == AutoresetMode.SAME_STEP
        self._next_step = self.autoreset_mode == AutoresetMode.NEXT_STEP
        made = _named(task) if isinstance(task, str) else task
        self.worlds = TaskWorlds(made, num_envs, backend, seed, autoreset=self._same_step, **options)
        self.metadata = {"autoreset_mode": self.autoreset_mode, "render_modes": []}
        self.render_mode, self.spec = None, None
        self._ended = np.zeros(num_envs, bool)
        self._set_spaces()

    def _set_spaces(self) -> None:
        from gymnasium.spaces import Box
        from gymnasium.vector.utils import batch_space

        worlds = self.worlds
        self.single_observation_space = Box(-np.inf, np.inf, (worlds.observation_size,), np.float32)
        self.single_action_space = Box(worlds.low, worlds.high, dtype=np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def reset(
        self, *, seed: int | Sequence[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start new episodes.

        Args:
            seed: One for each world, or an int for seed, seed + 1, ...; None goes on drawing.
            options: `reset_mask`, bool (N,): only these worlds.

        Returns:
            Observations of all worlds, (N, O), and an empty info.

        Raises:
            ValueError: Seeds or mask of another length, or a mask that selects nothing.
            TypeError: The mask is no array of bool.
        """
        ids = self._chosen((options or {}).get("reset_mask"))
        if isinstance(seed, int | np.integer):
            seed = [int(seed) + world for world in range(self.num_envs)]
        if seed is not None:
            self._reseed(ids, seed)
        self._ended[ids] = False
        return self._given(self.worlds.reset(ids)), {}

    def _chosen(self, mask: Any) -> np.ndarray:
        if mask is None:
            return np.arange(self.num_envs)
        if not isinstance(mask, np.ndarray) or mask.dtype != np.bool_:
            raise TypeError("options['reset_mask'] must be a NumPy array of bool")
        if mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"options['reset_mask'] must select at least one of {self.num_envs} worlds, got {mask}")
        return np.flatnonzero(mask)

    def _reseed(self, ids: np.ndarray, seeds: Sequence[int | None]) -> None:
        if len(seeds) != self.num_envs:
            raise ValueError(f"expected {self.num_envs} seeds, got {len(seeds)}")
        known = np.array([world for world in ids if seeds[world] is not None], int)
        self.worlds.random.seed(known, np.array([seeds[world] for world in known], np.uint64))

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """One control step of all worlds.

        Args:
            actions: (N, A).

        Returns:
            Observations (N, O), rewards (N,), terminations (N,), truncations (N,) and info; see the class.

        Raises:
            ValueError: The shape is wrong, or a world ended and was not reset with automatic resets disabled.
            WorldsFailed: The engine failed in some worlds.
        """
        waiting = np.flatnonzero(self._ended)
        if len(waiting) and not self._next_step:
            raise ValueError(f"worlds {waiting[:5]} ended: reset them with options={{'reset_mask': ...}}")
        given = self._actions(actions)
        taken = self._step_others(given, waiting) if len(waiting) else self.worlds.step(given)
        observation, reward, terminated, truncated = (
            self._given(each) for each in (taken.observation, taken.reward, taken.terminated, taken.truncated)
        )
        if len(waiting):
            reward, terminated, truncated = (_zeroed(each, waiting) for each in (reward, terminated, truncated))
        if not self._same_step:
            self._ended = terminated | truncated
        return observation, reward, terminated, truncated, self._info(taken, waiting)

    def _step_others(self, actions: Any, waiting: np.ndarray) -> Step:
        """Step all but some worlds, which stay at the first moment of a new episode, random streams included."""
        self.worlds.reset(waiting)
        kept = self.worlds.snapshot(waiting)
        taken = self.worlds.step(actions)
        self.worlds.restore(kept, waiting)
        return taken

    def _info(self, taken: Step, waiting: np.ndarray) -> dict[str, Any]:
        has_success = self.worlds.task.success is not None
        gone = np.zeros(self.num_envs, bool)
        gone[taken.ended if self._same_step else waiting] = True
        success = np.array(on_host(taken.success))
        info: dict[str, Any] = {"success": success & ~gone, "_success": ~gone} if has_success else {}
        if self._same_step and len(taken.ended):
            last = np.full(self.num_envs, None, object)
            last[taken.ended] = np.fromiter(np.array(on_host(taken.final)), object, len(taken.ended))
            known = {"success": success & gone, "_success": gone.copy()} if has_success else {}
            info |= {"final_obs": last, "_final_obs": gone, "final_info": known, "_final_info": gone.copy()}
        return info

    def _given(self, values: Any) -> np.ndarray:
        host = on_host(values)
        return host.copy() if self._copy else host

    def _actions(self, actions: Any) -> Any:
        backend = self.worlds.backend
        if backend.xp is np:
            return np.asarray(actions)
        return backend.xp.as_tensor(actions, device=self.worlds.views.qpos.device)

    def close_extras(self, **_: Any) -> None:
        """Let go of the worlds."""
        self.__dict__.pop("worlds", None)


if TYPE_CHECKING:

    class TaskVectorEnv(_TaskVector, VectorEnv):
        """See `_TaskVector`."""


def __getattr__(name: str) -> Any:
    if name != "TaskVectorEnv":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gymnasium.vector import VectorEnv

    found = type(name, (_TaskVector, VectorEnv), {"__doc__": _TaskVector.__doc__, "__module__": __name__})
    globals()[name] = found  # looked up once
    return found


def make_task_vector_env(task: SimTask | str, num_envs: int = 1, **options: Any) -> TaskVectorEnv:
    """Make a vector environment; the entry point of `register_tasks`. See `TaskVectorEnv` for the options."""
    return __getattr__("TaskVectorEnv")(task, num_envs, **options)


def register_tasks() -> tuple[str, ...]:
    """Make every task of many worlds known to Gymnasium: `gymnasium.make_vec("foreact/cartpole", num_envs=256)`.

    Returns:
        All names that are registered now.
    """
    import gymnasium

    from foreact.sim.families import sim_task_names

    ids = {f"{NAMESPACE}/{name}": name for name in sim_task_names()}
    for known, name in ids.items():
        if known not in gymnasium.registry:
            entry = f"{__name__}:{make_task_vector_env.__name__}"
            gymnasium.register(known, vector_entry_point=entry, kwargs={"task": name})
    return tuple(ids)


def _named(name: str) -> SimTask:
    task = sim_task(name)
    if task is None:
        raise ValueError(f"task {name!r} has no worlds to be run together")
    return task


def _zeroed(values: np.ndarray, ids: np.ndarray) -> np.ndarray:
    cleared = values.copy()
    cleared[ids] = 0
    return cleared
