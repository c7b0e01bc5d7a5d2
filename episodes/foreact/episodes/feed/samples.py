"""Training samples of one dataset: an anchor each, small streams from memory, pictures as requests to whoever reads.

Shape letters: A = anchors, B = samples of a batch, K = samples of a stream in one window, M = pictures asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.episodes.feed.columns import HEAVY, Column, Recorded, read_columns
from foreact.episodes.feed.index_tables import Between, Found, IndexTable, build_table
from foreact.episodes.feed.windows import Windows
from foreact.episodes.outcome import ProgressFn, quiet
from foreact.episodes.sources.protocol import Collection, Stream

__all__ = ["REQUEST", "Entry", "Samples"]

REQUEST = ("recording", "stream", "index", "entry", "place")
"""Columns of a request for a picture.

recording: number in `Samples.keys`. stream: number in `Samples.pictures`. index: of the sample in its file. entry:
number in `Samples.entries`. place: in the batch's array of that entry, counted over (B, K).
"""


@dataclass(frozen=True)
class Entry:
    """What one name of a batch holds.

    Attributes:
        shape: Of one training sample, (K, ...).
        dtype: As NumPy says it.
        stream: Where it comes from.
        is_picture: Whether it is read when it is asked for.
    """

    shape: tuple[int, ...]
    dtype: str
    stream: Stream
    is_picture: bool


class Samples:
    """The training samples of a dataset, by number.

    Args:
        collection: The dataset; it is not kept.
        windows: What a sample is.
        recordings: Which, by key; all if none is named.
        progress: Told of each recording.

    Attributes:
        keys: Names of the recordings.
        tasks: What was to be done in each.
        entries: What a batch holds, by name.
        pictures: Streams that are read when they are asked for.
        recording: Of each sample, int32 (A,).
        anchor_ns: Time of each anchor, int64 (A,) [ns].
        dropped: Anchors whose window is not complete.

    Raises:
        SourceError: The dataset is damaged or lacks a stream.
        ValueError: Windows that cannot be had, or no anchor is left.
    """

    def __init__(
        self, collection: Collection, windows: Windows, recordings: Sequence[str] = (), progress: ProgressFn = quiet
    ) -> None:
        recorded = read_columns(collection, windows.streams, windows.offsets_ns, recordings, progress)
        _require_one_clock(recorded, windows)
        self.keys, self.tasks = recorded.keys, recorded.tasks
        self._columns = {name: recorded.columns[take.stream] for name, take in windows.takes.items()}
        self.pictures = tuple(
            dict.fromkeys(column.stream.name for column in self._columns.values() if column.values is None)
        )
        anchors = _anchors(recorded, windows)
        tables = {
            name: build_table(take, self._columns[name].times, anchors, self._columns[name].stream.kind == "pose")
            for name, take in windows.takes.items()
        }
        keep = np.ones(sum(len(each) for each in anchors), bool)
        for name, take in windows.takes.items():
            _require_whole_pictures(name, self._columns[name].stream, tables[name])
            if take.edge == "drop":
                keep &= tables[name].complete()
        self._tables = {name: table.only(keep) for name, table in tables.items()}
        self.recording = np.repeat(np.arange(len(anchors), dtype=np.int32), [len(each) for each in anchors])[keep]
        self.anchor_ns = np.concatenate(anchors)[keep]
        self.dropped = int(len(keep) - keep.sum())
        if not len(self):
            raise ValueError(
                f"{collection.path}: none of {len(keep)} anchors has complete windows; "
                "make them shorter, or give edge='repeat'"
            )
        self.entries = {name: _entry(self._columns[name], table) for name, table in self._tables.items()}

    def __len__(self) -> int:
        """A."""
        return len(self.anchor_ns)

    def fill(
        self,
        numbers: np.ndarray,
        values: Mapping[str, np.ndarray],
        valid: Mapping[str, np.ndarray],
        rows: np.ndarray | None = None,
    ) -> np.ndarray:
        """Write the small streams of samples, and say which pictures they need.

        Args:
            numbers: Of the samples, integers (B,).
            values: By name, (batch, K, ...), written in place; pictures are left alone.
            valid: By name, bool (batch, K), written in place.
            rows: Of the batch, integers (B,); the first B if None.

        Returns:
            Pictures, int64 (M, 5), columns as in `REQUEST`.
        """
        asked = []
        for number, (name, table) in enumerate(self._tables.items()):
            found, column = table.batch(numbers), self._columns[name]
            where = slice(len(numbers)) if rows is None else rows
            valid[name][where] = found.valid
            if column.values is None:
                asked.append(self._pictures(number, column, numbers, found, rows))
            elif rows is None and found.between is None and not table.is_span:
                np.take(column.values, found.rows, axis=0, out=values[name][: len(numbers)], mode="clip")
            else:
                values[name][where] = _gathered(column, found, table.is_span)
        return np.concatenate(asked) if asked else np.empty((0, len(REQUEST)), np.int64)

    def _pictures(
        self, number: int, column: Column, numbers: np.ndarray, found: Found, rows: np.ndarray | None
    ) -> np.ndarray:
        count, width = found.rows.shape
        asked = np.empty((count * width, len(REQUEST)), np.int64)
        batch_rows = np.arange(count) if rows is None else rows
        asked[:, 0] = np.repeat(self.recording[numbers], width)
        asked[:, 1] = self.pictures.index(column.stream.name)
        asked[:, 2] = column.places[found.rows.reshape(-1)]
        asked[:, 3] = number
        asked[:, 4] = (batch_rows[:, None] * width + np.arange(width)).reshape(-1)
        return asked


def _anchors(recorded: Recorded, windows: Windows) -> list[np.ndarray]:
    """Times of the anchors of each recording."""
    if isinstance(windows.anchor, str):
        return [times[:: windows.stride] for times in recorded.columns[windows.anchor].times]
    found = []
    for number in range(len(recorded.keys)):
        times = [column.times[number] for column in recorded.columns.values()]
        if not all(len(each) for each in times):
            found.append(np.empty(0, np.int64))
            continue
        first, last = max(int(each[0]) for each in times), min(int(each[-1]) for each in times)
        count = max(0, int((last - first) * windows.anchor / 1e9) + 1)
        found.append(first + np.rint(np.arange(count) * (1e9 / windows.anchor)).astype(np.int64))
    return found


def _require_one_clock(recorded: Recorded, windows: Windows) -> None:
    clocks = {name: column.stream.clock for name, column in recorded.columns.items() if name not in windows.offsets_ns}
    if len(set(clocks.values())) > 1:
        told = ", ".join(f"{name} by {clock!r}" for name, clock in clocks.items())
        raise ValueError(
            f"streams are stamped by several clocks ({told}); give offsets_ns for those of the other clock"
        )


def _require_whole_pictures(name: str, stream: Stream, table: IndexTable) -> None:
    if table.between is not None and (stream.kind in (*HEAVY, "audio")):
        raise ValueError(
            f"{name}: stream {stream.name} ({stream.kind}) cannot be interpolated; hold or take the nearest"
        )
    if table.is_span and stream.kind in HEAVY:
        raise ValueError(f"{name}: stream {stream.name} ({stream.kind}) is taken by steps or times, not by spans")


def _entry(column: Column, table: IndexTable) -> Entry:
    stream = column.stream
    mixed = table.between is not None and np.dtype(stream.dtype).kind != "f"
    shape = (table.width, *(size or 0 for size in stream.shape))
    return Entry(shape, "float64" if mixed else stream.dtype, stream, column.values is None)


def _gathered(column: Column, found: Found, is_span: bool) -> np.ndarray:
    assert column.values is not None
    values = column.values[found.rows]
    if is_span:
        values[~found.valid] = 0
    return values if found.between is None else _mixed(column, values, found.between)


def _mixed(column: Column, low: np.ndarray, between: Between) -> np.ndarray:
    """Between two samples, in float64: linear, orientations along the shorter great arc (Shoemake 1985)."""
    assert column.values is not None
    share = between.share.reshape(*between.share.shape, *([1] * (low.ndim - 2)))
    first = low.astype(np.float64)
    mixed = first + share * (column.values[between.high].astype(np.float64) - first)
    if column.stream.kind == "pose":
        turned = _slerp(first[..., 3:], column.values[between.high][..., 3:].astype(np.float64), share)
        mixed[..., 3:] = np.where(share > 0, turned, first[..., 3:])
    return mixed


def _slerp(first: np.ndarray, second: np.ndarray, share: np.ndarray) -> np.ndarray:
    first, second = (each / np.linalg.norm(each, axis=-1, keepdims=True) for each in (first, second))
    cosine = (first * second).sum(axis=-1, keepdims=True)
    second, cosine = np.where(cosine < 0, -second, second), np.abs(cosine)
    angle = np.arccos(np.minimum(cosine, 1.0))
    small = angle < 1e-9
    safe = np.where(small, 1.0, angle)
    # q(s) = (sin((1 - s) a) q0 + sin(s a) q1) / sin a
    mixed = (np.sin((1 - share) * safe) * first + np.sin(share * safe) * second) / np.sin(safe)
    return np.where(small, first, mixed / np.linalg.norm(mixed, axis=-1, keepdims=True))
