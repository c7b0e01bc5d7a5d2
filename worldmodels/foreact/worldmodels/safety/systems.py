"""Two small systems whose safe sets are known: a cart between walls and a car that cannot stop.

Both step many copies at once and say by how much they are safe now. Lengths in [m], times in [s], angles in [rad].
Shape letters: N = copies, S = state elements, F = elements of what is observed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["DoubleIntegrator", "DubinsCar", "SafeSystem"]


class SafeSystem(Protocol):
    """What the solver and the bench ask of a system."""

    @property
    def actions(self) -> np.ndarray:
        """The actions to choose among, (n, 1), each in [-1, 1]."""
        ...

    @property
    def periodic(self) -> tuple[bool, ...]:
        """Which state elements are angles."""
        ...

    @property
    def low(self) -> tuple[float, ...]:
        """Lowest states of interest, (S,)."""
        ...

    @property
    def high(self) -> tuple[float, ...]:
        """Highest states of interest, (S,)."""
        ...

    def step(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """States one control step later, (N, S), from states (N, S) and actions (N, 1)."""
        ...

    def margin(self, states: np.ndarray) -> np.ndarray:
        """How far from failure each state is now, (N,); negative is failure."""
        ...


def _choices(count: int) -> np.ndarray:
    return np.linspace(-1.0, 1.0, count)[:, None]


@dataclass(frozen=True)
class DoubleIntegrator:
    """A cart on a line, x'' = a u, that fails where |x| > wall. State (x, v).

    Attributes:
        dt: Control step [s].
        strongest: Acceleration a at action 1 [m/s^2].
        wall: Distance of both walls from 0 [m].
    """

    dt: float = 0.05
    strongest: float = 1.0
    wall: float = 1.0
    periodic = (False, False)
    low = (-1.2, -2.2)
    high = (1.2, 2.2)
    actions = _choices(3)

    def step(self, states: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """States after one control step of constant acceleration, (N, 2)."""
        x, v = states.T
        a = self.strongest * actions[:, 0]
        return np.stack([x + v * self.dt + a * self.dt**2 / 2, v + a * self.dt], axis=1)

    def margin(self, states: np.ndarray) -> np.ndarray:
        """Distance to the nearer wall [m], (N,)."""
        return self.wall - np.abs(states[:, 0])

    def value(self, states: np.ndarray) -> np.ndarray:
        """The largest margin that can be kept for ever in continuous time [m], (N,); its level 0 is two parabolas."""
        x, v = states.T
        # braking ends at x + v |v| / 2a; until then the margin is smallest at its start or its end
        end = x + v * np.abs(v) / (2 * self.strongest)
        return self.wall - np.maximum(np.abs(x), np.abs(end))


@dataclass(frozen=True)
class DubinsCar:
    """A car of constant speed and bounded turn rate that fails inside an obstacle. State (x, y, heading).

    Attributes:
        dt: Control step [s].
        speed: [m/s].
        fastest_turn: Turn rate at action 1 [rad/s].
        obstacles: Centre x, y and radius of each [m].
        unseen: As obstacles, but in no picture.
        half_width: Of the arena, [-w, w] on both axes [m].
        heading_noise: Standard deviation added to the heading in every step [rad].
    """

    dt: float = 0.1
    speed: float = 1.0
    fastest_turn: float = 1.25
    obstacles: tuple[tuple[float, float, float], ...] = ((0.0, 0.0, 0.5),)
    unseen: tuple[tuple[float, float, float], ...] = ()
    half_width: float = 1.6
    heading_noise: float = 0.0
    periodic = (False, False, True)
    actions = _choices(3)

    @property
    def low(self) -> tuple[float, ...]:
        """Lowest state of interest."""
        return (-self.half_width, -self.half_width, -np.pi)

    @property
    def high(self) -> tuple[float, ...]:
        """Highest state of interest."""
        return (self.half_width, self.half_width, np.pi)

    def step(self, states: np.ndarray, actions: np.ndarray, generator: np.random.Generator | None = None) -> np.ndarray:
        """States after one control step along an arc, (N, 3); heading in [-pi, pi).

        Args:
            states: (N, 3).
            actions: (N, 1) in [-1, 1].
            generator: Of the heading's noise; None for none.
        """
        x, y, heading = states.T
        turn = self.fastest_turn * actions[:, 0] * self.dt
        # the chord of an arc of length v dt that bends by w dt points along heading + w dt / 2
        chord = self.speed * self.dt * np.sinc(turn / (2 * np.pi))
        middle = heading + turn / 2
        after = heading + turn
        if generator is not None and self.heading_noise:
            after = after + generator.normal(0.0, self.heading_noise, len(states))
        return np.stack([x + chord * np.cos(middle), y + chord * np.sin(middle), wrapped(after)], axis=1)

    def margin(self, states: np.ndarray) -> np.ndarray:
        """Distance to the nearest obstacle's edge [m], (N,)."""
        every = [np.hypot(states[:, 0] - x, states[:, 1] - y) - r for x, y, r in (*self.obstacles, *self.unseen)]
        return np.min(every, axis=0)

    def inside(self, states: np.ndarray) -> np.ndarray:
        """Whether the car is in the arena, bool (N,)."""
        return np.abs(states[:, :2]).max(axis=1) <= self.half_width

    def value(self, states: np.ndarray) -> np.ndarray:
        """The largest margin to the first obstacle that can be kept for ever in continuous time [m], (N,).

        The car turns one way as hard as it can until it drives away; the circle it turns on decides.
        """
        x0, y0, radius = self.obstacles[0]
        x, y, heading = states[:, 0] - x0, states[:, 1] - y0, states[:, 2]
        turning = self.speed / self.fastest_turn
        left = np.hypot(x - turning * np.sin(heading), y + turning * np.cos(heading))
        right = np.hypot(x + turning * np.sin(heading), y - turning * np.cos(heading))
        # on a circle of radius R whose centre is D away, the nearest point is |D - R| away
        nearest = np.maximum(np.abs(left - turning), np.abs(right - turning))
        approaching = x * np.cos(heading) + y * np.sin(heading) < 0
        distance = np.hypot(x, y)
        return np.where(approaching, np.minimum(nearest, distance), distance) - radius

    def observe(self, states: np.ndarray) -> np.ndarray:
        """What a policy that sees the state is given: x, y, cos and sin of the heading, float32 (N, 4)."""
        x, y, heading = states.T
        return np.stack([x, y, np.cos(heading), np.sin(heading)], axis=1).astype(np.float32)


def wrapped(angle: np.ndarray) -> np.ndarray:
    """The same angles in [-pi, pi)."""
    return (angle + np.pi) % (2 * np.pi) - np.pi
