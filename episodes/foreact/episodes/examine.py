"""What is wrong with a recording: it is read through once, with bounded memory, and each stream is checked.

Shape letters: n = samples of a stream, E = elements of a sample.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from foreact.episodes.checks.clocks import ClockLine, check_clocks, clock_lines
from foreact.episodes.checks.finding import Finding
from foreact.episodes.checks.numbers import Numbers, Statistics
from foreact.episodes.checks.pictures import Pictures, Run, Thumbnail, chosen_runs
from foreact.episodes.checks.ranges import check_contract, range_of
from foreact.episodes.checks.sound import Sound
from foreact.episodes.checks.stamps import LOOSE, check_ends, check_stamps
from foreact.episodes.checks.units import check_units
from foreact.episodes.checks.whole_set import Summary
from foreact.episodes.contract import PolicyContract
from foreact.episodes.outcome import ProgressFn, quiet
from foreact.episodes.sources import Source, SourceError, Stream
from foreact.episodes.timeline import COUNTED, Health, health

__all__ = ["Asked", "Examination", "Finding", "Statistics", "examine"]

DRAWN = ("image", "depth", "segmentation")
BATCH_BYTES = 32_000_000  # read together
MOST_ROWS = 4096
DOING = ("state", "action", "pose", "imu", "hand")  # what moves when something happens
PROBES = 12  # samples of such a stream that are compared while pictures stand still
SUCCESS = ("success", "is_success", "next.success")
REWARD = ("reward", "rewards", "next.reward")
PLOTTED = 1500  # rows of a stream that are kept to be drawn


@dataclass(frozen=True)
class Asked:
    """What to look at.

    Attributes:
        contract: What numbers and pictures are held against; None for nothing.
        pictures: How many of a stream are looked at; 0 for all.
        show: Whether small copies and rows are kept to be drawn.
    """

    contract: PolicyContract | None = None
    pictures: int = 0
    show: bool = False


@dataclass
class Examination:
    """What was found in a recording.

    Attributes:
        findings: In the order of the checks.
        statistics: Of streams of numbers, by name.
        stamps: What the stamps of each stream say.
        clocks: Second clocks against those that stamp the streams.
        summary: For the comparison with other recordings.
        samples: How many were read.
        shown: Small copies of pictures, by stream.
        runs: Pictures that stand still, by stream.
        rows: Stamps and rows to be drawn, by stream: int64 (n,), float64 (n, E).
        streams: What the recording holds.
        times: Stamps to be drawn, by stream, int64 (n,) [ns].
    """

    findings: list[Finding]
    statistics: dict[str, Statistics]
    stamps: dict[str, Health]
    clocks: list[ClockLine]
    summary: Summary
    samples: int = 0
    shown: dict[str, list[Thumbnail]] = field(default_factory=dict)
    runs: dict[str, list[Run]] = field(default_factory=dict)
    rows: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    streams: dict[str, Stream] = field(default_factory=dict)
    times: dict[str, np.ndarray] = field(default_factory=dict)


def examine(source: Source, asked: Asked = Asked(), progress: ProgressFn = quiet) -> Examination:  # noqa: B008 (frozen)
    """Read a recording through and say what is wrong with it.

    Args:
        source: The recording; every sample is read, of pictures as many as asked for.
        asked: What to look at.
        progress: Told of samples.
    """
    reading = _Reading(source, asked, progress)
    seen = {name: health(source.stamps(name)) for name in source.streams}
    findings = [Finding("", "note", "note", note) for note in source.notes]
    findings += check_ends(source, seen)
    if asked.contract is not None:
        findings += check_contract(source, asked.contract)
    for name, stream in source.streams.items():
        findings += check_stamps(stream, source.stamps(name), seen[name])
        try:
            findings += reading.stream(name, stream)
        except SourceError as error:
            findings.append(Finding(name, "grave", "unreadable", f"cannot be read: {error}"))
    findings += reading.standing()
    lines = clock_lines(source)
    findings += check_clocks(source, lines)
    return Examination(
        findings, reading.statistics, seen, lines, _summary(source, seen, reading), reading.done,
        reading.shown, reading.runs, reading.rows, dict(source.streams),
        {name: source.stamps(name) for name in source.streams} if asked.show else {},
    )  # fmt: skip


class _Reading:
    """One pass through a recording."""

    def __init__(self, source: Source, asked: Asked, progress: ProgressFn) -> None:
        self._source, self._asked, self._progress = source, asked, progress
        self._total = sum(len(source.stamps(name)) for name in source.streams)
        self.done = self.mark = 0
        self.statistics: dict[str, Statistics] = {}
        self.shown: dict[str, list[Thumbnail]] = {}
        self.runs: dict[str, list[Run]] = {}
        self.rows: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._pictures: dict[str, Pictures] = {}

    def stream(self, name: str, stream: Stream) -> list[Finding]:
        """Read one stream and say what is wrong with its samples.

        Raises:
            SourceError: It cannot be read.
        """
        if stream.kind in DRAWN:
            self._look(name, stream)
            return []
        if stream.kind == "audio":
            sound = Sound(stream)
            for _, batch in self._batches(name, stream):
                for block in batch:
                    sound.add(np.asarray(block))
            return list(sound.findings())
        if stream.kind in ("text", "event", "bytes", "points"):
            for _ in self._batches(name, stream):
                continue
            return []
        return self._count(name, stream)

    def _look(self, name: str, stream: Stream) -> None:
        """Pictures are judged when all streams were read: whether standing still is wrong hangs on the others."""
        count = len(self._source.stamps(name))
        self._pictures[name] = looking = Pictures(stream, count, show=self._asked.show)
        for start, batch in self._batches(name, stream, chosen_runs(count, self._asked.pictures)):
            for index, picture in enumerate(batch, start):
                looking.add(index, np.asarray(picture))

    def _count(self, name: str, stream: Stream) -> list[Finding]:
        numbers, ranged = Numbers(stream), range_of(name, self._asked.contract)
        for _, batch in self._batches(name, stream):
            rows = _as_rows(batch)
            if rows is None or (numbers.count and rows.shape[1] != numbers.rows().shape[1]):
                return []  # samples of different sizes have no elements to speak of
            numbers.add(rows)
            self.mark = zlib.crc32(rows.tobytes(), self.mark)
            if ranged is not None:
                ranged.add(rows)
        statistics, rows = numbers.statistics(), numbers.rows()
        if statistics is None:
            return list(numbers.findings())
        self.statistics[name] = statistics
        if self._asked.show:
            chosen = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), PLOTTED)).astype(int))
            stamps = np.sort(self._source.stamps(name))
            times = stamps[np.linspace(0, len(stamps) - 1, len(rows)).astype(int)][chosen]
            self.rows[name] = times, rows[chosen]
        found = [*numbers.findings(), *check_units(stream, rows)]
        return found + (list(ranged.findings()) if ranged is not None else [])

    def _batches(
        self, name: str, stream: Stream, runs: list[tuple[int, int]] | None = None
    ) -> Iterator[tuple[int, list[object] | np.ndarray]]:
        """Samples read together and the number of the first."""
        count = len(self._source.stamps(name))
        size = _bytes(stream)
        together = max(min(BATCH_BYTES // max(size, 1), MOST_ROWS), 1)
        for first, last in runs if runs is not None else [(0, count)]:
            for start in range(first, last, together):
                stop = min(start + together, last)
                yield start, self._source.read_range(name, start, stop)  # pyright: ignore[reportReturnType]
                self.done += stop - start
                self._progress(min(self.done, self._total), self._total, f"read {self._source.key}")

    def standing(self) -> list[Finding]:
        """What is wrong with pictures, now that it is known what else moved."""
        found = []
        for name, looking in self._pictures.items():
            spans = [(run.start, run.stop) for run in looking.frozen()]
            found += looking.findings(still=self._still(name, spans) if spans else None)
            self.shown[name], self.runs[name] = looking.shown, looking.runs
        return found

    def _still(self, name: str, spans: list[tuple[int, int]]) -> bool | None:
        """Whether nothing that tells of motion changes while pictures are equal."""
        stamps, clock = self._source.stamps(name), self._source.streams[name].clock
        told = None
        for other, stream in self._source.streams.items():
            if stream.clock != clock or stream.kind not in ("vector", "pose", "imu", "hand"):
                continue
            if other.split(".")[0] not in DOING or other not in self.statistics:
                continue
            times = self._source.stamps(other)
            for start, stop in spans:
                inside = np.flatnonzero((times >= stamps[start]) & (times <= stamps[stop - 1]))
                if len(inside) < 2:
                    continue
                probes = inside[np.unique(np.linspace(0, len(inside) - 1, PROBES).astype(int))]
                values = [np.asarray(self._source.read(other, int(index)), np.float64) for index in probes]
                if any(not np.array_equal(each, values[0], equal_nan=True) for each in values):
                    return False
                told = True
        return told


def _bytes(stream: Stream) -> int:
    """Of one sample, about."""
    kinds = {"str": 512, "bytes": 65536}
    each = kinds[stream.dtype] if stream.dtype in kinds else np.dtype(stream.dtype).itemsize
    known = [length if length is not None else 1024 for length in stream.shape]
    return each * int(np.prod(known, dtype=np.int64)) if known else each


def _as_rows(batch: object) -> np.ndarray | None:
    """Samples as float64 (k, E); None where they differ in size or are empty."""
    rows = [np.asarray(value, np.float64).reshape(-1) for value in batch]  # pyright: ignore[reportGeneralTypeIssues]
    if not rows or len({len(row) for row in rows}) > 1 or not len(rows[0]):
        return None
    return np.stack(rows)


def _summary(source: Source, seen: dict[str, Health], reading: _Reading) -> Summary:
    steady = [name for name, stream in source.streams.items() if stream.kind not in LOOSE and seen[name].count]
    length = 0.0
    if steady:
        longest = max(steady, key=lambda name: seen[name].count)
        span = seen[longest].last_ns - seen[longest].first_ns
        length = float(span + 1) if source.streams[longest].clock in COUNTED else span / 1e9
    forms = {
        name: f"{stream.kind} {stream.dtype} {stream.shape} {stream.unit} {' '.join(stream.elements)}".strip()
        for name, stream in source.streams.items()
    }
    moves = any((each.low != each.high).any() for each in reading.statistics.values())
    return Summary(
        source.key, length, _success(source, reading.statistics), _any_above(reading.statistics, REWARD), forms,
        reading.mark if moves else 0,
    )  # fmt: skip


def _success(source: Source, statistics: dict[str, Statistics]) -> bool | None:
    said, unknown = source.metadata.get("success"), source.metadata.get("unknown")
    told = isinstance(said, bool) and not (isinstance(unknown, list | tuple) and "success" in unknown)  # of imports
    return bool(said) if told else _any_above(statistics, SUCCESS)


def _any_above(statistics: dict[str, Statistics], names: tuple[str, ...]) -> bool | None:
    found = [bool((statistics[name].high > 0).any()) for name in names if name in statistics]
    return any(found) if found else None
