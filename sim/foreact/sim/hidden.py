"""What a policy cannot see and a real robot varies: masses, friction, gains, late actions, things that move about.

Each function gives an event (see `foreact.sim.task.Event`) that draws a value per world, for
`TaskWorlds.fork(hidden=...)` or for a task's `start`. Values are drawn around the compiled model's, never around those
drawn before, so that an event can be repeated.

Shape letters: N = worlds, n = selected worlds, A = action elements, D = longest delay, k = parts named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from foreact.sim.random import WorldRandom

if TYPE_CHECKING:
    from foreact.sim.task import Event
    from foreact.sim.views import Views

__all__ = [
    "Hidden", "latency", "moving_distractor", "scaled_friction", "scaled_gain", "scaled_joint_friction", "scaled_mass",
    "weak_commands",
]  # fmt: skip


class Hidden(Protocol):
    """Something hidden with a memory of its own, kept in `views.hidden` by name."""

    def arrays(self) -> dict[str, Any]:
        """Its memory, (N, ...) each, for snapshots and forks; zeros mean that it has no effect."""
        ...

    def restart(self, ids: np.ndarray) -> None:
        """New episodes begin in some worlds."""
        ...

    def act(self, views: Views, actions: Any) -> Any:
        """Do what it does in a control step; the actions (N, A) that reach the engine."""
        ...

    def empty_like(self, views: Views) -> Hidden:
        """The same for other worlds, without effect yet."""
        ...


def scaled_mass(bodies: Sequence[str], low: float, high: float) -> Event:
    """Multiply masses and inertias by factors drawn from [low, high), one per body and world.

    What the model derives from them is computed anew.

    Raises:
        ValueError: The range is not 0 < low <= high; or, when drawn, no such body.
    """
    _check_range("scaled_mass", low, high)

    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        parts = views.numbers("body", bodies)
        factor = random.uniform(ids, len(parts), low, high)
        _scale(views, "body_mass", ids, parts, factor)
        _scale(views, "body_inertia", ids, parts, factor[:, :, None])
        views.backend.derive_constants(None if len(ids) == views.nworld else ids)

    return event


def scaled_friction(geoms: Sequence[str], low: float, high: float) -> Event:
    """Multiply all friction coefficients of geoms by factors drawn from [low, high), one per geom and world.

    A contact has the larger friction of its two geoms; scale both where it shall fall.

    Raises:
        ValueError: The range is not 0 < low <= high; or, when drawn, no such geom.
    """
    _check_range("scaled_friction", low, high)

    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        parts = views.numbers("geom", geoms)
        _scale(views, "geom_friction", ids, parts, random.uniform(ids, len(parts), low, high)[:, :, None])

    return event


def scaled_gain(actuators: Sequence[str], low: float, high: float) -> Event:
    """Multiply the force of actuators by factors drawn from [low, high), one per actuator and world.

    A motor grows stronger or weaker; a position servo stiffer or softer, its damping with it.

    Raises:
        ValueError: The range is not 0 < low <= high; or, when drawn, no such actuator, or a muscle.
    """
    _check_range("scaled_gain", low, high)

    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        parts = views.numbers("actuator", actuators)
        model = views.backend.model
        # mjGAIN_FIXED, mjGAIN_AFFINE; mjBIAS_NONE, mjBIAS_AFFINE: force = (g0 + g1 l + g2 v) u + b0 + b1 l + b2 v
        if (model.actuator_gaintype[parts] > 1).any() or (model.actuator_biastype[parts] > 1).any():
            raise ValueError(f"scaled_gain: the force of one of {', '.join(actuators)} is not linear in its gains")
        factor = random.uniform(ids, len(parts), low, high)[:, :, None]
        for field in ("actuator_gainprm", "actuator_biasprm"):
            _scale(views, field, ids, parts, factor)

    return event


def scaled_joint_friction(joints: Sequence[str], low: float, high: float, chance: float = 1.0) -> Event:
    """Multiply damping and dry friction of sliding and hinge joints by factors drawn from [low, high).

    Args:
        joints: Their names; one factor per joint and world.
        low: Lowest factor.
        high: Highest factor.
        chance: How likely a joint is scaled at all; otherwise it stays as in the model.

    Raises:
        ValueError: The range is not 0 < low <= high, or the chance not in [0, 1]; or, when drawn, no such joint.
    """
    _check_range("scaled_joint_friction", low, high)
    _check_chance("scaled_joint_friction", chance)

    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        parts = views.backend.model.jnt_dofadr[views.numbers("joint", joints)]
        draw = random.uniform(ids, 2 * len(parts))
        factor = np.where(draw[:, : len(parts)] < chance, low + (high - low) * draw[:, len(parts) :], 1.0)
        for field in ("dof_damping", "dof_frictionloss"):
            _scale(views, field, ids, parts, factor)

    return event


def weak_commands(
    gain: float = 0.3, switch: float = 0.04, noise: float = 0.15, elements: Sequence[int] | None = None
) -> Event:
    """Let commands act fully or weakly, half of the worlds each, and change over from time to time; and add noise.

    A world draws from a stream of its own that snapshots and forks carry: what it does next does not depend on others.

    Args:
        gain: Of weak commands.
        switch: Chance of changing over in a control step.
        noise: Standard deviation of what is added to each element in each control step, in its unit.
        elements: Numbers of the action elements concerned; all if None.

    Raises:
        ValueError: The gain or the chance is not in [0, 1], or the noise negative; or, when drawn, no such element.
    """
    _check_chance("weak_commands: gain", gain)
    _check_chance("weak_commands: switch", switch)
    if noise < 0:
        raise ValueError(f"weak_commands: expected noise >= 0, got {noise}")

    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        weak = views.hidden.get("weak_commands")
        if not isinstance(weak, _Weak):
            views.hidden["weak_commands"] = weak = _Weak(views)
        size = weak.loss.shape[1]
        if elements is not None and not all(0 <= each < size for each in elements):
            raise ValueError(f"weak_commands: elements {list(elements)} of an action of {size}")
        chosen = np.isin(np.arange(size), np.arange(size) if elements is None else list(elements))
        draw = random.uniform(ids, 2)
        weak.stream.seed(ids, (draw[:, 0] * 2.0**53).astype(np.uint64))
        weak.weak[ids] = draw[:, 1] < 0.5
        weak.loss[ids], weak.noise[ids], weak.switch[ids] = (1 - gain) * chosen, noise * chosen, switch

    return event


def latency(most: int, least: int = 0) -> Event:
    """Let actions reach the engine late, by a number of control steps drawn from least to most, one per world.

    Until the first of them arrives, the engine gets the last action before the event, zeros at the start of an episode.

    Args:
        most: Longest delay [control steps].
        least: Shortest delay [control steps].

    Raises:
        ValueError: Not 0 <= least <= most.
    """
    if not 0 <= least <= most:
        raise ValueError(f"latency: expected 0 <= least <= most, got least={least}, most={most}")

    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        delay = np.floor(random.uniform(ids, 1, least, most + 1))[:, 0].astype(np.int64)
        late = views.hidden.get("latency")
        if not isinstance(late, _Late) or late.longest < most:
            views.hidden["latency"] = late = _Late(views, most, late)
        late.delay[ids] = views.like(delay, late.delay)

    return event


def moving_distractor(
    body: str, slow: float, fast: float, reach: float = 0.3, *, headings: int = 0, still: float = 0.0
) -> Event:
    """Let a mocap body drift through the scene, in a horizontal direction and at a speed drawn per world.

    It turns back at a distance from its place in the model; what it does at a contact is the engine's business.

    Args:
        body: Name of a mocap body.
        slow: Lowest speed [m/s].
        fast: Highest speed [m/s].
        reach: Where it turns back [m].
        headings: Number of directions to draw from, evenly spaced, the first along y; 0 for any direction.
        still: Chance that it stands still.

    Raises:
        ValueError: Not 0 <= slow <= fast, reach is not positive, headings is negative or the chance not in [0, 1]; or,
            when drawn, no such mocap body.
    """
    if not 0 <= slow <= fast or reach <= 0 or headings < 0:
        raise ValueError(
            f"moving_distractor: expected 0 <= slow <= fast, reach > 0 and headings >= 0, "
            f"got {slow}, {fast}, {reach} and {headings}"
        )
    _check_chance("moving_distractor: still", still)

    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        drift = views.hidden.get(f"distractor.{body}")
        if not isinstance(drift, _Drift):
            views.hidden[f"distractor.{body}"] = drift = _Drift(views, body, reach)
        draw = random.uniform(ids, 2)
        speed, angle = slow + (fast - slow) * draw[:, 0], 2 * np.pi * draw[:, 1]
        if headings:
            angle = np.pi / 2 + 2 * np.pi * np.floor(draw[:, 1] * headings) / headings
        if still:
            speed = np.where(random.uniform(ids, 1)[:, 0] < still, 0.0, speed)
        velocity = np.stack([speed * np.cos(angle), speed * np.sin(angle), 0 * angle], axis=1)
        drift.velocity[ids] = views.like(velocity, drift.velocity)

    return event


class _Late(Hidden):
    """A ring of the last D + 1 actions per world."""

    def __init__(self, views: Views, longest: int, before: Hidden | None = None) -> None:
        self.longest = longest
        self.delay = views.zeros(views.nworld, dtype="int64")
        self.head = views.zeros(views.nworld, dtype="int64")
        self.ring = views.zeros(views.nworld, longest + 1, views.last_action.shape[1])
        self.ring[:] = views.last_action[:, None]
        self._rows = views.like(np.arange(views.nworld), self.delay)
        if isinstance(before, _Late):  # a longer ring takes over what a shorter one holds
            self.delay[:] = before.delay
            for age in range(1, before.longest + 1):
                self.ring[:, -age] = before.ring[self._rows, (before.head - age) % (before.longest + 1)]

    def arrays(self) -> dict[str, Any]:
        return {"delay": self.delay, "head": self.head, f"ring{self.longest + 1}": self.ring}

    def restart(self, ids: np.ndarray) -> None:
        self.ring[ids] = 0

    def act(self, views: Views, actions: Any) -> Any:
        self.ring[self._rows, self.head] = views.like(actions, self.ring)
        sent = self.ring[self._rows, (self.head - self.delay) % (self.longest + 1)]
        self.head[:] = (self.head + 1) % (self.longest + 1)
        return sent

    def empty_like(self, views: Views) -> _Late:
        return _Late(views, self.longest)


class _Weak(Hidden):
    """Which worlds' commands are weak now, and a random stream per world."""

    def __init__(self, views: Views) -> None:
        shape = (views.nworld, views.last_action.shape[1])
        self.stream = WorldRandom(0, views.nworld)
        self.weak = np.zeros(views.nworld, bool)
        self.switch = np.zeros(views.nworld)
        self.loss, self.noise = np.zeros(shape), np.zeros(shape)

    def arrays(self) -> dict[str, Any]:
        own = {"key": self.stream.key, "drawn": self.stream.drawn, "weak": self.weak}
        return {**own, "switch": self.switch, "loss": self.loss, "noise": self.noise}

    def restart(self, ids: np.ndarray) -> None:
        """It goes on as it was."""

    def act(self, views: Views, actions: Any) -> Any:
        every, size = np.arange(len(self.weak)), self.loss.shape[1]
        self.weak ^= self.stream.uniform(every, 1)[:, 0] < self.switch
        # a <- g a + sigma z, g = 1 or the weak gain
        factor = 1 - self.loss * self.weak[:, None]
        added = self.noise * self.stream.normal(every, size)
        sent = views.like(actions, views.last_action)
        return sent * views.like(factor, sent) + views.like(added, sent)

    def empty_like(self, views: Views) -> _Weak:
        return _Weak(views)


class _Drift(Hidden):
    """A mocap body at a constant speed, to and fro."""

    def __init__(self, views: Views, body: str, reach: float) -> None:
        model = views.backend.model
        (number,) = views.numbers("body", [body])
        self._mocap = int(model.body_mocapid[number])
        if self._mocap < 0:
            raise ValueError(f"moving_distractor: body {body!r} is not a mocap body")
        self._body, self._reach = body, reach
        self.velocity = views.like(np.zeros((views.nworld, 3)))
        self._home = views.like(model.body_pos[number])

    def arrays(self) -> dict[str, Any]:
        return {"velocity": self.velocity}

    def restart(self, ids: np.ndarray) -> None:
        """The engine puts the body back; it goes on in its direction."""

    def act(self, views: Views, actions: Any) -> Any:
        place = views.mocap_pos[:, self._mocap]
        away = place - self._home
        back = ((away**2).sum(-1) > self._reach**2) & ((away * self.velocity).sum(-1) > 0)
        self.velocity[back] *= -1
        place += self.velocity * views.dt
        return actions

    def empty_like(self, views: Views) -> _Drift:
        return _Drift(views, self._body, self._reach)


def _check_range(name: str, low: float, high: float) -> None:
    if not 0 < low <= high:
        raise ValueError(f"{name}: expected 0 < low <= high, got {low} and {high}")


def _check_chance(name: str, chance: float) -> None:
    if not 0 <= chance <= 1:
        raise ValueError(f"{name}: expected a number in [0, 1], got {chance}")


def _scale(views: Views, field: str, ids: np.ndarray, parts: np.ndarray, factor: np.ndarray) -> None:
    """Give some worlds the compiled values of some parts times factors, (n, k) or (n, k, 1)."""
    views.set_model(field, ids, parts, getattr(views.backend.model, field)[parts] * factor)
