"""The arm on its table: kinematics against the engine, experts that solve every task, exact worlds."""

from __future__ import annotations

from typing import Any

import mujoco
import numpy as np
import pytest

from foreact.sim.tabletop import EXPERTS, TASKS
from foreact.sim.tabletop.arm import STEP, WORKSPACE, aim, hand_position, joint_targets
from foreact.sim.tabletop.passer import touched
from foreact.sim.tabletop.scenes import CUBE
from foreact.sim.tabletop.tasks import hand, handle, position
from foreact.sim.taskworlds import TaskWorlds

LAYOUTS = 100


def worlds(name: str, count: int, backend: Any = "cpu") -> TaskWorlds:
    made = TaskWorlds(TASKS[name](), count, backend, autoreset=False, **({"threads": 1} if backend == "cpu" else {}))
    made.reset(seeds=np.arange(count))
    return made


def test_the_hand_is_where_the_engine_puts_it() -> None:
    model = TASKS["arm-reach"]().compile()
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    angles = rng.uniform(model.jnt_range[:7, 0], model.jnt_range[:7, 1], (100, 7))
    for q, expected in zip(angles, hand_position(np, angles), strict=True):
        data.qpos[:7] = q
        mujoco.mj_kinematics(model, data)
        np.testing.assert_allclose(data.site("tip").xpos, expected, atol=1e-12)


def test_joint_targets_put_the_hand_there_pointing_down_within_all_limits() -> None:
    model = TASKS["arm-reach"]().compile()
    data, rng = mujoco.MjData(model), np.random.default_rng(0)
    low, high = WORKSPACE
    places = rng.uniform(low, (0.65, 0.3, 0.35), (1000, 3))
    joints = joint_targets(np, places)
    np.testing.assert_allclose(hand_position(np, joints), places, atol=1e-12)
    assert (joints > model.jnt_range[:7, 0]).all() and (joints < model.jnt_range[:7, 1]).all()
    data.qpos[:7] = joints[0]
    mujoco.mj_kinematics(model, data)
    np.testing.assert_allclose(data.body("hand").xmat.reshape(3, 3), np.eye(3), atol=1e-12)
    # the far upper corner is out of reach: the hand stays on the way there
    far = np.array([high])
    reached = hand_position(np, joint_targets(np, far))
    assert 0.001 < np.linalg.norm(reached - far) < 0.1


@pytest.mark.parametrize("name", TASKS)
def test_experts_solve_their_tasks_and_standing_still_does_not(name: str) -> None:
    expert, solved, idle = EXPERTS[name](), worlds(name, LAYOUTS), worlds(name, LAYOUTS)
    step, success = solved.step(expert(solved.views)), np.zeros(LAYOUTS, bool)
    for _ in range(solved.task.limit - 1):
        step = solved.step(expert(solved.views))
        success |= step.success
        assert (step.reward >= 0).all() and (step.reward <= 1 + 1e-6).all()
    assert success.mean() >= 0.95
    assert step.success.mean() >= 0.95, "solved, and it stays solved"
    still = idle.step(np.zeros((LAYOUTS, 4), np.float32))
    for _ in range(20):
        idle.step(np.zeros((LAYOUTS, 4), np.float32))
    assert not still.success.any() and still.reward.mean() < step.reward.mean() - 0.15


@pytest.mark.parametrize("name", TASKS)
def test_nothing_touches_anything_but_the_table_at_the_start(name: str) -> None:
    made = worlds(name, 50)
    model = made.backend.model
    data = mujoco.MjData(model)
    assert len(np.unique(made.views.qpos[:, 9:] if model.nq > 10 else made.views.mocap_pos[:, 0], axis=0)) == 50
    for qpos, mocap in zip(made.views.qpos, made.views.mocap_pos, strict=True):
        data.qpos[:] = qpos
        data.mocap_pos[:] = mocap
        mujoco.mj_forward(model, data)
        for index in range(data.ncon):
            contact = data.contact[index]
            assert model.geom("table").id in contact.geom and contact.dist > -1e-6


@pytest.mark.parametrize("name", TASKS)
def test_the_fast_engine_gives_the_bits_of_plain_steps(name: str) -> None:
    fast, plain, expert = worlds(name, 4), worlds(name, 4, "ref"), EXPERTS[name]()
    for _ in range(20):
        actions = expert(fast.views)
        np.testing.assert_array_equal(fast.step(actions).observation, plain.step(actions).observation)
    np.testing.assert_array_equal(fast.views.qpos, plain.views.qpos)


def test_the_hand_follows_its_target() -> None:
    made = worlds("arm-reach", 2)
    start = hand(made.views).copy()
    action = np.array([[0, 1, 0, -1], [0, 0, -1, -1]], np.float32)
    for _ in range(5):
        made.step(action)
    told = start + 5 * STEP * action[:, :3]
    np.testing.assert_allclose(aim(made.views), told, atol=1e-9)
    for _ in range(12):
        made.step(action * [0, 0, 0, 1])
    np.testing.assert_allclose(hand(made.views), told, atol=5e-4)


def test_a_grasped_cube_stays_in_the_hand_while_it_swings() -> None:
    made, expert = worlds("arm-lift", 20), EXPERTS["arm-lift"]()
    for _ in range(45):
        made.step(expert(made.views))
    held = position(0)(made.views) - hand(made.views)
    for step in range(60):
        action = np.tile([np.sin(step / 4), np.cos(step / 4), 0, 1], (20, 1)).astype(np.float32)
        made.step(action)
    moved = np.linalg.norm(position(0)(made.views) - hand(made.views) - held, axis=1)
    assert moved.max() < CUBE
    made.step(np.tile([0, 0, 0, -1], (20, 1)).astype(np.float32))
    for _ in range(15):
        made.step(np.tile([0, 0, 0, -1], (20, 1)).astype(np.float32))
    np.testing.assert_allclose(made.views.qpos[:, 11], CUBE, atol=2e-3)  # let go, it fell onto the table


def test_the_drawer_handle_is_where_the_engine_puts_it() -> None:
    made, expert = worlds("arm-drawer", 5), EXPERTS["arm-drawer"]()
    for _ in range(30):
        made.step(expert(made.views))
    made.backend.forward(fresh="velocity")
    site: Any = made.views.site("handle").xpos
    made.backend.forward(fresh="velocity")
    np.testing.assert_allclose(handle(made.views), site, atol=1e-12)
    assert (made.views.qpos[:, 9] > 0.15).all()


def test_a_ball_in_the_way_is_touched_and_stops_the_hand() -> None:
    made = worlds("arm-reach-passer", 2)
    made.views.mocap_pos[0, 1] = hand(made.views)[0] + [0.09, 0, 0]
    made.views.mocap_pos[1, 1] = [0.5, 0.5, 0.2]
    start, ahead, seen = hand(made.views).copy(), np.array([[1, 0, 0, 1]] * 2, np.float32), []
    for _ in range(15):
        made.step(ahead)
        seen.append(touched(made.views).copy())
    assert not seen[0].any() and seen[-1].tolist() == [True, False]
    went = hand(made.views)[:, 0] - start[:, 0]
    assert went[0] < 0.09 and went[1] > 0.2
