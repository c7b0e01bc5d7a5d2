"""Which columns hold the streams of some recordings: one table for all of them.

Shape letters: T = steps (rows).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import numpy as np

from foreact.episodes.arrays import StoreError
from foreact.episodes.recording_rows import PICTURES, Column, Placed, place
from foreact.episodes.sources.protocol import Source, Stream
from foreact.episodes.timeline import COUNTED, Timeline, default_driver

__all__ = ["Opener", "Plan", "placed", "planned"]

Opener = Callable[[str], AbstractContextManager[Source]]

MOST_PICTURES = 8  # of one stream in a row
MOST_BYTES = 1 << 29  # of one column of numbers of one recording, which lerobot holds in memory
CHEAP_BYTES = 1 << 20  # of one column: below it all rows get the room that the first and the last need
FASTEST_HZ = 10_000
MOST_LABELS = 1 << 24
SMALLEST_VIDEO = 64  # pixels a side


@dataclass(frozen=True)
class Plan:
    """The table.

    Attributes:
        columns: One for each form of each stream.
        labels: By tag, the values that labels stand for, ascending.
        fps: Rows a second, nominal.
        driver: By recording, the stream or the rate [Hz] that gives the rows.
        left_out: By recording, streams that have no place and why.
        skipped: Recordings without a sample.
    """

    columns: tuple[Column, ...]
    labels: Mapping[str, np.ndarray]
    fps: int
    driver: Mapping[str, str | float]
    left_out: Mapping[str, Mapping[str, str]]
    skipped: tuple[str, ...]


class _Scan:
    """What is known of the recordings so far."""

    def __init__(self) -> None:
        self.forms: dict[tuple[object, ...], Column] = {}
        self.labels: dict[tuple[object, ...], np.ndarray] = {}
        self.left_out: dict[str, dict[str, str]] = {}
        self.driver: dict[str, str | float] = {}
        self.periods: list[float] = []
        self.skipped: list[str] = []


def planned(
    sources: Iterable[tuple[str, Callable[[], AbstractContextManager[Source]]]],
    driver: str | float,
    video: bool,
    told: Callable[[int], None],
) -> Plan:
    """Look through recordings.

    Args:
        sources: Keys of recordings and how each is opened.
        driver: A stream, or rows a second; empty for each recording's own, see `default_driver`.
        video: Write pictures of 8 bits as video.
        told: Called with the number of each recording.

    Raises:
        StoreError: None has a sample, there is no such driver, or a column would be too large.
        SourceError: A recording is damaged.
    """
    scan = _Scan()
    for number, (key, opened) in enumerate(sources):
        told(number)
        with opened() as source:
            _look(scan, key, source, driver)
    if not scan.driver:
        raise StoreError("no recording has a sample, so there is nothing to convert")
    periods = [period for period in scan.periods if period > 0]
    rate = 1e9 / float(np.median(periods)) if periods else 1.0
    columns = _renamed(list(scan.forms.values()))
    labels = {each.tag: scan.labels[_form(each)] for each in columns if _form(each) in scan.labels}
    if video:
        columns = [replace(each, lossy=_as_video(each)) for each in columns]
    return Plan(
        tuple(columns), labels, min(max(1, round(rate)), FASTEST_HZ), scan.driver, scan.left_out, tuple(scan.skipped)
    )


def _steps(source: Source, driver: str | float) -> np.ndarray:
    try:
        return Timeline.of({source.key: source}).times(driver)
    except ValueError as error:
        raise StoreError(f"{source.key}: driver={driver}: {error}") from error


def placed(source: Source, plan: Plan, key: str) -> tuple[np.ndarray, dict[str, Placed]]:
    """Times of the rows of a recording, and by tag where its samples go."""
    steps = _steps(source, plan.driver[key])
    by_form = {_form(each): each for each in plan.columns}
    found = {}
    for name, stream in source.streams.items():
        if name not in plan.left_out[key]:
            column = by_form[_form(_column(name, stream))]
            found[column.tag] = place(column, source.stamps(name), steps)
    return steps, found


def _look(scan: _Scan, key: str, source: Source, driver: str | float) -> None:
    reasons = {name: reason for name, stream in source.streams.items() if (reason := _unfit(stream))}
    chosen = driver or _default_driver(source, reasons)
    if not chosen:
        scan.skipped.append(key)
        return
    steps = _steps(source, chosen)
    scan.driver[key] = chosen
    if not isinstance(chosen, str):
        scan.periods.append(1e9 / chosen)
    elif len(steps) > 1 and source.streams[chosen].clock not in COUNTED:
        period = float(np.median(np.diff(steps)))
        bursts = period < 1e9 / FASTEST_HZ  # no rate of a recording, but of the writing of it
        scan.periods.append((steps[-1] - steps[0]) / (len(steps) - 1) if bursts else period)
    elif rate := source.streams[chosen].rate_hz:
        scan.periods.append(1e9 / rate)
    scan.left_out[key] = reasons
    for name, stream in source.streams.items():
        if name not in reasons and (reason := _take(scan, key, source, _column(name, stream), steps)):
            reasons[name] = reason


def _default_driver(source: Source, reasons: Mapping[str, str]) -> str:
    kinds = {name: stream.kind for name, stream in source.streams.items() if name not in reasons}
    return default_driver(kinds, {name: len(source.stamps(name)) for name in kinds})


def _unfit(stream: Stream) -> str:
    if stream.kind == "bytes":
        return f"bytes that are not understood: {stream.description}".removesuffix(": ")
    if stream.kind not in ("text", "event") and np.dtype(stream.dtype).kind not in "biuf":
        return f"LeRobot has no column of {stream.dtype}"
    return f"samples of shape {stream.shape} hold nothing" if 0 in stream.shape else ""


def _column(name: str, stream: Stream) -> Column:
    tag = name.replace("/", ".")
    if stream.kind in ("text", "event"):
        return Column(name, tag, "text", "str", (), ())
    return Column(name, tag, _code(stream), stream.dtype, stream.shape, ())


def _code(stream: Stream) -> str:
    if stream.kind not in ("image", "depth", "segmentation"):
        return "numbers"
    if len(stream.shape) == 3:
        return "rgb" if stream.shape[2] == 3 and stream.dtype == "uint8" else "numbers"
    if stream.kind == "depth":
        return "depth" if stream.dtype in ("uint16", "float32") else "numbers"
    if stream.dtype == "uint8":
        return "grey"
    return "labels" if np.dtype(stream.dtype).kind in "iu" else "numbers"


def _form(column: Column) -> tuple[object, ...]:
    return column.stream, column.code, column.dtype, column.shape


def _take(scan: _Scan, key: str, source: Source, column: Column, steps: np.ndarray) -> str:
    """Make room for a stream; why it has no place, if so."""
    found = place(column, source.stamps(column.stream), steps)
    known = scan.forms.get(_form(column), column)
    room, reason = _room(source, column, known.room)
    if reason:
        return reason
    column = replace(column, room=room)
    width = _width(found, column)
    if column.code in PICTURES and width > MOST_PICTURES:
        return f"up to {width} pictures in one row, {MOST_PICTURES} at most; driver={column.stream} gives each a row"
    if column.code == "labels" and np.dtype(column.dtype).itemsize > 2:
        labels = _labels(source, column, scan.labels.get(_form(column)))
        if len(labels) > MOST_LABELS:
            return f"{len(labels)} different labels, {MOST_LABELS} at most"
        scan.labels[_form(column)] = labels
    width, beside = max(known.width, width), known.beside or found.largest > max(width, 1)
    grown = replace(column, width=width, beside=beside)
    size = len(steps) * math.prod(grown.cell) * np.dtype(grown.dtype).itemsize if column.code == "numbers" else 0
    if size > MOST_BYTES:
        raise StoreError(
            f"{key}: stream {column.stream} would take {size / 1e6:.0f} MB, {max(width, 1)} samples in each of "
            f"{len(steps)} rows; choose faster rows, such as driver={column.stream}, or drop=[{column.stream}]"
        )
    scan.forms[_form(column)] = grown
    return ""


def _width(found: Placed, column: Column) -> int:
    """Room for samples in a row; 0 where one is held."""
    width = found.largest
    cell = math.prod(column.room) * np.dtype(column.dtype).itemsize if column.code == "numbers" else 0
    dear = len(found.ends) * width * (cell + 8) > CHEAP_BYTES or (column.code in PICTURES and width > MOST_PICTURES)
    if dear:  # for the sake of the first and the last row alone
        width = found.inner
    # a sample that bears the stamp of nothing is told from nothing by its count
    return width if width > 1 or (found.times == -1).any() else 0


def _room(source: Source, column: Column, known: tuple[int, ...]) -> tuple[tuple[int, ...], str]:
    """Size that all samples fit into, and why there is none."""
    if not column.varying:
        return tuple(size for size in column.shape if size is not None), ""
    name = column.stream
    sizes = {np.asarray(source.read(name, index)).shape for index in range(len(source.stamps(name)))}
    wrong = {size for size in sizes if len(size) != len(column.shape)}
    if wrong or (column.code in PICTURES and len(sizes | ({known} if known else set())) > 1):
        return (), f"samples of several sizes: {', '.join('x'.join(map(str, size)) for size in sorted(sizes))}"
    sizes |= {known} if known else set()
    return tuple(max((size[axis] for size in sizes), default=0) or 1 for axis in range(len(column.shape))), ""


def _labels(source: Source, column: Column, known: np.ndarray | None) -> np.ndarray:
    found = np.empty(0, column.dtype) if known is None else known
    for index in range(len(source.stamps(column.stream))):
        found = np.union1d(found, np.asarray(source.read(column.stream, index)))
    return found.astype(column.dtype)


def _renamed(columns: list[Column]) -> list[Column]:
    """Forms of one stream told apart by a number, so that no two columns have one name."""
    taken: set[str] = set()
    found = []
    for column in columns:
        number, tag = 1, column.tag
        while taken & {tag.lower(), replace(column, tag=tag).value.lower()}:
            number += 1
            tag = f"{column.tag}.form{number}"
        named = replace(column, tag=tag)
        taken |= {tag.lower(), named.value.lower()}
        found.append(named)
    return found


def _as_video(column: Column) -> bool:
    sides = column.room[:2]
    return column.code in ("rgb", "grey") and all(side % 2 == 0 and side >= SMALLEST_VIDEO for side in sides)
