"""Kinematics of the ViperX arms by hand, and plans that are followed at their times."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foreact.sim.aloha import EXPERTS
from foreact.sim.aloha import scene as scenes
from foreact.sim.aloha.experts import Key, Pose, ScriptExpert
from foreact.sim.aloha.kinematics import TOOL, gripper_pose, joint_angles, rotation
from foreact.sim.aloha.tasks import START


def test_straight_arms_point_at_each_other() -> None:
    place, turned = gripper_pose(np.zeros((2, 6)))
    # bases at x = -+0.469 m; along x: elbow 0.05955, wrist 0.2 + 0.1, gripper 0.069744; up: 0.079 + 0.04805 + 0.3
    reach = 0.05955 + 0.3 + 0.069744 + TOOL
    np.testing.assert_allclose(place, [[-0.469 + reach, 0.5, 0.42705], [0.469 - reach, 0.5, 0.42705]], atol=1e-5)
    np.testing.assert_allclose(turned, np.broadcast_to(np.eye(3), (2, 3, 3)), atol=1e-12)


def test_single_joints_turn_as_they_should() -> None:
    q = np.zeros((3, 2, 6))
    q[0, :, 0], q[1, :, 1], q[2, :, 4] = np.pi / 2, np.pi / 2, np.pi / 2
    place, _ = gripper_pose(q)
    reach = 0.05955 + 0.3 + 0.069744 + TOOL
    # the left arm's waist turns towards +y, the right arm's, which faces it, towards -y
    np.testing.assert_allclose(place[0], [[-0.469, 0.5 + reach, 0.42705], [0.469, 0.5 - reach, 0.42705]], atol=1e-5)
    # about the shoulder a quarter turn forwards: what was 0.3 up is 0.3 ahead, what was ahead hangs down
    np.testing.assert_allclose(place[1, 0], [-0.469 + 0.3, 0.5, 0.12705 - reach], atol=1e-12)
    # about the wrist: only the gripper hangs down
    np.testing.assert_allclose(place[2, 0], [-0.469 + 0.35955, 0.5, 0.42705 - 0.069744 - TOOL], atol=1e-12)


def test_joint_angles_reach_the_pose_they_were_asked_for() -> None:
    draw = np.random.default_rng(0)
    low, high = [-1.0, -0.9, 0.0, -1.5, -1.8, -3.0], [1.0, 0.5, 1.5, 1.5, 2.2, 3.0]
    place, turned = gripper_pose(draw.uniform(low, high, (500, 2, 6)))
    found = joint_angles(place, turned)
    again, turned_again = gripper_pose(found)
    np.testing.assert_allclose(again, place, atol=1e-9)
    np.testing.assert_allclose(turned_again, turned, atol=1e-9)
    assert (np.abs(found[..., 3]) <= np.pi / 2).all()


def test_the_start_pose_is_its_own_inverse() -> None:
    start = START.reshape(2, 8)[:, :6]
    np.testing.assert_allclose(joint_angles(*gripper_pose(start)), start, atol=1e-9)


def test_what_is_out_of_reach_is_approached() -> None:
    far = np.array([[3.0, 0.5, 0.127], [-3.0, 0.5, 0.127]])
    place, _ = gripper_pose(joint_angles(far, rotation(np.zeros((2, 3)))))
    # both links in a line, then the level gripper: sqrt(0.05955^2 + 0.3^2) + 0.3 + 0.069744 + TOOL from the shoulder
    np.testing.assert_allclose(place[0], [-0.469 + 0.305853 + 0.369744 + TOOL, 0.5, 0.127], atol=1e-3)


def test_a_plan_is_at_its_key_poses_on_time_and_half_way_between() -> None:
    home, up = Pose(), Pose(np.array([[-0.1, 0.5, 0.2], [-0.1, 0.55, 0.2]]), opening=1.0)
    expert = ScriptExpert(lambda objects: [Key(0, home, home), Key(10, up, home)])
    views: Any = SimpleNamespace(qpos=np.zeros((3, 23)), nworld=3, xp=np)
    expert.reset(views, np.array([0, 2]))
    actions = np.array([expert(views) for _ in range(15)]).reshape(15, 3, 2, 7)
    start = START.reshape(2, 8)[:, :6]
    np.testing.assert_allclose(actions[0, 0, :, :6], start, atol=1e-6)
    reached, _ = gripper_pose(actions[10, 2, :, :6].astype(float))
    np.testing.assert_allclose(reached[0], [-0.1, 0.55, 0.2], atol=1e-6)
    np.testing.assert_allclose(actions[5, 0, 0], (actions[0, 0, 0] + actions[10, 0, 0]) / 2, atol=1e-6)
    # 3 s^2 - 2 s^3 at s = 0.2
    np.testing.assert_allclose(actions[2, 0, 0, 6], 0.104, atol=1e-6)
    np.testing.assert_array_equal(actions[14], actions[10])
    # world 1 was never planned: it stands, although time passes in it
    np.testing.assert_allclose(actions[7, 1, :, :6], start, atol=1e-6)
    expert.reset(views, np.array([0, 2]))
    np.testing.assert_array_equal(expert(views).reshape(3, 2, 7)[2], actions[0, 2])


@pytest.mark.parametrize("name", EXPERTS)
def test_scripts_stay_in_the_joints_ranges(name: str) -> None:
    draw = np.random.default_rng(0)
    qpos = np.zeros((200, 30 if name == "aloha-insertion" else 23))
    qpos[:, 16] = draw.uniform(*((0.1, 0.2) if name == "aloha-insertion" else (0.0, 0.2)), 200)
    qpos[:, 17] = draw.choice([0.4, 0.6], 200)
    if name == "aloha-insertion":
        qpos[:, 23], qpos[:, 24] = draw.uniform(-0.2, -0.1, 200), draw.choice([0.4, 0.6], 200)
    views: Any = SimpleNamespace(qpos=qpos, nworld=200, xp=np)
    expert = EXPERTS[name]()
    expert.reset(views, np.arange(200))
    expert.reset(views, np.zeros(0, int))  # no episode has ended
    actions = np.array([expert(views) for _ in range(400)]).reshape(400, 200, 2, 7)
    low = np.array([-3.14, -1.85, -1.76, -3.14, -1.86, -3.14, 0])
    high = np.array([3.14, 1.25, 1.6, 3.14, 2.23, 3.14, 1])
    assert (actions >= low).all() and (actions <= high).all()
    # a position servo follows 0.03 rad a step without losing the plan
    assert np.abs(np.diff(actions[..., :6], axis=0)).max() < 0.06


def test_a_missing_wheel_is_named_with_what_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scenes, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install --no-deps gym-aloha==0\.1\.5"):
        scenes.asset("scene.xml")
