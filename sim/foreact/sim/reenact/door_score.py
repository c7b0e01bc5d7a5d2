"""What became of the doors: opened or not, as recorded and as simulated, and what it was worth.

Shape letters: n = demonstrations, T = actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.episodes.statistics import wilson_interval
from foreact.sim.reenact.adroit_door import DOOR_OPEN, HANDLE, HINGE, PALM, AdroitDoor, reward
from foreact.sim.reenact.drive import Take
from foreact.sim.reenact.measures import places, rms

__all__ = ["DoorScore", "door_figures", "door_score"]


@dataclass(frozen=True)
class DoorScore:
    """One demonstration, re-enacted.

    Attributes:
        success: The simulated hinge reached 1.35 rad at one of the T observations.
        recorded_success: The recorded one did.
        hinge: Its largest simulated angle [rad].
        recorded_hinge: Its largest recorded angle [rad].
        value: Sum of rewards of the simulated states.
        recorded_value: Sum of recorded rewards; None without them.
        reward_off: Median difference of the recorded rewards from the formula at the recorded observations.
        palm_rms: Of the palm's place in the observations [m].
        observation_rms: Of simulated less recorded observations, in rad and m, without the last, a flag.
    """

    success: bool
    recorded_success: bool
    hinge: float
    recorded_hinge: float
    value: float
    recorded_value: float | None
    reward_off: float | None
    palm_rms: float | None
    observation_rms: float | None


def door_score(stage: AdroitDoor, take: Take, rewards: np.ndarray | None) -> DoorScore:
    """Score a demonstration.

    Args:
        stage: The door.
        take: What was re-enacted, with recorded observations.
        rewards: As recorded, (T,); None without them.
    """
    seen = observations(stage, take)
    hinge, recorded = seen[:, HINGE], take.states[:, HINGE]
    # the reward of an action is that of the state after it
    gained = reward(seen[1:, PALM], seen[1:, HANDLE], hinge[1:], take.qvel[1:])
    return DoorScore(
        success=bool((hinge[:-1] >= DOOR_OPEN).any()),
        recorded_success=bool((recorded >= DOOR_OPEN).any()),
        hinge=float(hinge[:-1].max()),
        recorded_hinge=float(recorded.max()),
        value=float(gained.sum()),
        recorded_value=None if rewards is None else float(rewards.sum()),
        reward_off=None if rewards is None else _off(take.states, rewards),
        palm_rms=rms(np.linalg.norm(seen[:-1, PALM] - take.states[:, PALM], axis=1)),
        observation_rms=rms(seen[:-1, :-1] - take.states[:, :-1]),
    )


def observations(stage: AdroitDoor, take: Take) -> np.ndarray:
    """What the simulated states look like as observations, (T + 1, 39).

    The environment reads places that were derived before the last sub-step: q - h q' gives them back (Euler's steps).
    """
    before = take.qpos - float(take.opening.model.opt.timestep) * take.qvel
    palm, handle = places(take.opening.model, before, stage.tips).swapaxes(0, 1)
    hinge = take.qpos[:, stage.hinge]
    parts = (take.qpos[:, 1:28], take.qpos[:, stage.latch, None], hinge[:, None], palm, handle, palm - handle)
    return np.concatenate([*parts, np.where(hinge > 1.0, 1.0, -1.0)[:, None]], axis=1)


def _off(states: np.ndarray, rewards: np.ndarray) -> float:
    after = states[1:]
    formula = reward(after[:, PALM], after[:, HANDLE], after[:, HINGE], np.zeros((len(after), 1)))
    return float(np.median(np.abs(rewards[:-1] - formula)))


def door_figures(scores: Sequence[DoorScore]) -> dict[str, JSON]:
    """Success over n demonstrations, with 95 % Wilson intervals."""
    count = len(scores)
    simulated, recorded = sum(each.success for each in scores), sum(each.recorded_success for each in scores)
    off = [each.hinge - each.recorded_hinge for each in scores]
    return {
        "demonstrations": count,
        "success_angle_rad": DOOR_OPEN,
        "success": simulated,
        "success_interval": list(wilson_interval(simulated, count)),
        "recorded_success": recorded,
        "recorded_success_interval": list(wilson_interval(recorded, count)),
        "same_outcome": sum(each.success == each.recorded_success for each in scores),
        "opened_1_rad": sum(each.hinge > 1.0 for each in scores),
        "recorded_opened_1_rad": sum(each.recorded_hinge > 1.0 for each in scores),
        "largest_hinge_off_rms_rad": rms(np.array(off)),
    }
