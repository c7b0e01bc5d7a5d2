"""What is wrong with a recording: stamps, numbers, pictures and ends that no good recording has.

A finding is grave if training on the recording would go wrong by it, and a remark otherwise.
Shape letters: n = samples of a stream, E = elements of a sample.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.episodes.sources import Source, SourceError, Stream
from foreact.episodes.timeline import COUNTED, Health, health

__all__ = ["Finding", "Statistics", "examine"]

RATE_OFF = 0.02  # of the stated rate: clocks of good recorders agree better
ENDS_EARLY = 0.1  # of the recording's length without a sample at its beginning or end
FROZEN = 5  # equal pictures in a row
NORM_OFF = 1e-3  # of an orientation's length from 1
FULL_TURN = 2 * np.pi
BATCH = 64  # samples read together
QUANTILES = (0.01, 0.5, 0.99)


@dataclass(frozen=True)
class Finding:
    """Something that is wrong or odd.

    Attributes:
        stream: Where; empty for the recording as a whole.
        grave: Training on it would go wrong.
        what: In words, with numbers.
    """

    stream: str
    grave: bool
    what: str


@dataclass(frozen=True)
class Statistics:
    """Of the elements of a stream of numbers, float64 (E,) each, without what is not finite.

    Attributes:
        low: Smallest.
        high: Largest.
        mean: Mean.
        std: Standard deviation.
        quantiles: 1 %, median and 99 %, (3, E).
    """

    low: np.ndarray
    high: np.ndarray
    mean: np.ndarray
    std: np.ndarray
    quantiles: np.ndarray


def examine(source: Source) -> tuple[list[Finding], dict[str, Statistics]]:
    """Read a recording through and say what is wrong with it.

    Args:
        source: The recording; every sample is read.

    Returns:
        Findings, and statistics of streams of numbers by name.
    """
    seen = {name: health(source.stamps(name)) for name in source.streams}
    findings = [Finding("", False, note) for note in source.notes]
    findings += _ends(source, seen)
    statistics: dict[str, Statistics] = {}
    for name, stream in source.streams.items():
        findings += [Finding(name, *each) for each in _times(stream, seen[name])]
        try:
            found, numbers = _samples(source, name, stream)
        except SourceError as error:
            findings.append(Finding(name, True, f"cannot be read: {error}"))
            continue
        findings += [Finding(name, *each) for each in found]
        if numbers is not None:
            statistics[name] = numbers
    return findings, statistics


def _times(stream: Stream, seen: Health) -> Iterator[tuple[bool, str]]:
    if not seen.count:
        yield False, "has no samples"
    if seen.out_of_order:
        yield True, f"{seen.out_of_order} of {seen.count} stamps go back in time"
    if seen.duplicates:
        yield False, f"{seen.duplicates} samples have the stamp of another"
    if stream.clock in COUNTED:
        return
    if seen.gaps:
        yield False, f"{seen.gaps} gaps, the longest {seen.longest_gap_ns / 1e6:.1f} ms at {seen.rate_hz:.4g} Hz"
    if stream.rate_hz and seen.count > 2:
        mean = (seen.count - 1) * 1e9 / max(seen.last_ns - seen.first_ns, 1)
        if abs(mean / stream.rate_hz - 1) > RATE_OFF:
            yield False, f"says {stream.rate_hz:g} Hz, has {mean:.4g} Hz over its whole length"


def _ends(source: Source, seen: dict[str, Health]) -> Iterator[Finding]:
    """Streams of one clock that begin late or end early."""
    for clock in dict.fromkeys(stream.clock for stream in source.streams.values()):
        peers = {name: each for name, each in seen.items() if source.streams[name].clock == clock and each.count > 1}
        if len(peers) < 2:
            continue
        first, last = min(each.first_ns for each in peers.values()), max(each.last_ns for each in peers.values())
        for name, each in peers.items():
            spare = max(ENDS_EARLY * (last - first), 2 * each.period_ns)
            for word, missing in (("begins", each.first_ns - first), ("ends", last - each.last_ns)):
                if missing > spare:
                    late = "after the first" if word == "begins" else "before the last"
                    yield Finding(name, False, f"{word} {_length(missing, clock)} {late} stream of its clock")


def _length(distance: int, clock: str) -> str:
    return f"{distance} steps" if clock in COUNTED else f"{distance / 1e9:.3f} s"


def _samples(source: Source, name: str, stream: Stream) -> tuple[list[tuple[bool, str]], Statistics | None]:
    if stream.kind in ("image", "depth", "segmentation"):
        return list(_pictures(source, name)), None
    if stream.kind in ("text", "event", "bytes", "audio", "points"):
        for _ in _batches(source, name):
            continue
        return [], None
    rows = [np.asarray(value, np.float64).reshape(-1) for batch in _batches(source, name) for value in batch]
    if not rows or len({len(row) for row in rows}) > 1 or not len(rows[0]):
        return [], None
    values = np.stack(rows)
    return list(_numbers(stream, values)), _statistics(values)


def _batches(source: Source, name: str) -> Iterator[Sequence[object]]:
    count = len(source.stamps(name))
    for start in range(0, count, BATCH):
        yield source.read_range(name, start, min(start + BATCH, count))  # pyright: ignore[reportReturnType]


def _pictures(source: Source, name: str) -> Iterator[tuple[bool, str]]:
    last, run, frozen, longest, flat = None, 1, 0, 1, 0
    count = len(source.stamps(name))
    for index in range(count):
        picture = np.ascontiguousarray(source.read(name, index))
        seen = zlib.crc32(picture.data)
        run = run + 1 if seen == last else 1
        frozen, longest, last = frozen + (run >= FROZEN), max(longest, run), seen
        flat += bool(picture.size and picture.min() == picture.max())
    if longest >= FROZEN:
        yield True, f"frozen: up to {longest} equal pictures in a row, {frozen} of {count} in such runs"
    if flat:
        yield flat == count, f"{flat} of {count} pictures are of one value"


def _numbers(stream: Stream, values: np.ndarray) -> Iterator[tuple[bool, str]]:
    finite = np.isfinite(values)
    if not finite.all():
        yield True, f"{int((~finite.all(1)).sum())} of {len(values)} samples hold what is not finite"
    whole = values[finite.all(1)]
    if len(whole) > 2 and stream.kind != "pose":  # what moves in a plane has elements that never change
        still = np.flatnonzero((whole == whole[0]).all(0))
        if len(still):
            yield False, f"never changes: {_named(stream, still, values.shape[1])}"
    if stream.kind == "pose" and len(whole):
        lengths = np.linalg.norm(whole[:, 3:7], axis=1)
        if off := int((np.abs(lengths - 1) > NORM_OFF).sum()):
            yield True, f"{off} of {len(whole)} orientations are no unit quaternions"
    units = stream.unit.split(",")
    units = units if len(units) == values.shape[1] else [stream.unit] * values.shape[1]
    degrees = [
        index
        for index, unit in enumerate(units)
        if unit == "rad" and np.abs(whole[:, index]).max(initial=0) > 2 * FULL_TURN
    ]
    if degrees:
        yield False, f"more than two turns in rad, perhaps degrees: {_named(stream, degrees, values.shape[1])}"


def _named(stream: Stream, indices: Sequence[int] | np.ndarray, count: int) -> str:
    names = stream.elements if len(stream.elements) == count else tuple(f"element {index}" for index in range(count))
    shown = [names[index] for index in list(indices)[:6]]
    return ", ".join(shown) + (f" and {len(indices) - 6} more" if len(indices) > 6 else "")


def _statistics(values: np.ndarray) -> Statistics | None:
    whole = values[np.isfinite(values).all(1)]
    if not len(whole):
        return None
    return Statistics(
        whole.min(0), whole.max(0), whole.mean(0), whole.std(0), np.quantile(whole, QUANTILES, axis=0)
    )  # fmt: skip
