"""The stages of the bench: states, pictures, and a part of the arena where nobody has been.

Shape letters: G = grid points, N = states.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from foreact.episodes.outcome import JSON
from foreact.worldmodels.safety.drawing import draw
from foreact.worldmodels.safety.driving import Drives, random_drives
from foreact.worldmodels.safety.grid import Grid, Solution, overlap, solve
from foreact.worldmodels.safety.latent import encode_all
from foreact.worldmodels.safety.learning import (
    LearnConfig,
    Observe,
    World,
    calibrated,
    episode_scores,
    fit_world,
    learn_value,
)
from foreact.worldmodels.safety.parts import SafetyParts, save_parts
from foreact.worldmodels.safety.systems import DoubleIntegrator, DubinsCar
from foreact.worldmodels.safety.trials import (
    chasing,
    course_across,
    course_anywhere,
    course_through,
    driven_figures,
    guard_of,
    set_figures,
    values_on,
    wandering,
)
from foreact.worldmodels.safety.uncertainty import Doubt, DoubtConfig, disagreement, fit_doubt

if TYPE_CHECKING:
    from foreact.worldmodels.safety.bench import SafetyBenchConfig

__all__ = ["CAR", "STAGES", "Solutions", "solved"]

CAR = DubinsCar()
# outside the arena nothing is known either, so this car must be able to turn round within it
PLAIN = DubinsCar(fastest_turn=2.5, obstacles=((-1.0, -1.0, 0.35),))
DISC = (0.3, 0.3, 0.75)  # nobody has been in it
DITCH = dataclasses.replace(PLAIN, unseen=((0.3, 0.3, 0.5),))
DEEP = 0.2  # inside the disc, from here on in [m]
NOISE = 0.05  # of the heading, per step [rad]
PICTURE_STRIDE = 2  # of the grid points that are drawn


@dataclass(frozen=True)
class Solutions:
    """What the grid solver says.

    Attributes:
        car: Of the car and its obstacle.
        unknown: Of the car with its obstacle and the disc where nobody has been.
        figures: How well the solver itself does where closed forms are known.
    """

    car: Solution
    unknown: Solution
    figures: dict[str, JSON]


def solved(config: SafetyBenchConfig) -> Solutions:
    """Solve all grids; seconds, so they are not kept on disk."""
    sizes = (config.grid,) * 3
    car = solve(CAR, Grid.over(CAR, sizes))
    both = dataclasses.replace(PLAIN, obstacles=(*PLAIN.obstacles, DISC))
    cart = DoubleIntegrator()
    exact = solve(cart, Grid.over(cart, (121, 111)))
    figures: dict[str, JSON] = {
        "grid_iou": {
            "double_integrator": _closed(cart, exact),
            "dubins": _closed(CAR, car),
        }
    }
    return Solutions(car, solve(both, Grid.over(both, sizes)), figures)


def _closed(system: DoubleIntegrator | DubinsCar, solution: Solution) -> float:
    return overlap(solution.values.ravel() <= 0, system.value(solution.grid.points()) <= 0)


def state_stage(config: SafetyBenchConfig, seed: int, solutions: Solutions) -> dict[str, JSON]:
    """A filter of observed states, with its controls."""
    return _learned(config, config.state, CAR.observe, "state", seed, solutions.car)


def pixel_stage(config: SafetyBenchConfig, seed: int, solutions: Solutions) -> dict[str, JSON]:
    """A filter of pictures, with its controls."""
    return _learned(config, config.pixels, lambda states: draw(CAR, states), "pixels", seed, solutions.car)


def _learned(
    config: SafetyBenchConfig, learn: LearnConfig, observe: Observe, kind: str, seed: int, solution: Solution
) -> dict[str, JSON]:
    started = time.process_time()
    drives = random_drives(CAR, learn.episodes, learn.steps, np.random.default_rng([seed, 0]))
    world = fit_world(CAR, drives, observe, learn, seed)
    parts = learn_value(world, seed)
    learned = time.process_time()
    # states have shown what this control does; of pictures it would take a tenth more time
    near = learn_value(world, seed, gamma=config.low_gamma) if kind == "state" else None
    folder = config.out / f"seed-{seed}"
    shape = observe(drives.states[:1, 0]).shape[1:]
    save_parts(folder / kind, parts, shape, {"learned_from": kind, "seed": seed})
    points = _points(solution.grid, 1 if kind == "state" else PICTURE_STRIDE)
    judges: dict[str, nn.Module] = {"value": parts.value, "margin_only": world.margin}
    if near is not None:
        judges["low_gamma"] = near.value
    found = {name: values_on(points, world.model, observe, judge) for name, judge in judges.items()}
    np.save(folder / f"{kind}-values.npy", found["value"].astype(np.float32))
    sets: dict[str, JSON] = {name: set_figures(solution, points, CAR, values) for name, values in found.items()}
    drives_found = _driven(config, learn, parts, near, observe, seed, solution)
    spent = {"learn": learned - started, "all": time.process_time() - started}
    return {"sets": sets, "drives": drives_found, "cpu_s": spent, "transitions": len(world.latents)}


def _points(grid: Grid, stride: int) -> np.ndarray:
    axes = tuple(axis[::stride] for axis in grid.axes)
    return Grid(axes, grid.periodic).points()


def _driven(
    config: SafetyBenchConfig,
    learn: LearnConfig,
    parts: SafetyParts,
    near: SafetyParts | None,
    observe: Observe,
    seed: int,
    solution: Solution,
) -> dict[str, JSON]:
    across = course_across(solution, config.trials, np.random.default_rng([seed, 4]))
    anywhere = course_anywhere(CAR, solution, config.trials, np.random.default_rng([seed, 5]))
    filters = {
        "filter": parts.filter(learn.delta),
        "margin_only": parts.filter(learn.delta, parts.margin),
    }
    if near is not None:
        filters["low_gamma"] = near.filter(learn.delta)
    guards = {name: guard_of(parts.model, each, observe, learn.gain) for name, each in filters.items()}
    if learn.gain < 1:
        guards["one_picture"] = guard_of(parts.model, filters["filter"], observe)
    chase, wander = chasing(CAR, seed), wandering(CAR, seed)
    noisy = chasing(dataclasses.replace(CAR, heading_noise=NOISE), seed)
    runs = {
        "chase.none": chase(across, None),
        **{f"chase.{name}": chase(across, guard) for name, guard in guards.items()},
        "wander.none": wander(anywhere, None),
        "wander.filter": wander(anywhere, guards["filter"]),
        "noisy.none": noisy(across, None),
        "noisy.filter": noisy(across, guards["filter"]),
    }
    return {name: driven_figures(driven, solution) for name, driven in runs.items()}


def unknown_stage(config: SafetyBenchConfig, seed: int, solutions: Solutions) -> dict[str, JSON]:
    """A ditch that no drive has been near and no observation shows, with and without the term for what is unknown."""
    learn, started = config.unknown, time.process_time()
    world, held, fresh = _explored(learn, seed)
    doubt = fit_doubt(world.latents, DoubtConfig(), seed)
    limit = calibrated(world.model, doubt, held, PLAIN.observe, config.alpha)
    aware, unaware = learn_value(world, seed, limit, doubt), learn_value(world, seed)
    spent = time.process_time() - started
    save_parts(config.out / f"seed-{seed}" / "unknown", aware, (4,), {"learned_from": "state", "seed": seed})
    course = course_through(DISC, solutions.unknown, config.trials, np.random.default_rng([seed, 4]))
    chase, delta = chasing(DITCH, seed), learn.delta
    guards = {"aware": aware.filter(delta), "unaware": unaware.filter(delta)}
    runs = {"none": chase(course, None)}
    runs |= {name: chase(course, guard_of(world.model, each, PLAIN.observe)) for name, each in guards.items()}
    return {
        "limits": {name: _limit_figures(world, each, held, fresh, config.alpha, seed)
                   for name, each in (("features", doubt), ("members", None))},
        "drives": {name: driven_figures(driven, solutions.unknown) for name, driven in runs.items()},
        "cpu_s": {"learn": spent, "all": time.process_time() - started},
    }  # fmt: skip


def _explored(learn: LearnConfig, seed: int) -> tuple[World, Drives, Drives]:
    """A world learned outside the disc, and drives of the same kind to calibrate and to check with."""
    sizes = (learn.episodes, learn.episodes // 4, learn.episodes // 4)
    drives, held, fresh = (
        random_drives(PLAIN, size, learn.steps, np.random.default_rng([seed, number]), avoided=DISC)
        for size, number in zip(sizes, (6, 7, 8), strict=True)
    )
    return fit_world(PLAIN, drives, PLAIN.observe, learn, seed), held, fresh


def _limit_figures(
    world: World, doubt: Doubt | None, held: Drives, fresh: Drives, alpha: float, seed: int
) -> dict[str, JSON]:
    """How many known episodes are above the limit, and which share of states well inside the disc."""
    limit = calibrated(world.model, doubt, held, PLAIN.observe, alpha)
    scores = episode_scores(world.model, doubt, fresh, PLAIN.observe)
    states = np.random.default_rng([seed, 9]).uniform(PLAIN.low, PLAIN.high, (8000, 3))
    x, y, radius = DISC
    deep = states[np.hypot(states[:, 0] - x, states[:, 1] - y) < radius - DEEP]
    latents, actions = encode_all(world.model, PLAIN.observe(deep)), torch.zeros(len(deep), 1)
    with torch.no_grad():
        inside = disagreement(world.model, latents, actions) if doubt is None else doubt(latents, actions)
    return {
        "limit": limit,
        "known_above": int((scores > limit).sum()),
        "known": len(scores),
        "inside_above": float((inside > limit).float().mean()),
    }


STAGES: Mapping[str, Callable[[Any, int, Solutions], dict[str, JSON]]] = {
    "state": state_stage,
    "pixels": pixel_stage,
    "unknown": unknown_stage,
}


def values_file(out: Path, seed: int, kind: str) -> Path:
    """Where a stage leaves V at the grid's points."""
    return out / f"seed-{seed}" / f"{kind}-values.npy"
