"""Recordings that `foreact convert to=lerobot` wrote as episodes of a LeRobotDataset: the streams as they were.

`meta/foreact.json` says what LeRobot has no place for, and which columns hold which stream.
Shape letters: n = samples of a stream, T = rows of an episode, K = room for samples in a row.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.arrays import StoreError
from foreact.episodes.lerobot_reader import LeRobotEpisode, LeRobotReader
from foreact.episodes.outcome import JSON
from foreact.episodes.recording_rows import PICTURES, Column, decoded, edge_values
from foreact.episodes.sources.parts import Part, PartsSource, Recordings
from foreact.episodes.sources.protocol import Collection, Source, SourceError, Stream, Value
from foreact.episodes.sources.video import VideoPool

__all__ = ["FORMAT", "SIDECAR", "OwnRecording", "OwnRecordings", "OwnStream", "is_own", "open_own", "read_own"]

SIDECAR = "meta/foreact.json"
FORMAT = 2  # 1 is that of episode stores


@dataclass(frozen=True)
class OwnStream:
    """A stream of a recording.

    Attributes:
        stream: What it is.
        tag: Of its column.
        samples: n.
        order: Place in the file of each sample in order of time; empty where the file is in order of time.
    """

    stream: Stream
    tag: str
    samples: int
    order: tuple[int, ...]


@dataclass(frozen=True)
class OwnRecording:
    """A recording: its key in its collection and by itself, what it says, its streams, what had no place and why."""

    key: str
    name: str
    task: str
    metadata: dict[str, JSON]
    notes: tuple[str, ...]
    driver: str
    streams: tuple[OwnStream, ...]
    left_out: dict[str, str]


@dataclass(frozen=True)
class OwnRecordings:
    """`meta/foreact.json` of recordings."""

    format: int
    holds: str
    source_format: str
    notes: tuple[str, ...]
    columns: tuple[Column, ...]
    labels: dict[str, tuple[int, ...]]
    recordings: tuple[OwnRecording, ...]


def is_own(said: Mapping[str, Any]) -> bool:
    """Whether a `meta/foreact.json` is that of recordings."""
    return said.get("holds") == "recordings"


def read_own(said: Mapping[str, Any], path: Path, episodes: int) -> OwnRecordings:
    """Check a `meta/foreact.json`.

    Raises:
        SourceError: It is of another version, damaged, or of another dataset.
    """
    where = path / SIDECAR
    if said.get("format") != FORMAT:
        raise SourceError(f"{where} has format {said.get('format')!r}, this foreact reads {FORMAT}")
    try:
        own = strictjson.decode(OwnRecordings, dict(said), "recordings")
    except strictjson.StrictJsonError as error:
        raise SourceError(f"{where}: {error}") from error
    if len(own.recordings) != episodes:
        raise SourceError(
            f"{where} lists {len(own.recordings)} recordings, the dataset has {episodes} episodes: it was changed "
            f"since. Delete {where} to read it as any other LeRobot dataset"
        )
    return own


def open_own(
    reader: LeRobotReader, own: OwnRecordings, episodes: list[LeRobotEpisode], pool: VideoPool, guard: Any
) -> Collection:
    """The recordings by their own keys.

    Args:
        reader: Of the dataset.
        own: What `meta/foreact.json` says.
        episodes: Of the dataset.
        pool: Opens videos.
        guard: Context that turns what damaged tables raise into one error.
    """
    openers: dict[str, Callable[[], Source]] = {
        each.key: partial(_opened, reader, own, each, episode, pool, guard)
        for each, episode in zip(own.recordings, episodes, strict=True)
    }
    return Recordings(reader.path, "lerobot-3.0 of recordings", openers, own.notes, pool.close)


def _opened(
    reader: LeRobotReader, own: OwnRecordings, said: OwnRecording, episode: LeRobotEpisode, pool: VideoPool, guard: Any
) -> Source:
    with guard(f"{reader.path}: {said.key}"):
        columns = {column.tag: column for column in own.columns}
        parts = [
            _Stream(reader, episode, columns[each.tag], each, own.labels.get(each.tag), pool, guard).part()
            for each in said.streams
        ]
        return PartsSource(said.name, parts, task=said.task, metadata=said.metadata, notes=said.notes)


class _Stream:
    """One stream while it is opened and read."""

    def __init__(
        self,
        reader: LeRobotReader,
        episode: LeRobotEpisode,
        column: Column,
        said: OwnStream,
        labels: tuple[int, ...] | None,
        pool: VideoPool,
        guard: Any,
    ) -> None:
        self.reader, self.episode, self.column, self.said, self.pool = reader, episode, column, said, pool
        self.where = f"{reader.path}: {column.stream} of episode {episode.index}"
        self.guard = guard
        self.labels = None if labels is None else np.array(labels, column.dtype)
        self.cells = functools.cache(self._cells)
        self.edges: list[tuple[int, Value]] = []
        self.rows, self.slots, self.stamps = self._places()

    def part(self) -> Part:
        """The stream as it was."""
        return Part(self.said.stream, self.stamps, self._sample)

    def _sample(self, index: int) -> Any:
        if self.rows[index] < 0:
            return self.edges[int(self.slots[index])][1]
        return self._picture(index) if self.column.code in PICTURES else self._one(index)

    def _places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """For each sample, in the order of its file: row, place in the row, stamp."""
        if not self.said.samples:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64)
        names = [self.column.stamps, *((self.column.count,) if self.column.width else ())]
        table = self.reader.rows(self.episode, names)
        stamps = self.reader.column(table, self.column.stamps).reshape(self.episode.length, -1)
        if self.column.width:
            counts = self.reader.column(table, self.column.count).reshape(-1)
            if counts.min() < 0 or counts.max() > stamps.shape[1]:
                raise SourceError(f"{self.where}: a row counts {int(counts.max())} samples, room is {stamps.shape[1]}")
            rows = np.repeat(np.arange(len(counts)), counts)
            slots = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
            if self.column.code in PICTURES:  # the newest comes first
                slots = counts[rows] - 1 - slots
        else:
            held = stamps[:, 0]
            rows = np.flatnonzero((held != -1) & (held != np.concatenate([[-1], held[:-1]])))
            slots = np.zeros(len(rows), np.int64)
        times = stamps[rows, slots]
        if self.column.beside:
            rows, slots, times = self._with_edges(rows, slots, times)
        if len(rows) != self.said.samples:
            raise SourceError(f"{self.where}: {len(rows)} samples, {SIDECAR} says {self.said.samples}")
        back = self._back()
        return rows[back], slots[back], times[back]

    def _with_edges(self, rows: np.ndarray, slots: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, ...]:
        """Also the samples beside the first and the last row; their row is -1, their place that in `self.edges`."""
        cells = self.reader.rows(self.episode, [self.column.edges]).column(self.column.edges)
        early = edge_values(self.column, cells[0].as_py())
        late = edge_values(self.column, cells[-1].as_py()) if self.episode.length > 1 else []
        self.edges = [*early, *late]
        stamps = np.array([stamp for stamp, _ in self.edges], np.int64)
        beside, place = np.full(len(stamps), -1), np.arange(len(stamps))
        cut = len(early)
        return tuple(
            np.concatenate([edge[:cut], middle, edge[cut:]])
            for edge, middle in ((beside, rows), (place, slots), (stamps, times))
        )

    def _back(self) -> np.ndarray:
        """Place in time of each sample of the file."""
        if not self.said.order:
            return np.arange(self.said.samples)
        order = np.array(self.said.order, np.int64)
        if not np.array_equal(np.sort(order), np.arange(self.said.samples)):
            raise SourceError(f"{self.where}: {SIDECAR} names its samples in no order")
        return np.argsort(order)

    def _cells(self, name: str) -> Any:
        """A column of the table; numbers as an array, texts and pictures as they lie there."""
        table = self.reader.rows(self.episode, [name])
        if self.column.code == "numbers":
            return self.reader.column(table, name)
        return table.column(name)

    def _one(self, index: int) -> Any:
        with self.guard(self.where):
            row, slot = int(self.rows[index]), int(self.slots[index])
            if self.column.code == "text":
                text = self.cells(self.column.value)[row].as_py()
                return _text(text, slot, self.where) if self.column.width else str(text)
            cell = self.cells(self.column.value)[row].reshape(max(self.column.width, 1), *self.column.room)[slot]
            whole = (
                np.asarray(cell).view(self.column.dtype) if cell.ndim else np.asarray(cell).astype(self.column.dtype)
            )
            return np.ascontiguousarray(whole[self._size(row, slot)]) if self.column.varying else whole.copy()

    def _size(self, row: int, slot: int) -> tuple[slice, ...]:
        sizes = self.cells(self.column.sizes)[row].reshape(max(self.column.width, 1), -1)[slot]
        found = [slice(None)] * len(self.column.room)
        for axis, size in zip(self.column.varying, sizes.tolist(), strict=True):
            found[axis] = slice(size)
        return tuple(found)

    def _picture(self, index: int) -> np.ndarray:
        with self.guard(self.where):
            row, name = int(self.rows[index]), self.column.values[int(self.slots[index])]
            pixels = (
                self._frame(name, row) if self.column.lossy else _embedded(self.cells(name)[row].as_py(), self.where)
            )
            return decoded(self.column, pixels, self.labels)

    def _frame(self, name: str, row: int) -> np.ndarray:
        path, start = self.reader.video_file(self.episode, name)
        with self.pool.video(path) as video:
            due = round((start + row / self.reader.fps) * 1e9)
            return video.read(int(np.abs(video.index.stamps - due).argmin()))


def _text(cell: str, slot: int, where: str) -> str:
    texts = strictjson.loads(cell)
    if not isinstance(texts, list) or slot >= len(texts) or not isinstance(texts[slot], str):
        raise SourceError(f"{where}: a row does not hold {slot + 1} texts")
    return texts[slot]


def _embedded(cell: object, where: str) -> np.ndarray:
    """Pixels of a PNG or TIFF in a table."""
    from PIL import Image

    content = cell.get("bytes") if isinstance(cell, dict) else None
    if not isinstance(content, bytes):
        raise StoreError(f"{where}: a picture is not embedded in the table")
    try:
        with Image.open(io.BytesIO(content)) as image:
            return np.array(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise StoreError(f"{where}: a picture cannot be decoded: {error}") from error
