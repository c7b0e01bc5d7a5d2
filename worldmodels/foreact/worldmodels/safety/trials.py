"""What the bench asks of a learned filter: how its sets fit the grid's, and what it prevents in closed loop.

Shape letters: G = grid points, E = episodes, N = states.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from foreact.episodes.outcome import JSON
from foreact.worldmodels.safety.driving import GOAL_RADIUS, Driven, Guard, Guarding, drive, pursue, wander
from foreact.worldmodels.safety.filter import SafetyFilter
from foreact.worldmodels.safety.grid import Solution, overlap
from foreact.worldmodels.safety.latent import LatentModel, encode_all
from foreact.worldmodels.safety.learning import Observe
from foreact.worldmodels.safety.systems import DubinsCar
from foreact.worldmodels.safety.tracking import Tracker

__all__ = ["Course", "around", "course_across", "driven_figures", "guard_of", "set_figures", "values_on"]

CLEAR = 0.05  # of V on the grid [m] that starts have at least
NEAR = 0.1  # |V| on the grid [m] that counts as small


@dataclass(frozen=True)
class Course:
    """Where episodes start and where they are to end.

    Attributes:
        starts: (E, 3), from where failure can be avoided.
        goals: (E, 2).
    """

    starts: np.ndarray
    goals: np.ndarray


def course_across(solution: Solution, count: int, generator: np.random.Generator, radius: float = 1.35) -> Course:
    """Starts on a circle about the obstacle, goals about opposite, headings about towards them.

    Args:
        solution: Tells which starts are safe.
        count: E.
        generator: Of the draws.
        radius: Of the circle [m].
    """
    angle = generator.uniform(-np.pi, np.pi, 4 * count)
    opposite = angle + np.pi + generator.uniform(-0.35, 0.35, 4 * count)
    starts, goals = radius * around(angle), radius * around(opposite)
    heading = np.arctan2(*(goals - starts).T[::-1]) + generator.uniform(-0.3, 0.3, 4 * count)
    states = np.concatenate([starts, (heading[:, None] + np.pi) % (2 * np.pi) - np.pi], axis=1)
    safe = np.flatnonzero(solution.at(states) > CLEAR)[:count]
    return Course(states[safe], goals[safe])


def course_anywhere(car: DubinsCar, solution: Solution, count: int, generator: np.random.Generator) -> Course:
    """Safe starts all over the arena, and no goal."""
    states = generator.uniform(car.low, car.high, (4 * count, 3))
    safe = np.flatnonzero(solution.at(states) > CLEAR)[:count]
    return Course(states[safe], np.full((len(safe), 2), 99.0))


def course_through(
    disc: tuple[float, float, float], solution: Solution, count: int, generator: np.random.Generator
) -> Course:
    """Starts and goals on two sides of a disc, far enough from it that it can be driven around.

    Args:
        disc: Centre and radius [m].
        solution: Its obstacles include the disc.
        count: E.
        generator: Of the draws.
    """
    x, y, radius = disc
    tries = 40 * count
    angle = generator.uniform(-np.pi, np.pi, tries)
    opposite = angle + np.pi + generator.uniform(-0.2, 0.2, tries)
    starts = np.array([x, y]) + (radius + 0.65) * around(angle)
    goals = np.array([x, y]) + (radius + 0.45) * around(opposite)
    heading = np.arctan2(*(goals - starts).T[::-1])
    states = np.concatenate([starts, heading[:, None]], axis=1)
    inside = (np.abs(np.concatenate([starts, goals], axis=1)) < 1.5).all(axis=1)
    clear = solution.at(np.concatenate([goals, heading[:, None]], axis=1)) > GOAL_RADIUS
    fine = np.flatnonzero(inside & clear & (solution.at(states) > CLEAR))[:count]
    return Course(states[fine], goals[fine])


def around(angle: np.ndarray) -> np.ndarray:
    """Points of the unit circle, (N, 2)."""
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def guard_of(model: LatentModel, safety: SafetyFilter, observe: Observe, gain: float = 1.0) -> Guarding:
    """A filter that sees states as they are observed.

    Args:
        model: Encodes what is observed.
        safety: Decides.
        observe: What is seen of a state.
        gain: What the newest observation counts; the rest is what was expected from those before.
    """

    def guarding(count: int) -> Guard:
        tracker = Tracker(model, count, gain)

        def guard(rows: np.ndarray, states: np.ndarray, proposed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            episodes = torch.from_numpy(rows)
            latents = tracker.see(episodes, encode_all(model, observe(states)))
            found = safety(latents, torch.from_numpy(proposed.astype(np.float32)))
            tracker.act(episodes, latents, found.actions)
            return found.actions.numpy().astype(float), found.intervened.numpy()

        return guard

    return guarding


@torch.no_grad()
def values_on(
    points: np.ndarray, model: LatentModel, observe: Observe, value: Callable[[torch.Tensor], torch.Tensor]
) -> np.ndarray:
    """A function of latents, such as V or l, of states (N, S), (N,)."""
    return value(encode_all(model, observe(points))).numpy()


def set_figures(solution: Solution, points: np.ndarray, car: DubinsCar, learned: np.ndarray) -> dict[str, float]:
    """How well {V <= 0} fits the grid's set, as a whole and without what has failed already.

    Args:
        solution: True values.
        points: Where they are compared, (N, S).
        car: Knows what has failed.
        learned: V at the points, (N,).
    """
    true, found, ahead = solution.at(points) <= 0, learned <= 0, car.margin(points) > 0
    return {
        "iou": overlap(true, found),
        "iou_ahead": overlap(true & ahead, found & ahead),
        "missed": float(np.mean(~found[true])),
        "false_alarms": float(np.mean(found[~true])),
    }


def driven_figures(driven: Driven, solution: Solution) -> dict[str, JSON]:
    """What became of episodes, and how small |V| was where the filter acted.

    Args:
        driven: The episodes.
        solution: True values.
    """
    values = np.abs(solution.at(driven.states.reshape(-1, driven.states.shape[-1])))
    ran, acted = driven.running.ravel(), driven.intervened.ravel()
    found: dict[str, JSON] = {
        "violated": driven.violated.astype(int).tolist(),
        "reached": driven.reached.astype(int).tolist(),
        "intervened": float(acted[ran].mean()),
        "near_all": float((values[ran] < NEAR).mean()),
    }
    if acted.any():
        found["near_acted"] = float((values[acted] < NEAR).mean())
    return found


Drive = Callable[[Course, Guarding | None], Driven]


def chasing(car: DubinsCar, seed: int) -> Drive:
    """Drives a course with the policy that goes straight for the goal."""
    return lambda course, guarding: drive(
        car, course.starts, course.goals, pursue(car), guarding, generator=np.random.default_rng([seed, 1])
    )


def wandering(car: DubinsCar, seed: int) -> Drive:
    """Drives a course with random actions, the same ones with every guard."""
    return lambda course, guarding: drive(
        car, course.starts, course.goals, wander(np.random.default_rng([seed, 2])), guarding,
        generator=np.random.default_rng([seed, 3]),
    )  # fmt: skip
