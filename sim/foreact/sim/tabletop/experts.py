"""Scripted experts of the tabletop tasks: what to do next follows from what is seen, for all worlds at once.

They keep nothing between steps, so they can take over in any state and need no reset. Each is called with the worlds'
`Views` and returns actions (N, 4). Shape letters: N = worlds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.sim.tabletop.arm import STEP, aim, jaw_opening
from foreact.sim.tabletop.scenes import CUBE
from foreact.sim.tabletop.tasks import CLEAR, PULLED, hand, handle, length, position
from foreact.sim.views import Views

__all__ = ["EXPERTS", "Script"]

TRAVEL = 0.12  # height at which the hand travels over things [m]
HIGH = 2 * CUBE + 0.06  # of one cube over another on the way there [m]
OPEN, CLOSED = -1.0, 1.0


def reach(views: Views) -> Any:
    """Straight to the goal, whatever stands there."""
    return _towards(views, views.mocap_pos[:, 0], OPEN)


def lift(views: Views) -> Any:
    """Above the cube, down, close, up."""
    target, held = _to_grasp(views, position(0)(views))
    raised = hand(views)
    raised[:, 2] = 0.2
    target = views.xp.where(held[:, None], raised, target)
    return _towards(views, target, views.xp.where(_at_cube(views, position(0)(views)), CLOSED, OPEN))


def stack(views: Views) -> Any:
    """Grasp one cube, carry it over the other, set it down, let go and rise."""
    xp, tip, upper = views.xp, hand(views), position(0)(views)
    off = upper - position(1)(views)
    beside = length(off[:, :2])
    placed = (beside < 0.015) & (xp.abs(off[:, 2] - 2 * CUBE) < 0.004)
    target, held = _to_grasp(views, upper)
    # what must arrive is the cube, wherever the hand holds it
    carried = tip - off
    carried[:, 2] += xp.where(beside < 0.006, 2 * CUBE, HIGH)
    low = (off[:, 2] < HIGH - 0.015) & (beside > 0.02)  # up before across
    carried[:, :2] = xp.where(low[:, None], tip[:, :2], carried[:, :2])
    away = tip + 0
    away[:, 2] = xp.where(jaw_opening(views) > CLEAR, 0.2, tip[:, 2])
    target = xp.where(held[:, None], carried, target)
    target = xp.where(placed[:, None], away, target)
    return _towards(views, target, xp.where(_at_cube(views, upper) & ~placed, CLOSED, OPEN))


def push(views: Views) -> Any:
    """Around to the far side of the cube, down, then push it towards the goal."""
    xp, tip, box = views.xp, hand(views), position(0)(views)
    way = (views.mocap_pos[:, 0] - box)[:, :2]
    left = length(way)
    ahead = way / (left[:, None] + 1e-6)
    offset = (tip - box)[:, :2]
    along = (offset * ahead).sum(-1)
    behind = (along < -CUBE) & (length(offset - along[:, None] * ahead) < 0.02)
    low = tip[:, 2] < 0.05
    start = box + 0
    start[:, :2] -= 0.065 * ahead
    start[:, 2] = xp.where(length((start - tip)[:, :2]) < 0.012, 0.02, TRAVEL)
    # straight up first, so as not to drag the cube along
    start[:, :2] = xp.where((low & ~behind)[:, None], tip[:, :2], start[:, :2])
    through = box + 0
    through[:, :2] += xp.clip(left - 0.04, -0.038, 0.0)[:, None] * ahead
    through[:, 2] = 0.02
    target = xp.where((behind & low)[:, None], through, start)
    return _towards(views, xp.where((left < 0.01)[:, None], tip, target), CLOSED)


def drawer(views: Views) -> Any:
    """Fingers closed behind the bar, then back."""
    xp, tip, bar = views.xp, hand(views), handle(views)
    gap = bar + 0
    gap[:, 0] += 0.024
    off = gap - tip
    beside = length(off[:, :2])
    hooked = (tip[:, 2] < bar[:, 2] + 0.012) & (off[:, 0] < 0.02) & (xp.abs(off[:, 1]) < 0.04)
    gap[:, 2] = xp.where(beside < 0.012, bar[:, 2] - 0.005, TRAVEL + 0.05)
    back = tip + 0
    # a little further than needed, then stay
    back[:, 0] -= xp.where(views.qpos[:, 9] < PULLED + 0.02, 0.06, 0.0)
    back[:, 2] = bar[:, 2] - 0.005
    return _towards(views, xp.where(hooked[:, None], back, gap), CLOSED)


@dataclass(frozen=True)
class Script:
    """An expert that keeps nothing between steps.

    Attributes:
        act: Actions (N, 4) for what is seen.
    """

    act: Callable[[Views], Any]

    def reset(self, views: Views, ids: np.ndarray) -> None:
        """There is nothing to start anew."""

    def __call__(self, views: Views) -> Any:
        """Actions (N, 4) for the present states."""
        return self.act(views)


EXPERTS: Mapping[str, Callable[[], Script]] = {
    "arm-reach": lambda: Script(reach), "arm-push": lambda: Script(push), "arm-lift": lambda: Script(lift),
    "arm-stack": lambda: Script(stack), "arm-drawer": lambda: Script(drawer),
    "arm-reach-passer": lambda: Script(reach),
}  # fmt: skip


def _to_grasp(views: Views, box: Any) -> tuple[Any, Any]:
    """Where the hand must go to hold a cube, (N, 3), and whether it holds it, (N,)."""
    xp, tip = views.xp, hand(views)
    beside = length((box - tip)[:, :2])
    target = box + 0
    # come down only above the cube, and not onto another one on the way
    target[:, 2] = xp.where(beside < 0.01, box[:, 2], box[:, 2] + TRAVEL)
    closed = (jaw_opening(views) < 2 * CUBE + 0.01) & (xp.abs(views.qvel[:, 7]) < 0.02)
    held = _at_cube(views, box) & closed
    return target, held


def _at_cube(views: Views, box: Any) -> Any:
    """Whether the cube is between the open or closed fingers."""
    off = views.xp.abs(hand(views) - box)
    return (length(off[:, :2]) < 0.015) & (off[:, 2] < 0.012)


def _towards(views: Views, target: Any, jaws: Any) -> Any:
    """Actions that bring the hand to `target` (N, 3), as fast as allowed and without overshoot."""
    xp = views.xp
    way = (target - aim(views)) / STEP
    way = way / xp.clip(xp.amax(xp.abs(way), -1), 1.0, None)[:, None]
    jaws = xp.broadcast_to(views.like(jaws), way.shape[:1])
    return xp.concatenate([way, jaws[:, None]], axis=1)
