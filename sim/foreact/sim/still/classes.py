"""What each geom of a model is, for labels of pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import mujoco

__all__ = ["CLASSES", "geom_classes"]

CLASSES = (
    "nothing", "floor", "wall", "robot", "box", "sphere", "cylinder", "capsule", "ellipsoid", "mesh",
)  # fmt: skip
WALL = "wall"


def geom_classes(model: mujoco.MjModel) -> np.ndarray:
    """Number in `CLASSES` of each value of a segmentation picture, uint8 (geoms + 1,); 0 is nothing.

    A robot is what hangs from the same root as something that an actuator moves; other geoms are what their shape is.

    Args:
        model: Compiled.
    """
    import mujoco

    shapes = {
        int(mujoco.mjtGeom.mjGEOM_PLANE): "floor",
        int(mujoco.mjtGeom.mjGEOM_BOX): "box",
        int(mujoco.mjtGeom.mjGEOM_SPHERE): "sphere",
        int(mujoco.mjtGeom.mjGEOM_CYLINDER): "cylinder",
        int(mujoco.mjtGeom.mjGEOM_CAPSULE): "capsule",
        int(mujoco.mjtGeom.mjGEOM_ELLIPSOID): "ellipsoid",
        int(mujoco.mjtGeom.mjGEOM_MESH): "mesh",
    }
    moved = {int(model.body_rootid[model.jnt_bodyid[joint]]) for joint in _actuated(model)}
    found = ["nothing"]
    for geom in range(model.ngeom):
        root = int(model.body_rootid[model.geom_bodyid[geom]])
        name = "robot" if root and root in moved else shapes[int(model.geom_type[geom])]
        found.append(WALL if model.geom(geom).name.startswith(WALL) else name)
    return np.array([CLASSES.index(name) for name in found], np.uint8)


def _actuated(model: mujoco.MjModel) -> list[int]:
    import mujoco

    kinds = [int(kind) for kind in (mujoco.mjtTrn.mjTRN_JOINT, mujoco.mjtTrn.mjTRN_JOINTINPARENT)]
    return [
        int(model.actuator_trnid[actuator, 0])
        for actuator in range(model.nu)
        if model.actuator_trntype[actuator] in kinds
    ]
