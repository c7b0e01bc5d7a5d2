"""A model's kinematics as URDF: pinocchio's and MuJoCo's forward kinematics are the same numbers."""

from typing import Any

import numpy as np
import pytest

mujoco = pytest.importorskip("mujoco")
pinocchio = pytest.importorskip("pinocchio")

from foreact.sim.retarget.urdf import kinematic_urdf  # noqa: E402 - after what it may skip

ODD = """<mujoco><compiler angle="radian"/><worldbody>
<body name="base" pos="1 2 3" quat="0 1 0 1">
  <joint name="a" type="hinge" axis="1 2 3" pos="0.1 -0.2 0.3" ref="0.7" range="-2 2"/>
  <joint name="b" type="slide" axis="0 1 1" pos="0.4 0 0" ref="-0.2" range="-1 1"/><geom size="0.1"/>
  <body name="tip" pos="0 0 0.5" euler="0.3 1.5707963267948966 -1.1">
    <joint name="c" type="hinge" axis="0 -1 0" pos="0 0 0.2"/><geom size="0.1"/>
    <body name="end" pos="0.1 0.2 0.3" euler="0 0 2"><geom size="0.1"/></body>
  </body>
</body></worldbody></mujoco>"""


def worst(model: Any, text: str, count: int = 20) -> float:
    tree, data = pinocchio.buildModelFromXML(text), mujoco.MjData(model)
    state, found = tree.createData(), 0.0
    rng = np.random.default_rng(0)
    for _ in range(count):
        data.qpos[:] = rng.uniform(-2, 2, model.nq)
        mujoco.mj_kinematics(model, data)
        q = np.zeros(tree.nq)
        for joint in range(model.njnt):
            q[tree.idx_qs[tree.getJointId(model.joint(joint).name)]] = data.qpos[model.jnt_qposadr[joint]]
        pinocchio.framesForwardKinematics(tree, state, q)
        for body in range(1, model.nbody):
            pose = state.oMf[tree.getFrameId(model.body(body).name, pinocchio.BODY)]
            off = (
                np.abs(pose.translation - data.xpos[body]).max(),
                np.abs(pose.rotation.ravel() - data.xmat[body]).max(),
            )
            found = max(found, *map(float, off))
    return found


def test_offset_anchors_references_several_joints_and_gimbal_lock() -> None:
    model = mujoco.MjModel.from_xml_string(ODD)
    assert worst(model, kinematic_urdf(model)) < 1e-9
    # the control: without what undoes reference positions it is another tree
    model.qpos0[:] = 0.0
    other = kinematic_urdf(model)
    assert worst(mujoco.MjModel.from_xml_string(ODD), other) > 0.1


def test_extra_links_limits_and_refusals() -> None:
    model = mujoco.MjModel.from_xml_string(ODD)
    tree = pinocchio.buildModelFromXML(kinematic_urdf(model, {"nail": ("end", (0.0, 0.0, 0.1))}))
    state = tree.createData()
    pinocchio.framesForwardKinematics(tree, state, pinocchio.neutral(tree))
    nail, end = (state.oMf[tree.getFrameId(name, pinocchio.BODY)] for name in ("nail", "end"))
    assert np.allclose(nail.translation, end.translation + 0.1 * end.rotation[:, 2])
    a = tree.idx_qs[tree.getJointId("a")]
    assert (tree.lowerPositionLimit[a], tree.upperPositionLimit[a]) == (-2, 2)
    with pytest.raises(ValueError, match="no body 'hook'"):
        kinematic_urdf(model, {"nail": ("hook", (0, 0, 0))})
    free = "<mujoco><worldbody><body name='a'><freejoint/><geom size='1'/></body></worldbody></mujoco>"
    with pytest.raises(ValueError, match="ball or free"):
        kinematic_urdf(mujoco.MjModel.from_xml_string(free))
    nameless = "<mujoco><worldbody><body><geom size='1'/></body></worldbody></mujoco>"
    with pytest.raises(ValueError, match="no name"):
        kinematic_urdf(mujoco.MjModel.from_xml_string(nameless))
