"""Agreement of two lists of success rates, one per policy: imagined and simulated, with what makes it believable.

Intervals: Fisher's z for Pearson, with the wider error of Bonett and Wright 2000, "Sample size requirements for
estimating Pearson, Kendall and Spearman correlations", equation 2, for Spearman. MMRV is that of Li et al. 2024,
"Evaluating real-world robot manipulation policies in simulation" (SIMPLER), section 4, with the true rates' gap as the
cost of a wrong order. Shape letters: N = policies.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

__all__ = ["Agreement", "agreement", "mean_maximum_rank_violation", "pearson", "spearman"]

Z95 = 1.959964
FEWEST = 4  # policies: Fisher's error is 1 / sqrt(N - 3)


@dataclass(frozen=True)
class Agreement:
    """How alike two lists of rates are.

    Attributes:
        policies: N.
        pearson: Correlation of the rates.
        pearson_interval: 95 %.
        spearman: Correlation of their ranks.
        spearman_interval: 95 %.
        left_out: Least and largest Spearman when one policy is left out.
        permutation_p: Share of random orders with at least this Spearman.
        mmrv: Mean maximum rank violation; 0 where no pair is in the wrong order.
        bias: Mean of imagined minus true rate.
        bias_range: Least and largest of these differences.
    """

    policies: int
    pearson: float
    pearson_interval: tuple[float, float]
    spearman: float
    spearman_interval: tuple[float, float]
    left_out: tuple[float, float]
    permutation_p: float
    mmrv: float
    bias: float
    bias_range: tuple[float, float]


def agreement(imagined: ArrayLike, true: ArrayLike, seed: int = 0, permutations: int = 10_000) -> Agreement:
    """Compare imagined with true success rates.

    Args:
        imagined: Rate of each policy in the world model, length N.
        true: Rate of each policy in the simulator, length N.
        seed: Of the random orders.
        permutations: How many random orders.

    Raises:
        ValueError: The lengths differ, there are fewer than 4 policies, or all true rates are equal.
    """
    guess, rates = np.asarray(imagined, float), np.asarray(true, float)
    if guess.shape != rates.shape or guess.ndim != 1 or len(guess) < FEWEST:
        raise ValueError(f"agreement: expected {FEWEST} or more pairs of rates, got {guess.shape} and {rates.shape}")
    if np.ptp(rates) == 0:
        raise ValueError(f"agreement: all true rates are {rates[0]}, which is no order; add policies that differ")
    count, rank = len(guess), spearman(guess, rates)
    line = pearson(guess, rates)
    rest = [_without(spearman, guess, rates, index) for index in range(count)]
    return Agreement(
        policies=count,
        pearson=line,
        pearson_interval=_interval(line, 1 / math.sqrt(count - 3)),
        spearman=rank,
        # sigma_z = sqrt((1 + r^2 / 2) / (N - 3))
        spearman_interval=_interval(rank, math.sqrt((1 + rank**2 / 2) / (count - 3))),
        left_out=(min(rest), max(rest)),
        permutation_p=_permutation_p(guess, rates, rank, seed, permutations),
        mmrv=mean_maximum_rank_violation(guess, rates),
        bias=float((guess - rates).mean()),
        bias_range=(float((guess - rates).min()), float((guess - rates).max())),
    )


def pearson(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of two lists of length N; 0 where one says the same of all, and so knows nothing."""
    a, b = first - first.mean(), second - second.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    if scale == 0:
        return 0.0
    return max(-1.0, min(1.0, float(a @ b) / scale))


def spearman(first: np.ndarray, second: np.ndarray) -> float:
    """Pearson's correlation of the ranks; equal numbers share the mean of theirs."""
    return pearson(_ranks(first), _ranks(second))


def mean_maximum_rank_violation(imagined: np.ndarray, true: np.ndarray) -> float:
    """For each policy the largest true gap to one that it is put in the wrong order with, averaged over policies.

    A tie on one side alone counts as a wrong order.
    """
    # MMRV = 1/N sum_i max_j |R_i - R_j| 1[sign(S_i - S_j) != sign(R_i - R_j)]
    gap = true[:, None] - true[None]
    wrong = np.sign(gap) != np.sign(imagined[:, None] - imagined[None])
    return float((np.abs(gap) * wrong).max(axis=1).mean())


def _ranks(values: np.ndarray) -> np.ndarray:
    return ((values[:, None] > values[None]).sum(1) + (values[:, None] >= values[None]).sum(1) + 1) / 2


def _interval(correlation: float, error: float) -> tuple[float, float]:
    if abs(correlation) == 1:
        return correlation, correlation
    z = math.atanh(correlation)
    return math.tanh(z - Z95 * error), math.tanh(z + Z95 * error)


def _without(measure: Callable[..., float], first: np.ndarray, second: np.ndarray, index: int) -> float:
    return measure(np.delete(first, index), np.delete(second, index))


def _permutation_p(first: np.ndarray, second: np.ndarray, found: float, seed: int, count: int) -> float:
    rng, ranks, other = np.random.default_rng(seed), _ranks(first), _ranks(second)
    hits = sum(pearson(rng.permutation(ranks), other) >= found - 1e-12 for _ in range(count))
    # the order that was seen is one of them
    return (hits + 1) / (count + 1)
