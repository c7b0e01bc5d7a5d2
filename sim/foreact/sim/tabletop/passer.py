"""A reach that something else may cross: a ball stands beside the way of the hand and must not be touched.

In the task itself the ball stands still; `foreact.sim.hidden.moving_distractor` lets it move. Shape letters:
N = worlds, n = selected worlds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from foreact.sim.random import WorldRandom
from foreact.sim.tabletop.arm import HOME, opened
from foreact.sim.tabletop.scenes import goal
from foreact.sim.tabletop.tasks import arm_task, hand, length
from foreact.sim.task import SimTask
from foreact.sim.views import Views

__all__ = ["PASSER", "arm_reach_passer", "passer", "touched"]

PASSER = "passer"
RADIUS = 0.04  # [m]
BESIDE = (0.13, 0.20)  # how far the ball stands from the middle of the hand's way [m]
START_X = 0.36  # of the hand [m]; goals lie ahead of it, so that who crosses the way crosses it in y

BALL = f"""<body name="{PASSER}" mocap="true" pos="0.5 0 0.2">
 <geom name="{PASSER}" type="sphere" size="{RADIUS}" rgba="0.6 0.2 0.6 1" class="still"/>
</body>"""
TOUCH = f"""<sensor><contact name="touch" subtree1="hand" geom2="{PASSER}" num="1" data="found"/></sensor>"""


def passer(views: Views) -> Any:
    """The middle of the ball, (N, 3) [m]."""
    return views.mocap_pos[:, 1]


def touched(views: Views) -> Any:
    """Whether the gripper touches the ball, bool (N,); as of the last sub-step."""
    return views.sensor("touch").data[:, 0] > 0


def arm_reach_passer() -> SimTask:
    """Bring the finger tips to a point in space and do not touch the ball."""

    def miss(views: Views) -> Any:
        return length(views.mocap_pos[:, 0] - hand(views))

    def start(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        low, high = np.array([0.55, -0.10, 0.10]), np.array([0.65, 0.10, 0.30])
        place = random.uniform(ids, 3, low, high)
        draw = random.uniform(ids, 4, np.array([-0.03, -0.08, BESIDE[0], -1.0]), np.array([0.03, 0.08, BESIDE[1], 1.0]))
        first = np.array([START_X, 0.0, HOME[2] - 0.03]) + np.stack([draw[:, 0], draw[:, 1], draw[:, 0]], axis=1)
        views.qpos[ids, :9] = views.like(opened(first))
        views.ctrl[ids] = views.like(opened(first))
        beside = (first + place) / 2
        beside[:, 1] += np.sign(draw[:, 3]) * draw[:, 2]
        views.mocap_pos[ids, 0] = views.like(place)
        views.mocap_pos[ids, 1] = views.like(beside)

    return arm_task(
        "arm-reach-passer",
        (goal(flat=False), BALL),
        limit=60,
        start=(start,),
        observe=(lambda views: views.mocap_pos[:, 0], passer),
        reward=(
            (0.7, lambda views: 1 - views.xp.tanh(5 * miss(views))),
            (0.3, lambda views: views.like(1.0) - views.like(touched(views))),
        ),
        success=lambda views: (miss(views) < 0.02) & ~touched(views),
        instruction="reach the green ball and do not touch the purple one",
        cameras=("front", "wrist"),
        sensors=TOUCH,
    )
