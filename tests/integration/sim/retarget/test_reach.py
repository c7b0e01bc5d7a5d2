"""Arms reach what they can reach, and say of the rest how far off they are."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mink")
pytest.importorskip("daqp")

from foreact.sim.retarget.arms import ARMS, GRASP, arm_of, grasp_at, home_of, model_of
from foreact.sim.retarget.poses import angle_between
from foreact.sim.retarget.reach import Reach, Reacher, place_before
from foreact.sim.robot_archive import unpacked

NAMES = ("franka_emika_panda", "trossen_vx300s", "trs_so_arm100")


@pytest.mark.parametrize("name", NAMES)
def test_poses_of_the_arm_itself_are_reached(name: str, shared_data: Path) -> None:
    folder = unpacked(shared_data / "robots" / f"{name}.tar.xz")
    arm = arm_of(folder)
    model = model_of(arm, folder)
    home, _ = home_of(arm, model)
    rng = np.random.default_rng(0)
    low, high = model.jnt_range.T
    away = np.clip(home + np.cumsum(rng.uniform(-0.08, 0.08, (20, model.nq)), axis=0), low, high)
    poses = np.array([grasp_at(arm, model, qpos) for qpos in away])
    found = Reacher(arm, model).run(poses, np.full(len(poses), 0.04))
    assert found.reached.all() and found.restarts == 0
    assert found.position_mm.max() < 0.1 and found.orientation_deg.max() < 0.1
    # what is told is so: positions of the joints give the poses, within the ranges, fingers half open
    for qpos, pose in zip(found.qpos, poses, strict=True):
        there = grasp_at(arm, model, qpos)
        assert np.linalg.norm(there[:3] - pose[:3]) < 1e-4
        assert float(angle_between(there[3:], pose[3:])) < np.radians(0.1)
        assert (qpos >= low - 1e-9).all() and (qpos <= high + 1e-9).all()
    for joint, (closed, opened) in arm.fingers.items():
        share = 0.04 / arm.opening[1]
        assert found.qpos[0, model.joint(joint).id] == pytest.approx(closed + share * (opened - closed))


def test_what_is_out_of_reach_is_told_with_its_distance(shared_data: Path) -> None:
    folder = unpacked(shared_data / "robots" / "franka_emika_panda.tar.xz")
    arm = ARMS["franka_emika_panda"]
    model = model_of(arm, folder)
    _, pose = home_of(arm, model)
    lost = np.full(7, np.nan)
    far = pose + np.array([3.0, 0, 0, 0, 0, 0, 0])
    found = Reacher(arm, model).run(np.stack([pose, far, lost, pose]), np.array([0.0, 0.0, np.nan, 0.2]))
    assert found.reached.tolist() == [True, False, False, True]
    # the arm is 0.855 m long without its hand: most of the 3.55 m are left over
    assert 2200 < found.position_mm[1] < 3000
    assert np.isnan(found.qpos[2]).all() and np.isnan(found.position_mm[2])
    assert found.at_limit[0].sum() == 0
    assert found.qpos[3, model.joint("finger_joint1").id] == pytest.approx(0.04)  # no wider than it is


def test_five_joints_keep_the_place_and_give_up_the_turn(shared_data: Path) -> None:
    folder = unpacked(shared_data / "robots" / "trs_so_arm100.tar.xz")
    arm = arm_of(folder)
    model = model_of(arm, folder)
    _, pose = home_of(arm, model)
    pose[:3] += [0.03, 0.0, 0.02]  # beside its plane, turned as in it
    found = Reacher(arm, model).run(pose[None], np.array([0.03]))
    assert found.near[0] and found.position_mm[0] < 1.0
    assert found.orientation_deg[0] > 1.0
    strict = Reacher(arm, model, Reach(orientation_deg=1.0)).run(pose[None], np.array([0.03]))
    assert strict.near[0] and not strict.reached[0]


def test_the_middle_of_a_recording_is_put_where_the_grasp_is(shared_data: Path) -> None:
    import mujoco

    from foreact.sim.retarget.poses import composed

    folder = unpacked(shared_data / "robots" / "trossen_vx300s.tar.xz")
    arm = arm_of(folder)
    model = model_of(arm, folder)
    assert mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_SITE, GRASP) >= 0
    _, home = home_of(arm, model)
    poses = np.array([[5.0, 1, 0, 0.5, 0.5, 0.5, 0.5], [5.2, 1, 0, 0.5, 0.5, 0.5, 0.5], [9, 1, 0, 0.5, 0.5, 0.5, 0.5]])
    placed = composed(place_before(arm, model, poses).pose, poses)
    assert np.allclose(placed[1, :3], home[:3]) and float(angle_between(placed[1, 3:], home[3:])) < 1e-9
    with pytest.raises(ValueError, match="into=gripper knows franka_emika_panda"):
        arm_of(folder / "assets")
