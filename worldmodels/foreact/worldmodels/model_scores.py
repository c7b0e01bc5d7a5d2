"""All figures of the branched benchmark for anything that imagines futures.

Shape letters: S = states, K = futures of a forecast, M = true futures, T = control steps, O = observed elements,
D = tracked elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from foreact.worldmodels.branches import BranchError, Branches
from foreact.worldmodels.calibration import Calibration, fit_calibration
from foreact.worldmodels.futures import FutureModel
from foreact.worldmodels.scenes import scene
from foreact.worldmodels.scores import (
    LEVELS,
    code_usage,
    coverage,
    crps,
    cvar,
    energy_score,
    intervals,
    min_ade,
    min_fde,
)

__all__ = [
    "Forecast",
    "calibrate",
    "energy_floor",
    "forecast",
    "gap_closed",
    "score_forecast",
    "score_model",
    "score_truth",
]

BATCH = 256  # states imagined together
RISK = 0.2  # share of futures that counts as the bad tail
MOVES = 1e-3  # standard deviation of true futures from which an element counts as moving [m]


@dataclass(frozen=True)
class Forecast:
    """What a model imagines for the states of a set, as arrays.

    Attributes:
        values: In the units of the observation, (S, K, T, O).
        weights: They add up to 1, (S, K).
        success: Probability that the task is solved, mean over futures, (S, T).
        contact: Probability of touching what must not be touched, mean over futures, (S, T).
        reward: Mean over futures, (S, T).
    """

    values: np.ndarray
    weights: np.ndarray
    success: np.ndarray
    contact: np.ndarray
    reward: np.ndarray


def forecast(model: FutureModel, branches: Branches, *, shuffle_actions: bool = False, device: str = "cpu") -> Forecast:
    """Let a model imagine the futures of all states of a set.

    Args:
        model: Who imagines.
        branches: Which states.
        shuffle_actions: Give every state the chunk of another one: who uses actions gets worse.
        device: Where the model is.

    Raises:
        BranchError: The model's chunk is not that of the set, its answer does not fit, or is not finite.
    """
    if branches.actions.shape[1] != model.horizon:
        raise BranchError(f"the model imagines {model.horizon} steps, the set has {branches.actions.shape[1]}")
    states = len(branches)
    chosen = np.roll(np.arange(states), states // 2) if shuffle_actions else np.arange(states)
    parts = [_imagined(model, branches, chosen, slice(at, at + BATCH), device) for at in range(0, states, BATCH)]
    values, weights, success, contact, reward = (np.concatenate(each) for each in zip(*parts, strict=True))
    wanted = (states, model.futures, *branches.futures.shape[2:])
    if values.shape != wanted:
        raise BranchError(f"the model answered {values.shape}, expected {wanted}")
    if not np.isfinite(values).all():
        raise BranchError("the model imagined numbers that are not finite")
    return Forecast(values, weights, success, contact, reward)


def calibrate(
    model: FutureModel, branches: Branches, levels: Sequence[float] = LEVELS, *, device: str = "cpu"
) -> Calibration:
    """Conformal margins for the tracked elements, from a set made to calibrate on.

    Raises:
        BranchError: The set was made for something else, or does not fit the model.
        CalibrationError: There are too few states.
    """
    if branches.spec.purpose != "calibrate":
        raise BranchError(f"calibrate on a set made for it, not on one made to {branches.spec.purpose}")
    found = forecast(model, branches, device=device)
    return fit_calibration(_tracked(found, branches), found.weights, branches.positions, levels)


def score_model(
    model: FutureModel,
    branches: Branches,
    calibration: Calibration | None = None,
    *,
    shuffle_actions: bool = False,
    device: str = "cpu",
) -> dict[str, float]:
    """Every figure of the benchmark for one model on one set.

    Args:
        model: Who imagines.
        branches: What really happened.
        calibration: Of this model; without it coverage is that of its own intervals.
        shuffle_actions: The control: every state with another one's chunk.
        device: Where the model is.

    Returns:
        Figures by name: `energy_score`, `crps`, `min_ade`, `min_fde` [m]; `coverage_50`, `_80` and `_95`, with `_raw`
        those without calibration, with `_moving` those of elements that really differ between futures, if there are
        any; `width_50`, `_80` and `_95` of intervals [m]; `cvar_error`, `cvar_bias` [m] and `cvar_correlation` of what
        the worst futures leave to do; `code_usage`; squared errors of probabilities `success_brier` and
        `contact_brier`; `reward_error` per step; and `energy_score_se`, the standard error over states.

    Raises:
        BranchError: Model and set do not fit.
    """
    found = forecast(model, branches, shuffle_actions=shuffle_actions, device=device)
    return score_forecast(found, branches, calibration)


def score_forecast(found: Forecast, branches: Branches, calibration: Calibration | None = None) -> dict[str, float]:
    """The figures of `score_model` for what a model has imagined already."""
    values, weights, truth = _tracked(found, branches), found.weights, branches.positions
    energy = energy_score(values, weights, truth)
    figures = {
        "states": float(len(truth)),
        "futures": float(values.shape[1]),
        "energy_score": float(energy.mean()),
        "energy_score_se": float(energy.std(ddof=1) / np.sqrt(len(energy))) if len(energy) > 1 else 0.0,
        "crps": float(crps(values, weights, truth).mean()),
        "min_ade": float(min_ade(values, weights, truth).mean()),
        "min_fde": float(min_fde(values, weights, truth).mean()),
        "code_usage": code_usage(values, weights, truth),
    }
    figures |= _coverages(values, weights, truth, calibration)
    figures |= _risks(found, branches)
    figures["success_brier"] = _squared(found.success, branches.success)
    figures["contact_brier"] = _squared(found.contact, branches.contact)
    figures["reward_error"] = float(np.abs(found.reward - branches.reward.mean(1)).mean())
    return figures


def energy_floor(branches: Branches) -> float:
    """Energy score [m] of half of the true futures against the other half, both ways: nobody can expect less.

    Raises:
        BranchError: Fewer than two futures of a state.
    """
    one, other = (each.positions for each in _halves(branches))
    even = np.full(one.shape[:2], 1 / one.shape[1])
    return float((energy_score(one, even, other) + energy_score(other, even, one)).mean() / 2)


def score_truth(branches: Branches) -> dict[str, float]:
    """The figures of `score_model` for half of the true futures as a forecast of the other half.

    Raises:
        BranchError: Fewer than two futures of a state.
    """
    known, rest = _halves(branches)
    even = np.full(known.futures.shape[:2], 1 / known.futures.shape[1])
    means = (each.mean(1) for each in (known.success, known.contact, known.reward))
    return score_forecast(Forecast(known.futures, even, *means), rest) | {"energy_score": energy_floor(branches)}


def gap_closed(energy: float, deterministic: float, floor: float) -> float:
    """Share of the way from a one-future model's energy score to the floor: 1 at the floor, 0 where nothing is won.

    Raises:
        ValueError: There is no gap: the one-future model is at the floor or below.
    """
    if deterministic <= floor:
        raise ValueError(f"no gap to close: the one-future model scores {deterministic:.4g}, the floor is {floor:.4g}")
    return (deterministic - energy) / (deterministic - floor)


def _imagined(
    model: FutureModel, branches: Branches, chosen: np.ndarray, part: slice, device: str
) -> tuple[np.ndarray, ...]:
    with torch.no_grad():
        context, actions = branches.context[part], branches.actions[chosen[part]]
        futures = model.imagine(torch.from_numpy(context).to(device), torch.from_numpy(actions).to(device))
        weights = futures.log_weights.exp().double().cpu().numpy()
        means = (futures.success, futures.contact, futures.reward)
        probabilities = [np.einsum("sk,skt->st", weights, each.double().cpu().numpy()) for each in means]
        return futures.values.float().cpu().numpy(), weights, *probabilities


def _halves(branches: Branches) -> tuple[Branches, Branches]:
    half = branches.futures.shape[1] // 2
    if half < 1:
        raise BranchError("the floor needs at least two true futures of each state")
    every = slice(None)
    return branches.part(every, slice(half)), branches.part(every, slice(half, 2 * half))


def _tracked(found: Forecast, branches: Branches) -> np.ndarray:
    return found.values[..., list(branches.spec.tracked)]


def _coverages(
    values: np.ndarray, weights: np.ndarray, truth: np.ndarray, calibration: Calibration | None
) -> dict[str, float]:
    levels = LEVELS if calibration is None else calibration.levels
    low, high = intervals(values, weights, levels) if calibration is None else calibration.intervals(values, weights)
    moving = truth.std(1) > MOVES
    raw = coverage(values, weights, truth, levels).mean(0)
    figures = {}
    for number, level in enumerate(levels):
        inside = ((truth >= low[:, [number]]) & (truth <= high[:, [number]])).mean(1)
        name = f"coverage_{100 * level:.0f}"
        figures[name] = float(inside.mean())
        figures[f"{name}_raw"] = float(raw[number])
        if moving.any():
            figures[f"{name}_moving"] = float(inside[moving].mean())
        figures[f"width_{100 * level:.0f}"] = float((high[:, number] - low[:, number]).mean())
    return figures


def _risks(found: Forecast, branches: Branches) -> dict[str, float]:
    """Errors of the mean cost of the worst futures, the cost being what is left to do at the end [m]."""
    left = scene(branches.spec.task).cost
    cost, true_cost = left(found.values[:, :, -1]), left(branches.futures[:, :, -1])
    even = np.full(true_cost.shape, 1 / true_cost.shape[1])
    guessed, known = cvar(cost, found.weights, RISK), cvar(true_cost, even, RISK)
    error = guessed - known
    # who always says the same knows nothing
    varied = guessed.std() > 0 and known.std() > 0
    correlation = float(np.corrcoef(guessed, known)[0, 1]) if varied else 0.0
    return {
        "cvar_error": float(np.abs(error).mean()), "cvar_bias": float(error.mean()), "cvar_correlation": correlation,
    }  # fmt: skip


def _squared(probability: np.ndarray, happened: np.ndarray) -> float:
    """Brier score: mean squared distance of a probability, (S, T), from what happened, (S, M, T)."""
    return float(((probability[:, None] - happened) ** 2).mean())
