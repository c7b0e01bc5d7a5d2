"""From which dataset each sample is drawn: by weight, in a fixed order that never strays from the weights.

Shape letters: D = datasets, B = draws.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreact.episodes.feed.order import Order

__all__ = ["Draws", "schedule"]


def schedule(shares: np.ndarray, drawn: np.ndarray, count: int) -> np.ndarray:
    """Which dataset the next draws are from; after any number of draws each dataset is off its share by less than one.

    Source: Tijdeman 1980, "The chairman assignment problem": of those that are owed enough, the one that is due first.

    Args:
        shares: float64 (D,), above 0, of sum 1.
        drawn: Integers (D,), how often each was drawn; counted on in place.
        count: B.

    Returns:
        int64 (B,), 0 to D - 1.
    """
    if len(shares) == 1:
        drawn[0] += count
        return np.zeros(count, np.int64)
    slack = 1 / (2 * len(shares) - 2)
    weights, taken, number = shares.tolist(), drawn.tolist(), int(drawn.sum())
    found = np.empty(count, np.int64)
    for place in range(count):
        number += 1
        best, due = -1, np.inf
        for each, weight in enumerate(weights):
            owed = weight * number - taken[each]
            # owed >= slack, and the smallest (1 - slack - owed) / weight
            late = (1 - slack - owed) / weight
            if owed >= slack - 1e-9 and late < due:
                best, due = each, late
        found[place] = best
        taken[best] += 1
    drawn[:] = taken
    return found


class Draws:
    """The endless order of samples of a mixture; where it stands is a few numbers.

    Args:
        orders: One for each dataset.
        weights: Above 0; None draws each dataset in proportion to its samples.

    Raises:
        ValueError: A weight is not above 0.
    """

    def __init__(self, orders: Sequence[Order], weights: Sequence[float] | None = None) -> None:
        given = np.array([order.count for order in orders] if weights is None else weights, np.float64)
        if len(given) != len(orders) or not np.isfinite(given).all() or (given <= 0).any():
            raise ValueError(f"weights {given.tolist()} for {len(orders)} datasets: one for each, above 0")
        self._orders, self.shares = tuple(orders), given / given.sum()
        self.drawn = np.zeros(len(orders), np.int64)

    def next(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The next draws.

        Returns:
            Dataset int64 (B,); number of the sample in it int64 (B,).
        """
        before = self.drawn.copy()
        datasets = schedule(self.shares, self.drawn, count)
        numbers = np.empty(count, np.int64)
        for each in np.flatnonzero(self.drawn > before).tolist():
            numbers[datasets == each] = self._orders[each].take(int(before[each]), int(self.drawn[each] - before[each]))
        return datasets, numbers

    def state(self) -> list[int]:
        """How often each dataset was drawn."""
        return self.drawn.tolist()

    def resume(self, state: Sequence[int]) -> None:
        """Go on from a state.

        Raises:
            ValueError: It is of another number of datasets.
        """
        counts = np.array(list(state), np.int64)
        if counts.shape != self.drawn.shape or (counts < 0).any():
            raise ValueError(f"state {list(state)} is not of {len(self.drawn)} datasets")
        self.drawn[:] = counts
