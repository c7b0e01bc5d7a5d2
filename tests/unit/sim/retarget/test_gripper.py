"""A hand's grasp as commands: poses and openings worked out by hand, holding, limits."""

from typing import Any

import numpy as np
import pytest

from foreact.sim.retarget.gripper import Gripper, GripperLimits, wrist_mount
from foreact.sim.retarget.palm import grasp_poses, one_grasp, pinch
from foreact.sim.retarget.poses import angle_between, composed, matrices, turned

TENTH = 100_000_000  # [ns]
FREE = GripperLimits(speed=1e6, turn=1e6)


def test_pose_and_opening_by_hand(right_hand: np.ndarray) -> None:
    command = Gripper("right").step(right_hand, 0)
    assert command is not None
    # midway between (0.10, 0.04, -0.03) and (0.14, 0.04, -0.03)
    assert np.allclose(command.pose[:3], [0.12, 0.04, -0.03], atol=1e-12)
    # z along the fingers (+x), y out of the palm (-z), x = y x z = -y: columns (0,-1,0), (0,0,-1), (1,0,0)
    assert np.allclose(matrices(command.pose[3:]), [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], atol=1e-12)
    assert np.allclose(command.pose[3:], [0.5, -0.5, 0.5, -0.5], atol=1e-12)
    # 40 mm between 20 (closed) and 100 (open): a quarter of 80 mm
    assert command.opening == pytest.approx(0.02, abs=1e-12)
    assert not command.held and command.clamped == ()


def test_a_left_hand_is_its_mirror_image(right_hand: np.ndarray) -> None:
    left = right_hand * [1, -1, 1]
    pose = grasp_poses(left, "left")
    assert np.allclose(pose[:3], [0.12, -0.04, -0.03])
    assert np.allclose(pose[3:], [0.5, -0.5, 0.5, -0.5])  # palm down and fingers along x as before
    assert float(angle_between(grasp_poses(left, "right")[3:], pose[3:])) == pytest.approx(np.pi)


@pytest.mark.parametrize("side", ["left", "right"])
def test_one_frame_is_computed_like_many(side: Any) -> None:
    joints = np.random.default_rng(3).normal(size=(50, 20, 3))
    poses, distances = grasp_poses(joints, side), pinch(joints)
    for index in range(50):
        pose, distance = one_grasp(joints[index], side)
        assert np.allclose(pose, poses[index], atol=1e-12) and distance == pytest.approx(distances[index])
    gripper, again = Gripper(side), Gripper(side)
    stamps = np.arange(50) * TENTH
    run = gripper.run(joints, stamps)
    steps = [again.step(each, int(stamp)) for each, stamp in zip(joints, stamps, strict=True)]
    assert np.allclose(run.poses, [each.pose for each in steps if each], atol=1e-9)
    assert sum(run.clamped.values()) == sum(len(each.clamped) for each in steps if each) > 50


def test_a_hand_that_is_lost_holds_the_last_command(right_hand: np.ndarray) -> None:
    lost, moved = right_hand.copy(), right_hand + [0.01, 0, 0]
    lost[3, 1] = np.nan  # the thumb's tip
    joints = np.stack([lost, right_hand, lost, moved, moved])
    run = Gripper("right", FREE).run(joints, np.arange(5) * TENTH, np.array([1.0, 1.0, 1.0, 0.49, 0.5]))
    assert np.isnan(run.poses[0]).all() and run.known.tolist() == [False, True, True, True, True]
    assert run.held.tolist() == [False, False, True, True, False]
    assert (run.poses[1] == run.poses[2]).all() and (run.poses[2] == run.poses[3]).all()
    assert run.poses[4, 0] == pytest.approx(0.13)
    assert Gripper("right").step(np.zeros((20, 3)), 0) is None  # a palm without direction


def test_speed_turn_and_workspace_are_limited_and_counted(right_hand: np.ndarray) -> None:
    limits = GripperLimits(speed=2.0, turn=1.0, high=(0.5, 9.0, 9.0))
    quarter = np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)])  # about z
    turned_hand = right_hand @ matrices(quarter).T
    far = turned_hand + [1.0, 0, 0]
    run = Gripper("right", limits).run(np.stack([right_hand, far, far]), np.array([0, TENTH, 20 * TENTH]))
    # 0.2 m and 0.1 rad in a tenth of a second
    assert np.linalg.norm(run.poses[1, :3] - run.poses[0, :3]) == pytest.approx(0.2)
    assert float(angle_between(run.poses[0, 3:], run.poses[1, 3:])) == pytest.approx(0.1)
    assert run.poses[2, 0] == 0.5  # the wall, not the hand at 0.96
    assert run.clamped == {"speed": 1, "turn": 1, "workspace": 2, "opening": 0}
    wide = right_hand.copy()
    wide[3] += [0.0, 0.3, 0.0]
    clamped = Gripper("right").run(np.stack([wide]), np.array([0]))
    assert clamped.openings[0] == 0.08 and clamped.clamped["opening"] == 1


def test_frames_of_devices_and_wrists(right_hand: np.ndarray) -> None:
    base = np.array([1.0, 2.0, 3.0, np.sqrt(0.5), 0, 0, np.sqrt(0.5)])  # x of the device is y of the world
    command = Gripper("right").step(right_hand, 0, base=base)
    assert command is not None and np.allclose(command.pose[:3], [1 - 0.04, 2 + 0.12, 3 - 0.03])
    palm = grasp_poses(right_hand, "right")[3:]
    offset = np.array([0.5, 0.5, 0.5, 0.5])
    wrists = turned(palm, offset * [1, -1, -1, -1])[None]
    mount, off = wrist_mount(wrists, right_hand[None], "right")
    assert np.allclose(mount, offset) and off[0] < 1e-9
    by_wrist = Gripper("right", mount=mount).step(right_hand, 0, wrist=wrists[0], base=base)
    assert by_wrist is not None and np.allclose(by_wrist.pose, command.pose)
    assert np.allclose(command.pose, composed(base, grasp_poses(right_hand, "right")))
    with pytest.raises(ValueError, match="orientations of the wrist"):
        Gripper("right", mount=mount).step(right_hand, 0)
    with pytest.raises(ValueError, match="never known together"):
        wrist_mount(wrists * np.nan, right_hand[None], "right")


@pytest.mark.parametrize(
    "wrong", [{"opening": (0.1, 0.1)}, {"pinched": (0.1, 0.02)}, {"speed": 0.0}, {"low": (0, 0, 0), "high": (1, 0, 1)}]
)
def test_limits_that_make_no_sense(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        GripperLimits(**wrong)
