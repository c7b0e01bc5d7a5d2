"""The frame of a hand from its joints, made in the same way for people and for robot hands.

z points from the wrist to the middle finger's knuckle, y out of the palm, x completes them (to the little finger on a
right hand, to the thumb on a left one). Shape letters: ... = any leading shape, J = 20 joints.
"""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from foreact.episodes.sources import SourceError
from foreact.sim.retarget.joints import AT, FINGERS
from foreact.sim.retarget.poses import crossed, quaternions

__all__ = ["Side", "grasp_poses", "one_grasp", "palm_axes", "pinch", "require_side"]

Side = Literal["left", "right"]
BACKWARDS = 0.010  # [m] no hand that is stretched does so
CORNERS = [AT[name] for name in ("wrist", "index knuckle", "middle knuckle", "little knuckle")]
TIPS = [AT["thumb tip"], AT["index tip"]]


def palm_axes(wrist: np.ndarray, index: np.ndarray, middle: np.ndarray, little: np.ndarray, side: Side) -> np.ndarray:
    """Axes of a palm as columns, (..., 3, 3).

    Args:
        wrist: Its place, (..., 3) [m].
        index: Knuckle of the index finger.
        middle: Knuckle of the middle finger.
        little: Knuckle of the little finger.
        side: Of the body; it decides which way is out of the palm.
    """
    # z = unit(middle - wrist), n = (index - wrist) x (little - wrist), y = unit(n - (n z) z), x = y x z
    z = _unit(middle - wrist)
    normal = crossed(index - wrist, little - wrist)
    if side == "left":
        normal = -normal
    y = _unit(normal - (normal * z).sum(-1, keepdims=True) * z)
    return np.stack([crossed(y, z), y, z], axis=-1)


def grasp_poses(joints: np.ndarray, side: Side) -> np.ndarray:
    """Poses (..., 7) of the grasp: midway between the tips of thumb and index finger, turned like the palm.

    A gripper's z is its approach and y the way in which its fingers move. Not finite where joints are not, or where
    the palm has no direction.

    Args:
        joints: (..., J, 3) [m].
        side: Of the body.
    """
    corners = [joints[..., at, :] for at in CORNERS]
    turn = quaternions(palm_axes(corners[0], corners[1], corners[2], corners[3], side))
    return np.concatenate([(joints[..., TIPS[0], :] + joints[..., TIPS[1], :]) / 2, turn], axis=-1)


def one_grasp(joints: np.ndarray, side: Side) -> tuple[list[float], float]:
    """`grasp_poses` and `pinch` of one frame, (J, 3) [m], in single numbers: a tenth of the time."""
    wrist, index, middle, little, thumb, tip = joints[[*CORNERS, *TIPS]].tolist()
    sign = -1.0 if side == "left" else 1.0
    try:
        z = _one_unit(_less(middle, wrist))
        n = _one_crossed(_less(index, wrist), _less(little, wrist))
        along = n[0] * z[0] + n[1] * z[1] + n[2] * z[2]
        y = _one_unit([sign * (each - along * axis) for each, axis in zip(n, z, strict=True)])
    except ZeroDivisionError:
        return [math.nan] * 7, math.dist(thumb, tip)
    x = _one_crossed(y, z)
    middle_of_tips = [(one + other) / 2.0 for one, other in zip(thumb, tip, strict=True)]
    return [*middle_of_tips, *_one_quaternion(x, y, z)], math.dist(thumb, tip)


def _one_quaternion(x: list[float], y: list[float], z: list[float]) -> list[float]:
    """Of the rotation with these columns, w >= 0."""
    xx, yy, zz = x[0], y[1], z[2]
    wx, wy, wz = y[2] - z[1], z[0] - x[2], x[1] - y[0]
    xy, xz, yz = y[0] + x[1], z[0] + x[2], z[1] + y[2]
    rows = (
        [1.0 + xx + yy + zz, wx, wy, wz],
        [wx, 1.0 + xx - yy - zz, xy, xz],
        [wy, xy, 1.0 - xx + yy - zz, yz],
        [wz, xz, yz, 1.0 - xx - yy + zz],
    )
    place = max(range(4), key=lambda each: rows[each][each])
    best = rows[place]
    length = math.copysign(math.sqrt(sum(each * each for each in best)), best[0])
    return [each / length for each in best]


def _less(one: list[float], other: list[float]) -> list[float]:
    return [one[0] - other[0], one[1] - other[1], one[2] - other[2]]


def _one_unit(vector: list[float]) -> list[float]:
    length = math.sqrt(vector[0] * vector[0] + vector[1] * vector[1] + vector[2] * vector[2])
    return [vector[0] / length, vector[1] / length, vector[2] / length]


def _one_crossed(a: list[float], b: list[float]) -> list[float]:
    return [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]


def pinch(joints: np.ndarray) -> np.ndarray:
    """Distances (...) [m] between the tips of thumb and index finger of joints (..., J, 3) [m]."""
    return np.sqrt(((joints[..., TIPS[0], :] - joints[..., TIPS[1], :]) ** 2).sum(-1))


def require_side(joints: np.ndarray, side: Side, name: str) -> None:
    """Refuse hands whose fingers bend backwards: they are of the other side, or their frame is a mirror image.

    Args:
        joints: Finite, (n, J, 3) [m]; n = 0 passes.
        side: Of the body.
        name: Of the stream, for the message.

    Raises:
        SourceError: In the median over samples the tips of four fingers lie more than 10 mm behind their knuckles.
    """
    if not len(joints):
        return
    corners = [joints[:, at] for at in CORNERS]
    out = palm_axes(corners[0], corners[1], corners[2], corners[3], side)[..., 1]
    bends = [((joints[:, AT[f"{each} tip"]] - joints[:, AT[f"{each} knuckle"]]) * out).sum(-1) for each in FINGERS[1:]]
    if (bend := float(np.median(np.mean(bends, axis=0)))) < -BACKWARDS:
        other = "right" if side == "left" else "left"
        raise SourceError(
            f"stream {name}: the fingers of this {side} hand bend backwards by {-1e3 * bend:.0f} mm. Its frame is a"
            f" mirror image, as gloves' often are (type mirrored=true), or it is a {other} hand (type side={other})"
        )


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.sqrt((vector * vector).sum(-1, keepdims=True))
