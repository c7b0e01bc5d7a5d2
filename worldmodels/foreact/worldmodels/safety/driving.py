"""Cars that are driven: at random to learn from, and towards goals with and without a filter.

Shape letters: E = episodes, T = control steps, N = running episodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foreact.worldmodels.safety.latent import Transitions
from foreact.worldmodels.safety.systems import DubinsCar, wrapped

__all__ = ["Driven", "Drives", "Guard", "Guarding", "drive", "pursue", "random_drives", "wander"]

Guard = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Numbers of episodes (N,), their states (N, 3) and proposed actions (N, 1) to actions (N, 1) and which were replaced,
bool (N,)."""

Guarding = Callable[[int], Guard]
"""A guard that remembers nothing yet, of so many episodes."""

Policy = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""States (E, 3) and goals (E, 2) to actions (E, 1)."""

GOAL_RADIUS = 0.3  # [m]
HELD = 4  # control steps that a random action is held


@dataclass(frozen=True)
class Drives:
    """Episodes of random actions.

    Attributes:
        states: (E, T + 1, 3).
        actions: float32 (E, T, 1).
        kept: Steps that count, bool (E, T).
    """

    states: np.ndarray
    actions: np.ndarray
    kept: np.ndarray

    def starts(self, horizon: int = 1) -> np.ndarray:
        """Where so many steps in a row count, bool (E, T + 1 - horizon)."""
        return np.lib.stride_tricks.sliding_window_view(self.kept, horizon, axis=1).min(axis=-1)

    def every(self) -> np.ndarray:
        """All states, numbered as paths number them, (E (T + 1), 3)."""
        return self.states.reshape(-1, self.states.shape[-1])

    def transitions(self, frames: np.ndarray, horizon: int = 1) -> Transitions:
        """All paths of so many steps that count.

        Args:
            frames: What is seen of `every` state.
            horizon: Steps of each path.
        """
        episode, step = np.nonzero(self.starts(horizon))
        along = step[:, None] + np.arange(horizon + 1)
        paths = episode[:, None] * self.states.shape[1] + along
        return Transitions(frames, paths, self.actions[episode[:, None], along[:, :-1]])


def random_drives(
    car: DubinsCar,
    episodes: int,
    steps: int,
    generator: np.random.Generator,
    avoided: tuple[float, float, float] | None = None,
) -> Drives:
    """Short episodes from everywhere in the arena; steps outside it do not count.

    Args:
        car: What to drive; it goes through obstacles.
        episodes: E.
        steps: T.
        generator: Of starts and actions.
        avoided: Centre and radius of a disc that was never driven into; steps that touch it do not count.
    """
    low, high = np.array(car.low), np.array(car.high)
    states = np.empty((episodes, steps + 1, 3))
    states[:, 0] = generator.uniform(low, high, (episodes, 3))
    actions = np.empty((episodes, steps, 1), np.float32)
    for step in range(steps):
        actions[:, step] = random_actions(episodes, generator)
        states[:, step + 1] = car.step(states[:, step], actions[:, step], generator)
    fine = car.inside(states.reshape(-1, 3))
    if avoided is not None:
        x, y, radius = avoided
        fine &= np.hypot(states[..., 0] - x, states[..., 1] - y).ravel() > radius
    fine = fine.reshape(episodes, steps + 1)
    return Drives(states, actions, fine[:, :-1] & fine[:, 1:])


def random_actions(count: int, generator: np.random.Generator) -> np.ndarray:
    """Half of them as far as they go or straight on, half anything between, float32 (count, 1)."""
    bang = generator.integers(-1, 2, count)
    return np.where(generator.random(count) < 0.5, bang, generator.uniform(-1, 1, count))[:, None].astype(np.float32)


def pursue(car: DubinsCar) -> Policy:
    """An aggressive policy: straight to the goal, whatever lies between."""
    radius = car.speed / car.fastest_turn

    def policy(states: np.ndarray, goals: np.ndarray) -> np.ndarray:
        east, north = (goals - states[:, :2]).T
        error = wrapped(np.arctan2(north, east) - states[:, 2])
        action = np.clip(error / (car.fastest_turn * car.dt), -1, 1)
        # a goal inside the circle that the car would turn on is reached by driving on until it is outside
        side = np.sign(error) * np.pi / 2 + states[:, 2]
        away = np.hypot(east - radius * np.cos(side), north - radius * np.sin(side))
        return np.where((away < radius - GOAL_RADIUS / 2) & (np.abs(error) > 0.3), 0.0, action)[:, None]

    return policy


def wander(generator: np.random.Generator) -> Policy:
    """A policy of random actions, each held for some steps."""
    held: list[np.ndarray] = []
    calls = 0

    def policy(states: np.ndarray, goals: np.ndarray) -> np.ndarray:
        nonlocal calls
        if calls % HELD == 0:
            held[:] = [random_actions(len(states), generator)]
        calls += 1
        return held[0]

    return policy


@dataclass(frozen=True)
class Driven:
    """What became of episodes.

    Attributes:
        violated: An obstacle was touched before the end, bool (E,).
        reached: The goal was, bool (E,).
        states: (T, E, 3), before each step.
        running: The episode had not ended, bool (T, E).
        intervened: The filter replaced the action, bool (T, E).
    """

    violated: np.ndarray
    reached: np.ndarray
    states: np.ndarray
    running: np.ndarray
    intervened: np.ndarray


def drive(
    car: DubinsCar,
    starts: np.ndarray,
    goals: np.ndarray,
    policy: Policy,
    guarding: Guarding | None = None,
    steps: int = 60,
    generator: np.random.Generator | None = None,
) -> Driven:
    """Drive until the goal, the edge of the arena or the last step; obstacles do not stop the car.

    Args:
        car: What is driven; obstacles it cannot see count as well.
        starts: (E, 3).
        goals: (E, 2).
        policy: Proposes.
        guarding: Decides; None lets everything through.
        steps: T.
        generator: Of the car's noise.
    """
    states, count = starts.copy(), len(starts)
    running, reached, violated = np.ones(count, bool), np.zeros(count, bool), car.margin(starts) < 0
    guard = guarding(count) if guarding else None
    seen, ran, replaced = [], [], []
    for _ in range(steps):
        actions, intervened = policy(states, goals), np.zeros(count, bool)
        rows = np.flatnonzero(running)
        if guard is not None and len(rows):
            actions = actions.copy()
            actions[rows], intervened[rows] = guard(rows, states[rows], actions[rows])
        seen.append(states.copy())
        ran.append(running.copy())
        replaced.append(intervened)
        states = np.where(running[:, None], car.step(states, actions, generator), states)
        violated |= running & (car.margin(states) < 0)
        reached |= running & (np.hypot(*(goals - states[:, :2]).T) < GOAL_RADIUS)
        running &= ~reached & car.inside(states)
    return Driven(violated, reached, np.stack(seen), np.stack(ran), np.stack(replaced))
