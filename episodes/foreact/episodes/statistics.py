"""Intervals for success rates, and for differences of success on the same layouts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["PairedDifference", "paired_difference", "wilson_interval"]

Z95 = 1.959964  # normal quantile of a 95 % interval


@dataclass(frozen=True)
class PairedDifference:
    """How much less often the second of two succeeds on the same trials.

    Attributes:
        difference: Success rate of the first minus that of the second.
        low: Lower end of its 95 % interval.
        high: Upper end.
        only_first: Trials in which only the first succeeded.
        only_second: Trials in which only the second did.
        p_value: Of the exact test of McNemar: how likely so uneven a split is where neither is better.
    """

    difference: float
    low: float
    high: float
    only_first: int
    only_second: int
    p_value: float


def wilson_interval(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of a proportion (Wilson 1927).

    Args:
        successes: Successful trials.
        trials: All trials, at least 1.
        z: Normal quantile; 1.959964 gives 95 %.

    Raises:
        ValueError: The counts cannot be.
    """
    if not 0 <= successes <= trials or trials < 1:
        raise ValueError(f"{successes} successes of {trials} trials cannot be")
    p = successes / trials
    # (p + z^2 / 2n +- z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n)
    centre = p + z * z / (2 * trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def paired_difference(first: Sequence[bool], second: Sequence[bool]) -> PairedDifference:
    """Compare two on the same trials (Newcombe 1998, "Improved confidence intervals ... paired data", method 10).

    Args:
        first: Success of each trial.
        second: Success of the same trials.

    Raises:
        ValueError: There is no trial, or their numbers differ.
    """
    if not first or len(first) != len(second):
        raise ValueError(f"{len(first)} and {len(second)} trials are no pairs")
    pairs = list(zip(map(bool, first), map(bool, second), strict=True))
    n, both, neither = len(pairs), pairs.count((True, True)), pairs.count((False, False))
    only_first, only_second = pairs.count((True, False)), pairs.count((False, True))
    p1, p2 = (both + only_first) / n, (both + only_second) / n
    (l1, u1), (l2, u2) = wilson_interval(both + only_first, n), wilson_interval(both + only_second, n)
    phi = _correlation(both, only_first, only_second, neither)
    # d -+ sqrt(a^2 - 2 phi a b + b^2), a and b the Wilson half-widths towards that end
    down = _combined(p1 - l1, u2 - p2, phi)
    up = _combined(u1 - p1, p2 - l2, phi)
    p_value = _mcnemar(only_first, only_second)
    return PairedDifference(p1 - p2, p1 - p2 - down, p1 - p2 + up, only_first, only_second, p_value)


def _combined(a: float, b: float, phi: float) -> float:
    return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))


def _correlation(both: int, only_first: int, only_second: int, neither: int) -> float:
    """Of the two outcomes; a positive one is taken for a little less, as the method does."""
    margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    if margins == 0:
        return 0.0
    product = both * neither - only_first * only_second
    if product > 0:
        product = max(product - (both + only_first + only_second + neither) / 2, 0)
    return product / math.sqrt(margins)


def _mcnemar(only_first: int, only_second: int) -> float:
    n, least = only_first + only_second, min(only_first, only_second)
    # two-sided: 2 P(X <= least), X binomial with n trials of 1/2
    return min(1.0, 2 * sum(math.comb(n, k) for k in range(least + 1)) / 2**n)
