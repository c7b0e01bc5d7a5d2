"""Intervals by resampling states: of a mean, of a difference of two on the same states, of a ratio.

Shape letters: S = states, R = resamples.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

__all__ = ["Estimate", "mean_of", "paired", "ratio_of"]


@dataclass(frozen=True)
class Estimate:
    """A figure with its 95 % interval.

    Attributes:
        value: From all states.
        low: 2.5 % of the resamples lie below.
        high: 2.5 % lie above.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


def mean_of(values: np.ndarray, resamples: int = 2000, seed: int = 0) -> Estimate:
    """Mean of one number per state, (S,)."""
    return _bootstrap(lambda rows: values[rows].mean(-1), len(values), resamples, seed)


def paired(first: np.ndarray, second: np.ndarray, resamples: int = 2000, seed: int = 0) -> Estimate:
    """Mean of the first less that of the second, (S,) each, on the same states."""
    return mean_of(first - second, resamples, seed)


def ratio_of(first: np.ndarray, second: np.ndarray, resamples: int = 2000, seed: int = 0) -> Estimate:
    """Mean of the first over that of the second, (S,) each, on the same states.

    Raises:
        ValueError: The second's mean is 0, so there is no ratio.
    """
    if not second.mean() > 0:
        raise ValueError("the second has a mean of 0, so there is no ratio; take more states or harder ones")

    def ratio(rows: np.ndarray) -> np.ndarray:
        return first[rows].mean(-1) / np.maximum(second[rows].mean(-1), 1e-12)

    return _bootstrap(ratio, len(first), resamples, seed)


def _bootstrap(figure: Callable[[np.ndarray], np.ndarray], states: int, resamples: int, seed: int) -> Estimate:
    """Percentiles over resampled states (Efron 1979)."""
    if states < 2:
        raise ValueError(f"{states} states give no interval; take 2 or more")
    rows = np.random.default_rng(seed).integers(states, size=(resamples, states))
    low, high = np.quantile(figure(rows), (0.025, 0.975))
    return Estimate(float(figure(np.arange(states)[None])[0]), float(low), float(high))
