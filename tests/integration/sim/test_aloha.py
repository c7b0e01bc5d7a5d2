"""The ALOHA tasks: actions, starts and stages are those of gym-aloha; experts solve what they planned for."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec

import mujoco
import numpy as np
import pytest

from foreact.sim.aloha import EXPERTS, TASKS
from foreact.sim.aloha.kinematics import BASE_YAW, TOOL, gripper_pose, joint_angles, rotation
from foreact.sim.aloha.tasks import START
from foreact.sim.taskworlds import TaskWorlds

pytestmark = pytest.mark.skipif(
    find_spec("gym_aloha") is None, reason="needs models: pip install --no-deps gym-aloha==0.1.5"
)
TRANSFER, INSERTION = "aloha-transfer-cube", "aloha-insertion"
LEFT, RIGHT = "vx300s_left/10_left_gripper_finger", "vx300s_right/10_right_gripper_finger"


def plain_stage(name: str, model: mujoco.MjModel, qpos: np.ndarray) -> int:
    """gym-aloha's rule, on the list of contacts of one world."""
    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_forward(model, data)
    touching = {(model.geom(each.geom1).name, model.geom(each.geom2).name) for each in data.contact}
    if name == TRANSFER:
        left, right, table = (("red_box", other) in touching for other in (LEFT, RIGHT, "table"))
        rules = ((1, right), (2, right and not table), (3, left), (4, left and not table))
    else:
        walls = [f"socket-{number}" for number in range(1, 5)]
        right, left = ("red_peg", RIGHT) in touching, any((wall, LEFT) in touching for wall in walls)
        table = ("red_peg", "table") in touching or any((wall, "table") in touching for wall in walls)
        mated = any(("red_peg", wall) in touching for wall in walls)
        rules = (
            (1, left and right),
            (2, left and right and not table),
            (3, mated and not table),
            (4, ("red_peg", "pin") in touching),
        )
    return max((number for number, holds in rules if holds), default=0)


def endless(name: str, nworld: int) -> TaskWorlds:
    return TaskWorlds(dataclasses.replace(TASKS[name](), terminate=()), nworld, autoreset=False, threads=1)


@pytest.mark.parametrize("name", TASKS)
def test_kinematics_are_the_models(name: str) -> None:
    model = TASKS[name]().compile()
    data, draw = mujoco.MjData(model), np.random.default_rng(0)
    for _ in range(50):
        data.qpos[:16] = draw.uniform(*model.actuator_ctrlrange.T)
        mujoco.mj_kinematics(model, data)
        place, turned = gripper_pose(data.qpos[:16].reshape(2, 8)[:, :6])
        for arm, side in enumerate(("left", "right")):
            hand = data.body(f"vx300s_{side}/gripper_link")
            axes = hand.xmat.reshape(3, 3)
            np.testing.assert_allclose(place[arm], hand.xpos + TOOL * axes[:, 0], atol=1e-9)
            facing = rotation(np.array([BASE_YAW[arm], 0.0, 0.0]))
            np.testing.assert_allclose(facing @ turned[arm], axes, atol=1e-9)


@pytest.mark.parametrize("name", TASKS)
def test_starts_are_those_of_gym_aloha(name: str) -> None:
    worlds = endless(name, 60)
    observed = worlds.reset(seeds=np.arange(60))
    np.testing.assert_array_equal(worlds.views.qpos[:, :16], np.tile(START, (60, 1)))
    np.testing.assert_array_equal(worlds.views.ctrl, worlds.views.qpos[:, :16])
    objects = worlds.views.qpos[:, 16:].reshape(60, -1, 7)
    ranges = {TRANSFER: [(0.0, 0.2)], INSERTION: [(0.1, 0.2), (-0.2, -0.1)]}[name]
    for index, (low, high) in enumerate(ranges):
        x, y = objects[:, index, 0], objects[:, index, 1]
        assert low <= x.min() < low + 0.02 and high - 0.02 < x.max() < high
        assert 0.4 <= y.min() < 0.42 and 0.58 < y.max() < 0.6
        np.testing.assert_array_equal(objects[:, index, 2:], np.tile([0.05, 1, 0, 0, 0], (60, 1)))
    # six joints, then (0.02239 - 0.01844) / (0.058 - 0.01844), twice; velocities; object poses
    arm = [0, -0.96, 1.16, 0, -0.3, 0, 0.0998483]
    np.testing.assert_allclose(observed[:, :14], np.tile(arm * 2, (60, 1)), atol=1e-6)
    assert observed.shape == (60, 28 + 7 * len(ranges)) and not observed[:, 14:28].any()


def test_actions_do_what_they_do_in_plain_steps() -> None:
    worlds = endless(TRANSFER, 1)
    worlds.reset(seeds=[4])
    model = worlds.backend.model
    data = mujoco.MjData(model)
    data.qpos[:], data.ctrl[:] = worlds.views.qpos[0], worlds.views.ctrl[0]
    draw, action = np.random.default_rng(0), np.array([0, -0.96, 1.16, 0, -0.3, 0, 0.1] * 2)
    for _ in range(60):
        action = action + draw.uniform(-0.02, 0.02, 14)
        action[[6, 13]] = draw.uniform(0, 1, 2)
        step = worlds.step(action[None])
        left, right = 0.01844 + 0.03956 * action[[6, 13]]
        data.ctrl[:] = [*action[:6], left, -left, *action[7:13], right, -right]
        mujoco.mj_step(model, data, 10)
        arms = np.r_[data.qpos[:6], (data.qpos[6] - 0.01844) / 0.03956, data.qpos[8:14]]
        np.testing.assert_allclose(step.observation[0, :13], arms, atol=1e-6)
        np.testing.assert_allclose(step.observation[0, 13], (data.qpos[14] - 0.01844) / 0.03956, atol=1e-6)
        np.testing.assert_allclose(step.observation[0, 20], data.qvel[6] / 0.03956, rtol=1e-6)
        np.testing.assert_allclose(step.observation[0, 28:], data.qpos[16:], atol=1e-6)


def gripping(place: tuple[float, float, float], half: float, arm: int) -> np.ndarray:
    """Both arms' positions (16,): one gripper closed to 1 mm less than an object's width, the other at its start."""
    q = START.copy()
    angles = joint_angles(np.array([place, place]), rotation(np.tile([0.0, 1.2, 0.0], (2, 1))))
    # the tips' inner faces meet at 0.0224 m
    finger = 0.0224 + half - 0.0005
    q[8 * arm : 8 * arm + 8] = [*angles[arm], finger, -finger]
    return q


@pytest.mark.parametrize(
    ("arm", "height", "stage"),
    [(None, 0.02, 0), (None, 0.2, 0), (1, 0.0199, 1), (1, 0.2, 2), (0, 0.0199, 3), (0, 0.2, 4)],
)
def test_stages_of_a_cube_that_is_held(arm: int | None, height: float, stage: int) -> None:
    worlds = endless(TRANSFER, 1)
    worlds.reset(seeds=[0])
    place = (0.0, 0.5, height)
    if arm is not None:
        worlds.views.qpos[0, :16] = gripping((0.0, 0.5, height + 0.005), 0.02, arm)
    worlds.views.qpos[0, 16:19] = place
    worlds.backend.forward()
    assert worlds.task.reward[0][1](worlds.views)[0] == stage
    assert worlds.task.success is not None and worlds.task.success(worlds.views)[0] == (stage == 4)


def held_apart(peg: tuple[float, float], socket: tuple[float, float]) -> np.ndarray:
    """Positions (30,) with both objects gripped at (x, height) on the line between the bases."""
    right = gripping((peg[0], 0.5, peg[1] + 0.012), 0.01, 1)
    left = gripping((socket[0], 0.5, socket[1] + 0.005), 0.022, 0)
    poses = [(x, 0.5, height, 1, 0, 0, 0) for x, height in (peg, socket)]
    return np.concatenate([left[:8], right[8:], *poses])


@pytest.mark.parametrize(
    ("peg", "socket", "stage"),
    [
        ((0.15, 0.0099), (-0.15, 0.0219), 1),
        ((0.12, 0.2), (-0.08, 0.2), 2),
        ((0.12, 0.2), (-0.08, 0.0219), 1),
        # half in, resting on the lower wall, with the socket on the table
        ((0.06, 0.0138), (-0.05, 0.0219), 1),
        # half in, resting on the lower wall: 0.018 - 0.01 below the middle, and a little more
        ((0.06, 0.1919), (-0.05, 0.2), 3),
        # faces of peg and pin at -0.0101 and -0.01
        ((0.0499, 0.2), (-0.05, 0.2), 4),
    ],
)
def test_stages_of_peg_and_socket(peg: tuple[float, float], socket: tuple[float, float], stage: int) -> None:
    worlds = endless(INSERTION, 1)
    worlds.reset(seeds=[0])
    worlds.views.qpos[0] = held_apart(peg, socket)
    worlds.backend.forward()
    assert worlds.task.reward[0][1](worlds.views)[0] == stage
    assert plain_stage(INSERTION, worlds.backend.model, worlds.views.qpos[0]) == stage


@pytest.mark.parametrize("name", TASKS)
def test_experts_solve_their_tasks_and_stages_follow_the_plain_rule(name: str) -> None:
    worlds, expert = endless(name, 5), EXPERTS[name]()
    worlds.reset(seeds=np.arange(5))
    expert.reset(worlds.views, np.arange(5))
    seen: set[int] = set()
    solved = np.zeros(5, bool)
    for count in range(330):
        step = worlds.step(expert(worlds.views))
        solved |= step.success
        if count % 6 == 0:
            plain = [plain_stage(name, worlds.backend.model, qpos) for qpos in worlds.views.qpos]
            np.testing.assert_array_equal(step.reward, plain)
            seen.update(plain)
    assert solved.all() and {0, 2, 4} <= seen


@pytest.mark.parametrize("name", TASKS)
def test_stages_follow_the_plain_rule_under_random_actions(name: str) -> None:
    worlds, draw = endless(name, 4), np.random.default_rng(0)
    worlds.reset(seeds=np.arange(4))
    for count in range(60):
        step = worlds.step(draw.uniform(worlds.low, worlds.high, (4, 14)))
        if count % 3 == 0:
            plain = [plain_stage(name, worlds.backend.model, qpos) for qpos in worlds.views.qpos]
            np.testing.assert_array_equal(step.reward, plain)


@pytest.mark.parametrize("name", TASKS)
def test_an_expert_that_planned_for_another_layout_fails(name: str) -> None:
    worlds, expert = endless(name, 2), EXPERTS[name]()
    worlds.reset(seeds=[0, 1])
    expert.reset(worlds.views, np.arange(2))
    worlds.views.qpos[:, 17] += np.where(worlds.views.qpos[:, 17] > 0.5, -0.08, 0.08)
    for _ in range(330):
        assert not worlds.step(expert(worlds.views)).success.any()


def test_an_episode_ends_with_the_task_and_the_expert_starts_anew() -> None:
    worlds, expert = TaskWorlds(TASKS[TRANSFER](), 2, threads=1), EXPERTS[TRANSFER]()
    worlds.reset(seeds=[0, 1])
    expert.reset(worlds.views, np.arange(2))
    ends = 0
    for _ in range(2 * 290):
        step = worlds.step(expert(worlds.views))
        if len(step.ended):
            assert step.success[step.ended].all() and step.terminated[step.ended].all()
            expert.reset(worlds.views, step.ended)
            ends += len(step.ended)
    assert ends == 4
