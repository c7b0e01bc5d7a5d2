"""What a stream says at a time, by a stated policy: hold, nearest, interpolate, or all since the step before.

Nothing is made up beyond that: where the policy finds nothing there is nothing. Shape letters: n = samples of a stream.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from foreact.episodes.sources.protocol import Kind, Source, Stream, Value

__all__ = ["Hold", "Interpolate", "Nearest", "Picked", "Policy", "Track", "Window", "default_policy", "slerp"]

WHOLE = ("image", "depth", "segmentation", "audio", "points", "text", "event", "bytes")  # no halfway between two


@dataclass(frozen=True)
class Hold:
    """The last sample at or before the time.

    Attributes:
        most_age_ns: Older ones count as missing [ns]; None for any age.
    """

    most_age_ns: int | None = None


@dataclass(frozen=True)
class Nearest:
    """The sample nearest to the time; of two as near the earlier one.

    Attributes:
        tolerance_ns: Further ones count as missing [ns].
    """

    tolerance_ns: int


@dataclass(frozen=True)
class Interpolate:
    """Between the samples around the time: linear, orientations along the great arc; a sample at the time as it is.

    Attributes:
        most_gap_ns: Samples further apart are not interpolated between [ns]; None for any distance.
    """

    most_gap_ns: int | None = None


@dataclass(frozen=True)
class Window:
    """All samples after the step before, up to and including the time; the first step gets those at its time."""


Policy = Hold | Nearest | Interpolate | Window


HOLD, INTERPOLATE, WINDOW = Hold(), Interpolate(), Window()


def default_policy(kind: Kind) -> Policy:
    """What suits a kind of stream: pictures and states hold, poses interpolate, fast and rare streams give all."""
    if kind == "pose":
        return INTERPOLATE
    return WINDOW if kind in ("imu", "audio", "event", "text", "bytes") else HOLD


@dataclass(slots=True)  # a frozen one takes eight times as long to make, and a step makes one for each stream
class Picked:
    """What a stream says at a step; not to be changed.

    Attributes:
        value: The sample; for `Window` a list of samples, the oldest first.
        time_ns: When it was taken [ns]; of a list the newest, of an interpolated value the step's time.
        age_ns: Step time less that [ns]; negative where the nearest sample is later.
        index: Number of the sample in the file, of a list the newest; -1 where interpolated.
        interpolated: The value lies between two samples.
        stamps_ns: When each of a list was taken [ns]; empty for a single value.
    """

    value: Value | list[Value]
    time_ns: int
    age_ns: int
    index: int
    interpolated: bool = False
    stamps_ns: tuple[int, ...] = ()


class Track:
    """The samples of a stream in order of time; equal stamps keep the order of the file.

    Args:
        source: The recording.
        name: The stream in it.
        offset_ns: Added to its stamps to bring them onto the timeline [ns].
        resolution_ns: Stamps are first cut to whole multiples of it [ns].
    """

    def __init__(self, source: Source, name: str, offset_ns: int = 0, resolution_ns: int = 1) -> None:
        self.stream: Stream = source.streams[name]
        stamps = source.stamps(name) // resolution_ns * resolution_ns
        order = np.argsort(stamps, kind="stable")
        self.times = stamps[order] + offset_ns
        self._source, self._name, self._get = source, name, source.read
        self._rising = bool((stamps[1:] >= stamps[:-1]).all())
        self._order, self._view = memoryview(order), memoryview(self.times)  # these give int, and faster

    def pick(self, time_ns: int, before_ns: int | None, policy: Policy) -> Picked | None:
        """What the stream says at a time by a policy.

        Args:
            time_ns: The step's time [ns].
            before_ns: The step before [ns]; None for the first.
            policy: Which.

        Raises:
            TypeError: The policy interpolates what is no pose and no numbers.
        """
        return self.picker(policy)(time_ns, before_ns)

    def picker(self, policy: Policy) -> Callable[[int, int | None], Picked | None]:
        """`pick` by one policy: of a time and the time of the step before."""
        match policy:
            case Window():
                return self._since
            case Nearest(tolerance_ns):
                return partial(self._nearest, tolerance_ns)
            case Interpolate(most_gap_ns):
                return partial(self._between, math.inf if most_gap_ns is None else most_gap_ns)
            case Hold(most_age_ns):
                return partial(self._last, math.inf if most_age_ns is None else most_age_ns)

    def _since(self, time_ns: int, before_ns: int | None) -> Picked | None:
        stop = bisect_right(self._view, time_ns)
        # the first step has nobody before it: what bears its own stamp is its share
        start = bisect_left(self._view, time_ns) if before_ns is None else bisect_right(self._view, before_ns, 0, stop)
        if start == stop:
            return None
        if self._rising:
            values = list(self._source.read_range(self._name, start, stop))
        else:
            values = [self._get(self._name, index) for index in self._order[start:stop]]
        stamps = tuple(self._view[start:stop].tolist())
        return Picked(values, stamps[-1], time_ns - stamps[-1], self._order[stop - 1], False, stamps)

    def _last(self, most_age_ns: float, time_ns: int, _: int | None) -> Picked | None:
        place = bisect_right(self._view, time_ns) - 1
        if place < 0 or time_ns - self._view[place] > most_age_ns:
            return None
        return self._picked(place, time_ns)

    def _picked(self, place: int, time_ns: int) -> Picked:
        taken, index = self._view[place], self._order[place]
        return Picked(self._get(self._name, index), taken, time_ns - taken, index)

    def _nearest(self, tolerance_ns: int, time_ns: int, _: int | None) -> Picked | None:
        stop = bisect_right(self._view, time_ns)
        near = [place for place in (stop - 1, stop) if 0 <= place < len(self._view)]
        if not near:
            return None
        place = min(near, key=lambda each: abs(self._view[each] - time_ns))
        return None if abs(self._view[place] - time_ns) > tolerance_ns else self._picked(place, time_ns)

    def _between(self, most_gap_ns: float, time_ns: int, _: int | None) -> Picked | None:
        stop = bisect_right(self._view, time_ns)
        if not stop:
            return None
        start = self._view[stop - 1]
        if start == time_ns:
            return self._picked(stop - 1, time_ns)
        if stop == len(self._view) or (gap := self._view[stop] - start) > most_gap_ns:
            return None
        first, second = self._get(self._name, self._order[stop - 1]), self._get(self._name, self._order[stop])
        return Picked(_mixed(self.stream, first, second, (time_ns - start) / gap), time_ns, 0, -1, True)


def _mixed(stream: Stream, first: Value, second: Value, share: float) -> np.ndarray:
    if not isinstance(first, np.ndarray) or not isinstance(second, np.ndarray) or stream.kind in WHOLE:
        raise TypeError(f"stream {stream.name} ({stream.kind}) cannot be interpolated; hold it or take the nearest")
    if stream.kind != "pose":
        return first + share * (second.astype(np.float64) - first)
    if first.dtype != np.float64 or second.dtype != np.float64:
        place = first[:3] + share * (second[:3] - first[:3])
        return np.concatenate([place, slerp(first[3:], second[3:], share)])
    x, y, z, *_ = first.tolist()
    x1, y1, z1, *_ = second.tolist()
    place = x + share * (x1 - x), y + share * (y1 - y), z + share * (z1 - z)
    return np.array([*place, *_along_arc(first[3:], second[3:], share)])


def slerp(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    """Between two orientations along the shorter great arc.

    Source: Shoemake 1985, "Animating rotation with quaternion curves".

    Args:
        first: Unit quaternion, (4,).
        second: Unit quaternion, (4,); q and -q turn alike.
        share: 0 for the first, 1 for the second.

    Returns:
        Unit quaternion, float64 (4,).
    """
    return np.array(_along_arc(first.astype(np.float64), second.astype(np.float64), share))


def _along_arc(first: np.ndarray, second: np.ndarray, share: float) -> tuple[float, ...]:
    """`slerp` in plain numbers: for four of them arrays cost more than they save."""
    first, second = first / math.sqrt(first.dot(first)), second / math.sqrt(second.dot(second))
    cosine, sign = first.dot(second), 1.0
    if cosine < 0:
        cosine, sign = -cosine, -1.0
    angle = float(np.arccos(1.0 if cosine > 1 else cosine))
    w, x, y, z = first.tolist()
    if angle < 1e-9:
        return w, x, y, z
    # q(s) = (sin((1 - s) a) q0 + sin(s a) q1) / sin a
    a, b, sine = math.sin((1 - share) * angle), sign * math.sin(share * angle), math.sin(angle)
    w1, x1, y1, z1 = second.tolist()
    mixed = (a * w + b * w1) / sine, (a * x + b * x1) / sine, (a * y + b * y1) / sine, (a * z + b * z1) / sine
    array = np.array(mixed)
    length = math.sqrt(array.dot(array)) or math.nan
    w, x, y, z = mixed
    return w / length, x / length, y / length, z / length
