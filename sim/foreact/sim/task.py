"""A task as typed terms over named arrays: small functions without a loop over worlds, for NumPy and torch alike.

A term is called with `Views` and returns one row per world; terms are put together once, when worlds are made.
Shape letters: N = worlds, n = selected worlds, k = elements of a term.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.sim.backends import Fresh
from foreact.sim.random import WorldRandom
from foreact.sim.views import Views

if TYPE_CHECKING:
    import mujoco

__all__ = ["Act", "Command", "Event", "Field", "Measure", "SimTask", "noisy_start", "scaled_to_range"]

Measure = Callable[[Views], Any]
"""Something seen in all worlds: (N,) or (N, k)."""

Act = Callable[[Views, Any], None]
"""Writes actions (N, A) into the worlds."""

Event = Callable[[Views, np.ndarray, WorldRandom], None]
"""Changes some worlds, int (n,): their state at a reset, their hidden parameters at a fork."""


@dataclass(frozen=True)
class Field:
    """A measure that is part of an array as it stands; neighbours in memory are observed by one copy.

    Attributes:
        name: Field of MjData, such as `qpos`.
        start: First element.
        stop: One past the last; None for the end.
    """

    name: str
    start: int = 0
    stop: int | None = None

    def __call__(self, views: Views) -> Any:
        """The live part, (N, k)."""
        values = getattr(views, self.name)
        return values.reshape(values.shape[0], -1)[:, self.start : self.stop]


@dataclass(frozen=True)
class SimTask:
    """A task on any backend.

    Attributes:
        name: Unique.
        model: MJCF as a path or a text, or a function that returns a compiled model.
        substeps: Engine steps per control step.
        limit: Control steps of an episode; it ends as truncated.
        observe: What the policy sees, side by side, float32.
        reward: Weight and measure; their weighted sum is the reward.
        terminate: Any true: the episode is over.
        success: Whether the task is solved; None if there is no such thing.
        start: What happens at a reset, after the model's own defaults; each event finds derived fields computed anew.
        each_step: What happens to all worlds before every control step.
        remember: Measures taken before physics, read by terms as `views.before[name]`.
        commands: What worlds are told, by name.
        act: How actions reach the engine; None writes them into `ctrl`.
        low: Lowest actions (A,); None takes the actuators' ranges.
        high: Highest actions (A,); None takes the actuators' ranges.
        fresh: How far derived fields are computed after a step: `none` is fastest and leaves them one sub-step old.
            They are up to date after a reset, a restore and in a fork, so where `act`, `each_step` or `remember` reads
            them, only `velocity` and `acceleration` let restored worlds repeat their steps bit for bit.
        options: Overrides of the model's options, such as `{"integrator": "implicitfast"}`.
        warp: What its worlds need on Warp, such as `{"contacts": 120}`; who makes the worlds may say otherwise.
        instruction: What a person would say.
        cameras: Cameras of the model that show the task, at most two are pictured; without any it is seen from outside.
    """

    name: str
    model: str | Path | Callable[[], mujoco.MjModel]
    substeps: int
    limit: int
    observe: Sequence[Measure]
    reward: Sequence[tuple[float, Measure]]
    terminate: Sequence[Measure] = ()
    success: Measure | None = None
    start: Sequence[Event] = ()
    each_step: Sequence[Event] = ()
    remember: Mapping[str, Measure] = field(default_factory=dict)
    commands: Mapping[str, Command] = field(default_factory=dict)
    act: Act | None = None
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    fresh: Fresh = "none"
    options: Mapping[str, Any] = field(default_factory=dict)
    warp: Mapping[str, Any] = field(default_factory=dict)
    instruction: str = ""
    cameras: Sequence[str] = ()

    def compile(self) -> mujoco.MjModel:
        """The model with the task's options.

        Raises:
            ValueError: MuJoCo cannot read it, or an option is unknown.
        """
        import mujoco

        if callable(self.model):
            model = self.model()
        elif str(self.model).lstrip().startswith("<"):
            model = mujoco.MjModel.from_xml_string(str(self.model))
        else:
            if not Path(self.model).is_file():
                raise ValueError(f"task {self.name}: no model at {self.model}")
            model = mujoco.MjModel.from_xml_path(str(self.model))
        for name, value in self.options.items():
            _set_option(self.name, model, name, value)
        return model

    def action_range(self, model: mujoco.MjModel) -> tuple[np.ndarray, np.ndarray]:
        """Lowest and highest action, float32 (A,) each."""
        if self.low is not None and self.high is not None:
            return np.array(self.low, np.float32), np.array(self.high, np.float32)
        unlimited = ~model.actuator_ctrllimited.astype(bool)
        if unlimited.any():
            raise ValueError(f"task {self.name}: actuators without a range need low and high")
        return tuple(model.actuator_ctrlrange.T.astype(np.float32))


@dataclass(frozen=True)
class Command:
    """What a world is told to do, drawn at its reset and then again every so often; terms read `views.command[name]`.

    Attributes:
        size: Elements k.
        draw: Values for some worlds, (n, k), from their random streams.
        every: Control steps until the next draw; 0 for never.
    """

    size: int
    draw: Callable[[np.ndarray, WorldRandom], np.ndarray]
    every: int = 0


def noisy_start(position: float, velocity: float = 0.0, *, gaussian_velocity: bool = True) -> Event:
    """An event that adds uniform noise to `qpos` and Gaussian (or uniform) noise to `qvel`."""

    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        draw = random.uniform(ids, views.qpos.shape[1], -position, position)
        views.qpos[ids] += views.like(draw)
        if velocity:
            count = views.qvel.shape[1]
            noise = (
                random.normal(ids, count, velocity)
                if gaussian_velocity
                else random.uniform(ids, count, -velocity, velocity)
            )
            views.qvel[ids] += views.like(noise)

    return event


def scaled_to_range(views: Views, action: Any) -> None:
    """Actions in [-1, 1] cover each actuator's range."""
    low, high = views.backend.model.actuator_ctrlrange.T
    views.ctrl[:] = views.like((low + high) / 2) + views.like((high - low) / 2) * action


def _set_option(task: str, model: mujoco.MjModel, name: str, value: Any) -> None:
    import mujoco

    if not hasattr(model.opt, name):
        raise ValueError(f"task {task}: the model has no option {name!r}")
    if name == "integrator":
        value = getattr(mujoco.mjtIntegrator, f"mjINT_{value.upper()}")
    setattr(model.opt, name, value)
