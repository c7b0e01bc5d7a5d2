"""The quadruped: what it observes against the engine, rewards by hand, commands, falls, other models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mujoco
import numpy as np
import pytest

from foreact.sim.quadruped import (
    EXPERTS,
    HEIGHT,
    HOLD,
    ROBOT,
    SPEEDS,
    gravity_in_trunk,
    quadruped_velocity,
    velocity_in_trunk,
)
from foreact.sim.taskworlds import TaskWorlds


def worlds(count: int, backend: Any = "cpu", **options: Any) -> TaskWorlds:
    made = TaskWorlds(quadruped_velocity(), count, backend, autoreset=False, **options)
    made.reset(seeds=np.arange(count))
    return made


def still(count: int) -> np.ndarray:
    return np.zeros((count, 12), np.float32)


def test_gravity_and_velocity_are_those_of_the_engine_in_the_trunks_frame() -> None:
    made, rng = worlds(20), np.random.default_rng(0)
    turn = rng.normal(size=(20, 4))
    made.views.qpos[:, 3:7] = turn / np.linalg.norm(turn, axis=1, keepdims=True)
    made.views.qvel[:, :6] = rng.normal(size=(20, 6))
    model = made.backend.model
    data, trunk = mujoco.MjData(model), model.body("trunk").id
    for world in range(20):
        data.qpos[:], data.qvel[:] = made.views.qpos[world], made.views.qvel[world]
        mujoco.mj_forward(model, data)
        rotation = data.xmat[trunk].reshape(3, 3)
        np.testing.assert_allclose(gravity_in_trunk(made.views)[world], rotation.T @ [0, 0, -1], atol=1e-12)
        np.testing.assert_allclose(velocity_in_trunk(made.views)[world], rotation.T @ data.qvel[:3], atol=1e-12)


def test_it_stands_at_its_height_and_is_rewarded_by_the_formula() -> None:
    made = worlds(8)
    for _ in range(HOLD - 10):  # until the rocking of the start has died away
        made.step(still(8))
    command = made.views.command["velocity"].copy()
    step = made.step(still(8))
    height, reward = made.views.qpos[:, 2].copy(), step.reward.copy()
    # springs give by the weight: 12 kg on four legs
    assert ((height > HEIGHT - 0.02) & (height < HEIGHT)).all() and not step.terminated.any()
    np.testing.assert_allclose(gravity_in_trunk(made.views), np.tile([0, 0, -1], (8, 1)), atol=0.03)
    expected = (
        np.exp(-4 * (command[:, :2] ** 2).sum(1)) + 0.5 * np.exp(-4 * command[:, 2] ** 2) - 10 * (height - HEIGHT) ** 2
    )
    np.testing.assert_allclose(reward, expected, atol=1e-3)
    # all targets moved by half the reach, 0.25 rad: 0.1 * 12 * 0.25^2 = 0.075 less, and motion besides
    moved = made.step(np.full((8, 12), 0.5, np.float32)).reward.copy()
    speed, height = velocity_in_trunk(made.views)[:, :2], made.views.qpos[:, 2]
    miss = ((command[:, :2] - speed) ** 2).sum(1), (command[:, 2] - made.views.qvel[:, 5]) ** 2
    expected = np.exp(-4 * miss[0]) + 0.5 * np.exp(-4 * miss[1]) - 10 * (height - HEIGHT) ** 2 - 0.075
    np.testing.assert_allclose(moved, expected, atol=1e-5)


def test_commands_lie_in_their_range_and_change_every_three_seconds() -> None:
    made = worlds(64)
    told = [made.views.command["velocity"].copy()]
    for _ in range(2 * HOLD):
        made.step(still(64))
        told.append(made.views.command["velocity"].copy())
    assert (np.array(told) >= SPEEDS[0]).all() and (np.array(told) <= SPEEDS[1]).all()
    np.testing.assert_allclose(np.mean(told[0], axis=0), SPEEDS.mean(0), atol=0.2)
    changed = [index for index in range(1, len(told)) if (told[index] != told[index - 1]).any()]
    assert changed == [HOLD, 2 * HOLD]


def test_a_trot_follows_commands_and_random_legs_fall() -> None:
    made, idle, trot = worlds(24), worlds(24), EXPERTS["quadruped-velocity"]()
    rng = np.random.default_rng(0)
    told, done, fallen = [], [], np.zeros(24, bool)
    for index in range(300):
        assert not made.step(trot(made.views)).terminated.any()
        fallen |= idle.step(rng.uniform(-1, 1, (24, 12)).astype(np.float32)).terminated
        if index % HOLD > 50:
            told.append(made.views.command["velocity"].copy())
            done.append(np.c_[velocity_in_trunk(made.views)[:, :2], made.views.qvel[:, 5]])
    for part in range(3):
        told_part, done_part = np.concatenate(told)[:, part], np.concatenate(done)[:, part]
        slope = np.polyfit(told_part, done_part, 1)[0]
        assert 0.6 < slope < 1.2, part
    assert fallen.mean() > 0.8


def test_lying_on_its_back_ends_the_episode() -> None:
    made = worlds(2)
    made.views.qpos[1, 3:7] = (0, 1, 0, 0)
    assert made.step(still(2)).terminated.tolist() == [False, True]


def test_engines_agree_and_forks_are_exact() -> None:
    fast, plain, trot = worlds(4, threads=1), worlds(4, "ref"), EXPERTS["quadruped-velocity"]()
    for _ in range(20):
        actions = trot(fast.views)
        np.testing.assert_array_equal(fast.step(actions).observation, plain.step(actions).observation)
    fork = fast.fork(np.array([2]), 2)
    # 200 steps, so that a new command falls among them
    for _ in range(200):
        observed = fast.step(trot(fast.views)).observation[[2, 2]]
        np.testing.assert_array_equal(fork.step(trot(fork.views)).observation, observed)


def test_another_model_is_taken_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "heavy.xml"
    path.write_text(ROBOT.replace('mass="5.2"', 'mass="9.2"'))
    made = TaskWorlds(quadruped_velocity(path), 2)
    made.reset(seeds=[0, 1])
    light = worlds(2)
    for _ in range(40):
        made.step(still(2))
        light.step(still(2))
    assert (made.views.qpos[:, 2] < light.views.qpos[:, 2] - 0.001).all()
    with pytest.raises(ValueError, match="no model at"):
        TaskWorlds(quadruped_velocity(tmp_path / "none.xml"), 1)
