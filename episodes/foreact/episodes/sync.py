"""What a stream says at a time, by a stated policy: hold, nearest, interpolate, or all since the step before.

Nothing is made up beyond that: where the policy finds nothing there is nothing. Shape letters: n = samples of a stream.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from foreact.episodes.sources.protocol import Kind, Source, Stream, Value

__all__ = ["Hold", "Interpolate", "Nearest", "Picked", "Picker", "Policy", "Track", "Window", "default_policy", "slerp"]

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


Picker = Callable[[int, int, int | None], Picked | None]
"""What a stream says: of its number of samples up to the time, the time [ns], and that number at the step before.

The last is None for the first step.
"""


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
        self._source, self._name = source, name
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
        before = None if before_ns is None else self.until(before_ns)
        return self.picker(policy)(self.until(time_ns), time_ns, before)

    def until(self, time_ns: int) -> int:
        """Number of samples at or before a time [ns]."""
        return bisect_right(self._view, time_ns)

    def picker(self, policy: Policy) -> Picker:
        """`pick` by one policy, for many times."""
        match policy:
            case Window():
                return self._window
            case Nearest(tolerance_ns):
                return self._nearest(tolerance_ns)
            case Interpolate(most_gap_ns):
                return self._interpolate(math.inf if most_gap_ns is None else most_gap_ns)
            case Hold(most_age_ns):
                return self._hold(math.inf if most_age_ns is None else most_age_ns)

    def _window(self, stop: int, time_ns: int, before: int | None) -> Picked | None:
        # the first step has nobody before it: what bears its own stamp is its share
        start = bisect_left(self._view, time_ns) if before is None else before
        if start >= stop:
            return None
        if self._rising:
            values = list(self._source.read_range(self._name, start, stop))
        else:
            values = [self._source.read(self._name, index) for index in self._order[start:stop]]
        stamps = tuple(self._view[start:stop].tolist())
        return Picked(values, stamps[-1], time_ns - stamps[-1], self._order[stop - 1], False, stamps)

    # a step asks every stream: these keep what they need at hand

    def _hold(self, most_age_ns: float) -> Picker:
        view, order, read, name = self._view, self._order, self._source.read, self._name

        def pick(stop: int, time_ns: int, _: int | None) -> Picked | None:
            if not stop or (age := time_ns - view[stop - 1]) > most_age_ns:
                return None
            index = order[stop - 1]
            return Picked(read(name, index), time_ns - age, age, index)

        return pick

    def _nearest(self, tolerance_ns: int) -> Picker:
        view, order, read, name = self._view, self._order, self._source.read, self._name

        def pick(stop: int, time_ns: int, _: int | None) -> Picked | None:
            near = [place for place in (stop - 1, stop) if 0 <= place < len(view)]
            place = min(near, key=lambda each: abs(view[each] - time_ns), default=-1)
            if place < 0 or abs(age := time_ns - view[place]) > tolerance_ns:
                return None
            index = order[place]
            return Picked(read(name, index), time_ns - age, age, index)

        return pick

    def _interpolate(self, most_gap_ns: float) -> Picker:
        view, order, read, name = self._view, self._order, self._source.read, self._name
        mixed, stream = _mixed_pose if self.stream.kind == "pose" else _mixed_numbers, self.stream

        def pick(stop: int, time_ns: int, _: int | None) -> Picked | None:
            if not stop:
                return None
            start, index = view[stop - 1], order[stop - 1]
            if start == time_ns:
                return Picked(read(name, index), time_ns, 0, index)
            if stop == len(view) or (gap := view[stop] - start) > most_gap_ns:
                return None
            first, second = read(name, index), read(name, order[stop])
            if not isinstance(first, np.ndarray) or not isinstance(second, np.ndarray) or stream.kind in WHOLE:
                raise TypeError(f"stream {name} ({stream.kind}) cannot be interpolated; hold it or take the nearest")
            return Picked(mixed(first, second, (time_ns - start) / gap), time_ns, 0, -1, True)

        return pick


def _mixed_numbers(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    return first + share * (second.astype(np.float64) - first)


def _mixed_pose(first: np.ndarray, second: np.ndarray, share: float) -> np.ndarray:
    x, y, z, *turn = first.tolist()
    x1, y1, z1, *turn1 = second.tolist()
    place = x + share * (x1 - x), y + share * (y1 - y), z + share * (z1 - z)
    return np.array(place + _along_arc(share, *turn, *turn1))


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
    return np.array(_along_arc(share, *first.tolist(), *second.tolist()))


def _along_arc(
    share: float, w: float, x: float, y: float, z: float, w1: float, x1: float, y1: float, z1: float
) -> tuple[float, float, float, float]:
    """`slerp` in plain numbers: for four of them arrays cost more than they save."""
    w, x, y, z = _unit(w, x, y, z)
    w1, x1, y1, z1 = _unit(w1, x1, y1, z1)
    cosine, sign = w * w1 + x * x1 + y * y1 + z * z1, 1.0
    if cosine < 0:
        cosine, sign = -cosine, -1.0
    angle = 0.0 if cosine > 1 else math.acos(cosine)
    if angle < 1e-9:
        return w, x, y, z
    # q(s) = (sin((1 - s) a) q0 + sin(s a) q1) / sin a, and of length 1 whatever was lost by rounding
    a, b = math.sin((1 - share) * angle), sign * math.sin(share * angle)
    return _unit(a * w + b * w1, a * x + b * x1, a * y + b * y1, a * z + b * z1)


def _unit(w: float, x: float, y: float, z: float) -> tuple[float, float, float, float]:
    square = w * w + x * x + y * y + z * z
    if square == 1.0:
        return w, x, y, z
    length = math.sqrt(square) or math.nan
    return w / length, x / length, y / length, z / length
