"""The vector environment against Gymnasium's own: SyncVectorEnv over single worlds, in every autoreset mode."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, override

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv
from gymnasium.wrappers.vector import DictInfoToList, RecordEpisodeStatistics

from foreact.sim import vector
from foreact.sim.classic import TASKS
from foreact.sim.task import Command, SimTask
from foreact.sim.taskworlds import TaskWorlds
from foreact.sim.vector import make_task_vector_env, register_tasks

NUMBER = 5


def told_cartpole() -> SimTask:
    """A cartpole that draws random numbers on the way, ends early or late, and knows of success."""
    return dataclasses.replace(
        TASKS["cartpole"](),
        limit=9,
        success=lambda views: views.qpos[:, 0] > 0.01,
        commands={"speed": Command(1, lambda ids, random: random.uniform(ids, 1), every=3)},
        observe=(*TASKS["cartpole"]().observe, lambda views: views.command["speed"]),
    )


class OneWorld(gymnasium.Env[np.ndarray, np.ndarray]):
    """One world as a plain environment."""

    def __init__(self, task: SimTask) -> None:
        self.worlds = TaskWorlds(task, 1, autoreset=False)
        self.observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (self.worlds.observation_size,), np.float32)
        self.action_space = gymnasium.spaces.Box(self.worlds.low, self.worlds.high, dtype=np.float32)

    @override
    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        return self.worlds.reset(seeds=None if seed is None else [seed])[0].copy(), {}

    @override
    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        step = self.worlds.step(np.asarray(action)[None])
        info = {} if self.worlds.task.success is None else {"success": bool(step.success[0])}
        flags = bool(step.terminated[0]), bool(step.truncated[0])
        return step.observation[0].copy(), float(step.reward[0]), *flags, info


@pytest.mark.parametrize("mode", list(AutoresetMode))
@pytest.mark.parametrize("task", [TASKS["reacher"], told_cartpole])
def test_steps_are_those_of_a_sync_vector_env(mode: AutoresetMode, task: Callable[[], SimTask]) -> None:
    ours = make_task_vector_env(task(), NUMBER, autoreset_mode=mode)
    theirs: Any = SyncVectorEnv([lambda: OneWorld(task())] * NUMBER, autoreset_mode=mode)
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    assert ours.metadata["autoreset_mode"] == theirs.metadata["autoreset_mode"] == mode
    np.testing.assert_array_equal(ours.reset(seed=7)[0], theirs.reset(seed=7)[0])
    ends, rng = 0, np.random.default_rng(0)
    for _ in range(120):
        action = rng.uniform(ours.worlds.low, ours.worlds.high, ours.action_space.shape).astype(np.float32)
        step = ours.step(action)
        same(step, theirs.step(action))
        assert ours.observation_space.contains(step[0])
        ended = step[2] | step[3]
        ends += ended.sum()
        if mode == AutoresetMode.DISABLED and ended.any():
            fresh = ours.reset(options={"reset_mask": ended})
            same(fresh, theirs.reset(options={"reset_mask": ended.copy()}))
    assert ends >= 2 * NUMBER


def same(ours: Any, theirs: Any) -> None:
    """Equal values; Gymnasium says nothing where an info is empty."""
    for one, other in zip(ours[:-1], theirs[:-1], strict=True):
        np.testing.assert_array_equal(one, other)
    ours_info, theirs_info = ours[-1], theirs[-1]
    for key in ours_info.keys() | theirs_info.keys():
        if key == "final_info":
            same((ours_info[key],), (theirs_info[key],))
        elif key.lstrip("_") != "success" or ours_info[f"_{key.lstrip('_')}"].any():
            for one, other in zip(ours_info[key], theirs_info[key], strict=True):
                np.testing.assert_array_equal(one, other)


def test_results_are_those_of_the_worlds() -> None:
    ours, worlds = make_task_vector_env("ant", 6, autoreset_mode="SameStep"), TaskWorlds(TASKS["ant"](), 6)
    np.testing.assert_array_equal(ours.reset(seed=3)[0], worlds.reset(seeds=np.arange(3, 9)))
    rng, ended = np.random.default_rng(1), 0
    for _ in range(60):
        action = rng.uniform(-1, 1, (6, 8)).astype(np.float32)
        observation, reward, terminated, truncated, info = ours.step(action)
        step = worlds.step(action)
        np.testing.assert_array_equal(observation, step.observation)
        np.testing.assert_array_equal(reward, step.reward)
        np.testing.assert_array_equal(terminated | truncated, step.terminated | step.truncated)
        for row, world in enumerate(step.ended):
            np.testing.assert_array_equal(info["final_obs"][world], step.final[row])
        ended += len(step.ended)
    assert ended


def test_arrays_are_the_callers_own_unless_asked_otherwise() -> None:
    own, live = (make_task_vector_env("cartpole", 2, copy=copy) for copy in (True, False))
    for env, kept in ((own, True), (live, False)):
        env.reset(seed=0)
        first = env.step(np.ones((2, 1), np.float32))[0]
        before = first.copy()
        env.step(np.ones((2, 1), np.float32))
        assert np.array_equal(first, before) == kept


def test_gymnasium_makes_wraps_and_closes_it() -> None:
    register_tasks()
    assert "foreact/cartpole" in register_tasks()
    env = gymnasium.make_vec("foreact/cartpole", num_envs=4, vectorization_mode="vector_entry_point")
    assert isinstance(env, VectorEnv) and isinstance(env.unwrapped, vector.TaskVectorEnv)
    wrapped = DictInfoToList(RecordEpisodeStatistics(env))
    _, infos = wrapped.reset(seed=0)
    assert infos == [{}] * 4
    lengths = []
    for _ in range(40):
        _, _, terminated, _, infos = wrapped.step(np.full((4, 1), 3.0, np.float32))
        lengths += [info["episode"]["l"] for info in infos if "episode" in info]
    # pushed at full force, a pole always falls within four steps, and the reset takes one
    assert len(lengths) >= 4 * 7 and all(1 < length <= 5 for length in lengths)
    wrapped.close()
    with pytest.raises(AttributeError, match="worlds"):
        env.unwrapped.step(np.zeros((4, 1), np.float32))


def test_a_single_world_passes_gymnasiums_checker() -> None:
    check_env(OneWorld(TASKS["half-cheetah"]()), skip_render_check=True)


def test_mistakes_are_refused() -> None:
    env = make_task_vector_env("cartpole", 3, autoreset_mode="Disabled")
    with pytest.raises(ValueError, match="expected 3 seeds, got 2"):
        env.reset(seed=[1, 2])
    with pytest.raises(TypeError, match="array of bool"):
        env.reset(options={"reset_mask": np.ones(3)})
    with pytest.raises(ValueError, match="at least one of 3"):
        env.reset(options={"reset_mask": np.zeros(3, bool)})
    with pytest.raises(ValueError, match="no worlds"):
        make_task_vector_env("reach-v3", 2)
    env.reset(seed=[4, None, 6])
    with pytest.raises(ValueError, match=r"ended: reset them"):
        for _ in range(9):
            env.step(np.full((3, 1), 3.0, np.float32))
    with pytest.raises(AttributeError, match="Nothing"):
        vector.Nothing  # noqa: B018
