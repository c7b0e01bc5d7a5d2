"""Arms with grippers that grasps are retargeted to: where the grasp point is and which joints close the fingers.

A grasp frame has z along the approach and y in the direction in which the fingers move, as `palm.grasp_poses` has.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.sim.retarget.poses import composed, quaternions

if TYPE_CHECKING:
    import mujoco

__all__ = ["ARMS", "Arm", "arm_of", "GRASP", "grasp_at", "home_of", "model_of"]

GRASP = "foreact grasp"
type Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Arm:
    """One arm.

    Attributes:
        file: Model file in its folder.
        body: The link that carries the gripper.
        place: Of the grasp point between the finger tips, in the link's frame [m].
        axes: x, y and z of the grasp frame in the link's frame.
        fingers: Joints of the gripper, and their positions closed and open.
        opening: Distance of the fingers, closed and open [m]; between them positions are linear.
        turn_weight: What a radian of orientation counts against a metre of position [m/rad]; small where an arm has too
            few joints for both.
    """

    file: str
    body: str
    place: Vector
    axes: tuple[Vector, Vector, Vector]
    fingers: dict[str, tuple[float, float]]
    opening: tuple[float, float]
    turn_weight: float = 0.2

    def grasp(self) -> np.ndarray:
        """Pose of the grasp frame in the link's frame, (7,)."""
        return np.concatenate([self.place, quaternions(np.array(self.axes).T)])

    def finger_positions(self, opening: float) -> dict[str, float]:
        """Positions of the gripper's joints for an opening [m], which is clamped."""
        closed, opened = self.opening
        share = min(max((opening - closed) / (opened - closed), 0.0), 1.0)
        return {name: low + share * (high - low) for name, (low, high) in self.fingers.items()}


X, Y, Z = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)
DOWN_X, DOWN_Y, DOWN_Z = (-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, -1.0)

ARMS: dict[str, Arm] = {
    "franka_emika_panda": Arm(
        file="panda.xml",
        body="hand",
        place=(0.0, 0.0, 0.1034),  # the maker's end-effector frame
        axes=(X, Y, Z),
        fingers={"finger_joint1": (0.0, 0.04), "finger_joint2": (0.0, 0.04)},
        opening=(0.0, 0.08),
    ),
    "trossen_vx300s": Arm(
        file="vx300s.xml",
        body="gripper_link",
        place=(0.1, 0.0, 0.0),  # the model's site `pinch`
        axes=(DOWN_Z, Y, X),
        fingers={"left_finger": (0.021, 0.057), "right_finger": (-0.021, -0.057)},
        opening=(0.0, 0.072),
    ),
    "trs_so_arm100": Arm(
        file="so_arm100.xml",
        body="Fixed_Jaw",
        place=(0.0, -0.0965, 0.0),  # between the pads at the tips of the jaws
        axes=(DOWN_Z, X, DOWN_Y),
        fingers={"Jaw": (-0.174, 0.9)},
        opening=(0.0, 0.08),
        turn_weight=0.02,
    ),
    "robotstudio_so101": Arm(
        file="so101.xml",
        body="gripper",
        place=(0.0, 0.0, -0.098),  # the height of the model's site `gripperframe`, between the jaws
        axes=(Y, X, DOWN_Z),
        fingers={"gripper": (-0.174, 0.9)},
        opening=(0.0, 0.08),
        turn_weight=0.02,
    ),
}
"""By the folder's name."""


def arm_of(folder: Path) -> Arm:
    """The arm in an unpacked robot's folder, by its model file.

    Raises:
        ValueError: It is none of those known.
    """
    for arm in ARMS.values():
        if (folder / arm.file).is_file():
            return arm
    raise ValueError(f"{folder} is no arm that is known; into=gripper knows {', '.join(ARMS)}")


def model_of(arm: Arm, folder: Path) -> Any:
    """The compiled model, an `mujoco.MjModel`, with a site `GRASP` at the grasp frame."""
    import mujoco

    spec = mujoco.MjSpec.from_file(str(folder / arm.file))
    body, grasp = spec.body(arm.body), arm.grasp()
    body.add_site(name=GRASP, pos=grasp[:3], quat=grasp[3:], group=5)
    return spec.compile()


def home_of(arm: Arm, model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
    """Where an arm is at home: at its model's first keyframe, otherwise where the model places it.

    Returns:
        qpos (nq,) and the pose of the grasp frame in the world, (7,).
    """
    import mujoco

    data = mujoco.MjData(model)
    if model.nkey:
        mujoco.mj_resetDataKeyframe(model, data, 0)
    return data.qpos.copy(), grasp_at(arm, model, data.qpos)


def grasp_at(arm: Arm, model: mujoco.MjModel, qpos: np.ndarray) -> np.ndarray:
    """Pose of the grasp frame in the world, (7,), for positions of the joints (nq,)."""
    import mujoco

    data = mujoco.MjData(model)
    data.qpos[:] = qpos
    mujoco.mj_kinematics(model, data)
    link = data.body(arm.body)
    return composed(np.concatenate([link.xpos, link.xquat]), arm.grasp())
