"""Scenes whose future a robot cannot know: tabletop tasks with what is hidden in them, by name.

Shape letters: N = worlds, O = observed elements, H = hidden numbers.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from foreact.sim.backends.base import on_host
from foreact.sim.hidden import (
    latency,
    moving_distractor,
    scaled_friction,
    scaled_gain,
    scaled_joint_friction,
    scaled_mass,
    weak_commands,
)
from foreact.sim.tabletop import TASKS
from foreact.sim.tabletop.experts import TRAVEL
from foreact.sim.tabletop.passer import PASSER, touched
from foreact.sim.tabletop.scenes import CUBE
from foreact.sim.tabletop.tasks import CARRIED, NEAR_GOAL, PULLED, length
from foreact.sim.task import Event, Measure, SimTask
from foreact.sim.taskworlds import TaskWorlds
from foreact.sim.views import Views

__all__ = ["SCENES", "Scene", "UnknownScene", "scene", "scene_names"]

ARM_JOINTS = tuple(f"joint{number}" for number in range(1, 8)) + ("jaw_left", "jaw_right")
SERVOS = ("joint1", "joint2", "joint4")
MOTION = (0, 1, 2)
REACHED = 0.02  # [m]
BEHIND = 0.05  # how far behind a cube a push begins [m]
LOOSE = 0.03  # how far the hand may be off that in the plane [m]
HOOK = (0.024, 0.0, -0.005)  # where fingers pull, from the middle of the bar [m]
ACTIONS = ("dx", "dy", "dz", "jaws")


class UnknownScene(ValueError):
    """No scene has this name; the message lists near matches."""


Reading = Callable[[Views], Any]
"""One hidden number of all worlds, (N,)."""

Cost = Callable[[Any], Any]
"""Observations (..., O) to how far the task is from solved, (...) [m]; for NumPy and torch alike."""


@dataclass(frozen=True)
class Scene:
    """A task and what is hidden in it.

    Attributes:
        name: That of the task.
        task: What to do.
        hidden: Draw anew, for every world, what the robot cannot see.
        nominal: Undo them: what a robot believes that has never seen anything else.
        hidden_names: Names of the hidden numbers, length H.
        readings: How to read them from worlds, length H.
        contact: Whether the robot touches what it must not, bool (N,); None where there is no such thing.
        columns: Name of each observed element, length O.
        tracked: Numbers of the elements that futures are judged by [m].
        cost: What is left to do.
        short: How much of it must go until the task is solved, below 0 from then on.
        approach: The hand's way to where it can begin; None where it has nothing to move but itself.
    """

    name: str
    task: SimTask
    hidden: Sequence[Event]
    nominal: Sequence[Event]
    hidden_names: tuple[str, ...]
    readings: tuple[Reading, ...]
    contact: Measure | None
    columns: tuple[str, ...]
    tracked: tuple[int, ...]
    cost: Cost
    short: Cost
    approach: Cost | None

    @property
    def rate_hz(self) -> float:
        """Control steps per second."""
        return 20.0

    @property
    def actions(self) -> tuple[str, ...]:
        """Name of each action element."""
        return ACTIONS

    def read_hidden(self, worlds: TaskWorlds) -> np.ndarray:
        """What is hidden in some worlds now, float32 (N, H).

        Raises:
            ValueError: Nothing was ever hidden in them.
        """
        try:
            columns = [np.asarray(on_host(each(worlds.views)), np.float32) for each in self.readings]
        except KeyError as error:
            raise ValueError(
                f"nothing is hidden in these worlds of {self.name} (no {error}); fork them with hidden=scene.hidden"
            ) from error
        return np.stack(columns, axis=1)

    def touching(self, worlds: TaskWorlds) -> np.ndarray:
        """Whether the robot touches what it must not, bool (N,)."""
        if self.contact is None:
            return np.zeros(len(worlds), bool)
        return on_host(self.contact(worlds.views)).astype(bool)


@dataclass(frozen=True)
class _Part:
    """Something hidden: how to draw it, how to undo it, and how to read it."""

    drawn: Event
    undone: Event
    name: str
    reading: Reading


def scene_names() -> tuple[str, ...]:
    """Names of all scenes."""
    return tuple(SCENES)


@cache
def scene(name: str) -> Scene:
    """A scene.

    Raises:
        UnknownScene: Nothing has that name; near matches are listed.
    """
    if name not in SCENES:
        near = difflib.get_close_matches(name.lower().replace("_", "-"), SCENES, n=3, cutoff=0.4)
        guess = f"did you mean {', '.join(near)}?" if near else "nothing comes near it."
        raise UnknownScene(f"unknown scene {name!r}: {guess} There are {', '.join(SCENES)}")
    return SCENES[name](name)


def _reach(name: str) -> Scene:
    parts = (_weak(), _late(2), _servos(0.5, 1.3))
    return _scene(name, parts, ("goal_x", "goal_y", "goal_z"), (), _left_to_goal, _short_of_goal)


def _reach_passer(name: str) -> Scene:
    passer = _Part(
        moving_distractor(PASSER, 0.12, 0.25, reach=0.45, headings=2, still=1 / 3),
        moving_distractor(PASSER, 0.0, 0.0),
        "passer_speed_y",
        lambda views: views.hidden[f"distractor.{PASSER}"].velocity[:, 1],
    )
    columns = ("goal_x", "goal_y", "goal_z", "passer_x", "passer_y", "passer_z")
    return _scene(
        name, (_weak(), _late(1), passer), columns, ("passer_y",), _left_to_goal, _short_of_goal, None, touched
    )


def _push(name: str) -> Scene:
    parts = (_weak(), _late(2), _mass("cube", 0.5, 6.0), _friction(("cube", "table"), 0.2, 1.5))
    columns = (*_body_columns("cube"), "goal_x", "goal_y")

    def left(seen: Any) -> Any:
        return length(seen[..., 37:39] - seen[..., 24:26])

    judged = ("cube_x", "cube_y", "cube_z")
    return _scene(name, parts, columns, judged, left, lambda seen: left(seen) - NEAR_GOAL, _behind_cube)


def _lift(name: str) -> Scene:
    parts = (_weak(), _late(2), _mass("cube", 0.5, 8.0), _servos(0.6, 1.2))

    def short(seen: Any) -> Any:
        return CARRIED + CUBE - seen[..., 26]

    def approach(seen: Any) -> Any:
        return length(seen[..., 24:27] - seen[..., 18:21])

    judged = ("cube_x", "cube_y", "cube_z")
    return _scene(name, parts, _body_columns("cube"), judged, lambda seen: short(seen).clip(0.0), short, approach)


def _drawer(name: str) -> Scene:
    stuck = _Part(
        scaled_joint_friction(["drawer"], 30.0, 60.0, chance=0.4),
        scaled_joint_friction(["drawer"], 1.0, 1.0),
        "drawer_friction",
        lambda views: _ratio(views, "dof_frictionloss", len(ARM_JOINTS)),
    )
    columns = ("drawer", "drawer_speed", "handle_x", "handle_y", "handle_z")

    def short(seen: Any) -> Any:
        return PULLED - seen[..., 24]

    def approach(seen: Any) -> Any:
        off = [seen[..., 26 + axis] + HOOK[axis] - seen[..., 18 + axis] for axis in range(3)]
        return sum(each**2 for each in off) ** 0.5

    parts = (_weak(), _late(2), stuck)
    return _scene(name, parts, columns, ("handle_x",), lambda seen: short(seen).clip(0.0), short, approach)


SCENES: Mapping[str, Callable[[str], Scene]] = {
    "arm-reach": _reach, "arm-reach-passer": _reach_passer, "arm-push": _push, "arm-lift": _lift,
    "arm-drawer": _drawer,
}  # fmt: skip


def _scene(
    name: str,
    parts: Sequence[_Part],
    things: tuple[str, ...],
    judged: tuple[str, ...],
    cost: Cost,
    short: Cost,
    approach: Cost | None = None,
    contact: Measure | None = None,
) -> Scene:
    speeds = tuple(f"{joint}_speed" for joint in ARM_JOINTS)
    hand = ("hand_x", "hand_y", "hand_z")
    columns = (*ARM_JOINTS, *speeds, *hand, "aim_x", "aim_y", "aim_z", *things)
    return Scene(
        name=name,
        task=TASKS[name](),
        hidden=tuple(part.drawn for part in parts),
        nominal=tuple(part.undone for part in parts),
        hidden_names=tuple(part.name for part in parts),
        readings=tuple(part.reading for part in parts),
        contact=contact,
        columns=columns,
        tracked=tuple(columns.index(each) for each in (*hand, *judged)),
        cost=cost,
        short=short,
        approach=approach,
    )


def _left_to_goal(seen: Any) -> Any:
    return length(seen[..., 18:21] - seen[..., 24:27])


def _short_of_goal(seen: Any) -> Any:
    return _left_to_goal(seen) - REACHED


def _behind_cube(seen: Any) -> Any:
    """The hand's way to where a push begins: up, across and down, or what is left of it behind the cube, (...) [m]."""
    ahead = seen[..., 37:39] - seen[..., 24:26]
    ahead = ahead / (length(ahead)[..., None] + 1e-6)
    off = seen[..., 18:20] - seen[..., 24:26]
    along = (off * ahead).sum(-1)
    flat, height = length(off + BEHIND * ahead), seen[..., 20]
    there = ((along < -CUBE) & (length(off - along[..., None] * ahead) < 0.025)) | (flat < 0.02)
    down = abs(height - CUBE) + (flat - LOOSE).clip(0.0)
    around = (TRAVEL - height).clip(0.0) + flat + TRAVEL - CUBE
    return there * down + ~there * around


def _body_columns(body: str) -> tuple[str, ...]:
    pose = ("x", "y", "z", "qw", "qx", "qy", "qz")
    return tuple(f"{body}_{each}" for each in (*pose, "vx", "vy", "vz", "wx", "wy", "wz"))


def _weak() -> _Part:
    def weak(views: Views) -> Any:
        known = views.hidden["weak_commands"]
        return known.weak & (known.loss > 0).any(-1)

    return _Part(
        weak_commands(0.3, 0.04, 0.15, MOTION),
        weak_commands(1.0, 0.0, 0.0, MOTION),
        "weak_at_start",
        weak,
    )


def _late(most: int) -> _Part:
    return _Part(latency(most), latency(0), "delay_steps", lambda views: views.hidden["latency"].delay)


def _servos(low: float, high: float) -> _Part:
    def mean_gain(views: Views) -> Any:
        numbers = views.numbers("actuator", SERVOS)
        own = views.model("actuator_gainprm")[:, numbers, 0]
        return (own / views.like(views.backend.model.actuator_gainprm[numbers, 0], own)).mean(-1)

    return _Part(scaled_gain(SERVOS, low, high), scaled_gain(SERVOS, 1.0, 1.0), "mean_servo_gain", mean_gain)


def _mass(body: str, low: float, high: float) -> _Part:
    def factor(views: Views) -> Any:
        (number,) = views.numbers("body", [body])
        return _ratio(views, "body_mass", number)

    return _Part(scaled_mass([body], low, high), scaled_mass([body], 1.0, 1.0), f"{body}_mass_factor", factor)


def _friction(geoms: Sequence[str], low: float, high: float) -> _Part:
    def factor(views: Views) -> Any:
        (number,) = views.numbers("geom", geoms[:1])
        return _ratio(views, "geom_friction", number)

    name = f"{geoms[0]}_friction_factor"
    return _Part(scaled_friction(geoms, low, high), scaled_friction(geoms, 1.0, 1.0), name, factor)


def _ratio(views: Views, field: str, number: int) -> Any:
    own = views.model(field)[:, number]
    own = own if own.ndim == 1 else own[:, 0]
    compiled = getattr(views.backend.model, field)[number]
    return own / float(compiled if np.ndim(compiled) == 0 else compiled[0])
