"""Conformal calibration: intervals that hold what they say, on states that were not looked at before.

Whatever the model, its central intervals are widened or narrowed by what was seen on calibration states. The score of
a true number is how far it lies outside the interval (Romano, Patterson and Candes 2019, "Conformalized quantile
regression", section 4), in units of the forecast's own spread there. Futures of one state are repeated measurements
of a group, not independent, so a state counts as one: the margin is the quantile of scores in which each of S states
weighs 1 / (S + 1) and the rest lies at infinity (Lee, Barber and Willett 2023, "Distribution-free inference with
hierarchical data"). For a new state drawn alike, each stated level is then held on average.

Shape letters: S = states, K = futures of a forecast, M = true futures, T = control steps, D = elements, L = levels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.episodes.runfolder import write_json_atomic
from foreact.worldmodels.scores import LEVELS, intervals, weighted_spread

__all__ = ["Calibration", "CalibrationError", "conformal_quantile", "fit_calibration"]

LEAST = 0.05  # share of the average spread below which a forecast's own spread is not believed
SMALLEST = 1e-9  # spread where forecasts have none at all: the margin is then the same for all states


class CalibrationError(ValueError):
    """A calibration cannot be made, read or used; the message says why."""


@dataclass(frozen=True)
class Calibration:
    """Margins of central intervals.

    Attributes:
        levels: What the intervals state, length L.
        margins: How far both ends move outwards, in spreads of the forecast, (L, T, D).
        least: Smallest spread, (T, D).
    """

    levels: tuple[float, ...]
    margins: np.ndarray
    least: np.ndarray

    def intervals(self, forecast: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Calibrated intervals: lower and upper ends, (S, L, T, D) each.

        Args:
            forecast: (S, K, T, D).
            weights: (S, K).

        Raises:
            CalibrationError: The forecast has other steps or elements.
        """
        if forecast.shape[2:] != self.least.shape:
            raise CalibrationError(f"calibrated for {self.least.shape} steps and elements, got {forecast.shape[2:]}")
        low, high = intervals(forecast, weights, self.levels)
        margin = self.margins * _spread(forecast, weights, self.least)[:, None]
        low, high = low - margin, high + margin
        middle = (low + high) / 2
        return np.where(low > high, middle, low), np.where(low > high, middle, high)

    def coverage(self, forecast: np.ndarray, weights: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Share of true numbers, (S, M, T, D), inside the calibrated intervals, (S, L)."""
        low, high = self.intervals(forecast, weights)
        levels = range(len(self.levels))
        return np.stack([((truth >= low[:, [n]]) & (truth <= high[:, [n]])).mean((1, 2, 3)) for n in levels], axis=1)

    def save(self, path: Path) -> None:
        """Write it as JSON, whole or not at all."""
        values = {"levels": list(self.levels), "margins": self.margins.tolist(), "least": self.least.tolist()}
        write_json_atomic(path, values)

    @classmethod
    def open(cls, path: Path) -> Calibration:
        """Read it.

        Raises:
            CalibrationError: It is missing, damaged or not a calibration; the message names it.
        """
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            levels = tuple(float(each) for each in values["levels"])
            margins, least = np.array(values["margins"], float), np.array(values["least"], float)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CalibrationError(f"{path} is not a calibration: {error}") from error
        if margins.shape != (len(levels), *least.shape) or least.ndim != 2:
            raise CalibrationError(f"{path}: margins of shape {margins.shape} for {len(levels)} levels, {least.shape}")
        if not (np.isfinite(margins).all() and np.isfinite(least).all()):
            raise CalibrationError(f"{path}: not every number is finite")
        return cls(levels, margins, least)


def fit_calibration(
    forecast: np.ndarray,
    weights: np.ndarray,
    truth: np.ndarray,
    levels: Sequence[float] = LEVELS,
    *,
    together: bool = False,
) -> Calibration:
    """Margins from forecasts of calibration states.

    Args:
        forecast: (S, K, T, D), by a model that was not trained on these states.
        weights: (S, K).
        truth: (S, M, T, D).
        levels: What the intervals shall state.
        together: One margin for all steps and elements of a level, instead of one for each.

    Raises:
        CalibrationError: Too few states for the highest level.
    """
    average = weighted_spread(forecast, weights).mean(0)
    least = np.maximum(LEAST * average, SMALLEST)
    spread = _spread(forecast, weights, least)
    low, high = intervals(forecast, weights, levels)
    margins = []
    for number, level in enumerate(levels):
        # E = max(q_low - y, y - q_high) / spread
        outside = np.maximum(low[:, [number]] - truth, truth - high[:, [number]]) / spread[:, None]
        if together:
            margins.append(np.full(least.shape, conformal_quantile(outside.reshape(len(truth), -1, 1), level)[0]))
        else:
            scores = outside.reshape(*outside.shape[:2], -1)
            margins.append(conformal_quantile(scores, level).reshape(least.shape))
    return Calibration(tuple(levels), np.stack(margins), least)


def conformal_quantile(scores: np.ndarray, level: float) -> np.ndarray:
    """The score that a new state's stay below with a chance of at least `level`.

    Args:
        scores: M scores of each of S states, for each of some columns, (S, M, C).
        level: In (0, 1).

    Returns:
        One per column, (C,).

    Raises:
        CalibrationError: Even the largest score is not enough: there are too few states.
    """
    states, futures = scores.shape[:2]
    # the smallest q with sum over states and futures of 1 / ((S + 1) M) [score <= q] >= level
    rank = int(np.ceil(level * (states + 1) * futures - 1e-9))
    if rank > states * futures:
        need = int(np.ceil(level / (1 - level) - 1e-9))
        raise CalibrationError(f"{states} states are too few for intervals of {level:.0%}; {need} are needed")
    return np.sort(scores.reshape(states * futures, -1), axis=0)[rank - 1]


def _spread(forecast: np.ndarray, weights: np.ndarray, least: np.ndarray) -> np.ndarray:
    return np.maximum(weighted_spread(forecast, weights), least)
