"""Both ViperX 300 arms of the ALOHA scene: where a gripper is, and joint angles that put it somewhere, in closed form.

The last three joint axes meet in one point, so the inverse splits (Pieper 1968): waist, shoulder and elbow bring that
point to its place in a plane, and the wrist turns the gripper by Euler angles about x, y and x. That is exact at any
distance; damped least squares would need some iterations from a good start for the same answer.

At zero angles every link frame is parallel to the arm's base, x towards the other arm, z up; the gripper points along x
and its fingers move along y. Shape letters: ... = any leading shape; the arms are left, right.
"""

from __future__ import annotations

import numpy as np

__all__ = ["BASE", "BASE_YAW", "TOOL", "gripper_pose", "joint_angles", "rotation"]

BASE = np.array([[-0.469, 0.5, 0.0], [0.469, 0.5, 0.0]])  # of the left and the right arm, in the world [m]
BASE_YAW = np.array([0.0, 3.1416])  # [rad]; the model's own rounding of pi
SHOULDER = 0.079 + 0.04805  # height of the shoulder's axis [m]
UPPER = np.array([0.05955, 0.3])  # from shoulder to elbow at zero angles: forwards, up [m]
FOREARM = 0.3  # from elbow to wrist [m]
HAND = 0.069744  # from the wrist to the gripper's frame [m]
TOOL = 0.14  # from there to the point between the finger tips, 14 mm before their ends [m]

REACH = float(np.hypot(*UPPER))
RISE = float(np.arctan2(UPPER[1], UPPER[0]))


def gripper_pose(q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the points between the finger tips are and how the grippers are turned.

    Args:
        q: Waist, shoulder, elbow, forearm roll, wrist angle, wrist rotate of both arms, (..., 2, 6) [rad].

    Returns:
        Positions in the world frame (..., 2, 3) [m]; rotations from gripper to arm base, (..., 2, 3, 3).
    """
    waist, shoulder, elbow, roll, wrist, turn = np.moveaxis(q, -1, 0)
    forearm = shoulder + elbow
    # positive angles about y lower what points forwards
    out = UPPER[0] * np.cos(shoulder) + UPPER[1] * np.sin(shoulder) + FOREARM * np.cos(forearm)
    up = UPPER[1] * np.cos(shoulder) - UPPER[0] * np.sin(shoulder) - FOREARM * np.sin(forearm) + SHOULDER
    turned = _about_z(waist) @ _about_y(forearm) @ _about_x(roll) @ _about_y(wrist) @ _about_x(turn)
    centre = np.stack([out * np.cos(waist), out * np.sin(waist), up], axis=-1)
    place = centre + (HAND + TOOL) * turned[..., :, 0]
    return BASE + np.einsum("aij,...aj->...ai", _about_z(BASE_YAW), place), turned


def joint_angles(place: np.ndarray, turned: np.ndarray) -> np.ndarray:
    """Joint angles that bring both grippers to a pose, elbow up, forearm rolled by a quarter turn at most.

    Args:
        place: Positions in the world frame (..., 2, 3) [m]; what is out of reach becomes the nearest in its direction.
        turned: Rotations from gripper to arm base, (..., 2, 3, 3).

    Returns:
        Angles (..., 2, 6) [rad], not clipped to the joints' ranges.
    """
    place = np.einsum("aji,...aj->...ai", _about_z(BASE_YAW), place - BASE)
    centre = place - (HAND + TOOL) * turned[..., :, 0]
    waist = np.arctan2(centre[..., 1], centre[..., 0])
    out, up = np.hypot(centre[..., 0], centre[..., 1]), centre[..., 2] - SHOULDER
    distance = np.clip(np.hypot(out, up), abs(REACH - FOREARM) + 1e-6, REACH + FOREARM)
    elevation = np.arctan2(up, out)
    # law of cosines in the triangle of shoulder, elbow and wrist
    at_shoulder = _angle(REACH, FOREARM, distance)
    at_wrist = _angle(FOREARM, REACH, distance)
    shoulder = RISE - elevation - at_shoulder
    forearm = at_wrist - elevation
    # what is left for the wrist: M = R_x(roll) R_y(wrist) R_x(turn), M e_x = (cos w, sin r sin w, -cos r sin w)
    left = np.swapaxes(_about_z(waist) @ _about_y(forearm), -1, -2) @ turned
    sign = np.where(left[..., 2, 0] <= 0, 1.0, -1.0)
    roll = np.arctan2(sign * left[..., 1, 0], -sign * left[..., 2, 0])
    wrist = np.arctan2(sign * np.hypot(left[..., 1, 0], left[..., 2, 0]), left[..., 0, 0])
    rest = np.swapaxes(_about_x(roll) @ _about_y(wrist), -1, -2) @ left
    turn = np.arctan2(rest[..., 2, 1], rest[..., 1, 1])
    return np.stack([waist, shoulder, forearm - shoulder, roll, wrist, turn], axis=-1)


def rotation(angles: np.ndarray) -> np.ndarray:
    """Rotations R_z(yaw) R_y(pitch) R_x(roll), (..., 3, 3), of angles (..., 3) [rad]; positive pitch points down."""
    return _about_z(angles[..., 0]) @ _about_y(angles[..., 1]) @ _about_x(angles[..., 2])


def _angle(beside: float, opposite: float, distance: np.ndarray) -> np.ndarray:
    cosine = (beside**2 + distance**2 - opposite**2) / (2 * beside * distance)
    return np.arccos(np.clip(cosine, -1.0, 1.0))


def _about_x(angle: np.ndarray) -> np.ndarray:
    return _about(angle, 1, 2)


def _about_y(angle: np.ndarray) -> np.ndarray:
    return _about(angle, 2, 0)


def _about_z(angle: np.ndarray) -> np.ndarray:
    return _about(angle, 0, 1)


def _about(angle: np.ndarray, first: int, second: int) -> np.ndarray:
    """Turns from the first axis towards the second."""
    turn = np.zeros((*np.shape(angle), 3, 3))
    turn[...] = np.eye(3)
    cosine, sine = np.cos(angle), np.sin(angle)
    turn[..., first, first] = turn[..., second, second] = cosine
    turn[..., second, first], turn[..., first, second] = sine, -sine
    return turn
