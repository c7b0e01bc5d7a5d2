"""Where scenes come from: rooms that are made up, tasks of the arm, tasks of Meta-World.

Shape letters: n = scenes of a block.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from foreact.sim.cameras import WorldStates
from foreact.sim.families import sim_task
from foreact.sim.metaworld_worlds import VectorMetaWorld
from foreact.sim.random import WorldRandom
from foreact.sim.still.looks import View, eyes, lit, tinted
from foreact.sim.still.rooms import rooms
from foreact.sim.taskworlds import TaskWorlds

if TYPE_CHECKING:
    import mujoco

__all__ = ["FAMILIES", "SceneSource", "source"]

FAMILIES: Mapping[str, tuple[str, ...]] = {
    "rooms": ("rooms",),
    "arm": ("arm-reach", "arm-push", "arm-lift", "arm-stack", "arm-drawer"),
    "metaworld": (
        "reach-v3", "push-v3", "drawer-open-v3", "window-open-v3", "door-open-v3", "button-press-topdown-v3",
        "coffee-button-v3", "hammer-v3", "peg-insert-side-v3", "plate-slide-v3",
    ),
}  # fmt: skip
"""Families of scenes and the names of their members."""

MOST = 24  # control steps of random motion before a picture of a task
HELD = 8  # for so many of them an action is held
DRAWN = ("geom_size", "geom_matid", "geom_rgba", "light_dir", "light_diffuse")  # what rooms have of their own


class SceneSource(Protocol):
    """Makes scenes of one kind."""

    @property
    def model(self) -> mujoco.MjModel:
        """What pictures show."""
        ...

    def states(self, seeds: np.ndarray) -> WorldStates:
        """Scenes with their colours, lights and cameras, one for each layout seed, (n,): the same for the same seed."""
        ...


@cache
def source(name: str, count: int) -> SceneSource:
    """A maker of so many scenes at once.

    Args:
        name: A member of one of the `FAMILIES`.
        count: n.

    Raises:
        ValueError: Nothing has that name.
    """
    if name == "rooms":
        return _Rooms(count)
    if name in FAMILIES["arm"]:
        return _Arm(name, count)
    if name in FAMILIES["metaworld"]:
        return _MetaWorld(name, count)
    raise ValueError(
        f"no scenes of {name!r}; there are {', '.join(each for family in FAMILIES.values() for each in family)}"
    )


class _Rooms:
    view = View()

    def __init__(self, count: int) -> None:
        self._worlds = TaskWorlds(rooms(), count, autoreset=False)
        self.model = self._worlds.backend.model

    def states(self, seeds: np.ndarray) -> WorldStates:
        """As `SceneSource.states`."""
        self._worlds.reset(seeds=seeds)
        fields = {name: self._worlds.views.model(name).copy() for name in DRAWN}
        return _seen(self._worlds, fields | eyes(self.view, _random(seeds), np.arange(len(seeds))))


class _Arm:
    view = View(middle=(0.5, 0.0, 0.15), spread=0.12, near=0.7, far=1.4, side=0.0, around=1.9, low=0.2, high=1.2)

    def __init__(self, name: str, count: int) -> None:
        self._worlds = TaskWorlds(sim_task(name), count, autoreset=False)
        self.model = self._worlds.backend.model

    def states(self, seeds: np.ndarray) -> WorldStates:
        """As `SceneSource.states`."""
        self._worlds.reset(seeds=seeds)
        random, ids = _random(seeds), np.arange(len(seeds))
        for actions in _wandering(random, ids, len(self._worlds.low)):
            self._worlds.step(actions)
        return _seen(self._worlds, _looks(self.model, self.view, random, ids))


class _MetaWorld:
    view = View(
        middle=(0.0, 0.68, 0.12), spread=0.1, near=0.8, far=1.4, side=-np.pi / 2, around=1.4, low=0.35, high=1.2
    )

    def __init__(self, name: str, count: int) -> None:
        self._worlds = VectorMetaWorld(name, count, reward=False)
        self.model = self._worlds.shown_model

    def states(self, seeds: np.ndarray) -> WorldStates:
        """As `SceneSource.states`."""
        self._worlds.reset(seeds)
        random, ids = _random(seeds), np.arange(len(seeds))
        for actions in _wandering(random, ids, 4):
            self._worlds.step(actions)
        found = self._worlds.poses()
        fields = {**found.fields, **_looks(self.model, self.view, random, ids)}
        return WorldStates(found.qpos, found.mocap_pos, found.mocap_quat, fields)


def _random(seeds: np.ndarray) -> WorldRandom:
    """Streams of their own for what is drawn outside the worlds."""
    random = WorldRandom(0, len(seeds))
    random.seed(np.arange(len(seeds)), np.asarray(seeds, np.uint64) | np.uint64(1 << 60))
    return random


def _wandering(random: WorldRandom, ids: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """Actions held for a while, in every scene for a number of steps of its own, then none: (n, A) of each step."""
    steps = np.floor(random.uniform(ids, 1) * (MOST + 1))
    for start in range(0, MOST, HELD):
        held = random.uniform(ids, size, -1.0, 1.0)
        for step in range(start, start + HELD):
            yield np.where(step < steps, held, 0.0)


def _looks(model: mujoco.MjModel, view: View, random: WorldRandom, ids: np.ndarray) -> dict[str, np.ndarray]:
    return tinted(model, random, ids) | lit(model, random, ids) | eyes(view, random, ids)


def _seen(worlds: TaskWorlds, fields: Mapping[str, np.ndarray]) -> WorldStates:
    qpos, position, turn = (np.array(worlds.backend.view(name)) for name in ("qpos", "mocap_pos", "mocap_quat"))
    return WorldStates(qpos, position, turn, fields)
