"""Scripted experts for the two ALOHA tasks: poses of both grippers, made from where the objects lie, and ways between.

An expert plans when an episode starts: every key pose becomes joint angles in closed form. A step then costs one
interpolation for all worlds. Shape letters: N = worlds, n = worlds that start; arms are left, right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.sim.aloha.kinematics import joint_angles, rotation
from foreact.sim.aloha.tasks import START
from foreact.sim.backends.base import on_host
from foreact.sim.views import Views

__all__ = ["EXPERTS", "Key", "Pose", "ScriptExpert", "insertion_script", "transfer_script"]

ARMS = START.reshape(2, 8)[:, :6]
SHUT, OPEN = 0.0, 1.0  # openings of a gripper
DOWN = (0.0, 1.2, 0.0)  # gripper tilted down steeply; the wrist then stays away from its singular, straight pose
# How far above an object's middle it is gripped [m], so that the tips stay clear of the table.
PEG_GRIP, SOCKET_GRIP = 0.012, 0.005
LEVEL_ROLLED = (0.0, 0.0, np.pi / 2)  # gripper level, one finger above the other


@dataclass(frozen=True)
class Pose:
    """Where a gripper is to be.

    Attributes:
        place: Point between the finger tips in the world, (n, 3) [m]; None is the start pose.
        angles: Yaw, pitch and roll in the frame of the arm's base [rad].
        opening: Of the gripper, 0 to 1.
    """

    place: np.ndarray | None = None
    angles: tuple[float, float, float] = DOWN
    opening: float = SHUT


@dataclass(frozen=True)
class Key:
    """Poses of both grippers at a control step of the episode."""

    step: int
    left: Pose
    right: Pose


Script = Callable[[np.ndarray], Sequence[Key]]
"""Key poses in rising order of their steps, the first at 0, for objects that lie at (n, objects, 2) [m]."""


class ScriptExpert:
    """Follows a script in every world, each at its own time; worlds that were never planned stand still.

    Args:
        script: The plan; its steps must not depend on the objects.
    """

    def __init__(self, script: Script) -> None:
        self._script = script
        self._time = np.zeros(0, int)
        self._steps = np.zeros(0, int)
        self._joints = np.zeros((0, 0, 2, 6))
        self._openings = np.zeros((0, 2))

    def reset(self, views: Views, ids: np.ndarray) -> None:
        """Plan new episodes in some worlds, int (n,); the objects must be at their places."""
        qpos = on_host(views.qpos)[ids]
        objects = qpos[:, 16:].reshape(len(ids), (qpos.shape[1] - 16) // 7, 7)[:, :, :2]
        keys = self._script(objects)
        self._steps = np.array([key.step for key in keys])
        self._openings = np.array([[key.left.opening, key.right.opening] for key in keys])
        if len(self._time) != views.nworld:
            self._time = np.zeros(views.nworld, int)
            self._joints = np.tile(ARMS, (views.nworld, len(keys), 1, 1))
        self._time[ids] = 0
        self._joints[ids] = np.stack([_key_joints(key, len(ids)) for key in keys], axis=1)

    def __call__(self, views: Views) -> Any:
        """The next action of all worlds, float32 (N, 14), where the worlds are."""
        plan, opening = self._planned()
        self._time += 1
        action, xp = np.concatenate([plan, opening[:, :, None]], axis=2), views.xp
        return xp.asarray(action.reshape(-1, 14), dtype=xp.float32, device=views.qpos.device)

    def _planned(self) -> tuple[np.ndarray, np.ndarray]:
        """Joint angles (N, 2, 6) [rad] and openings (N, 2) of the plan at each world's time."""
        later = np.clip(np.searchsorted(self._steps, self._time, side="right"), 1, len(self._steps) - 1)
        begin, end = self._steps[later - 1], self._steps[later]
        part = np.clip((self._time - begin) / (end - begin), 0.0, 1.0)
        # 3 s^2 - 2 s^3: at rest at both ends
        part = (part**2 * (3 - 2 * part))[:, None, None]
        worlds = np.arange(len(self._time))
        first, second = self._joints[worlds, later - 1], self._joints[worlds, later]
        plan = first + part * (second - first)
        opening = self._openings[later - 1] + part[:, 0] * (self._openings[later] - self._openings[later - 1])
        return plan, opening


def transfer_script(objects: np.ndarray) -> list[Key]:
    """The right gripper takes the cube from above and holds it out; the left one takes it from the side."""
    cube = _at(objects[:, 0], 0.02)
    above, grasp = cube + _up(0.1), cube + _up(0.004)
    meet = np.broadcast_to([0.0, 0.5, 0.25], cube.shape)
    beside, take = meet + _right(-0.10), meet + _right(-0.008)

    def left(place: np.ndarray, opening: float) -> Pose:
        return Pose(place, LEVEL_ROLLED, opening)

    home = Pose()
    return [
        Key(0, home, home),
        Key(60, home, Pose(above, DOWN, OPEN)),
        Key(95, home, Pose(grasp, DOWN, OPEN)),
        Key(105, home, Pose(grasp, DOWN, OPEN)),
        Key(125, home, Pose(grasp, DOWN, SHUT)),
        Key(165, left(beside, OPEN), Pose(above, DOWN, SHUT)),
        Key(215, left(beside, OPEN), Pose(meet, DOWN, SHUT)),
        Key(265, left(take, OPEN), Pose(meet, DOWN, SHUT)),
        Key(290, left(take, SHUT), Pose(meet, DOWN, SHUT)),
        Key(310, left(take, SHUT), Pose(meet, DOWN, OPEN)),
        Key(350, left(take, SHUT), Pose(meet + _up(0.1) + _right(0.05), DOWN, OPEN)),
        Key(390, left(beside, SHUT), Pose(meet + _up(0.1) + _right(0.05), DOWN, OPEN)),
    ]


def insertion_script(objects: np.ndarray) -> list[Key]:
    """Both grippers take their object from above, lift it, and push the peg into the socket in the middle."""
    peg, socket = _at(objects[:, 0], 0.01 + PEG_GRIP), _at(objects[:, 1], 0.022 + SOCKET_GRIP)
    middle = np.broadcast_to([0.0, 0.5, 0.19], peg.shape)
    holder = middle + _right(-0.05) + _up(SOCKET_GRIP)
    aside, inside = (middle + _right(way) + _up(PEG_GRIP) for way in (0.11, 0.03))

    def both(step: int, left: np.ndarray, right: np.ndarray, opening: float) -> Key:
        return Key(step, Pose(left, DOWN, opening), Pose(right, DOWN, opening))

    return [
        Key(0, Pose(), Pose()),
        both(60, socket + _up(0.1), peg + _up(0.1), OPEN),
        both(95, socket, peg, OPEN),
        both(105, socket, peg, OPEN),
        both(125, socket, peg, SHUT),
        both(165, socket + _up(0.1), peg + _up(0.1), SHUT),
        both(225, holder, aside, SHUT),
        both(245, holder, aside, SHUT),
        both(325, holder, inside, SHUT),
    ]


EXPERTS: dict[str, Callable[[], ScriptExpert]] = {
    "aloha-transfer-cube": lambda: ScriptExpert(transfer_script),
    "aloha-insertion": lambda: ScriptExpert(insertion_script),
}


def _key_joints(key: Key, count: int) -> np.ndarray:
    """Joint angles of both arms, (n, 2, 6) [rad]."""
    poses = (key.left, key.right)
    place = np.stack([np.zeros((count, 3)) if pose.place is None else pose.place for pose in poses], axis=1)
    turned = rotation(np.array([pose.angles for pose in poses]))
    found = joint_angles(place, np.broadcast_to(turned, (count, 2, 3, 3)))
    at_start = np.array([pose.place is None for pose in poses])
    return np.where(at_start[:, None], ARMS, found)


def _at(xy: np.ndarray, height: float) -> np.ndarray:
    return np.concatenate([xy, np.full((len(xy), 1), height)], axis=1)


def _up(distance: float) -> np.ndarray:
    return np.array([0.0, 0.0, distance])


def _right(distance: float) -> np.ndarray:
    return np.array([distance, 0.0, 0.0])
