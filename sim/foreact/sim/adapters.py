"""Worlds of Gymnasium, EnvPool and Meta-World behind the raw interface of `TaskWorlds`: reset, and step to a `Step`.

Observations of any space are put side by side as float32 numbers, actions are numbers in [low, high], rounded where a
space is discrete. Shape letters: N = worlds, n = selected worlds, A = action elements, O = observation elements.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, override

import numpy as np

from foreact.sim.backends.base import selected
from foreact.sim.instructions import metaworld_task_names
from foreact.sim.registry import resolve, sim_task
from foreact.sim.taskworlds import Step, TaskWorlds

__all__ = ["EnvPoolWorlds", "GymnasiumWorlds", "MetaWorldEpisodes", "Worlds", "make_worlds"]

SUCCESS_KEYS = ("success", "is_success")


class Worlds(Protocol):
    """What `TaskWorlds` and the adapters have in common.

    Attributes:
        nworld: N.
        low: Lowest actions, float32 (A,).
        high: Highest actions, float32 (A,).
    """

    nworld: int
    low: np.ndarray
    high: np.ndarray

    def __len__(self) -> int: ...

    @property
    def observation_size(self) -> int:
        """O."""
        ...

    def reset(self, ids: np.ndarray | None = None, seeds: Sequence[int] | np.ndarray | None = None) -> Any:
        """Start new episodes in some worlds, int (n,), or all; observations of all worlds, (N, O)."""
        ...

    def step(self, actions: Any) -> Step:
        """Advance all worlds by one control step; actions (N, A)."""
        ...


def make_worlds(name: str, nworld: int, seed: int = 0, *, autoreset: bool = True, **options: Any) -> Worlds:
    """Make worlds by name.

    Args:
        name: A simulated task, one of Meta-World's, `gymnasium:ID` or `envpool:ID`.
        nworld: N.
        seed: Of everything random.
        autoreset: Start a new episode in a world as soon as one ends.
        options: Of the backend, or of the environment.

    Raises:
        ValueError: Unknown name, or a task of a plug-in without worlds to be run together.
        ImportError: EnvPool is not installed.
    """
    kind, colon, known = name.partition(":")
    if colon and kind == "gymnasium":
        return GymnasiumWorlds(known, nworld, seed, autoreset=autoreset, **options)
    if colon and kind == "envpool":
        return EnvPoolWorlds(known, nworld, seed, autoreset=autoreset, **options)
    task, (full,) = sim_task(name), resolve([name])
    if task is not None:
        return TaskWorlds(task, nworld, seed=seed, autoreset=autoreset, **options)
    if full in metaworld_task_names():
        return MetaWorldEpisodes(full, nworld, seed, autoreset=autoreset, **options)
    raise ValueError(f"task {name!r} has no worlds to be run together")


class _Foreign(ABC):
    """Worlds that somebody else steps and resets.

    Args:
        nworld: N.
        seed: Of episodes before the first seeds are given.
        autoreset: Start a new episode as soon as one ends; without it, ended worlds must be reset before the next step.
    """

    def __init__(self, nworld: int, seed: int, *, autoreset: bool) -> None:
        if nworld < 1:
            raise ValueError(f"nworld={nworld} is out of range; give 1 or more")
        self.nworld, self._seed, self._autoreset = nworld, seed, autoreset
        self._waiting = np.ones(nworld, bool)
        self._unseeded = np.ones(nworld, bool)

    def __len__(self) -> int:
        return self.nworld

    @property
    def observation_size(self) -> int:
        """O."""
        return self._observation.shape[1]

    def _take_spaces(self, action_space: Any, first: Any) -> None:
        self._space = action_space
        self.low, self.high = _action_range(action_space)
        self._observation = _flat(first, self.nworld).copy()

    def reset(self, ids: np.ndarray | None = None, seeds: Sequence[int] | np.ndarray | None = None) -> Any:
        """Start new episodes.

        Args:
            ids: Sorted numbers of the worlds, int (n,), or a bool mask (N,); all if None.
            seeds: One for each of these worlds.

        Returns:
            Observations of all worlds, live float32 (N, O).

        Raises:
            ValueError: There is not one seed per world.
        """
        chosen = selected(ids, self.nworld)
        given: Sequence[int | None] | np.ndarray | None = seeds
        if given is None and self._unseeded[chosen].any():
            given = [self._seed + world if self._unseeded[world] else None for world in chosen.tolist()]
        if given is not None and len(given) != len(chosen):
            raise ValueError(f"reset: {len(given)} seeds for {len(chosen)} worlds")
        if len(chosen):
            self._observation[chosen] = self._restart(chosen, given)
        self._waiting[chosen] = self._unseeded[chosen] = False
        return self._observation

    def step(self, actions: Any) -> Step:
        """Advance all worlds by one control step.

        Args:
            actions: (N, A), in [low, high].

        Raises:
            ValueError: The shape is wrong, a discrete action is out of range, or an ended world was not reset.
        """
        if tuple(actions.shape) != (self.nworld, len(self.low)):
            raise ValueError(f"expected actions of shape {(self.nworld, len(self.low))}, got {tuple(actions.shape)}")
        if self._waiting.any():
            raise ValueError(f"worlds {np.flatnonzero(self._waiting)[:5]} have no episode: reset them")
        seen, reward, terminated, truncated, info = self._advance(self._native(np.asarray(actions)))
        self._observation[:] = _flat(seen, self.nworld)
        terminated, truncated = np.array(terminated, bool), np.array(truncated, bool)
        self._waiting = terminated | truncated
        ended = np.flatnonzero(self._waiting)
        final = self._observation[ended]
        if self._autoreset and len(ended):
            self.reset(ended)
        reward = np.array(reward, np.float32)
        return Step(self._observation, reward, terminated, truncated, _success(info, self.nworld), ended, final)

    def _native(self, actions: np.ndarray) -> np.ndarray:
        """Actions (N, A) in the form and type of the space."""
        space = self._space
        if type(space).__name__ != "Box":
            actions = np.rint(actions)
            if not ((self.low <= actions) & (actions <= self.high)).all():
                raise ValueError(f"discrete actions must lie in {self.low.tolist()} to {self.high.tolist()}")
        return actions.reshape(len(actions), *space.shape).astype(space.dtype)

    @abstractmethod
    def _restart(self, ids: np.ndarray, seeds: Any) -> np.ndarray:
        """New episodes in some worlds, whose seeds are numbers, or None to go on; their observations, (n, O)."""
        ...

    @abstractmethod
    def _advance(self, actions: np.ndarray) -> tuple[Any, ...]:
        """What Gymnasium's `step` returns."""
        ...


class GymnasiumWorlds(_Foreign):
    """Any Gymnasium environment, one instance per world in this process, or in processes of their own.

    Args:
        known: Its id, such as `HalfCheetah-v5`.
        nworld: N.
        seed: Of episodes before the first seeds are given.
        autoreset: Start a new episode as soon as one ends; without it, ended worlds must be reset before the next step.
        vectorization: `sync` or `async`.
        options: Of `gymnasium.make_vec`, such as `max_episode_steps=100`, or of the environment.

    Raises:
        ValueError: The action space is neither of numbers nor discrete.
    """

    def __init__(
        self,
        known: str,
        nworld: int,
        seed: int = 0,
        *,
        autoreset: bool = True,
        vectorization: Literal["sync", "async"] = "sync",
        **options: Any,
    ) -> None:
        super().__init__(nworld, seed, autoreset=autoreset)
        import gymnasium
        from gymnasium.vector import AutoresetMode

        mode = {"autoreset_mode": AutoresetMode.DISABLED}
        self.env: Any = gymnasium.make_vec(known, nworld, vectorization, vector_kwargs=mode, **options)
        # Gymnasium resets some worlds only after it has reset all
        self._take_spaces(self.env.single_action_space, self.env.reset(seed=int(seed))[0])

    @override
    def _restart(self, ids: np.ndarray, seeds: Any) -> np.ndarray:
        every: list[int | None] = [None] * self.nworld
        if seeds is not None:
            for world, seed in zip(ids, seeds, strict=True):
                every[world] = None if seed is None else int(seed)
        mask = np.zeros(self.nworld, bool)
        mask[ids] = True
        seen, _ = self.env.reset(seed=every, options={"reset_mask": mask})
        return _flat(seen, self.nworld)[ids]

    @override
    def _advance(self, actions: np.ndarray) -> tuple[Any, ...]:
        return self.env.step(actions)

    def close(self) -> None:
        """Close all environments."""
        self.env.close()


class EnvPoolWorlds(_Foreign):
    """An environment of EnvPool, stepped by its C++ threads (Weng et al. 2022, "EnvPool").

    Args:
        known: Its id, such as `HalfCheetah-v5`.
        nworld: N.
        seed: Of episodes before the first seeds are given.
        autoreset: Start a new episode as soon as one ends; without it, ended worlds must be reset before the next step.
        threads: Its threads; 0 for one per core.
        options: Of `envpool.make`.

    Raises:
        ImportError: EnvPool is not installed.
        ValueError: The action space is neither of numbers nor discrete.
    """

    def __init__(
        self, known: str, nworld: int, seed: int = 0, *, autoreset: bool = True, threads: int = 0, **options: Any
    ) -> None:
        super().__init__(nworld, seed, autoreset=autoreset)
        try:
            import envpool  # type: ignore[import-not-found]
        except ImportError as error:
            raise ImportError("EnvPool is not installed; type: pip install envpool") from error
        self._make = lambda seeds: envpool.make(
            known, env_type="gymnasium", num_envs=nworld, num_threads=threads, env_seed=seeds, **options
        )
        self.env: Any = self._make([seed + world for world in range(nworld)])
        self._take_spaces(self.env.action_space, self.env.reset()[0])

    @override
    def _restart(self, ids: np.ndarray, seeds: Any) -> np.ndarray:
        if seeds is not None:
            if len(ids) < self.nworld:
                raise ValueError("EnvPool takes seeds of all worlds together or of none")
            self.env.close()
            self.env = self._make([int(seed) for seed in seeds])  # it knows seeds only when it is made
        return _flat(self.env.reset(ids.astype(np.int32))[0], len(ids))

    @override
    def _advance(self, actions: np.ndarray) -> tuple[Any, ...]:
        return self.env.step(actions)

    def close(self) -> None:
        """Close all environments."""
        self.env.close()


class MetaWorldEpisodes(_Foreign):
    """A Meta-World task with an end to its episodes: at Meta-World's own limit, or where success ends them.

    Args:
        name: A Meta-World v3 task, for example `reach-v3`.
        nworld: N.
        seed: Of layouts that are not given.
        autoreset: Start a new episode as soon as one ends; without it, ended worlds must be reset before the next step.
        end_at_success: A solved episode is over.
        threads: C threads, the caller's included; 0 for one per core.

    Attributes:
        worlds: The `VectorMetaWorld` behind it, with snapshots, forks and pictures.
    """

    def __init__(
        self,
        name: str,
        nworld: int,
        seed: int = 0,
        *,
        autoreset: bool = True,
        end_at_success: bool = False,
        threads: int = 1,
    ) -> None:
        super().__init__(nworld, seed, autoreset=autoreset)
        from gymnasium.spaces import Box

        from foreact.sim.metaworld_worlds import VectorMetaWorld

        self.worlds, self._ends = VectorMetaWorld(name, nworld, threads), end_at_success
        self._take_spaces(Box(-1, 1, (4,), np.float32), self.worlds.full_observation())
        self._drawn = np.zeros(nworld, np.int64)

    @override
    def _restart(self, ids: np.ndarray, seeds: Any) -> np.ndarray:
        given = [None] * len(ids) if seeds is None else seeds
        layouts = [
            self._drawn_layout(world) if seed is None else int(seed) for world, seed in zip(ids, given, strict=True)
        ]
        return self.worlds.reset(layouts, ids)[ids]

    def _drawn_layout(self, world: int) -> int:
        self._drawn[world] += 1
        return int(np.random.SeedSequence([self._seed, world, int(self._drawn[world])]).generate_state(1)[0])

    @override
    def _advance(self, actions: np.ndarray) -> tuple[Any, ...]:
        stepped = self.worlds.step(actions)
        over = stepped.success if self._ends else np.zeros(self.nworld, bool)
        truncated = ~over & (self.worlds.steps >= self.worlds.time_limit)
        return stepped.observation, stepped.reward, over, truncated, {"success": stepped.success}


def _action_range(space: Any) -> tuple[np.ndarray, np.ndarray]:
    kind = type(space).__name__
    if kind == "Box":
        return space.low.reshape(-1).astype(np.float32), space.high.reshape(-1).astype(np.float32)
    if kind in ("Discrete", "MultiDiscrete"):
        first = np.atleast_1d(space.start).reshape(-1)
        count = np.atleast_1d(space.n if kind == "Discrete" else space.nvec).reshape(-1)
        return first.astype(np.float32), (first + count - 1).astype(np.float32)
    if kind == "MultiBinary":
        size = int(np.prod(space.shape))
        return np.zeros(size, np.float32), np.ones(size, np.float32)
    raise ValueError(f"actions of a {kind} space cannot be given as numbers")


def _flat(seen: Any, count: int) -> np.ndarray:
    """Observations of any space side by side, float32 (count, O)."""
    parts = seen.values() if isinstance(seen, Mapping) else seen if isinstance(seen, tuple) else None
    if parts is None:
        return np.asarray(seen, np.float32).reshape(count, -1)
    return np.concatenate([_flat(part, count) for part in parts], axis=1)


def _success(info: Any, nworld: int) -> np.ndarray:
    for key in SUCCESS_KEYS:
        if key in info:
            return np.asarray(info[key]).astype(bool).reshape(nworld)
    return np.zeros(nworld, bool)
