"""Faults of streams of numbers, read in one pass with bounded memory.

Shape letters: k = rows given at once, n = rows in all, E = elements of a sample.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.episodes.checks.finding import Finding
from foreact.episodes.sources import Stream

__all__ = ["Numbers", "Statistics", "named"]

QUANTILES = (0.01, 0.5, 0.99)
KEPT_BYTES = 48_000_000  # of rows kept for quantiles; beyond, every second one is let go again and again
UNSEEN = ("gaze", "hand", "pose")  # a tracker that sees nothing says NaN for the whole sample
CONTINUOUS = 20  # different values from which an element is no switch
STUCK_SHARE = 0.2  # of the samples at one end of what is seen
STUCK_RUN = 5  # of them in a row
STUCK_RUNS = 2  # such runs: one alone may be the pose of rest from which it begins
JUMP_TIMES = 10.0  # the 95 % quantile of the steps
JUMP_SHARE = 0.5  # of the range between the 5 and 95 % quantiles
NAMED = 6


@dataclass(frozen=True)
class Statistics:
    """Of the elements of a stream of numbers, float64 (E,) each, without what is not finite.

    Attributes:
        low: Smallest.
        high: Largest.
        mean: Mean.
        std: Standard deviation.
        quantiles: 1 %, median and 99 %, (3, E); of evenly chosen rows where a stream is too large to be kept.
    """

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    quantiles: np.ndarray


def named(stream: Stream, indices: Sequence[int] | np.ndarray, count: int) -> str:
    """Names of elements, the first six of them.

    Args:
        stream: Whose.
        indices: Which elements.
        count: E.
    """
    names = stream.elements if len(stream.elements) == count else tuple(f"element {index}" for index in range(count))
    shown = [names[index] for index in list(indices)[:NAMED]]
    return ", ".join(shown) + (f" and {len(indices) - NAMED} more" if len(indices) > NAMED else "")


class Numbers:
    """Takes in the rows of one stream and says what is wrong with them.

    Args:
        stream: Which.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.count = self._absent = self._torn = self._endless = 0
        self._ever: np.ndarray | None = None  # whether an element was finite in any row, (E,)
        self._finite = 0
        self._low = self._high = self._mean = self._squares = np.zeros(0)
        self._kept: list[np.ndarray] = []
        self._kept_rows = 0
        self._stride = 1

    def add(self, rows: np.ndarray) -> None:
        """Take in rows, float64 (k, E)."""
        finite = np.isfinite(rows)
        ever = np.asarray(finite.any(0))
        self._ever = ever if self._ever is None else np.logical_or(self._ever, ever)
        whole = finite.all(1)
        nothing = np.isnan(rows).all(1)
        self._absent += int(nothing.sum())
        self._endless += int(np.isinf(rows).any(1).sum())
        self._torn += int((~whole & ~nothing).sum())
        self._kept.append(rows[(-self.count) % self._stride :: self._stride].copy())
        self._kept_rows += len(self._kept[-1])
        self.count += len(rows)
        self._thin(rows.shape[1])
        self._merge(rows, finite)

    def _thin(self, elements: int) -> None:
        """Row i is kept if the stride, a power of two, divides i."""
        while self._kept_rows * max(elements, 1) * 8 > KEPT_BYTES and self._kept_rows > 64:
            self._kept = [np.concatenate(self._kept)[::2].copy()]
            self._kept_rows = len(self._kept[0])
            self._stride *= 2

    def _merge(self, rows: np.ndarray, finite: np.ndarray) -> None:
        """Element by element, since a depth that is never known must not hide the angles beside it.

        Source: Chan, Golub and LeVeque 1983, "Algorithms for computing the sample variance", equation 2.1.
        """
        counts = finite.sum(0)
        low = np.where(finite, rows, np.inf).min(0, initial=np.inf)
        high = np.where(finite, rows, -np.inf).max(0, initial=-np.inf)
        mean = np.where(finite, rows, 0.0).sum(0) / np.maximum(counts, 1)
        squares = np.where(finite, (rows - mean) ** 2, 0.0).sum(0)
        if not len(self._low):
            self._low, self._high, self._mean, self._squares, self._counts = low, high, mean, squares, counts
            return
        both = self._counts + counts
        apart = mean - self._mean
        # M2 = M2_a + M2_b + d^2 n_a n_b / n
        self._squares = self._squares + squares + apart**2 * self._counts * counts / np.maximum(both, 1)
        self._mean = self._mean + apart * counts / np.maximum(both, 1)
        self._low, self._high, self._counts = np.minimum(self._low, low), np.maximum(self._high, high), both

    def rows(self) -> np.ndarray:
        """Rows that were kept, (at most n, E): all, or evenly chosen ones."""
        return np.concatenate(self._kept) if self._kept else np.zeros((0, len(self._low)))

    def statistics(self) -> Statistics | None:
        """Of all rows; None without a finite number. An element that is never finite has zeros."""
        if self._ever is None or not self._ever.any():
            return None
        rows = self.rows()
        known = self._counts > 0
        quantiles = _quantiles(rows, QUANTILES)
        std = np.sqrt(self._squares / np.maximum(self._counts, 1))
        low, high, mean = (np.where(known, each, 0.0) for each in (self._low, self._high, self._mean))
        return Statistics(low, high, mean, np.where(known, std, 0.0), quantiles)

    def findings(self) -> Iterator[Finding]:
        """What is wrong with the numbers, whatever they mean."""
        yield from self._not_finite()
        statistics = self.statistics()
        if statistics is None:
            return
        name, rows = self._stream.name, self.rows()
        still = (self._low == self._high) & (self._counts > 2)
        if self._stream.kind == "hand":  # landmarks are given from the wrist: its own never move
            still[:3] = False
        if self._stream.kind != "pose" and still.any():  # what moves in a plane has elements that never change
            which = np.flatnonzero(still)
            what = f"never changes: {named(self._stream, which, len(still))}"
            if len(still) == 1:
                what = f"never changes: always {self._low[0]:.6g}"
            elif len(which) > NAMED and len(self._stream.elements) != len(still):
                what = f"never changes: {len(which)} of its {len(still)} elements"
            if len(which) == len(still) > 1:
                what = f"never changes: none of its {len(still)} elements"
            yield Finding(name, "remark", "constant", what)
        yield from self._stuck(rows, still)
        yield from self._jumps(rows)

    def _not_finite(self) -> Iterator[Finding]:
        name = self._stream.name
        if self._ever is None:
            return
        never = np.flatnonzero(~self._ever)
        tracked = self._stream.kind in UNSEEN or name.split(".")[0] in UNSEEN
        if tracked and 0 < len(never) < len(self._ever):
            which = named(self._stream, never, len(self._ever))
            yield Finding(name, "remark", "absent", f"never known, NaN in all {self.count} samples: {which}")
        elif tracked and len(never):
            yield Finding(name, "remark", "absent", f"nothing is seen in any of {self.count} samples: all NaN")
            return
        elif tracked and self._absent:
            what = f"nothing is seen in {self._absent} of {self.count} samples: all NaN"
            yield Finding(name, "remark", "absent", what)
        torn = self._torn if not (tracked and len(never)) else self._torn_beside(never)
        broken = torn + (0 if tracked else self._absent)
        if broken:
            what = f"{broken} of {self.count} samples hold what is not finite"
            what += f", {self._endless} of them infinite" if self._endless else ""
            yield Finding(name, "grave", "not finite", what)

    def _torn_beside(self, never: np.ndarray) -> int:
        """Samples that are not whole, beside elements that are never known; counted in the rows kept."""
        rest = np.delete(self.rows(), never, axis=1)
        finite = np.isfinite(rest)
        return int((~finite.all(1) & ~np.isnan(rest).all(1)).sum())

    def _stuck(self, rows: np.ndarray, still: np.ndarray) -> Iterator[Finding]:
        """Elements that lie at one end of what is seen, in runs, though they are no switches."""
        if not _is_command(self._stream) or len(rows) < 2 * STUCK_RUN:
            return
        found = []
        for index in np.flatnonzero(~still):
            column = rows[:, index]
            if len(np.unique(column)) <= CONTINUOUS:
                continue
            for end in (self._low[index], self._high[index]):
                at = column == end
                if at.mean() > STUCK_SHARE and (_run_lengths(at) >= STUCK_RUN).sum() >= STUCK_RUNS:
                    found.append((index, f"{end:.4g} in {100 * at.mean():.0f} %"))
        if found:
            names = [f"{named(self._stream, [index], rows.shape[1])} at {text}" for index, text in found[:NAMED]]
            more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
            yield Finding(
                self._stream.name, "remark", "saturated", f"stuck at its end: {', '.join(names)} of samples{more}"
            )

    def _jumps(self, rows: np.ndarray) -> Iterator[Finding]:
        """Steps of one sample that are far beyond the others."""
        if not _is_command(self._stream) or len(rows) < 3 * CONTINUOUS:
            return
        steps = np.abs(np.diff(rows, axis=0))
        steps[~np.isfinite(steps)] = 0.0
        usual = np.quantile(steps, 0.95, axis=0)
        low, high = _quantiles(rows, (0.05, 0.95))
        limit = np.maximum(JUMP_TIMES * usual, JUMP_SHARE * (high - low))
        for index in np.flatnonzero((steps.max(0) > limit) & (limit > 0)):
            if len(np.unique(rows[:, index])) <= CONTINUOUS:
                continue
            at = int(steps[:, index].argmax())
            what = (
                f"{named(self._stream, [index], rows.shape[1])} jumps by {steps[at, index]:.4g} at sample "
                f"{(at + 1) * self._stride}; 95 % of its steps are below {usual[index]:.3g}"
            )
            yield Finding(self._stream.name, "remark", "action jump", what)


def _is_command(stream: Stream) -> bool:
    """Whether a stream is what a robot was told or where it stood."""
    first = stream.name.split(".")[0]
    return first in ("action", "state", "actions", "observation") or stream.kind == "pose"


def _quantiles(rows: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    """Of the finite numbers of each element, (len(shares), E); 0 where there are none."""
    found = np.zeros((len(shares), rows.shape[1]))
    finite = np.isfinite(rows)
    whole = finite.all(0)
    found[:, whole] = np.quantile(rows[:, whole], shares, axis=0)
    for index in np.flatnonzero(~whole & finite.any(0)):  # numpy goes through them one by one as well
        found[:, index] = np.quantile(rows[finite[:, index], index], shares)
    return found


def _run_lengths(mask: np.ndarray) -> np.ndarray:
    """Lengths of the runs of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return edges[1::2] - edges[::2]
