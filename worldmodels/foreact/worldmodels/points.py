"""True futures with a known answer: a point in the plane that follows commands with a gain nobody sees.

p_{t+1} = p_t + s (g a_t + noise), g = 1 or 0.3 with equal chance for each future. A model that knows this needs no
simulator to be checked: the best single future follows the mean gain, and two codes are right about the gains.
Shape letters: S = states, M = futures of each, T = control steps.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from foreact.worldmodels.branches import Branches, BranchSpec

__all__ = ["GAINS", "STEP", "make_points"]

GAINS = (1.0, 0.3)
STEP = 0.01  # [m] per control step and unit of command
NOISE = 0.1
SOLVED, TOUCHED = 0.05, 0.25  # distances from the origin [m]


def make_points(
    states: int,
    copies: int,
    seed: int = 0,
    purpose: Literal["train", "calibrate", "test"] = "train",
    horizon: int = 16,
) -> Branches:
    """Points somewhere near the origin, each pushed by commands that hardly change during a chunk.

    Args:
        states: S.
        copies: M.
        seed: Of everything.
        purpose: What the set is for.
        horizon: T.
    """
    random = np.random.default_rng([seed, len(purpose)])
    start = random.normal(0, 0.1, (states, 2))
    actions = random.normal(0, 1, (states, 1, 2)) + random.normal(0, 0.2, (states, horizon, 2))
    gain = random.choice(GAINS, (states, copies))
    noise = random.normal(0, NOISE, (states, copies, horizon, 2))
    moved = STEP * (gain[:, :, None, None] * actions[:, None] + noise).cumsum(2)
    places = start[:, None, None] + moved
    distance = np.linalg.norm(places, axis=-1)
    goal = np.zeros((*places.shape[:3], 1))
    return Branches(
        BranchSpec("point", ("x", "y", "goal"), (0, 1), ("dx", "dy"), ("gain",), 20.0, seed, purpose),
        context=np.concatenate([start, goal[:, 0, 0]], 1).astype(np.float32),
        actions=actions.astype(np.float32),
        futures=np.concatenate([places, goal], -1).astype(np.float32),
        reward=-distance.astype(np.float32),
        success=distance < SOLVED,
        contact=distance > TOUCHED,
        hidden=gain[..., None].astype(np.float32),
    )
