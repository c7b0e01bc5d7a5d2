"""Where each task's objects are: the 14 numbers of Meta-World's observation that differ from task to task.

Positions are in the world frame [m]. Meta-World's quaternions of objects are wxyz where it reads a body's, and xyzw
where it converts a rotation matrix; that is kept. Shape letters: N = worlds, k = numbers of a part.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from foreact.sim.metaworld_worlds.scene import Scene

__all__ = ["OBJECTS", "ObjectPose", "Part", "quaternion_of"]

Part = Callable[[Scene], np.ndarray]
"""Some numbers of all worlds, (N, k), or the same for all, (k,)."""

ObjectPose = tuple[Part, Part]
"""Position (N, 3) and quaternion (N, 4) of an object."""


def _at(kind: str, name: str, offset: tuple[float, float, float] | None = None) -> Part:
    if offset is None:
        return lambda scene: scene.part(kind, name, "xpos")
    shift = np.array(offset)
    return lambda scene: scene.part(kind, name, "xpos") + shift


def _quat(name: str) -> Part:
    return lambda scene: scene.part("body", name, "xquat")


def _turn(kind: str, name: str) -> Part:
    return lambda scene: quaternion_of(scene.part(kind, name, "xmat").reshape(-1, 3, 3))


def quaternion_of(matrix: np.ndarray) -> np.ndarray:
    """Unit quaternions xyzw of rotation matrices, the bits that SciPy gives Meta-World.

    Source: Shepperd 1978, "Quaternion from rotation matrix": divide by the largest of the four elements.

    Args:
        matrix: Orthogonal, (N, 3, 3).

    Returns:
        (N, 4).
    """
    rows, trace = np.arange(len(matrix)), matrix[:, 0, 0] + matrix[:, 1, 1] + matrix[:, 2, 2]
    sizes = np.stack([matrix[:, 0, 0], matrix[:, 1, 1], matrix[:, 2, 2], trace], axis=1)
    largest = sizes.argmax(1)
    real = largest == 3
    i = np.where(real, 0, largest)
    j, k = (i + 1) % 3, (i + 2) % 3
    found = np.empty((len(matrix), 4))
    # q_i = 1 - tr R + 2 R_ii, q_j = R_ji + R_ij, q_k = R_ki + R_ik, w = R_kj - R_jk, all times 4 q_i
    found[rows, i] = 1 - trace + 2 * matrix[rows, i, i]
    found[rows, j] = matrix[rows, j, i] + matrix[rows, i, j]
    found[rows, k] = matrix[rows, k, i] + matrix[rows, i, k]
    found[:, 3] = matrix[rows, k, j] - matrix[rows, j, k]
    turns = matrix[real]
    found[real, 0], found[real, 1] = turns[:, 2, 1] - turns[:, 1, 2], turns[:, 0, 2] - turns[:, 2, 0]
    found[real, 2], found[real, 3] = turns[:, 1, 0] - turns[:, 0, 1], 1 + trace[real]
    x, y, z, w = found.T
    return found / np.sqrt(x * x + y * y + z * z + w * w)[:, None]


def _fixed(*values: float) -> Part:
    constant = np.array(values)
    return lambda scene: constant


def _dial(scene: Scene) -> np.ndarray:
    """The dial's rim where the knob points: the centre and 5 cm along (sin a, -cos a)."""
    angle = scene.joint("knob_Joint_1")
    return scene.body("dial") + 0.05 * np.stack([np.sin(angle), -np.cos(angle), np.zeros_like(angle)], axis=1)


NO_TURN = _fixed(0.0, 0.0, 0.0, 0.0)
BODY: ObjectPose = (_at("body", "obj"), _quat("obj"))
BLOCK: ObjectPose = (_at("body", "obj"), _turn("geom", "objGeom"))
BLOCK_GEOM: ObjectPose = (_at("geom", "objGeom"), _turn("geom", "objGeom"))
MUG: ObjectPose = (_at("body", "obj"), _turn("geom", "mug"))
PUCK: ObjectPose = (_at("geom", "puck"), _turn("geom", "puck"))
NUT: ObjectPose = (_at("site", "RoundNut-8"), _quat("RoundNut"))
BUTTON_ABOVE: ObjectPose = (_at("body", "button", (0.0, 0.0, 0.193)), _quat("button"))
BUTTON_AHEAD: ObjectPose = (_at("body", "button", (0.0, -0.193, 0.0)), _quat("button"))
DOOR: ObjectPose = (_at("geom", "handle"), _turn("geom", "handle"))
STICK: ObjectPose = (_at("body", "stick"), _turn("body", "stick"))


def _site(name: str) -> ObjectPose:
    return (_at("site", name), NO_TURN)


OBJECTS: dict[str, tuple[ObjectPose, ...]] = {
    "assembly-v3": (NUT,),
    "basketball-v3": ((_at("body", "bsktball"), _quat("bsktball")),),
    "bin-picking-v3": (BODY,),
    "box-close-v3": ((_at("body", "top_link"), _quat("top_link")),),
    "button-press-topdown-v3": (BUTTON_ABOVE,),
    "button-press-topdown-wall-v3": (BUTTON_ABOVE,),
    "button-press-v3": (BUTTON_AHEAD,),
    "button-press-wall-v3": (BUTTON_AHEAD,),
    "coffee-button-v3": ((_at("site", "buttonStart"), _fixed(1.0, 0.0, 0.0, 0.0)),),
    "coffee-pull-v3": (MUG,),
    "coffee-push-v3": (MUG,),
    "dial-turn-v3": ((_dial, _quat("dial")),),
    "disassemble-v3": (NUT,),
    "door-close-v3": (DOOR,),
    "door-lock-v3": ((_at("site", "lockStartLock"), _quat("door_link")),),
    "door-open-v3": (DOOR,),
    "door-unlock-v3": ((_at("site", "lockStartUnlock"), _quat("door_link")),),
    "hand-insert-v3": (BODY,),
    "drawer-close-v3": ((_at("body", "drawer_link", (0.0, -0.16, 0.05)), NO_TURN),),
    "drawer-open-v3": ((_at("body", "drawer_link", (0.0, -0.16, 0.0)), _quat("drawer_link")),),
    "faucet-open-v3": ((_at("site", "handleStartOpen", (0.0, 0.0, -0.01)), _quat("faucetBase")),),
    "faucet-close-v3": ((_at("site", "handleStartClose", (0.0, 0.0, -0.01)), _quat("faucetBase")),),
    "hammer-v3": ((_at("body", "hammer"), _quat("hammer")), (_at("body", "nail_link"), _quat("nail_link"))),
    "handle-press-side-v3": (_site("handleStart"),),
    "handle-press-v3": (_site("handleStart"),),
    "handle-pull-side-v3": (_site("handleCenter"),),
    "handle-pull-v3": (_site("handleRight"),),
    "lever-pull-v3": ((_at("site", "leverStart"), _turn("geom", "objGeom")),),
    "pick-place-wall-v3": (BLOCK_GEOM,),
    "pick-out-of-hole-v3": (BODY,),
    "pick-place-v3": (BLOCK,),
    "plate-slide-v3": (PUCK,),
    "plate-slide-side-v3": (PUCK,),
    "plate-slide-back-v3": (PUCK,),
    "plate-slide-back-side-v3": (PUCK,),
    "peg-insert-side-v3": ((_at("site", "pegGrasp"), _turn("site", "pegGrasp")),),
    "peg-unplug-side-v3": ((_at("site", "pegEnd"), _quat("plug1")),),
    "soccer-v3": ((_at("body", "soccer_ball"), _turn("body", "soccer_ball")),),
    "stick-push-v3": (STICK, (_at("site", "insertion", (0.0, 0.09, 0.0)), NO_TURN)),
    "stick-pull-v3": (STICK, _site("insertion")),
    "push-v3": (BLOCK,),
    "push-wall-v3": (BLOCK_GEOM,),
    "push-back-v3": (BLOCK_GEOM,),
    "reach-v3": (BLOCK,),
    "reach-wall-v3": (BLOCK,),
    "shelf-place-v3": (BLOCK,),
    "sweep-into-v3": (BLOCK,),
    "sweep-v3": (BODY,),
    "window-open-v3": (_site("handleOpenStart"),),
    "window-close-v3": (_site("handleCloseStart"),),
}
