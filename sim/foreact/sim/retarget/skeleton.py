"""A human hand's joints and bones as bodies of a MuJoCo scene that are put where the hand was.

Shape letters: n = frames, J = 20 joints, B = bones, M = J + B bodies.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.sim.retarget.joints import AT, FINGERS, JOINTS
from foreact.sim.retarget.poses import finite_rows

if TYPE_CHECKING:
    import mujoco

__all__ = ["scene_with_hand", "skeleton_poses"]

BONES = tuple(
    (AT[near], AT[far])
    for finger in FINGERS
    for chain in [("wrist", *(name for name in JOINTS if name.startswith(f"{finger} ")))]
    for near, far in zip(chain, chain[1:], strict=False)
)
PARTS_OF_PALM = tuple((AT[f"{one} knuckle"], AT[f"{other} knuckle"])
                      for one, other in zip(FINGERS[1:], FINGERS[2:], strict=False))  # fmt: skip
LINES = BONES + PARTS_OF_PALM
COLOURS = ((0.9, 0.3, 0.2), (0.95, 0.65, 0.1), (0.2, 0.7, 0.3), (0.2, 0.5, 0.9), (0.6, 0.3, 0.8))
SKIN = (0.85, 0.68, 0.58, 1.0)
THICK = 0.006  # [m] radius of bones
OFF_STAGE = 100.0  # [m] where a hand is that is not known


def scene_with_hand(file: Path, joints: np.ndarray) -> mujoco.MjModel:
    """A robot's model with a light and a person's hand, whose bones have their median lengths.

    Args:
        file: MJCF.
        joints: Finite, (n, J, 3) [m], n at least 1.
    """
    import mujoco

    spec = mujoco.MjSpec.from_file(str(file))
    for key in list(spec.keys):  # they say nothing of the hand's bodies
        spec.delete(key)
    spec.visual.headlight.ambient[:] = 0.45  # robots are often black
    spec.visual.headlight.diffuse[:] = 0.5
    if not any(each.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX for each in spec.textures):
        spec.add_texture(
            name="human sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX, builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
            rgb1=[0.75, 0.8, 0.87], rgb2=[0.95, 0.95, 0.95], width=64, height=384,
        )  # fmt: skip
    world = spec.worldbody
    for place, direction in (((1.0, -1.0, 2.0), (-0.4, 0.4, -0.8)), ((-1.0, 1.0, 2.0), (0.4, -0.4, -0.8))):
        light = world.add_light(pos=place, dir=direction, diffuse=[0.45, 0.45, 0.45], castshadow=False)
        light.type = mujoco.mjtLightType.mjLIGHT_DIRECTIONAL
    for number, name in enumerate(JOINTS):
        colour = SKIN if not number else (*COLOURS[FINGERS.index(name.split()[0])], 1.0)
        body = world.add_body(name=f"human {name}", mocap=True, pos=[0.0, 0.0, 0.0])
        size = 1.6 * THICK if name.endswith("tip") or not number else 1.2 * THICK
        body.add_geom(type=mujoco.mjtGeom.mjGEOM_SPHERE, size=[size, 0, 0], rgba=colour, contype=0, conaffinity=0)
    for near, far in LINES:
        length = float(np.median(np.linalg.norm(joints[:, far] - joints[:, near], axis=1)))
        body = world.add_body(name=f"human {JOINTS[near]} - {JOINTS[far]}", mocap=True, pos=[0.0, 0.0, 0.0])
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_CAPSULE, size=[THICK, length / 2, 0], rgba=SKIN, contype=0, conaffinity=0
        )  # fmt: skip
    return spec.compile()


def skeleton_poses(joints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the bodies of the hand are: positions (n, M, 3) [m] and orientations wxyz (n, M, 4), in the world.

    Args:
        joints: (n, J, 3) [m]; a hand that is not finite goes far away.
    """
    joints = np.where(finite_rows(joints)[:, None, None], joints, OFF_STAGE)
    near, far = (joints[:, [line[end] for line in LINES]] for end in (0, 1))
    place = np.concatenate([joints, (near + far) / 2], axis=1)
    turn = np.zeros((*place.shape[:2], 4))
    turn[..., 0] = 1.0
    turn[:, len(JOINTS) :] = _from_z(far - near)
    return place, turn


def _from_z(way: np.ndarray) -> np.ndarray:
    """Unit quaternions (..., 4) that turn z to these directions (..., 3)."""
    # q = unit(1 + z d, z x d); straight down any turn by pi about x
    length = np.linalg.norm(way, axis=-1, keepdims=True)
    d = np.divide(way, length, out=np.broadcast_to([0.0, 0.0, 1.0], way.shape).copy(), where=length > 0)
    q = np.stack([1 + d[..., 2], -d[..., 1], d[..., 0], np.zeros(d.shape[:-1])], axis=-1)
    down = d[..., 2] < -1 + 1e-9
    q[down] = [0.0, 1.0, 0.0, 0.0]
    return q / np.linalg.norm(q, axis=-1, keepdims=True)
