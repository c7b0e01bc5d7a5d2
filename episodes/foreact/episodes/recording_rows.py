"""How the streams of any recording lie in a table of one row per step, without loss, and back.

A step's share of a stream is all of its samples after the step before, up to and including the step; the first step's
share begins with the first sample, the last step's ends with the last. So every sample is in the share of one step.
A stream of which no step gets more than one is held: each row repeats the last sample with the sample's own stamp.
Any other has a window: room for the largest share, the oldest first, and how many there are; of pictures the newest
comes first and is held, the others of the share come before it in time.
Where the first or the last step's share is far larger than any other, what exceeds the room lies beside it as text.
Where there is nothing the stamp is -1 and the value a placeholder: zeros, or an empty text.
Shape letters: n = samples of a stream, T = steps (rows), K = samples of the largest share.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.episodes.arrays import StoreError
from foreact.episodes.outcome import JSON
from foreact.episodes.sources.protocol import Source, Value

__all__ = ["PICTURES", "TIME", "Column", "Placed", "decoded", "edge_values", "place", "rows"]

TIME = "time_ns"
NOTHING = -1  # stamp of what is not there
FOR_POLICIES = {"state": "observation.state", "observation.state": "observation.state", "action": "action"}
PICTURES = ("rgb", "grey", "depth", "labels")


@dataclass(frozen=True)
class Column:
    """What one stream is in the table.

    Attributes:
        stream: Its name in the recording.
        tag: What columns are named by; the stream's name, and a number where recordings differ in its form.
        code: How a sample is written: "numbers"; "text"; pictures as "rgb", "grey" (three equal channels), "depth" (16
            or 32 bits as they are), "labels" (a number below 2^24 as red + 256 green + 65536 blue).
        dtype: Of a sample, as NumPy says it; "str" for text.
        shape: Of a sample; None where it varies.
        room: Size that each sample fits into.
        width: K; 0 where the stream is held.
        lossy: Written as video.
        beside: The first and the last row hold more samples, written as text.
    """

    stream: str
    tag: str
    code: str
    dtype: str
    shape: tuple[int | None, ...]
    room: tuple[int, ...]
    width: int = 0
    lossy: bool = False
    beside: bool = False

    @property
    def value(self) -> str:
        """Name of the column of values; of pictures that of the newest."""
        if self.code in PICTURES:
            return f"observation.images.{self.tag.removeprefix('camera.')}"
        return self._known if self._known and not self.width else f"streams.{self.tag}"

    @property
    def newest(self) -> str:
        """Column of the newest sample, held, which LeRobot's policies look for; of windows of states and actions."""
        return self._known if self.width else ""

    @property
    def _known(self) -> str:
        return FOR_POLICIES.get(self.tag, "") if self.code == "numbers" else ""

    @property
    def values(self) -> tuple[str, ...]:
        """All columns of values: one, or for a window of pictures K, the newest first."""
        if self.code not in PICTURES:
            return (self.value,)
        return (self.value, *(f"earlier.{self.tag}.{back}" for back in range(1, self.width)))

    @property
    def stamps(self) -> str:
        """Name of the column of stamps, int64 (T, max(K, 1)) [ns]."""
        return f"stamps.{self.tag}"

    @property
    def count(self) -> str:
        """Name of the column that says how many samples a row's share has, int64 (T, 1); only of windows."""
        return f"count.{self.tag}"

    @property
    def sizes(self) -> str:
        """Name of the column of true sizes of what varies, int64 (T, max(K, 1) * varying axes); only where some do."""
        return f"sizes.{self.tag}"

    @property
    def edges(self) -> str:
        """Column of the samples that the first and the last row have no room for, as JSON; see `edge_values`."""
        return f"edges.{self.tag}"

    @property
    def varying(self) -> tuple[int, ...]:
        """Axes of a sample whose size varies."""
        return tuple(axis for axis, size in enumerate(self.shape) if size is None)

    @property
    def stored(self) -> str:
        """Dtype of the column of numbers: LeRobot cannot give 64 bits without sign, so they lie there as signed."""
        return "int64" if self.dtype == "uint64" else self.dtype

    @property
    def cell(self) -> tuple[int, ...]:
        """Shape of a cell of numbers."""
        return _shape((*((self.width,) if self.width else ()), *self.room))

    @property
    def newest_cell(self) -> tuple[int, ...]:
        """Shape of a cell of the newest sample."""
        return _shape(self.room)


def _shape(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """As LeRobot takes it: one axis at least, five at most."""
    return (int(np.prod(sizes)),) if len(sizes) > 5 else sizes or (1,)


@dataclass(frozen=True)
class Placed:
    """Where the samples of a stream go.

    Attributes:
        column: Its column.
        order: Numbers of the samples in the file, in order of time, (n,).
        times: Their stamps, int64 (n,) [ns].
        ends: How many samples the shares up to each row have, (T,).
    """

    column: Column
    order: np.ndarray
    times: np.ndarray
    ends: np.ndarray

    @property
    def largest(self) -> int:
        """Samples of the largest share."""
        return int(np.diff(self.ends, prepend=0).max(initial=0))

    @property
    def inner(self) -> int:
        """Samples of the largest share but the first and the last."""
        return int(np.diff(self.ends[:-1]).max(initial=0))

    def share(self, row: int) -> tuple[range, range]:
        """Samples of a row, in order of time, and those of them that lie beside it."""
        start, stop, room = int(self.ends[row - 1]) if row else 0, int(self.ends[row]), max(self.column.width, 1)
        if not self.column.beside or stop - start <= room:
            return range(start, stop), range(0)
        if row == 0:  # the newest are the nearest to the step
            return range(stop - room, stop), range(start, stop - room)
        return range(start, start + room), range(start + room, stop)


def place(column: Column, stamps: np.ndarray, steps: np.ndarray) -> Placed:
    """Give each sample to the share of a step.

    Args:
        column: Of the stream.
        stamps: In the order of the file, int64 (n,) [ns].
        steps: Times of the rows, ascending, int64 (T,) [ns], T > 0.
    """
    order = np.argsort(stamps, kind="stable")
    ends = np.searchsorted(stamps[order], steps, "right")
    ends[-1] = len(stamps)
    return Placed(column, order, stamps[order], ends)


def rows(
    source: Source,
    placed: Mapping[str, Placed],
    columns: tuple[Column, ...],
    steps: np.ndarray,
    labels: Mapping[str, np.ndarray],
) -> Iterator[dict[str, Any]]:
    """The rows of a recording, one by one; samples are read when they are due.

    Args:
        source: The recording.
        placed: By tag, those of its streams that have a column.
        columns: Of the table; those that the recording does not have are filled with placeholders.
        steps: Times of the rows, int64 (T,) [ns].
        labels: By tag, the values that labels stand for, ascending.

    Raises:
        StoreError: A sample is not what its stream says.
        SourceError: The source is damaged.
    """
    empty = _empty_row(columns)
    held: dict[str, dict[str, Any]] = {}
    for number, time_ns in enumerate(steps.tolist()):
        row = {**empty, TIME: np.array([time_ns], np.int64)}
        for tag, each in placed.items():
            share, beside = each.share(number)
            if share:
                held[tag] = _cells(source, each, share, labels.get(tag))
                row |= held[tag]
            elif tag in held:
                row |= _kept(each.column, held[tag], empty)
            if beside:
                row[each.column.edges] = _edges(source, each, beside)
        yield row


def _empty_row(columns: tuple[Column, ...]) -> dict[str, Any]:
    """A row that holds nothing."""
    row: dict[str, Any] = {}
    for column in columns:
        row |= dict.fromkeys(column.values, _nothing(column))
        row[column.stamps] = np.full(max(column.width, 1), NOTHING, np.int64)
        if column.width:
            row[column.count] = np.zeros(1, np.int64)
        if column.beside:
            row[column.edges] = "[]"
        if column.newest:
            row[column.newest] = np.zeros(column.newest_cell, column.stored)
        if column.varying:
            row[column.sizes] = np.zeros(max(column.width, 1) * len(column.varying), np.int64)
    return row


def _nothing(column: Column) -> Any:
    if column.code == "text":
        return "[]" if column.width else ""
    if column.code == "numbers":
        return np.zeros(column.cell, column.stored)
    if column.code == "depth":
        return np.zeros((*column.room, 1), column.dtype)
    return np.zeros((*column.room[:2], 3), np.uint8)


def _kept(column: Column, cells: dict[str, Any], empty: dict[str, Any]) -> dict[str, Any]:
    """What a row without new samples repeats: all that is held; of a window what is the newest."""
    if not column.width:
        return cells
    if column.code not in PICTURES:
        return {column.newest: cells[column.newest]} if column.newest else {}
    stamps = empty[column.stamps].copy()
    stamps[0] = cells[column.stamps][0]
    return {column.value: cells[column.value], column.stamps: stamps}


def _edges(source: Source, placed: Placed, share: range) -> str:
    """Samples as JSON: each its stamp and a text, or shape and bytes, little-endian, packed by zlib, in base64."""
    column, found = placed.column, []
    for place in share:
        value = source.read(column.stream, int(placed.order[place]))
        said: dict[str, JSON] = {"stamp": int(placed.times[place])}
        if column.code == "text":
            found.append(said | {"text": str(value)})
            continue
        array = _checked(column, value, source.key)
        packed = zlib.compress(array.astype(array.dtype.newbyteorder("<")).tobytes(), 6)
        found.append(said | {"shape": list(array.shape), "data": base64.b64encode(packed).decode()})
    return json.dumps(found, ensure_ascii=False)


def edge_values(column: Column, cell: str) -> list[tuple[int, Value]]:
    """Stamps and samples that lie beside a row.

    Args:
        column: Of the stream.
        cell: What the row says.

    Raises:
        ValueError: It is not what `rows` wrote.
    """
    found: list[tuple[int, Value]] = []
    for each in json.loads(cell):
        if column.code == "text":
            found.append((int(each["stamp"]), str(each["text"])))
            continue
        dtype = np.dtype(column.dtype)
        data = zlib.decompress(base64.b64decode(each["data"], validate=True))
        array = np.frombuffer(data, dtype.newbyteorder("<")).reshape(each["shape"]).astype(dtype)
        found.append((int(each["stamp"]), array))
    return found


def _cells(source: Source, placed: Placed, share: range, labels: np.ndarray | None) -> dict[str, Any]:
    """What a row says of a stream that has these samples, in order of time, in its share."""
    column, width = placed.column, max(placed.column.width, 1)
    if len(share) > width:
        raise StoreError(f"{source.key}: stream {column.stream}: {len(share)} samples in a row with room for {width}")
    values = [source.read(column.stream, int(placed.order[place])) for place in share]
    times = placed.times[share.start : share.stop]
    if column.code in PICTURES:
        values, times = values[::-1], times[::-1]
    stamps = np.full(width, NOTHING, np.int64)
    stamps[: len(times)] = times
    cells: dict[str, Any] = {column.stamps: stamps}
    if column.width:
        cells[column.count] = np.array([len(values)], np.int64)
    if column.code == "text":
        cells[column.value] = json.dumps(values, ensure_ascii=False) if column.width else str(values[0])
        return cells
    if column.code in PICTURES:
        pictures = [_picture(column, value, labels, source.key) for value in values]
        return cells | dict(zip(column.values, pictures, strict=False)) | _blank(column, len(pictures))
    return cells | _numbers(column, values, source.key)


def _blank(column: Column, count: int) -> dict[str, Any]:
    return dict.fromkeys(column.values[count:], _nothing(column))


def _numbers(column: Column, values: list[Value], key: str) -> dict[str, Any]:
    full = np.zeros((max(column.width, 1), *column.room), column.dtype)
    sizes = np.zeros((max(column.width, 1), len(column.varying)), np.int64)
    for place, value in enumerate(values):
        array = _checked(column, value, key)
        full[(place, *map(slice, array.shape))] = array
        sizes[place] = [array.shape[axis] for axis in column.varying]
    full = full.view(column.stored)
    cells = {column.value: full.reshape(column.cell)}
    if column.newest:
        cells[column.newest] = full[len(values) - 1].reshape(column.newest_cell)
    return cells | ({column.sizes: sizes.reshape(-1)} if column.varying else {})


def _checked(column: Column, value: Value, key: str) -> np.ndarray:
    array = np.asarray(value)
    fits = array.ndim == len(column.room) and all(
        size == have if size is not None else have <= most
        for size, have, most in zip(column.shape, array.shape, column.room, strict=True)
    )
    if str(array.dtype) != column.dtype or not fits:
        raise StoreError(
            f"{key}: stream {column.stream} says its samples are {column.dtype} {column.shape}, "
            f"one is {array.dtype} {array.shape}"
        )
    return array


def _picture(column: Column, value: Value, labels: np.ndarray | None, key: str) -> np.ndarray:
    array = _checked(column, value, key)
    if column.code == "rgb":
        return array
    if column.code == "grey":
        return np.repeat(array[..., None], 3, axis=-1)
    if column.code == "depth":
        return array[..., None]
    numbers = array.astype(np.uint32) if labels is None else np.searchsorted(labels, array).astype(np.uint32)
    return np.stack([numbers & 255, (numbers >> 8) & 255, numbers >> 16], axis=-1).astype(np.uint8)


def decoded(column: Column, pixels: np.ndarray, labels: np.ndarray | None) -> np.ndarray:
    """A sample from the picture it was written as.

    Args:
        column: Of the stream.
        pixels: The picture, (H, W, 3), or (H, W) for depth.
        labels: The values that labels stand for.

    Raises:
        ValueError: It is no picture of this column.
    """
    wanted = column.room[:2] if column.code == "depth" else (*column.room[:2], 3)
    if pixels.shape != wanted or str(pixels.dtype) != (column.dtype if column.code == "depth" else "uint8"):
        raise ValueError(f"{column.value}: a picture is {pixels.dtype} {pixels.shape}, not {wanted}")
    if column.code in ("rgb", "depth"):
        return pixels
    if column.code == "grey":
        return np.ascontiguousarray(pixels[..., 0])
    channels = pixels.astype(np.uint32)
    numbers = channels[..., 0] | channels[..., 1] << 8 | channels[..., 2] << 16
    if labels is None:
        return numbers.astype(column.dtype)
    if numbers.max(initial=0) >= len(labels):
        raise ValueError(f"{column.value}: a picture names a label that is not in the list")
    return labels[numbers]
