"""One nanosecond timeline over the streams of recordings: what each of them has to say at a time.

A stream that has nothing to say at a step is missing from it.
Shape letters: n = samples of a stream, T = steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from foreact.episodes.sources.protocol import Source
from foreact.episodes.sync import Picked, Policy, Track, default_policy

__all__ = ["COUNTED", "Health", "Step", "Timeline", "default_driver", "health"]

COUNTED = ("step", "frame")  # clocks that count and do not tell time
GAP = 2.5  # median periods without a sample that count as a gap


@dataclass(frozen=True)
class Health:
    """What the stamps of a stream say of it.

    Attributes:
        count: n.
        first_ns: Earliest stamp [ns]; 0 without samples.
        last_ns: Latest stamp [ns].
        period_ns: Median distance of neighbours in time [ns]; 0 for fewer than two samples.
        out_of_order: Samples whose stamp is before that of the sample before them in the file.
        duplicates: Samples that have the stamp of another.
        gaps: Distances of more than 2.5 median periods.
        longest_gap_ns: The longest distance [ns].
    """

    count: int
    first_ns: int
    last_ns: int
    period_ns: float
    out_of_order: int
    duplicates: int
    gaps: int
    longest_gap_ns: int

    @property
    def rate_hz(self) -> float:
        """Of the median period [Hz]; 0 where there is none."""
        return 1e9 / self.period_ns if self.period_ns else 0.0


def default_driver(kinds: Mapping[str, str], counts: Mapping[str, int]) -> str:
    """The stream that a recording is stepped by unless another is named.

    It is the camera with most pictures, or without one the stream with most samples; empty if none has any.

    Args:
        kinds: Of the streams, by name.
        counts: Their samples, by name.
    """
    filled = [name for name in kinds if counts[name]]
    cameras = [name for name in filled if kinds[name] == "image"]
    return max(cameras or filled, key=lambda name: counts[name], default="")


def health(stamps: np.ndarray) -> Health:
    """Look at stamps, int64 (n,) [ns], in the order of the file."""
    if not len(stamps):
        return Health(0, 0, 0, 0.0, 0, 0, 0, 0)
    times = np.sort(stamps)
    distances = np.diff(times)
    period = float(np.median(distances)) if len(distances) else 0.0
    return Health(
        count=len(stamps),
        first_ns=int(times[0]),
        last_ns=int(times[-1]),
        period_ns=period,
        out_of_order=int((np.diff(stamps) < 0).sum()),
        duplicates=int((distances == 0).sum()),
        gaps=int((distances > GAP * period).sum()) if period else 0,
        longest_gap_ns=int(distances.max()) if len(distances) else 0,
    )


@dataclass(slots=True)  # a frozen one takes longer to make
class Step:
    """All streams at one time; not to be changed.

    Attributes:
        number: From 0.
        time_ns: On the timeline [ns].
        samples: By stream; those that have nothing to say are missing.
    """

    number: int
    time_ns: int
    samples: Mapping[str, Picked]


@dataclass
class Timeline:
    """Streams of one or several recordings side by side.

    Attributes:
        tracks: By name; with several recordings `KEY/STREAM`.
        policies: How streams are asked; by default what suits their kind.
    """

    tracks: Mapping[str, Track]
    policies: Mapping[str, Policy] = field(default_factory=dict)

    def __post_init__(self) -> None:
        clocks: list[Track] = []  # one of those that have the same stamps: a time is looked up once for all of them
        self._asked = []
        for name, track in self.tracks.items():
            policy = self.policies.get(name) or default_policy(track.stream.kind)
            clock = next((at for at, each in enumerate(clocks) if np.array_equal(each.times, track.times)), len(clocks))
            clocks += [track] if clock == len(clocks) else []
            self._asked.append((name, clock, track.picker(policy)))
        self._until = [track.until for track in clocks]
        nothing: list[int | None] = [None] * len(clocks)
        self._found: tuple[int | None, Sequence[int | None]] = None, nothing  # the time looked up last, and the finds

    @classmethod
    def of(
        cls,
        sources: Mapping[str, Source],
        *,
        streams: Iterable[str] | None = None,
        offsets_ns: Mapping[str, int] | None = None,
        policies: Mapping[str, Policy] | None = None,
        resolution_ns: int = 1,
    ) -> Timeline:
        """Put recordings side by side.

        Args:
            sources: By key; with one alone its streams keep their names.
            streams: Which, by the names on the timeline; all if None.
            offsets_ns: Added to the stamps of a recording, by key, or of a stream, by its name on the timeline [ns].
            policies: By the names on the timeline.
            resolution_ns: Stamps are cut to whole multiples of it [ns], so that a recording equals its copy in a format
                that keeps no finer ones.

        Raises:
            ValueError: A name that is asked for is none of the timeline's.
        """
        offsets, alone = dict(offsets_ns or {}), len(sources) == 1
        names = {
            (name if alone else f"{key}/{name}"): (key, source, name)
            for key, source in sources.items()
            for name in source.streams
        }
        wanted = tuple(names) if streams is None else tuple(streams)
        asked = {*wanted, *(policies or {}), *(name for name in offsets if name not in sources)}
        if unknown := sorted(asked - names.keys()):
            raise ValueError(f"there is no stream {', '.join(unknown)}; there are {', '.join(names)}")
        tracks = {}
        for name in wanted:
            key, source, stream = names[name]
            offset = offsets.get(key, 0) + (0 if name == key else offsets.get(name, 0))
            tracks[name] = Track(source, stream, offset, resolution_ns)
        return cls(tracks, dict(policies or {}))

    @property
    def span_ns(self) -> tuple[int, int]:
        """First and last stamp of all streams [ns].

        Raises:
            ValueError: No stream has a sample.
        """
        filled = [track.times for track in self.tracks.values() if len(track.times)]
        if not filled:
            raise ValueError("no stream has a sample")
        return min(int(times[0]) for times in filled), max(int(times[-1]) for times in filled)

    def times(self, driver: str | float) -> np.ndarray:
        """When to step, int64 (T,) [ns], in order, each time once.

        Args:
            driver: A stream, for a step at each of its samples; or a rate [Hz], from the first stamp to the last.

        Raises:
            ValueError: No such stream, one without samples, or a rate that is not above 0.
        """
        if isinstance(driver, str):
            if driver not in self.tracks:
                raise ValueError(f"there is no stream {driver!r} to step by; there are {', '.join(self.tracks)}")
            if not len(self.tracks[driver].times):
                raise ValueError(f"stream {driver!r} has no samples to step by")
            return np.unique(self.tracks[driver].times)
        if not 0 < driver <= 1e9:
            raise ValueError(f"a rate of {driver} Hz cannot be stepped by")
        first, last = self.span_ns
        count = int((last - first) * driver / 1e9) + 1
        return first + np.rint(np.arange(count) * (1e9 / driver)).astype(np.int64)

    def at(self, number: int, time_ns: int, before_ns: int | None) -> Step:
        """All streams at one time.

        Args:
            number: Of the step.
            time_ns: Its time [ns].
            before_ns: Time of the step before [ns]; None for the first.
        """
        last, stops = self._found, [until(time_ns) for until in self._until]
        self._found = time_ns, stops
        if last[0] == before_ns:
            befores = last[1]
        else:
            befores = [None if before_ns is None else until(before_ns) for until in self._until]
        samples = {}
        for name, clock, pick in self._asked:
            picked = pick(stops[clock], time_ns, befores[clock])
            if picked is not None:
                samples[name] = picked
        return Step(number, time_ns, samples)

    def steps(self, times: np.ndarray) -> Iterator[Step]:
        """The steps at these times, one after the other, as fast as they are asked for."""
        before = None
        for number, time_ns in enumerate(times.tolist()):
            yield self.at(number, time_ns, before)
            before = time_ns
