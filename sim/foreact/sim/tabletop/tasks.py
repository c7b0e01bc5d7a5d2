"""Five tasks of the arm on its table; 20 Hz, actions (N, 4): the hand's way in x, y, z and the jaws.

Rewards lie in [0, 1] per step. Shape letters: N = worlds, n = selected worlds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from foreact.sim.random import WorldRandom
from foreact.sim.tabletop.arm import ACTION_HIGH, ACTION_LOW, HOME, aim, hand_position, jaw_opening, move_hand, opened
from foreact.sim.tabletop.scenes import CUBE, DRAWER_WAY, HANDLE, cube, drawer, goal, scene
from foreact.sim.task import Event, Field, Measure, SimTask
from foreact.sim.views import Views

__all__ = ["CARRIED", "CLEAR", "ON_TOP", "TASKS", "arm_drawer", "arm_lift", "arm_push", "arm_reach", "arm_stack",
           "arm_task", "hand", "handle", "length", "position"]  # fmt: skip

ARM_JOINTS = 9
CARRIED = 0.1  # height that a cube must be lifted to [m]
CLEAR = 0.06  # opening of the jaws from which a cube counts as let go [m]
ON_TOP = (0.02, 0.006)  # how far a stacked cube may be off its place, sideways and in height [m]
NEAR_GOAL = 0.03  # [m]
PULLED = 0.75 * DRAWER_WAY  # [m]
RED, BLUE = "0.85 0.2 0.15", "0.15 0.3 0.8"


def hand(views: Views) -> Any:
    """The point between the finger tips, (N, 3) [m]; from the joints, so it is never a sub-step old."""
    return hand_position(views.xp, views.qpos)


def position(number: int) -> Measure:
    """Where free object `number` is, (N, 3) [m]."""
    start = ARM_JOINTS + 7 * number
    return lambda views: views.qpos[:, start : start + 3]


def handle(views: Views) -> Any:
    """The middle of the drawer's handle, (N, 3) [m]."""
    place = views.mocap_pos[:, 0] + views.like(HANDLE)
    place[:, 0] -= views.qpos[:, ARM_JOINTS]
    return place


def arm_reach() -> SimTask:
    """Bring the finger tips to a point in space."""

    def miss(views: Views) -> Any:
        return length(_goal(views) - hand(views))

    return arm_task(
        "arm-reach",
        (goal(flat=False),),
        limit=60,
        start=(_rest, _goal_anywhere((0.35, -0.25, 0.05), (0.65, 0.25, 0.35))),
        observe=(_goal,),
        reward=((1.0, lambda views: _near(views, miss(views))),),
        success=lambda views: miss(views) < 0.02,
        instruction="reach the green ball",
        cameras=("front", "wrist"),
    )


def arm_push() -> SimTask:
    """Push a cube along the table onto a disc."""

    def miss(views: Views) -> Any:
        return length((_goal(views) - position(0)(views))[:, :2])

    def start(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        place = _put_cube(views, ids, random, 0, (0.42, -0.15), (0.55, 0.15))
        draw = random.uniform(ids, 2, np.array([0.10, -np.pi]), np.array([0.15, np.pi]))
        offset = draw[:, :1] * np.stack([np.cos(draw[:, 1]), np.sin(draw[:, 1])], axis=1)
        views.mocap_pos[ids, 0, :2] = views.like(place + offset)

    return arm_task(
        "arm-push",
        (cube("cube", RED), goal(flat=True)),
        limit=150,
        start=(_rest, start),
        observe=(Field("qpos", 9), Field("qvel", 9), lambda views: _goal(views)[:, :2]),
        reward=(
            (0.3, lambda views: _near(views, length(position(0)(views) - hand(views)))),
            (0.7, lambda views: _near(views, miss(views))),
        ),
        success=lambda views: miss(views) < NEAR_GOAL,
        instruction="push the red cube onto the green disc",
        cameras=("front", "wrist"),
    )


def arm_lift() -> SimTask:
    """Grasp a cube and lift it."""

    def height(views: Views) -> Any:
        return views.qpos[:, 11] - CUBE

    return arm_task(
        "arm-lift",
        (cube("cube", RED),),
        limit=100,
        start=(_rest, _cube_anywhere(0, (0.37, -0.22), (0.62, 0.22))),
        observe=(Field("qpos", 9), Field("qvel", 9)),
        reward=(
            (0.3, lambda views: _near(views, length(position(0)(views) - hand(views)))),
            (0.7, lambda views: views.xp.clip(height(views) / CARRIED, 0.0, 1.0)),
        ),
        success=lambda views: height(views) > CARRIED,
        instruction="lift the red cube",
        cameras=("front", "wrist"),
    )


def arm_stack() -> SimTask:
    """Put one cube on another and let it go."""

    def miss(views: Views) -> Any:
        above = position(1)(views) - position(0)(views)
        above[:, 2] += 2 * CUBE
        return above

    def start(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        # one to the right and one to the left, which of them is drawn too
        side = np.where(random.uniform(ids, 1)[:, 0] < 0.5, -1.0, 1.0)
        for number, sign in ((0, side), (1, -side)):
            place = _put_cube(views, ids, random, number, (0.38, 0.05), (0.6, 0.2))
            views.qpos[ids, ARM_JOINTS + 7 * number + 1] = views.like(sign * place[:, 1])

    def stacked(views: Views) -> Any:
        off = views.xp.abs(miss(views))
        resting = (length(off[:, :2]) < ON_TOP[0]) & (off[:, 2] < ON_TOP[1])
        return resting & (jaw_opening(views) > CLEAR)

    return arm_task(
        "arm-stack",
        (cube("upper", RED), cube("lower", BLUE)),
        limit=150,
        start=(_rest, start),
        observe=(Field("qpos", 9), Field("qvel", 9)),
        reward=(
            (0.2, lambda views: _near(views, length(position(0)(views) - hand(views)))),
            (0.5, lambda views: _near(views, length(miss(views)))),
            (0.3, stacked),
        ),
        success=stacked,
        instruction="put the red cube on the blue cube",
        cameras=("front", "wrist"),
    )


def arm_drawer() -> SimTask:
    """Pull a drawer open by its handle."""

    def start(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        draw = random.uniform(ids, 2, np.array([0.57, -0.15]), np.array([0.62, 0.15]))
        views.mocap_pos[ids, 0, :2] = views.like(draw)

    def way(views: Views) -> Any:
        return views.qpos[:, ARM_JOINTS]

    return arm_task(
        "arm-drawer",
        (drawer(),),
        limit=120,
        start=(_rest, start),
        observe=(Field("qpos", 9), Field("qvel", 9), handle),
        reward=(
            (0.3, lambda views: _near(views, length(handle(views) - hand(views)))),
            (0.7, lambda views: views.xp.clip(way(views) / PULLED, 0.0, 1.0)),
        ),
        success=lambda views: way(views) > PULLED,
        instruction="open the drawer",
        cameras=("front", "wrist"),
    )


TASKS: Mapping[str, Callable[[], SimTask]] = {
    "arm-reach": arm_reach, "arm-push": arm_push, "arm-lift": arm_lift, "arm-stack": arm_stack,
    "arm-drawer": arm_drawer,
}  # fmt: skip


def arm_task(name: str, things: Sequence[str], observe: Sequence[Measure], sensors: str = "", **rest: Any) -> SimTask:
    """A task of the arm on its table at 20 Hz.

    Args:
        name: Of the task.
        things: MJCF of what is on the table.
        observe: What is seen after joint positions and velocities, hand and its target.
        sensors: MJCF of a `sensor` section, if there is one.
        rest: Further attributes of `SimTask`.
    """
    return SimTask(
        name=name,
        model=scene(name, *things, sensors=sensors),
        substeps=5,
        observe=(Field("qpos", 0, ARM_JOINTS), Field("qvel", 0, ARM_JOINTS), hand, aim, *observe),
        act=move_hand,
        low=ACTION_LOW,
        high=ACTION_HIGH,
        **rest,
    )


def _rest(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
    """The arm above the table near `HOME`, its targets where it is."""
    noise = random.uniform(ids, 3, -0.03, 0.03)
    start = opened(np.array(HOME) + noise)
    views.qpos[ids, :ARM_JOINTS] = views.like(start)
    views.ctrl[ids] = views.like(start)


def _goal(views: Views) -> Any:
    return views.mocap_pos[:, 0]


def _goal_anywhere(low: Sequence[float], high: Sequence[float]) -> Event:
    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        views.mocap_pos[ids, 0] = views.like(random.uniform(ids, 3, np.array(low), np.array(high)))

    return event


def _cube_anywhere(number: int, low: Sequence[float], high: Sequence[float]) -> Event:
    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        _put_cube(views, ids, random, number, low, high)

    return event


def _put_cube(
    views: Views, ids: np.ndarray, random: WorldRandom, number: int, low: Sequence[float], high: Sequence[float]
) -> np.ndarray:
    """Lay a cube down, turned by up to 0.25 rad; where, (n, 2) [m]."""
    draw = random.uniform(ids, 3, np.array([*low, -0.25]), np.array([*high, 0.25]))
    start, half = ARM_JOINTS + 7 * number, draw[:, 2] / 2
    still = np.zeros(len(ids))
    pose = [draw[:, 0], draw[:, 1], still + CUBE, np.cos(half), still, still, np.sin(half)]
    views.qpos[ids, start : start + 7] = views.like(np.stack(pose, axis=1))
    return draw[:, :2]


def _near(views: Views, distance: Any) -> Any:
    """1 at no distance, 0.24 at 20 cm."""
    return 1 - views.xp.tanh(5 * distance)


def length(vector: Any) -> Any:
    """Euclidean norm of the last axis."""
    return (vector**2).sum(-1) ** 0.5
