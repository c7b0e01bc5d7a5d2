"""What a stream says at a time, by a stated policy: hold, nearest, interpolate, or all since the step before.

Nothing is made up beyond that: where the policy finds nothing there is nothing. Shape letters: n = samples of a stream.
"""

from __future__ import annotations

from dataclasses import dataclass

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


def default_policy(kind: Kind) -> Policy:
    """What suits a kind of stream: pictures and states hold, poses interpolate, fast and rare streams give all."""
    if kind == "pose":
        return Interpolate()
    return Window() if kind in ("imu", "audio", "event", "text", "bytes") else Hold()


@dataclass(frozen=True)
class Picked:
    """What a stream says at a step.

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
        self._source, self._name = source, name
        self._order = np.argsort(stamps, kind="stable")
        self.times = stamps[self._order] + offset_ns

    def pick(self, time_ns: int, before_ns: int | None, policy: Policy) -> Picked | None:
        """What the stream says at a time by a policy.

        Args:
            time_ns: The step's time [ns].
            before_ns: The step before [ns]; None for the first.
            policy: Which.

        Raises:
            TypeError: The policy interpolates what is no pose and no numbers.
        """
        last = int(np.searchsorted(self.times, time_ns, "right")) - 1
        if isinstance(policy, Window):
            # the first step has nobody before it: what bears its own stamp is its share
            first = int(np.searchsorted(self.times, time_ns if before_ns is None else before_ns + 1, "left"))
            values: list[Value] = [self._read(place) for place in range(first, last + 1)]
            stamps = tuple(self.times[first : last + 1].tolist())
            taken = time_ns - stamps[-1] if stamps else 0
            return Picked(values, stamps[-1], taken, int(self._order[last]), stamps_ns=stamps) if stamps else None
        if isinstance(policy, Nearest):
            return self._nearest(time_ns, last, policy.tolerance_ns)
        if last < 0:
            return None
        if isinstance(policy, Interpolate):
            return self._between(time_ns, last, policy.most_gap_ns)
        old = policy.most_age_ns is not None and time_ns - int(self.times[last]) > policy.most_age_ns
        return None if old else self._picked(self._read(last), last, time_ns)

    def _read(self, place: int) -> Value:
        return self._source.read(self._name, int(self._order[place]))

    def _picked(self, value: Value, place: int, time_ns: int) -> Picked:
        taken = int(self.times[place])
        return Picked(value, taken, time_ns - taken, int(self._order[place]))

    def _nearest(self, time_ns: int, last: int, tolerance_ns: int) -> Picked | None:
        near = [place for place in (last, last + 1) if 0 <= place < len(self.times)]
        if not near:
            return None
        place = min(near, key=lambda each: abs(int(self.times[each]) - time_ns))
        if abs(int(self.times[place]) - time_ns) > tolerance_ns:
            return None
        return self._picked(self._read(place), place, time_ns)

    def _between(self, time_ns: int, last: int, most_gap_ns: int | None) -> Picked | None:
        start = int(self.times[last])
        if start == time_ns:
            return self._picked(self._read(last), last, time_ns)
        if last + 1 == len(self.times):
            return None
        end = int(self.times[last + 1])
        if most_gap_ns is not None and end - start > most_gap_ns:
            return None
        values = self._read(last), self._read(last + 1)
        share = (time_ns - start) / (end - start)
        return Picked(_mixed(self.stream, *values, share), time_ns, 0, -1, interpolated=True)


def _mixed(stream: Stream, first: Value, second: Value, share: float) -> np.ndarray:
    if not isinstance(first, np.ndarray) or not isinstance(second, np.ndarray) or stream.kind in WHOLE:
        raise TypeError(f"stream {stream.name} ({stream.kind}) cannot be interpolated; hold it or take the nearest")
    if stream.kind == "pose":
        place = first[:3] + share * (second[:3] - first[:3])
        return np.concatenate([place, slerp(first[3:], second[3:], share)])
    return first + share * (second.astype(np.float64) - first)


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
    first, second = (each / np.linalg.norm(each) for each in (first.astype(np.float64), second.astype(np.float64)))
    cosine = float(first @ second)
    if cosine < 0:
        second, cosine = -second, -cosine
    angle = np.arccos(min(cosine, 1.0))
    if angle < 1e-9:
        return first
    # q(s) = (sin((1 - s) a) q0 + sin(s a) q1) / sin a
    mixed = (np.sin((1 - share) * angle) * first + np.sin(share * angle) * second) / np.sin(angle)
    return mixed / np.linalg.norm(mixed)
