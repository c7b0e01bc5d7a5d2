"""How far a re-enacted recording is off: joints, ends, limits, delays.

Shape letters: T = actions, J = joints that are driven, K = tips, nq = positions of the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foreact.sim.reenact.drive import Take
from foreact.sim.reenact.stage import Driven, Tip

if TYPE_CHECKING:
    import mujoco

__all__ = ["Tracking", "delay_s", "places", "rms", "tracking"]

AT_END = 1e-3  # [m or rad] from the end of a range that counts as at it
MOST_DELAY_S = 0.5


@dataclass(frozen=True)
class Tracking:
    """Differences of T samples, in rad or metres, NaN where something is not known.

    Attributes:
        simulated: Simulated less recorded positions, (T, J).
        recorded: Recorded positions less commands: what the recorded robot itself was off, (T, J).
        servo: Simulated positions less commands, (T, J).
        tips: Distances of the simulated tips from where the recorded state has them [m], (T, K).
        outside: Commands that are out of a joint's range, (J,).
        at_end: Samples in which a simulated joint is at an end of its range, (J,).
        recorded_outside: Recorded positions that are out of a joint's range by more than 1e-3, (J,).
    """

    simulated: np.ndarray
    recorded: np.ndarray
    servo: np.ndarray
    tips: np.ndarray
    outside: np.ndarray
    at_end: np.ndarray
    recorded_outside: np.ndarray


def tracking(take: Take, driven: Driven, tips: Sequence[Tip]) -> Tracking:
    """Compare what was simulated with what was recorded and commanded.

    Args:
        take: What was re-enacted.
        driven: Its J joints.
        tips: K places.
    """
    simulated, recorded = take.qpos[:-1][:, driven.qpos], take.posed[:, driven.qpos]
    low, high = driven.ranges.T
    apart = places(take.opening.model, take.qpos[:-1], tips) - places(take.opening.model, take.posed, tips)
    return Tracking(
        simulated=simulated - recorded,
        recorded=recorded - take.targets,
        servo=simulated - take.targets,
        tips=np.linalg.norm(apart, axis=2),
        outside=((take.targets < low) | (take.targets > high)).sum(0),
        at_end=((simulated < low + AT_END) | (simulated > high - AT_END)).sum(0),
        recorded_outside=((recorded < low - AT_END) | (recorded > high + AT_END)).sum(0),
    )


def rms(values: np.ndarray) -> float | None:
    """Root mean square of what is known; None if nothing is."""
    known = values[np.isfinite(values)]
    return float(np.sqrt((known**2).mean())) if known.size else None


def places(model: mujoco.MjModel, qpos: np.ndarray, tips: Sequence[Tip]) -> np.ndarray:
    """Where tips are in the world frame [m], (T, K, 3); NaN where positions are.

    Args:
        model: Compiled.
        qpos: (T, nq).
        tips: K of them.
    """
    import mujoco

    data = mujoco.MjData(model)
    found = np.full((len(qpos), len(tips), 3), np.nan)
    for row, each in zip(found, qpos, strict=True):
        if not np.isfinite(each).all():
            continue
        data.qpos[:] = each
        mujoco.mj_kinematics(model, data)
        for place, tip in zip(row, tips, strict=True):
            place[:] = data.body(tip.name).xipos if tip.kind == "body" else data.site(tip.name).xpos
    return found


def delay_s(positions: np.ndarray, targets: np.ndarray, period_s: float) -> float | None:
    """By how much positions come after their commands: the shift up to 0.5 s at which they differ least [s].

    Args:
        positions: (T, J).
        targets: (T, J).
        period_s: Between samples [s].

    Returns:
        A multiple of the period; None if too little is known or nothing moves.
    """
    most = min(round(MOST_DELAY_S / period_s), len(positions) // 2)
    known = np.isfinite(targets).all(0) & np.isfinite(positions).all(0)
    if most < 1 or not known.any() or not np.ptp(targets[:, known], axis=0).any():
        return None
    # the same commands are compared at each shift
    errors = [
        np.mean((positions[shift : len(positions) - most + shift, known] - targets[: len(targets) - most, known]) ** 2)
        for shift in range(most + 1)
    ]
    return int(np.argmin(errors)) * period_s
