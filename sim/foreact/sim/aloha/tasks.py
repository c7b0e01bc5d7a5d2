"""Two tasks for two arms, as in ALOHA (Zhao et al. 2023, arXiv 2304.13705): hand over a cube, put a peg into a socket.

Actions, starts, rewards and ends are those of gym-aloha 0.1.5. An action is, for the left arm and then for the right
one, six joint targets [rad] and the opening of the gripper, 0 closed and 1 open. The reward of a step is its stage,
0 to 4. Shape letters: N = worlds, n = selected worlds, k = pairs of geoms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.sim.aloha.scene import LEFT_FINGER, RIGHT_FINGER, scene
from foreact.sim.random import WorldRandom
from foreact.sim.task import Event, Field, Measure, SimTask
from foreact.sim.views import Views

if TYPE_CHECKING:
    import mujoco

__all__ = ["START", "insertion", "insertion_model", "transfer_cube", "transfer_model"]

CLOSED, OPEN = 0.01844, 0.05800  # finger positions that an opening of 0 and of 1 stand for [m]
START = np.array([0.0, -0.96, 1.16, 0.0, -0.3, 0.0, 0.02239, -0.02239] * 2)  # [rad, m]
ARM_LOW = (-3.14158, -1.85005, -1.76278, -3.14158, -1.8675, -3.14158, 0.0)
ARM_HIGH = (3.14158, 1.25664, 1.6057, 3.14158, 2.23402, 3.14158, 1.0)
HEIGHT = 0.05  # from which objects fall to the table [m]

SOCKET = tuple(f"socket-{wall}" for wall in (1, 2, 3, 4))
CUBE_PAIRS = (("red_box", LEFT_FINGER), ("red_box", RIGHT_FINGER), ("red_box", "table"))
PEG_PAIRS = (
    ("red_peg", RIGHT_FINGER),
    *((wall, LEFT_FINGER) for wall in SOCKET),
    ("red_peg", "table"),
    *((wall, "table") for wall in SOCKET),
    *(("red_peg", wall) for wall in SOCKET),
    ("red_peg", "pin"),
)


def transfer_model() -> mujoco.MjModel:
    """The scene with the cube."""
    return scene("bimanual_viperx_transfer_cube.xml", CUBE_PAIRS)


def insertion_model() -> mujoco.MjModel:
    """The scene with peg and socket."""
    return scene("bimanual_viperx_insertion.xml", PEG_PAIRS)


def transfer_cube() -> SimTask:
    """The right arm picks up a cube and hands it to the left one; 50 Hz."""

    def stage(views: Views) -> Any:
        left, right, table = _touching(views, CUBE_PAIRS).T
        return _highest((1, right), (2, right & ~table), (3, left), (4, left & ~table))

    return _task(
        name="aloha-transfer-cube",
        model=transfer_model,
        stage=stage,
        place=partial(_scatter, ((0.0, 0.2),)),
        instruction="pick up the cube with the right arm and hand it to the left arm",
    )


def insertion() -> SimTask:
    """The right arm picks up a peg, the left one a socket, and they put one into the other; 50 Hz."""

    def stage(views: Views) -> Any:
        touching = _touching(views, PEG_PAIRS)
        peg_held, inserted = touching[:, 0], touching[:, 14]
        socket_held, on_table, mated = (touching[:, each].any(1) for each in (slice(1, 5), slice(5, 10), slice(10, 14)))
        held, in_air = peg_held & socket_held, ~on_table
        return _highest((1, held), (2, held & in_air), (3, mated & in_air), (4, inserted))

    return _task(
        name="aloha-insertion",
        model=insertion_model,
        stage=stage,
        place=partial(_scatter, ((0.1, 0.2), (-0.2, -0.1))),
        instruction="pick up the peg and the socket and insert the peg",
    )


def _task(name: str, model: Callable[[], mujoco.MjModel], stage: Measure, place: Event, instruction: str) -> SimTask:
    def solved(views: Views) -> Any:
        return stage(views) == 4

    return SimTask(
        name=name,
        model=model,
        substeps=10,
        limit=400,
        observe=(_arms("qpos", CLOSED), _arms("qvel", 0.0), Field("qpos", 16)),
        reward=((1.0, stage),),
        terminate=(solved,),
        success=solved,
        start=(_arms_at_start, place),
        act=_act,
        low=ARM_LOW * 2,
        high=ARM_HIGH * 2,
        # contact sensors belong to the last stage of a step; gym-aloha, too, sees the contacts of the new state
        fresh="acceleration",
        warp={"contacts": 120, "constraints": 500},  # with the engine's own room fingers pass through objects
        instruction=instruction,
    )


def _touching(views: Views, pairs: Sequence[tuple[str, str]]) -> Any:
    """Whether pairs of geoms touch, bool (N, k)."""
    # the models have no other sensors, so these stand in the order of the pairs; stages ask three times a step
    return views.sensordata[:, : len(pairs)] > 0


def _highest(*stages: tuple[int, Any]) -> Any:
    """The last stage that holds, int (N,), for stages in rising order."""
    reached = 0 * stages[0][1]
    for number, holds in stages:
        # max(reached, number) where it holds
        reached = reached + (number - reached) * holds
    return reached


def _arms(field: str, zero: float) -> Measure:
    """Positions or velocities of six joints and the gripper of both arms, (N, 14); the gripper's scaled to [0, 1]."""

    def measure(views: Views) -> Any:
        values = getattr(views, field)
        grips = (values[:, [6, 14]] - zero) / (OPEN - CLOSED)
        return views.xp.concatenate([values[:, :6], grips[:, :1], values[:, 8:14], grips[:, 1:]], axis=1)

    return measure


def _act(views: Views, action: Any) -> None:
    ctrl = views.ctrl
    for arm, place in enumerate((0, 8)):
        ctrl[:, place : place + 6] = action[:, 7 * arm : 7 * arm + 6]
        finger = CLOSED + (OPEN - CLOSED) * action[:, 7 * arm + 6]
        ctrl[:, place + 6], ctrl[:, place + 7] = finger, -finger


def _arms_at_start(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
    start = views.like(START)
    views.qpos[ids, :16] = start
    views.ctrl[ids] = start


def _scatter(ranges: tuple[tuple[float, float], ...], views: Views, ids: np.ndarray, random: WorldRandom) -> None:
    """Objects one after the other, upright above the table: x in these ranges, y within 0.1 m of the bases' line."""
    pose = np.zeros((len(ids), len(ranges), 7))
    low, high = np.array(ranges).T
    draw = random.uniform(ids, 2 * len(ranges)).reshape(len(ids), -1, 2)
    pose[..., 0] = low + (high - low) * draw[..., 0]
    pose[..., 1] = 0.4 + 0.2 * draw[..., 1]
    pose[..., 2], pose[..., 3] = HEIGHT, 1.0
    views.qpos[ids, 16:] = views.like(pose.reshape(len(ids), -1))
