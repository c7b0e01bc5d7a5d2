"""A robot hand finds motions again that a robot hand made; dex-retargeting itself is the measure."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.sim.retarget.dexterous import Dexterous, HandPath, finger_errors, human_length, reached, robot_length
from foreact.sim.retarget.fingers import FingerSolver
from foreact.sim.retarget.hands import HANDS, hand_of, model_of
from foreact.sim.retarget.joints import joints_of
from foreact.sim.retarget.urdf import kinematic_urdf

WRIST_FIRST = (0, 2, 3, 4, *range(5, 21))
HAND = HANDS["shadow_hand"]


def motion(model: Any, count: int) -> np.ndarray:
    """Between random postures, wrist still, (count, Q) [rad]."""
    rng = np.random.default_rng(0)
    low, high = model.jnt_range.T
    ends = [rng.uniform(low, high) * 0.8 + 0.1 * (low + high) for _ in range(3)]
    half = count // 2
    path = np.concatenate([np.linspace(one, two, half) for one, two in zip(ends, ends[1:], strict=False)])
    path[:, [model.joint(f"{model.joint(0).name[:3]}{name}").id for name in HAND.still]] = 0.0
    return path


def follow(solver: Dexterous, goals: np.ndarray) -> np.ndarray:
    found = [solver._follow(each / solver.scale) for each in goals]
    return np.array([each for each in found if each is not None])


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_robots_own_motion_is_found_again(shadow_hand: Path, side: Any) -> None:
    model = model_of(HAND, shadow_hand, side)
    path = motion(model, 60)
    goals = np.array([reached(HAND, model, side, qpos) for qpos in path])
    errors = finger_errors(HAND, model, side, follow(Dexterous(HAND, model, side, 1.0), goals), goals)
    assert np.median(errors.tips) < 0.6e-3 and errors.tips.max() < 2e-3
    assert np.median(np.abs(errors.pinch)) < 0.6e-3
    # the control: the other hand's goals cannot be met
    wrong = finger_errors(HAND, model, side, follow(Dexterous(HAND, model, side, 1.0), -goals), -goals)
    assert np.median(wrong.tips) > 20e-3


@pytest.mark.parametrize("side", ["left", "right"])
def test_pinocchio_and_mujoco_agree_on_the_hand(shadow_hand: Path, side: Any) -> None:
    pinocchio = pytest.importorskip("pinocchio")
    import mujoco

    model = model_of(HAND, shadow_hand, side)
    tree = pinocchio.buildModelFromXML(kinematic_urdf(model))
    state, data = tree.createData(), mujoco.MjData(model)
    rng = np.random.default_rng(1)
    for _ in range(20):
        data.qpos[:] = rng.uniform(*model.jnt_range.T)
        mujoco.mj_kinematics(model, data)
        q = np.zeros(tree.nq)
        for joint in range(model.njnt):
            q[tree.idx_qs[tree.getJointId(model.joint(joint).name)]] = data.qpos[joint]
        pinocchio.framesForwardKinematics(tree, state, q)
        for body in range(1, model.nbody):
            pose = state.oMf[tree.getFrameId(model.body(body).name, pinocchio.BODY)]
            assert np.abs(pose.translation - data.xpos[body]).max() < 1e-9
            assert np.abs(pose.rotation.ravel() - data.xmat[body]).max() < 1e-9


def test_the_gradient_is_that_of_the_value(shadow_hand: Path) -> None:
    model = model_of(HAND, shadow_hand, "right")
    names = [model.joint(each).name for each in range(2, model.njnt)]
    solver = FingerSolver(model, "rh_palm", [("rh_ffdistal", 0.026), ("rh_thdistal", 0.0275)], names, 1e-3)
    rng = np.random.default_rng(0)
    q, last, goal = rng.uniform(solver.low, solver.high), rng.uniform(solver.low, solver.high), rng.normal(size=(2, 3))
    for scale in (0.01, 1.0):  # inside and outside of the bend
        off, _ = solver._value(q, scale * goal, last)
        _, gradient = solver._slopes(off, q, last)
        for index in range(len(q)):
            step = np.eye(len(q))[index] * 1e-6
            slope = (
                solver._value(q + step, scale * goal, last)[1] - solver._value(q - step, scale * goal, last)[1]
            ) / 2e-6
            assert gradient[index] == pytest.approx(slope, abs=1e-6)


def test_it_follows_people_no_worse_than_the_package(shared_data: Path, shadow_hand: Path) -> None:
    pytest.importorskip("dex_retargeting")
    landmarks = np.load(shared_data / "human_hand_retarget" / "human_joint_right.npz")["joints"][::20]
    joints = joints_of(landmarks, WRIST_FIRST)
    model = model_of(HAND, shadow_hand, "right")
    scale = robot_length(HAND, model, "right") / human_length(joints)
    assert 0.9 < scale < 1.2

    def value(path: HandPath) -> float:
        """Mean of the objective without the term that keeps joints."""
        found = np.array([reached(HAND, model, "right", qpos) for qpos in path.qpos])
        far = np.linalg.norm(found - path.targets, axis=-1)
        return float(np.where(far < 0.02, far**2 / 0.04, far - 0.01).mean())

    known = np.ones(len(joints), bool)
    ours, theirs = (
        Dexterous(HAND, model, "right", scale, smooth=1e-4, solver=solver).run(joints, known)
        for solver in ("gauss-newton", "package")
    )
    assert value(ours) <= 1.02 * value(theirs)
    assert value(theirs) < 1.2 * value(ours)  # both found the same hand
    for path in (ours, theirs):
        low, high = model.jnt_range.T
        assert (path.qpos >= low).all() and (path.qpos <= high).all() and (path.qpos[:, :2] == 0).all()


def test_a_lost_hand_keeps_its_joints(shared_data: Path, shadow_hand: Path) -> None:
    landmarks = np.load(shared_data / "human_hand_retarget" / "human_joint_right.npz")["joints"][:4]
    joints = joints_of(landmarks, WRIST_FIRST)
    joints[2, 7] = np.nan
    model = model_of(HAND, shadow_hand, "right")
    solver = Dexterous(HAND, model, "right", 1.0)
    path = solver.run(joints, np.array([False, True, True, True]))
    assert np.isnan(path.qpos[0]).all() and path.held.tolist() == [True, False, True, False]
    assert (path.qpos[1] == path.qpos[2]).all() and (path.qpos[2] != path.qpos[3]).any()
    errors = solver.errors(path)
    assert np.isnan(errors.tips[[0, 2]]).all() and np.isfinite(errors.tips[[1, 3]]).all()


def test_what_is_no_hand_is_refused(tmp_path: Path, shadow_hand: Path) -> None:
    with pytest.raises(ValueError, match="into=hand knows shadow_hand"):
        hand_of(tmp_path)
    with pytest.raises(ValueError, match="scale=0"):
        Dexterous(HAND, model_of(HAND, shadow_hand, "right"), "right", 0.0)
