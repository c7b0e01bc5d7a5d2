"""Scores of weighted futures against true ones, per state.

A forecast is a set of futures with weights that add up to 1; the truth is what the simulator did from the same state
under the same chunk. All functions take forecast (S, K, T, D), weights (S, K) and truth (S, M, T, D) and return a
number per state; their mean is the score. Lower is better unless said otherwise.

Shape letters: S = states, K = futures of a forecast, M = true futures, T = control steps, D = elements, L = levels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

__all__ = [
    "LEVELS", "code_usage", "coverage", "crps", "cvar", "cvar_error", "distances", "energy_score", "intervals",
    "min_ade", "min_fde", "quantiles", "weighted_spread",
]  # fmt: skip

LEVELS = (0.5, 0.8, 0.95)
ROUNDING = 1e-6  # weights of float32 add up to a little more or less than a level


def energy_score(forecast: np.ndarray, weights: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """How far forecasts and truths are apart as distributions over trajectories, (S,), in the unit of the elements.

    The distance of two trajectories is the mean over steps of the Euclidean distance. The score is proper: on average
    nothing beats the true distribution. Source: Gneiting and Raftery 2007, "Strictly proper scoring rules, prediction,
    and estimation", section 4.3 with beta = 1.

    Args:
        forecast: (S, K, T, D).
        weights: (S, K).
        truth: (S, M, T, D).

    Raises:
        ValueError: Shapes do not fit, a number is not finite, or weights do not add up to 1.
    """
    _check(forecast, weights, truth)
    # ES = E d(X, Y) - 1/2 E d(X, X')
    to_truth = np.einsum("sk,skm->s", weights, distances(forecast, truth)) / truth.shape[1]
    among = np.einsum("sk,skl,sl->s", weights, distances(forecast, forecast), weights)
    return to_truth - 0.5 * among


def crps(forecast: np.ndarray, weights: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Continuous ranked probability score, the mean over steps and elements, (S,), in the unit of the elements.

    It is the energy score of one number; see Gneiting and Raftery 2007, section 4.2. Arguments and errors are those of
    `energy_score`.
    """
    _check(forecast, weights, truth)
    scores = np.zeros(len(forecast))
    for k in range(forecast.shape[1]):
        to_truth = np.abs(forecast[:, k, None] - truth).mean((1, 2, 3))
        gaps = np.abs(forecast[:, k, None] - forecast).mean((2, 3))
        scores += weights[:, k] * (to_truth - 0.5 * (weights * gaps).sum(1))
    return scores


def min_ade(forecast: np.ndarray, weights: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean distance along the way from a true future to the nearest of the forecast, (S,).

    Spreading out lowers it: read it beside `energy_score` and `coverage`. Futures of weight 0 do not count. Arguments
    and errors are those of `energy_score`.
    """
    _check(forecast, weights, truth)
    return _to_nearest(distances(forecast, truth), weights)


def min_fde(forecast: np.ndarray, weights: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Distance at the last step from a true future to the nearest of the forecast, (S,); see `min_ade`."""
    _check(forecast, weights, truth)
    return _to_nearest(distances(forecast[:, :, -1:], truth[:, :, -1:]), weights)


def coverage(
    forecast: np.ndarray, weights: np.ndarray, truth: np.ndarray, levels: Sequence[float] = LEVELS
) -> np.ndarray:
    """Share of true numbers inside the forecast's central intervals, (S, L); right where it equals the level.

    Arguments and errors are those of `energy_score`, and levels in (0, 1).
    """
    _check(forecast, weights, truth)
    low, high = intervals(forecast, weights, levels)
    return np.stack(
        [((truth >= low[:, [n]]) & (truth <= high[:, [n]])).mean((1, 2, 3)) for n in range(len(levels))], axis=1
    )


def intervals(
    forecast: np.ndarray, weights: np.ndarray, levels: Sequence[float] = LEVELS
) -> tuple[np.ndarray, np.ndarray]:
    """Central intervals of each step and element: lower and upper ends, (S, L, T, D) each.

    Raises:
        ValueError: A level is not in (0, 1).
    """
    if not all(0 < level < 1 for level in levels):
        raise ValueError(f"levels={list(levels)}: expected numbers between 0 and 1")
    tails = [(1 - level) / 2 for level in levels]
    ends = quantiles(forecast, weights, [*tails, *(1 - tail for tail in tails)])
    return ends[:, : len(tails)], ends[:, len(tails) :]


def quantiles(forecast: np.ndarray, weights: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Smallest values below or at which so much of the weight lies, (S, Q, T, D) for Q shares."""
    order = np.argsort(forecast, axis=1, kind="stable")
    ordered = np.take_along_axis(forecast, order, axis=1)
    mass = np.cumsum(np.take_along_axis(np.broadcast_to(weights[:, :, None, None], order.shape), order, axis=1), axis=1)
    last = forecast.shape[1] - 1
    places = [np.minimum((mass < share - ROUNDING).sum(1, keepdims=True), last) for share in shares]
    return np.concatenate([np.take_along_axis(ordered, place, axis=1) for place in places], axis=1)


def weighted_spread(forecast: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Standard deviation of each step and element, (S, T, D)."""
    mean = np.einsum("sk,sktd->std", weights, forecast)
    return np.sqrt(np.einsum("sk,sktd->std", weights, (forecast - mean[:, None]) ** 2))


def cvar(cost: np.ndarray, weights: np.ndarray, share: float = 0.2) -> np.ndarray:
    """Conditional value at risk: the mean cost of the worst share of the weight, (S,).

    Source: Rockafellar and Uryasev 2002, "Conditional value-at-risk for general loss distributions", proposition 8.

    Args:
        cost: Of each future, (S, K).
        weights: (S, K).
        share: Of the weight, in (0, 1]; an atom at its edge counts in part.

    Raises:
        ValueError: The share is out of range, or shapes differ.
    """
    if not 0 < share <= 1 or cost.shape != weights.shape:
        raise ValueError(f"cvar: expected 0 < share <= 1 and equal shapes, got {share}, {cost.shape}, {weights.shape}")
    order = np.argsort(-cost, axis=1, kind="stable")
    mass = np.take_along_axis(weights, order, axis=1)
    before = np.cumsum(mass, axis=1) - mass
    counted = np.clip(share - before, 0.0, mass)
    return (counted * np.take_along_axis(cost, order, axis=1)).sum(1) / counted.sum(1)


def cvar_error(cost: np.ndarray, weights: np.ndarray, true_cost: np.ndarray, share: float = 0.2) -> np.ndarray:
    """CVaR of the forecast less that of the truth, (S,); below 0 the forecast is too hopeful.

    Args:
        cost: Of each future of the forecast, (S, K).
        weights: (S, K).
        true_cost: Of each true future, (S, M).
        share: See `cvar`.
    """
    even = np.full(true_cost.shape, 1 / true_cost.shape[1])
    return cvar(cost, weights, share) - cvar(true_cost, even, share)


def code_usage(forecast: np.ndarray, weights: np.ndarray, truth: np.ndarray) -> float:
    """How many futures of the forecast are in use: the perplexity of which is nearest to a true one, in [1, K].

    Futures of weight 0 do not count. Arguments and errors are those of `energy_score`.
    """
    _check(forecast, weights, truth)
    nearest = _offered(distances(forecast, truth), weights).argmin(1)
    share = np.bincount(nearest.ravel(), minlength=forecast.shape[1]) / nearest.size
    used = share[share > 0]
    # exp(-sum p ln p)
    return float(np.exp(-(used * np.log(used)).sum()))


def distances(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of all pairs of trajectories of a state, (S, K, M): mean over steps of the Euclidean distance.

    Args:
        first: (S, K, T, D).
        second: (S, M, T, D).
    """
    found = np.empty((len(first), first.shape[1], second.shape[1]))
    for k in range(first.shape[1]):
        gap = first[:, k, None] - second
        found[:, k] = np.sqrt(np.einsum("smtd,smtd->smt", gap, gap)).mean(-1)
    return found


def _offered(distance: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.where(weights[:, :, None] > 0, distance, np.inf)


def _to_nearest(distance: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return _offered(distance, weights).min(1).mean(1)


def _check(forecast: np.ndarray, weights: np.ndarray, truth: np.ndarray) -> None:
    fits = forecast.ndim == truth.ndim == 4 and forecast.shape[2:] == truth.shape[2:]
    if not fits or not len(forecast) == len(truth) or weights.shape != forecast.shape[:2]:
        raise ValueError(
            f"expected forecast (S, K, T, D), weights (S, K) and truth (S, M, T, D), "
            f"got {forecast.shape}, {weights.shape} and {truth.shape}"
        )
    if not (forecast.size and truth.size):
        raise ValueError("no states, no futures or no steps to score")
    if not (np.isfinite(forecast).all() and np.isfinite(truth).all()):
        raise ValueError("a forecast or a truth holds numbers that are not finite")
    if not (weights >= 0).all() or np.abs(weights.sum(1) - 1).max() > 1e-3:
        raise ValueError("weights of a state must be 0 or more and add up to 1")
