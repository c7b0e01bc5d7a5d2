"""Which samples make up each window, worked out once for all anchors, so that a sample costs microseconds.

The policies are those of `sync.Track.pick`, for all anchors at once. Rows count the samples of a stream in order of
time, recording after recording. Shape letters: A = anchors, B = samples of a batch, K = samples of a window, n =
samples of a stream in one recording.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.episodes.feed.windows import Span, Steps, Take, Times
from foreact.episodes.sync import Hold, Interpolate, Nearest

__all__ = ["Between", "Found", "IndexTable", "build_table", "find"]


@dataclass(frozen=True)
class Between:
    """Where values are mixed of two samples.

    Attributes:
        high: Rows of the later sample, integers (B, K).
        share: Of the later sample, float64 (B, K), 0 to 1.
    """

    high: np.ndarray
    share: np.ndarray


@dataclass(frozen=True)
class Found:
    """Rows of a batch.

    Attributes:
        rows: Integers (B, K), within the recording.
        valid: bool (B, K), whether the window has a sample of its own there.
        between: Where values are mixed; None where samples are taken as they are.
    """

    rows: np.ndarray
    valid: np.ndarray
    between: Between | None = None


@dataclass(frozen=True)
class IndexTable:
    """The windows of one take.

    Attributes:
        width: K.
        rows: Integers (A, 1) or (A, K): rows within the whole stream.
        valid: bool, of the shape of `rows`.
        between: Rows of the later sample and its share, each (A, K), where values are mixed.
        steps: (K,) counted on from the one row; empty where each place has its row.
        bounds: (A, 2) first row that may be taken and the one behind the last, for `steps` and spans.
        is_span: Places from `bounds` on to the second of it.
    """

    width: int
    rows: np.ndarray
    valid: np.ndarray
    between: Between | None
    steps: np.ndarray
    bounds: np.ndarray
    is_span: bool = False

    def batch(self, anchors: np.ndarray) -> Found:
        """Rows for anchors, integers (B,)."""
        if not len(self.steps):
            mixed = self.between and Between(self.between.high[anchors], self.between.share[anchors])
            return Found(self.rows[anchors], self.valid[anchors], mixed)
        rows = self.rows[anchors] + self.steps
        low, high = self.bounds[anchors, :1], self.bounds[anchors, 1:]
        valid = (rows >= low) & (rows < high)
        if not self.is_span:
            valid &= self.valid[anchors]
        np.clip(rows, low, np.maximum(high - 1, low), out=rows)
        return Found(rows, valid)

    def complete(self) -> np.ndarray:
        """Which windows lack nothing, bool (A,)."""
        if self.is_span or not len(self.steps):
            return np.asarray(self.valid.all(axis=1))
        first, last = self.rows[:, 0] + self.steps.min(), self.rows[:, 0] + self.steps.max()
        inside = (first >= self.bounds[:, 0]) & (last < self.bounds[:, 1])
        return np.logical_and(self.valid[:, 0], inside)

    def only(self, keep: np.ndarray) -> IndexTable:
        """The windows of some anchors, bool (A,)."""
        mixed = self.between and Between(self.between.high[keep], self.between.share[keep])
        bounds = self.bounds[keep] if len(self.bounds) else self.bounds
        return IndexTable(self.width, self.rows[keep], self.valid[keep], mixed, self.steps, bounds, self.is_span)


def find(times: np.ndarray, wanted: np.ndarray, policy: Hold | Nearest) -> tuple[np.ndarray, np.ndarray]:
    """The sample at each time.

    Args:
        times: Of the samples, int64 (n,) [ns], ascending, n > 0.
        wanted: int64 (...) [ns].
        policy: Which of the samples around.

    Returns:
        Places in `times` (...), the nearest end where nothing is found; bool (...), whether something is.
    """
    last = np.searchsorted(times, wanted, "right") - 1
    place = np.maximum(last, 0)
    if isinstance(policy, Hold):
        found = last >= 0
        if policy.most_age_ns is not None:
            found &= wanted - times[place] <= policy.most_age_ns
        return place, found
    later = np.minimum(last + 1, len(times) - 1)
    place = np.where(np.abs(times[later] - wanted) < np.abs(times[place] - wanted), later, place)
    return place, np.abs(times[place] - wanted) <= policy.tolerance_ns


def build_table(take: Take, times: Sequence[np.ndarray], anchors: Sequence[np.ndarray], is_pose: bool) -> IndexTable:
    """The windows of all recordings.

    Args:
        take: What a window is made of.
        times: Of the stream's samples, for each recording int64 (n,) [ns], ascending.
        anchors: For each recording int64 [ns]; A in all.
        is_pose: Whether the stream is one of poses, which interpolate by default.

    Raises:
        ValueError: A window holds more samples than `most`, or a stream has none to repeat.
    """
    starts = np.cumsum([0, *(len(each) for each in times)])
    _require_samples(take, times, anchors)
    parts = [
        _part(take, each, at, start, is_pose)
        for each, at, start in zip(times, anchors, starts[:-1].tolist(), strict=True)
        if len(at)
    ]
    dtype = np.int32 if starts[-1] < 1 << 31 else np.int64
    return _joined(take, parts, dtype)


def _require_samples(take: Take, times: Sequence[np.ndarray], anchors: Sequence[np.ndarray]) -> None:
    empty = sum(bool(len(at)) and not len(each) for each, at in zip(times, anchors, strict=True))
    if empty and take.edge == "repeat":
        raise ValueError(f"stream {take.stream} has no sample to repeat in {empty} recordings; give edge='drop'")


@dataclass(frozen=True)
class _Part:
    """Windows of one recording; rows within the whole stream."""

    rows: np.ndarray
    valid: np.ndarray
    bounds: np.ndarray
    high: np.ndarray | None = None
    share: np.ndarray | None = None


def _part(take: Take, times: np.ndarray, anchors: np.ndarray, start: int, is_pose: bool) -> _Part:
    if not len(times):
        width = len(take.offsets_ns) if isinstance(take, Times) else 1
        nothing = np.zeros((len(anchors), width), np.int64)
        blank = np.zeros(nothing.shape) if isinstance(_policy(take, times, is_pose), Interpolate) else None
        return _Part(
            nothing, nothing > 0, np.zeros((len(anchors), 2), np.int64), None if blank is None else nothing, blank
        )
    if isinstance(take, Steps):
        place, found = find(times, anchors, take.policy)
        bounds = np.broadcast_to(np.array([start, start + len(times)]), (len(anchors), 2))
        return _Part(start + place[:, None], found[:, None], bounds)
    if isinstance(take, Span):
        return _span(take, times, anchors, start)
    return _times(take, times, anchors, start, is_pose)


def _span(take: Span, times: np.ndarray, anchors: np.ndarray, start: int) -> _Part:
    begin, end = anchors - take.past_ns, anchors + take.future_ns
    first, stop = (np.searchsorted(times, each, "right") for each in (begin, end))
    period = _period(times)
    whole = (first < stop) & (begin >= times[0] - period) & (end <= times[-1] + period)
    return _Part(start + first[:, None], whole[:, None], start + np.stack([first, stop], axis=1))


def _times(take: Times, times: np.ndarray, anchors: np.ndarray, start: int, is_pose: bool) -> _Part:
    wanted = anchors[:, None] + np.array(take.offsets_ns, np.int64)
    policy, none = _policy(take, times, is_pose), np.zeros((len(anchors), 2), np.int64)
    inside = wanted <= times[-1] + _period(times)
    if not isinstance(policy, Interpolate):
        assert policy is not None
        place, found = find(times, wanted, policy)
        return _Part(start + place, found & inside, none)
    low, found = find(times, wanted, Hold())
    exact = found & (times[low] == wanted)
    high = np.where(exact | ~found, low, np.minimum(low + 1, len(times) - 1))
    gap = times[high] - times[low]
    found &= exact | (gap > 0)
    if policy.most_gap_ns is not None:
        found &= exact | (gap <= policy.most_gap_ns)
    share = np.where(found & ~exact, (wanted - times[low]) / np.maximum(gap, 1), 0.0)
    return _Part(start + low, found, none, start + np.where(share > 0, high, low), share)


def _policy(take: Take, times: np.ndarray, is_pose: bool) -> Hold | Nearest | Interpolate | None:
    if not isinstance(take, Times):
        return None
    if take.policy is not None:
        return take.policy
    return Interpolate() if is_pose else Nearest(_period(times))


def _period(times: np.ndarray) -> int:
    return int(np.median(np.diff(times))) if len(times) > 1 else 0


def _joined(take: Take, parts: list[_Part], dtype: type) -> IndexTable:
    columns = len(take.offsets_ns) if isinstance(take, Times) else 1
    rows = np.concatenate([np.empty((0, columns), np.int64), *(part.rows for part in parts)]).astype(dtype)
    valid = np.concatenate([np.empty((0, columns), bool), *(part.valid for part in parts)])
    if isinstance(take, Times):
        mixed = None
        if parts and parts[0].high is not None:
            high = np.concatenate([part.high for part in parts if part.high is not None]).astype(dtype)
            mixed = Between(high, np.concatenate([part.share for part in parts if part.share is not None]))
        return IndexTable(columns, rows, valid, mixed, np.empty(0, dtype), np.empty((0, 2), dtype))
    bounds = np.concatenate([np.empty((0, 2), np.int64), *(part.bounds for part in parts)]).astype(dtype)
    if isinstance(take, Steps):
        return IndexTable(len(take.offsets), rows, valid, None, np.array(take.offsets, dtype), bounds)
    most = int((bounds[:, 1] - bounds[:, 0]).max(initial=0))
    if take.most is not None and most > take.most:
        raise ValueError(f"stream {take.stream}: a window holds {most} samples; give most={most}, or a shorter span")
    width = take.most or max(most, 1)
    return IndexTable(width, rows, valid, None, np.arange(width, dtype=dtype), bounds, is_span=True)
