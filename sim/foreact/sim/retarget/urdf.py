"""The kinematic tree of a compiled MuJoCo model as URDF, for packages that read nothing else.

Only what moves is said: joints, axes, limits, places of links; no shapes and no masses. A body with several joints
becomes several links. Names of bodies are names of links.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, tostring

import numpy as np

from foreact.sim.retarget.poses import composed, inverse, matrices

if TYPE_CHECKING:
    import mujoco

__all__ = ["kinematic_urdf"]

KINDS = {2: "prismatic", 3: "revolute"}  # mjtJoint: slide, hinge
STANDING = np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])


def kinematic_urdf(
    model: mujoco.MjModel, extra: dict[str, tuple[str, tuple[float, float, float]]] | None = None
) -> str:
    """Write the tree below the world as URDF.

    Positions of joints mean the same in both: MuJoCo's qpos, its reference positions included.

    Args:
        model: Compiled; every body and joint has a name.
        extra: Links without a body, by name: the body they are fixed to, and where in its frame [m].

    Raises:
        ValueError: A ball or free joint, which URDF lacks; a nameless body or joint; an unknown body.
    """
    root = Element("robot", name="tree")
    SubElement(root, "link", name="world")
    for body in range(1, model.nbody):
        _body(root, model, body)
    for name, (body, place) in (extra or {}).items():
        if body not in {model.body(each).name for each in range(1, model.nbody)}:
            raise ValueError(f"link {name}: the model has no body {body!r}")
        SubElement(root, "link", name=name)
        _joint(root, f"{name}.fixed", body, name, np.array([*place, 1.0, 0.0, 0.0, 0.0]))
    return tostring(root, encoding="unicode")


def _body(root: Element, model: mujoco.MjModel, body: int) -> None:
    name = model.body(body).name
    if not name:
        raise ValueError(f"body {body} of the model has no name")
    parent = model.body(model.body_parentid[body]).name if model.body_parentid[body] else "world"
    # the body stands at T(body_pos, body_quat); each joint turns about a line through jnt_pos of that frame:
    # T_body prod_j [T(jnt_pos_j) R_j(q_j) T(-jnt_pos_j)]
    place = np.concatenate([model.body_pos[body], model.body_quat[body] / np.linalg.norm(model.body_quat[body])])
    first = int(model.body_jntadr[body])
    for joint in range(first, first + int(model.body_jntnum[body])):
        kind = int(model.jnt_type[joint])
        if kind not in KINDS:
            raise ValueError(f"joint {model.joint(joint).name or joint} is a ball or free joint, which URDF lacks")
        if not model.joint(joint).name:
            raise ValueError(f"joint {joint} of the model has no name")
        anchor = np.concatenate([model.jnt_pos[joint], STANDING[3:]])
        link = f"{model.joint(joint).name}.link"
        SubElement(root, "link", name=link)
        _joint(root, model.joint(joint).name, parent, link, composed(composed(place, anchor), _rest(model, joint)),
               _moving(model, joint))  # fmt: skip
        parent, place = link, inverse(anchor)
    SubElement(root, "link", name=name)
    _joint(root, f"{name}.fixed", parent, name, place)


def _rest(model: mujoco.MjModel, joint: int) -> np.ndarray:
    """What undoes the reference position: MuJoCo moves by qpos - qpos0, URDF by qpos."""
    rest, axis = float(model.qpos0[model.jnt_qposadr[joint]]), model.jnt_axis[joint]
    if model.jnt_type[joint] == 2:
        return np.concatenate([-rest * axis, STANDING[3:]])
    return np.concatenate([np.zeros(3), [np.cos(rest / 2)], -np.sin(rest / 2) * axis])


def _moving(model: mujoco.MjModel, joint: int) -> dict[str, object]:
    low, high = model.jnt_range[joint] if model.jnt_limited[joint] else (-1e3, 1e3)
    return {"kind": KINDS[int(model.jnt_type[joint])], "axis": model.jnt_axis[joint], "low": low, "high": high}


def _joint(
    root: Element, name: str, parent: str, child: str, place: np.ndarray, moving: dict[str, object] | None = None
) -> None:
    kind = str(moving["kind"]) if moving else "fixed"
    joint = SubElement(root, "joint", name=name, type=kind)
    SubElement(joint, "parent", link=parent)
    SubElement(joint, "child", link=child)
    SubElement(joint, "origin", xyz=_numbers(place[:3]), rpy=_numbers(_angles(matrices(place[3:]))))
    if moving:
        SubElement(joint, "axis", xyz=_numbers(np.asarray(moving["axis"])))
        bounds = {"lower": repr(float(moving["low"])), "upper": repr(float(moving["high"]))}  # type: ignore[arg-type]
        SubElement(joint, "limit", bounds, effort="1", velocity="1")


def _angles(rotation: np.ndarray) -> np.ndarray:
    """Roll, pitch, yaw [rad] of R = R_z(yaw) R_y(pitch) R_x(roll), exact where roll and yaw are one turn too."""
    r = rotation
    yaw = np.arctan2(r[1, 0], r[0, 0])
    pitch = np.arctan2(-r[2, 0], np.hypot(r[0, 0], r[1, 0]))
    # whatever yaw was taken, roll is what is left of the turn
    roll = np.arctan2(np.sin(yaw) * r[0, 2] - np.cos(yaw) * r[1, 2], np.cos(yaw) * r[1, 1] - np.sin(yaw) * r[0, 1])
    return np.array([roll, pitch, yaw])


def _numbers(values: np.ndarray) -> str:
    return " ".join(repr(float(each)) for each in values)
