"""What imagined positions say about a task: how near, whether solved, whether the ball was touched.

A model's own heads for rewards, successes and contacts learn from few of them; where things are is learnt from every
step. What a robot knows of its task and of its gripper's shape can be measured in what it imagines. Shape letters:
K = futures, T = control steps, O = observed elements.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor

from foreact.sim.tabletop.arm import JAW, TOOL
from foreact.sim.tabletop.passer import RADIUS
from foreact.worldmodels.futures import Futures
from foreact.worldmodels.scenes import Scene

__all__ = ["Told", "clearance", "measured", "told_by"]

Told = Literal["positions", "heads"]
"""What tells rewards, successes and contacts of a model's futures: its imagined positions, or its own heads."""

BEGUN = 0.3  # share of the reward that is for the hand's way to where it can begin, as in the tasks' own rewards
SOFT = 0.01  # how far off imagined positions are [m]

# boxes around the gripper that points down: height of their middle above the finger tips, half sizes [m]
PALM = (TOOL - 0.118, (0.03, 0.09, 0.018))
HAND = (TOOL - 0.07, (0.031, 0.031, 0.03))  # a cylinder of radius 3.5 cm
FINGER = (0.02, (0.008, 0.006, 0.036))


def told_by(told: Told, scene: Scene, futures: Futures) -> Futures:
    """Futures as they are, or measured.

    Args:
        told: Which.
        scene: Of the futures.
        futures: Of a model.
    """
    return futures if told == "heads" else measured(scene, futures)


def measured(scene: Scene, futures: Futures) -> Futures:
    """The same futures, with rewards, successes and contacts told by positions.

    Args:
        scene: What the task is.
        futures: Of a model.
    """
    short = scene.short(futures.values)
    contact = torch.zeros_like(short)
    if scene.contact is not None:
        # a clearance of 0 counts as half a contact: p = 1 / (1 + exp(d / s))
        contact = torch.sigmoid(-clearance(scene, futures.values) / SOFT)
    success = torch.sigmoid(-short / SOFT)
    return replace(futures, reward=_reward(scene, futures.values), success=success, contact=contact)


def _reward(scene: Scene, seen: Tensor) -> Tensor:
    """What is done of the task, and of the hand's way to where it can begin, (...)."""
    done = _near(scene.cost(seen))
    return done if scene.approach is None else (1 - BEGUN) * done + BEGUN * _near(scene.approach(seen))


def _near(distance: Tensor) -> Tensor:
    """1 at no distance, 0.24 at 20 cm."""
    return 1 - torch.tanh(5 * distance)


def clearance(scene: Scene, seen: Tensor) -> Tensor:
    """Distance between gripper and ball, negative where they overlap.

    Args:
        scene: With a passer-by.
        seen: Observations, (..., O).

    Returns:
        Distances [m], (...).
    """
    column = {name: number for number, name in enumerate(scene.columns)}
    # one array per axis: three times as fast as vectors of three
    x, y, z = (seen[..., column[f"passer_{axis}"]] - seen[..., column[f"hand_{axis}"]] for axis in "xyz")
    found = torch.minimum(_box(x, y, z - PALM[0], PALM[1]), _box(x, y, z - HAND[0], HAND[1]))
    for sign, jaw in ((1, "jaw_left"), (-1, "jaw_right")):
        # a finger stands as far out as its joint says
        beside = y - sign * (seen[..., column[jaw]].clamp(0.0, JAW) + FINGER[1][1])
        found = torch.minimum(found, _box(x, beside, z - FINGER[0], FINGER[1]))
    return found - RADIUS


def _box(x: Tensor, y: Tensor, z: Tensor, half: tuple[float, float, float]) -> Tensor:
    """Signed distance of points to a box around the origin along the axes."""
    # d = |max(|p| - h, 0)| + min(max_i(|p| - h)_i, 0)
    out = [each.abs() - size for each, size in zip((x, y, z), half, strict=True)]
    squared = sum((each.clamp(min=0).square() for each in out), torch.zeros(()))
    return squared.sqrt() + torch.maximum(torch.maximum(out[0], out[1]), out[2]).clamp(max=0)
