"""Worlds of a task: Gymnasium's numbers, futures that can be trusted."""

from __future__ import annotations

import dataclasses
from dataclasses import replace
from typing import Any

import gymnasium
import mujoco
import numpy as np
import pytest

from foreact.sim.classic import TASKS
from foreact.sim.task import Command, Field
from foreact.sim.taskworlds import TaskWorlds

PLAIN: dict[str, tuple[str, dict[str, Any]]] = {
    "reacher": ("Reacher-v5", {"reward_dist_weight": 1, "reward_control_weight": 1}),
    "half-cheetah": ("HalfCheetah-v5", {}),
    "ant": ("Ant-v5", {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.0}),
    "humanoid": ("Humanoid-v5", {"include_cfrc_ext_in_observation": False, "contact_cost_weight": 0.0}),
}


def actions(worlds: TaskWorlds, seed: int, steps: int) -> np.ndarray:
    shape = (steps, len(worlds), len(worlds.low))
    return np.random.default_rng(seed).uniform(worlds.low, worlds.high, shape).astype(np.float32)


@pytest.mark.parametrize("name", PLAIN)
def test_observations_and_rewards_are_those_of_gymnasium(name: str) -> None:
    known, options = PLAIN[name]
    theirs: Any = gymnasium.make(known, **options).unwrapped
    ours = TaskWorlds(TASKS[name](), 1)
    theirs.reset(seed=0)
    ours.reset(seeds=[0])
    ours.views.qpos[0], ours.views.qvel[0] = theirs.data.qpos, theirs.data.qvel
    ours.backend.forward(None, "acceleration")
    ours.views.qacc_warmstart[0] = theirs.data.qacc_warmstart
    for action in actions(ours, 1, 30):
        seen, reward, ended, _, _ = theirs.step(action[0])
        step = ours.step(action)
        last = step.final[0] if len(step.ended) else step.observation[0]
        np.testing.assert_allclose(last, seen, rtol=1e-5, atol=2e-5)
        # Gymnasium's ant takes its speed from body positions, which lag one sub-step
        np.testing.assert_allclose(step.reward[0], reward, rtol=1e-4, atol=2e-2 if name == "ant" else 1e-4)
        assert bool(step.terminated[0]) == ended
        if ended:
            break


@pytest.mark.parametrize("name", ["cartpole", "half-cheetah"])
def test_futures_of_equal_seeds_are_equal_at_any_number_of_threads(name: str) -> None:
    def heavier(views: Any, ids: np.ndarray, random: Any) -> None:
        views.model("body_mass")[ids] *= random.uniform(ids, 1, 0.5, 2.0)

    futures = []
    for threads, seed in ((1, 0), (2, 0), (2, 1)):
        worlds = TaskWorlds(TASKS[name](), 20, threads=threads)
        worlds.reset(seeds=np.arange(20))
        for action in actions(worlds, 0, 5):
            worlds.step(action)
        fork = worlds.fork(np.array([3, 7, 11]), 32, hidden=(heavier,), seed=seed)
        seen = [fork.step(np.repeat(action[::32], 32, axis=0)).observation.copy() for action in actions(fork, 1, 20)]
        futures.append(seen[-1])
    np.testing.assert_array_equal(futures[0], futures[1])
    assert not np.array_equal(futures[1], futures[2])
    assert len(np.unique(futures[0][:32], axis=0)) == 32


@pytest.mark.parametrize("name", ["cartpole", "reacher"])
def test_where_nothing_collides_contacts_are_not_looked_for(name: str) -> None:
    task = TASKS[name]()
    assert task.options["disableflags"] == mujoco.mjtDisableBit.mjDSBL_CONTACT
    looking = dataclasses.replace(task, options={k: v for k, v in task.options.items() if k != "disableflags"})
    one, other = (TaskWorlds(each, 4) for each in (task, looking))
    one.reset(seeds=[0, 1, 2, 3])
    other.reset(seeds=[0, 1, 2, 3])
    for action in actions(one, 0, 120):
        np.testing.assert_array_equal(one.step(action).observation, other.step(action).observation)


def test_neighbours_in_memory_are_observed_by_one_copy() -> None:
    worlds = TaskWorlds(TASKS["half-cheetah"](), 3)
    assert worlds.task.observe == (Field("qpos", 1), Field("qvel"))
    assert len(worlds._observed._parts) == 1 and not worlds.views.derived
    observed = worlds.reset(seeds=[1, 2, 3])
    expected = np.concatenate([worlds.views.qpos[:, 1:], worlds.views.qvel], axis=1).astype(np.float32)
    np.testing.assert_array_equal(observed, expected)


def test_an_episode_that_ends_starts_anew_and_tells_its_last_observation() -> None:
    worlds = TaskWorlds(TASKS["cartpole"](), 4)
    worlds.reset(seeds=[0, 1, 2, 3])
    step = worlds.step(np.full((4, 1), 3.0, np.float32))
    while not len(step.ended):
        step = worlds.step(np.full((4, 1), 3.0, np.float32))
    assert step.terminated[step.ended].all() and (np.abs(step.final[:, 1]) > 0.2).all()
    assert (np.abs(step.observation[step.ended]) <= 0.01).all() and (worlds.steps[step.ended] == 0).all()


def test_derived_fields_are_right_from_the_first_observation_reward_and_memory_on() -> None:
    reacher = TASKS["reacher"]()
    miss = reacher.observe[-1]

    def height(views: Any) -> Any:
        return views.body("fingertip").xpos[:, 0]

    task = replace(
        reacher, observe=(Field("qpos"), Field("qvel")), reward=((1.0, lambda views: views.before["x"]),),
        remember={"x": height}, limit=3,
    )  # fmt: skip
    seen, blind = TaskWorlds(reacher, 4, seed=1), TaskWorlds(task, 4, seed=1)
    first = seen.reset()
    np.testing.assert_allclose(first[:, -2:], miss(seen.views), atol=1e-7)
    assert (np.abs(first[:, -2:]) > 1e-3).any(axis=1).all()
    qpos = blind.reset()[:, :4].astype(float)
    for action in actions(blind, 0, 8):  # two episodes end on the way
        # two links of 0.1 m and a tip 0.01 m beyond them
        expected = 0.1 * np.cos(qpos[:, 0]) + 0.11 * np.cos(qpos[:, 0] + qpos[:, 1])
        step = blind.step(action)
        np.testing.assert_allclose(step.reward, expected, atol=2e-3)
        qpos = step.observation[:, :4].astype(float)


def test_a_world_does_not_depend_on_its_neighbours() -> None:
    many, one = TaskWorlds(TASKS["ant"](), 5), TaskWorlds(TASKS["ant"](), 1)
    many.reset(seeds=[5, 6, 7, 8, 9])
    one.reset(seeds=[8])
    for action in actions(many, 2, 60):
        together = many.step(action).observation[3].copy()
        alone = one.step(action[3:4]).observation[0]
        np.testing.assert_array_equal(together, alone)


def test_wrong_actions_are_refused() -> None:
    worlds = TaskWorlds(TASKS["ant"](), 2)
    worlds.reset()
    with pytest.raises(ValueError, match=r"\(2, 8\), got \(2, 7\)"):
        worlds.step(np.zeros((2, 7)))


def test_worlds_are_named_by_numbers_or_by_a_mask() -> None:
    named, masked = (TaskWorlds(TASKS["half-cheetah"](), 3, seed=1) for _ in range(2))
    numbers, mask = np.array([0, 2]), np.array([True, False, True])
    for worlds, ids in ((named, numbers), (masked, mask)):
        worlds.reset()
        worlds.step(np.ones((3, 6)))
        worlds.reset(ids, seeds=[4, 5])
        assert worlds.steps.tolist() == [0, 1, 0] and len(worlds.fork(ids, 2)) == 4
        worlds.reset(np.zeros(0))
    np.testing.assert_array_equal(named.views.qpos, masked.views.qpos)
    with pytest.raises(ValueError, match="1 seeds for 3 worlds"):
        named.reset(seeds=[4])


def test_commands_are_drawn_at_resets_and_then_every_so_often() -> None:
    def draw(ids: np.ndarray, random: Any) -> np.ndarray:
        return random.uniform(ids, 2, -1.0, 1.0)

    told = dataclasses.replace(
        TASKS["half-cheetah"](),
        commands={"velocity": Command(2, draw, every=5), "mood": Command(1, lambda i, r: r.uniform(i, 1))},
    )
    worlds = TaskWorlds(told, 3)
    worlds.reset(seeds=[0, 1, 2])
    seen = [(worlds.views.command["velocity"].copy(), worlds.views.command["mood"].copy())]
    for action in actions(worlds, 0, 11):
        worlds.step(action)
        seen.append((worlds.views.command["velocity"].copy(), worlds.views.command["mood"].copy()))
    changed = [not np.array_equal(one[0], other[0]) for one, other in zip(seen, seen[1:], strict=False)]
    assert [index + 1 for index, each in enumerate(changed) if each] == [5, 10]
    assert all(np.array_equal(seen[0][1], mood) for _, mood in seen) and len(np.unique(seen[0][1])) == 3
    fork = worlds.fork(np.array([2]), 2)
    np.testing.assert_array_equal(fork.views.command["velocity"], np.repeat(seen[-1][0][[2]], 2, axis=0))


def test_what_lags_the_state_is_restored_and_forked_as_it_was() -> None:
    worlds = TaskWorlds(TASKS["humanoid"](), 3)
    seen = worlds.reset(seeds=[1, 2, 3])
    plan = actions(worlds, 0, 12)
    for action in plan[:-1]:
        seen = worlds.step(action).observation.copy()
    kept, fork = worlds.snapshot(), worlds.fork(np.array([0, 2]), 1)
    last = worlds.step(plan[-1])
    reward, future = last.reward.copy(), fork.step(plan[-1][[0, 2]])
    np.testing.assert_array_equal(future.reward, reward[[0, 2]])
    np.testing.assert_array_equal(worlds.restore(kept), seen)
    np.testing.assert_array_equal(worlds.step(plan[-1]).reward, reward)
