"""Make sets of true futures: states of episodes, forked, each copy with hidden parameters of its own.

Shape letters: S = states, n = states of a batch, M = futures of each, T = control steps, O = observed elements.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from foreact.episodes.outcome import ProgressFn, quiet
from foreact.sim.families import expert as expert_of
from foreact.sim.random import WorldRandom
from foreact.sim.task import Event
from foreact.sim.taskworlds import TaskWorlds
from foreact.sim.views import Views
from foreact.worldmodels.behaviour import (
    CHUNK,
    DRIVE,
    FEWEST,
    FUTURE,
    LAYOUT,
    Driver,
    Purpose,
    chunks,
    state_keys,
    warm_up,
)
from foreact.worldmodels.branches import SHAPES, TYPES, Branches, BranchSpec
from foreact.worldmodels.scenes import Scene

__all__ = ["HORIZON", "Watch", "keyed_draws", "make_branches"]

HORIZON = 16
WORLDS = 2048  # that are stepped together; results do not depend on it

Watch = Callable[[int, TaskWorlds, np.ndarray], None]
"""Shown live worlds as watch(t, worlds, states), `states` being numbers, (n,): 4 control steps before the fork (t = -4,
one world per state), at it (t = 0), then all futures after each step (t = 1 to T; those of a state side by side)."""


def make_branches(
    scene: Scene,
    purpose: Purpose,
    states: int,
    copies: int,
    seed: int = 0,
    *,
    horizon: int = HORIZON,
    worlds: int = WORLDS,
    threads: int = 1,
    progress: ProgressFn = quiet,
    watch: Watch | None = None,
) -> Branches:
    """Fork states of a scene.

    Args:
        scene: Where.
        purpose: What for; sets of two purposes share no state.
        states: S.
        copies: M.
        seed: Of states, chunks and hidden numbers.
        horizon: T.
        worlds: How many are stepped together, at most.
        threads: Of the engine.
        progress: Told of states made.
        watch: Shown the worlds as they go.

    Raises:
        ValueError: A number is out of range.
        BranchError: The engine gave numbers that are not finite.
    """
    for name, value in (("states", states), ("copies", copies), ("horizon", horizon), ("worlds", worlds)):
        if value < 1:
            raise ValueError(f"{name}={value} is out of range; give 1 or more")
    maker = _Maker(scene, purpose, copies, seed, horizon, threads, watch)
    before = warm_up(scene, purpose, seed, np.arange(states))
    # states that come late in their episodes are made together: nobody waits for them
    order, made = np.argsort(before, kind="stable"), 0
    arrays: dict[str, np.ndarray] = {}
    text = f"fork {scene.name} {purpose}"
    for batch in _batches(order, max(worlds // copies, 1)):
        progress(made, states, text)
        for name, values in maker.make(batch, before[batch]).items():
            whole = arrays.setdefault(name, np.empty((states, *values.shape[1:]), values.dtype))
            whole[batch] = values
        made += len(batch)
    progress(states, states, text)
    return Branches(_spec(scene, purpose, seed), **arrays)


def keyed_draws(keys: np.ndarray) -> Event:
    """The first of the hidden events of a fork: those after it draw from streams of these keys, uint64 (N,)."""

    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        random.seed(ids, keys[ids])

    return event


def _spec(scene: Scene, purpose: Purpose, seed: int) -> BranchSpec:
    return BranchSpec(
        scene.name, scene.columns, scene.tracked, scene.actions, scene.hidden_names, scene.rate_hz, seed, purpose
    )


def _batches(order: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


@dataclass
class _Maker:
    """Makes batches, and keeps worlds between those of one size."""

    scene: Scene
    purpose: Purpose
    copies: int
    seed: int
    horizon: int
    threads: int
    watch: Watch | None
    episodes: TaskWorlds | None = None
    nominal: TaskWorlds | None = None
    futures: TaskWorlds | None = None

    def __post_init__(self) -> None:
        script = expert_of(self.scene.name)
        assert script is not None
        self.expert = script
        self.task = replace(self.scene.task, start=(*self.scene.task.start, *self.scene.hidden))

    def make(self, states: np.ndarray, before: np.ndarray) -> dict[str, np.ndarray]:
        """Some states, (n,), with so many steps before each: arrays of `Branches`."""
        if self.episodes is None or len(self.episodes) != len(states):
            self.episodes = TaskWorlds(self.task, len(states), seed=0, autoreset=False, threads=self.threads)
            self.nominal = self.futures = None
        context = self._run_up(self.episodes, states, before)
        every = np.arange(len(states))
        self.nominal = self.episodes.fork(every, 1, self.scene.nominal, into=self.nominal)
        keys = self._keys(states, CHUNK)
        actions, _ = chunks(self.expert, self.episodes, self.nominal, keys, self.horizon)
        draws = keyed_draws(self._keys(states, FUTURE, self.copies))
        self.futures = self.episodes.fork(every, self.copies, (draws, *self.scene.hidden), into=self.futures)
        return {"context": context, "actions": actions, **self._follow(self.futures, actions, states)}

    def _keys(self, states: np.ndarray, stream: int, copies: int = 1) -> np.ndarray:
        return state_keys(self.purpose, self.seed, states, stream, copies)

    def _show(self, step: int, worlds: TaskWorlds, states: np.ndarray) -> None:
        if self.watch is not None:
            self.watch(step, worlds, states)

    def _run_up(self, worlds: TaskWorlds, states: np.ndarray, before: np.ndarray) -> np.ndarray:
        """Run episodes that begin at different times and reach their states together; what is seen there, (n, O)."""
        layouts = self._keys(states, LAYOUT)
        driver = Driver(self.expert, worlds, self._keys(states, DRIVE))
        seen: Any = worlds.reset(seeds=layouts)
        for left in range(int(before.max()), 0, -1):
            beginning = np.flatnonzero(before == left)
            if len(beginning):
                worlds.reset(beginning, seeds=layouts[beginning])
                driver.begin(beginning)
            if left == FEWEST:
                self._show(-FEWEST, worlds, states)
            seen = worlds.step(driver.actions()).observation
        self._show(0, worlds, states)
        return np.array(seen, np.float32)

    def _follow(self, worlds: TaskWorlds, actions: np.ndarray, states: np.ndarray) -> dict[str, np.ndarray]:
        """Command chunks, (n, T, A), to all futures."""
        count, size = len(states), worlds.observation_size
        sizes = {"M": self.copies, "T": self.horizon, "O": size, "H": len(self.scene.hidden_names)}
        found = {
            name: np.empty((count, *(sizes[letter] for letter in letters[1:])), TYPES.get(name, "float32"))
            for name, letters in SHAPES.items() if name not in ("context", "actions")
        }  # fmt: skip
        found["hidden"][:] = self.scene.read_hidden(worlds).reshape(count, self.copies, -1)
        for number in range(self.horizon):
            step = worlds.step(np.repeat(actions[:, number], self.copies, axis=0))
            found["futures"][:, :, number] = step.observation.reshape(count, self.copies, size)
            rest = {"reward": step.reward, "success": step.success, "contact": self.scene.touching(worlds)}
            for name, values in rest.items():
                found[name][:, :, number] = np.asarray(values).reshape(count, self.copies)
            self._show(number + 1, worlds, states)
        return found
