"""Whoever reads what the engine derives, such as places of bodies, sees the worlds as they are from the start on."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foreact.sim.classic import TASKS
from foreact.sim.task import Field, SimTask
from foreact.sim.taskworlds import TaskWorlds

Seen = list[tuple[np.ndarray, np.ndarray]]


def tip(views: Any, ids: Any = slice(None)) -> np.ndarray:
    """Where the engine says that the finger tip is, (n,) [m]."""
    return views.body("fingertip").xpos[ids, 0].copy()


def known(views: Any, ids: Any = slice(None)) -> np.ndarray:
    """Where it is: two links of 0.1 m and a tip 0.01 m beyond them."""
    first, second = views.qpos[ids, 0], views.qpos[ids, 1]
    return 0.1 * np.cos(first) + 0.11 * np.cos(first + second)


def watching(where: str, seen: Seen) -> SimTask:
    """A reacher that observes its joints alone, and something else that reads where its tip is."""

    def act(views: Any, action: Any) -> None:
        seen.append((tip(views), known(views)))
        views.ctrl[:] = action

    def event(views: Any, ids: np.ndarray, random: Any) -> None:
        seen.append((tip(views, ids), known(views, ids)))

    plain = replace(TASKS["reacher"](), observe=(Field("qpos"), Field("qvel")), reward=(), limit=4)
    if where == "act":
        return replace(plain, act=act)
    return replace(plain, start=(*plain.start, event)) if where == "start" else replace(plain, each_step=(event,))


@pytest.mark.parametrize("backend", ["cpu", "ref"])
@pytest.mark.parametrize("where", ["start", "each_step", "act"])
def test_all_that_happens_before_a_step_sees_the_worlds_as_they_are(where: str, backend: Any) -> None:
    seen: Seen = []
    worlds = TaskWorlds(watching(where, seen), 3, backend, seed=1)
    worlds.reset()
    for _ in range(7):  # an episode ends on the way
        worlds.step(np.ones((3, 2)))
    assert len(seen) == (2 if where == "start" else 7)
    for found, expected in seen:
        np.testing.assert_allclose(
            found, expected, atol=1e-4
        )  # a sub-step's way; those of the last episode are 0.05 off
    worlds.reset(np.array([1]))
    worlds.step(np.ones((3, 2)))
    np.testing.assert_allclose(*seen[-1], atol=1e-4)


def test_a_seeded_episode_does_not_depend_on_what_was() -> None:
    def act(views: Any, action: Any) -> None:
        views.ctrl[:] = action - 5 * views.body("fingertip").xpos[:, :2]

    ends = []
    for before in (0, 6):
        worlds = TaskWorlds(replace(watching("start", []), act=act), 3, seed=1)
        for _ in range(before):
            worlds.step(np.ones((3, 2)))
        worlds.reset(seeds=[5, 6, 7])
        ends.append([worlds.step(np.ones((3, 2))).observation.copy() for _ in range(3)])
    np.testing.assert_array_equal(ends[0], ends[1])


def test_what_changes_a_fork_sees_it_as_it_is() -> None:
    seen: Seen = []

    def hidden(views: Any, ids: np.ndarray, random: Any) -> None:
        seen.append((tip(views, ids), known(views, ids)))

    worlds, fork = TaskWorlds(watching("start", []), 3, seed=1), None
    worlds.reset()
    for _ in range(2):
        worlds.step(np.ones((3, 2)))
        fork = worlds.fork(np.array([2, 0]), 2, (hidden,), into=fork)
        fork.step(np.ones((4, 2)))
    assert len(seen) == 2
    for found, expected in seen:
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_look_from_outside_shows_the_present_and_changes_nothing() -> None:
    looked, plain = (TaskWorlds(TASKS["half-cheetah"](), 2, seed=1) for _ in range(2))
    for worlds in (looked, plain):
        worlds.reset()
        for _ in range(3):
            worlds.step(np.ones((2, 6)))
    assert not looked.views.derived
    assert (looked.views.body("torso").xpos[:, 2] > 0.3).all() and looked.views.derived
    np.testing.assert_allclose(looked.views.body("torso").xpos[:, 0], looked.views.qpos[:, 0], atol=1e-12)
    for _ in range(20):
        np.testing.assert_array_equal(looked.step(np.ones((2, 6))).observation, plain.step(np.ones((2, 6))).observation)
