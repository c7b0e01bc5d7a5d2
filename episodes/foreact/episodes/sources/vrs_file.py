"""VRS files: a header, tags, records one after another and an index of them.

Read here and not with the `vrs` wheel: that one gives times as float seconds, orders records by time, and checks no
length before it allocates. Layout of the file: `vrs/FileFormat.h`, `IndexRecord.h` and `DescriptionRecord.cpp` of
github.com/facebookresearch/vrs. Shape letters: n = records.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.vrs_bytes import Chunks, inflate

__all__ = ["CONFIGURATION", "DATA", "RECORD", "VrsFile", "VrsTags", "check_header", "open_vrs"]

MAGIC = (b"VisionRe", b"cord")
HEADER = struct.Struct("<8sQIIqqqQQQ4sI")
RECORD = np.dtype(
    {
        "names": ["size", "previous", "type", "format", "time", "instance", "kind", "compression", "inflated"],
        "formats": ["<u4", "<u4", "<i4", "<u4", "<f8", "<u2", "u1", "u1", "<u4"],
    }
)
"""Header of a record; fields follow each other without gaps."""
ENTRY = np.dtype({"names": ["time", "size", "kind", "type", "instance"], "formats": ["<f8", "<u4", "u1", "<i4", "<u2"]})
"""Entry of the index."""
STATE, CONFIGURATION, DATA = 1, 2, 3
KINDS = (STATE, CONFIGURATION, DATA, 4)
INDEX_TYPE, DESCRIPTION_TYPE = 1, 2
CLASSIC_INDEX = 2
MOST_INDEX_BYTES, MOST_HEADER = 1 << 30, 4096


@dataclass(frozen=True)
class VrsTags:
    """What a stream says of itself.

    Attributes:
        user: Tags of whoever recorded.
        vrs: Tags of the format: names, flavour, layouts of records (`RF:`, `DL:`).
    """

    user: dict[str, str]
    vrs: dict[str, str]


class VrsFile:
    """An open VRS file. Reading is thread-safe.

    Attributes:
        path: First file.
        tags: Of the file.
        streams: Tags of each stream, by type and instance.
        records: Headers (n,) of `RECORD` in the order of the file.
        offsets: int64 (n,) [bytes], where each record starts.
        head_size: Of a record's header [bytes].
        notes: What was lost.
    """

    def __init__(self, path: Path, chunks: Chunks) -> None:
        self.path, self._chunks = path, chunks
        self.notes: list[str] = []
        _, self.head_size, index, description, first = _check(path, chunks.read(0, min(HEADER.size, chunks.size)))
        self._first = HEADER.size
        self.tags: dict[str, str] = {}
        self.streams: dict[tuple[int, int], VrsTags] = {}
        self._describe(description)
        if first > 0:
            self._first = first
        self.offsets, self.records = self._index(index)

    def payload(self, record: int) -> bytes:
        """Bytes of a record after its header, inflated.

        Raises:
            SourceError: They are damaged.
        """
        head = self.records[record]
        start = int(self.offsets[record]) + self.head_size
        raw = self._chunks.read(start, int(head["size"]) - self.head_size)
        try:
            return inflate(raw, int(head["compression"]), int(head["inflated"]))
        except SourceError as error:
            raise SourceError(f"{self.path}: record {record} of {head['type']}-{head['instance']}: {error}") from error

    def raw(self, record: int, most: int) -> bytes:
        """Bytes of a record after its header as they lie in the file, at most so many."""
        length = int(self.records[record]["size"]) - self.head_size
        return self._chunks.read(int(self.offsets[record]) + self.head_size, min(length, most))

    def gather(self, records: np.ndarray, width: int, skip: np.ndarray | int = 0) -> np.ndarray:
        """Bytes of the payloads of records that are not compressed, uint8 (len(records), width).

        Args:
            records: Numbers of the records.
            width: How many bytes.
            skip: How many bytes to leave out before, for all or for each.

        Raises:
            SourceError: A record is too short.
        """
        room = self.records["size"][records].astype(np.int64) - self.head_size - skip
        if (short := int((room < width).sum())) or np.any(np.asarray(skip) < 0):
            raise SourceError(f"{short} records are shorter than their {width} bytes of fields")
        return self._chunks.gather(self.offsets[records] + self.head_size + skip, width)

    def close(self) -> None:
        """Let go of the files."""
        self._chunks.close()

    def _head(self, offset: int) -> np.void:
        return np.frombuffer(self._chunks.read(offset, RECORD.itemsize), RECORD)[0]

    def _describe(self, offset: int) -> None:
        if not 0 < offset <= self._chunks.size - self.head_size:
            raise SourceError(f"{self.path}: its description would lie at byte {offset} of {self._chunks.size}")
        head = self._head(offset)
        if head["type"] != DESCRIPTION_TYPE or head["format"] != 2 or head["size"] < self.head_size:
            raise SourceError(f"{self.path}: there is no description of version 2 at byte {offset}")
        self._first = offset + int(head["size"])
        try:
            words = _Words(self._chunks.read(offset + self.head_size, int(head["size"]) - self.head_size))
            for _ in range(words.count()):
                kind, instance = words.take("<iH")
                self.streams[(kind, instance)] = VrsTags(words.mapping(), words.mapping())
            self.tags = words.mapping()
        except (struct.error, UnicodeDecodeError, SourceError) as error:
            raise SourceError(f"{self.path}: its description is damaged: {error}") from error

    def _index(self, offset: int) -> tuple[np.ndarray, np.ndarray]:
        try:
            entries = self._entries(offset)
        except SourceError as error:
            self.notes.append(f"the index is unusable ({error}); records were searched one after another")
            return self._walk()
        starts = self._first + np.concatenate([[0], np.cumsum(entries["size"], dtype=np.int64)])
        inside = np.searchsorted(starts, self._chunks.size, side="right") - 1
        if inside < len(entries):
            self.notes.append(f"the file ends early: {len(entries) - inside} of {len(entries)} records are missing")
        offsets = starts[:inside]
        if len(offsets) and int(offsets[-1]) > self._chunks.size - self.head_size:
            offsets = offsets[:-1]
        heads = self._chunks.gather(offsets, RECORD.itemsize).view(RECORD).reshape(-1)
        entries = entries[: len(offsets)]
        same = np.logical_and.reduce([heads[name] == entries[name] for name in ("size", "kind", "type", "instance")])
        if not same.all() or heads["time"].tobytes() != entries["time"].tobytes():
            self.notes.append("the index contradicts the records; records were searched one after another")
            return self._walk()
        return offsets, heads

    def _entries(self, offset: int) -> np.ndarray:
        """Entries of the index.

        Raises:
            SourceError: There is none, or it cannot be read.
        """
        if not 0 < offset <= self._chunks.size - self.head_size:
            raise SourceError(f"it would lie at byte {offset} of {self._chunks.size}")
        head = self._head(offset)
        if head["type"] != INDEX_TYPE or head["format"] != CLASSIC_INDEX or head["size"] < self.head_size:
            raise SourceError(f"no index of a known version lies at byte {offset}")
        length = min(int(head["size"]) - self.head_size, self._chunks.size - offset - self.head_size)
        if length > MOST_INDEX_BYTES:
            raise SourceError(f"it claims {length} bytes")
        words = _Words(self._chunks.read(offset + self.head_size, length))
        words.skip(6 * words.count())
        number = words.count()
        if number > self._chunks.size // self.head_size:
            raise SourceError(f"it claims {number} records in {self._chunks.size} bytes")
        rest = words.rest()
        if head["inflated"]:
            rest = inflate(rest, int(head["compression"]), number * ENTRY.itemsize)
        if len(rest) < number * ENTRY.itemsize:
            raise SourceError("it is cut short")
        entries = np.frombuffer(rest, ENTRY, number)
        if (entries["size"] < self.head_size).any() or not np.isin(entries["kind"], KINDS).all():
            raise SourceError("its entries are not records")
        return entries

    def _walk(self) -> tuple[np.ndarray, np.ndarray]:
        """Records by their own headers, up to the first that cannot be one."""
        found = [(at, head) for at, head in self._chain() if head["type"] not in (INDEX_TYPE, DESCRIPTION_TYPE)]
        heads = np.array([head for _, head in found], RECORD)
        return np.array([at for at, _ in found], np.int64), heads

    def _chain(self) -> Iterator[tuple[int, np.void]]:
        at, before = self._first, None
        while at + self.head_size <= self._chunks.size:
            head = self._head(at)
            size = int(head["size"])
            fits = self.head_size <= size <= self._chunks.size - at
            if not fits or head["kind"] not in KINDS or (before is not None and head["previous"] != before):
                break
            yield at, head
            at, before = at + size, size
        if at < self._chunks.size:
            self.notes.append(f"{self._chunks.size - at} bytes from byte {at} on are no records and were left out")


class _Words:
    """Numbers and strings out of bytes; running over the end is an error."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def take(self, form: str) -> tuple[int, ...]:
        values = struct.unpack_from(form, self._data, self._at)
        self._at += struct.calcsize(form)
        return values

    def count(self) -> int:
        try:
            return self.take("<I")[0]
        except struct.error as error:
            raise SourceError(f"cut short ({error})") from error

    def skip(self, length: int) -> None:
        if length > len(self._data) - self._at:
            raise SourceError(f"{length} bytes wanted, {len(self._data) - self._at} left")
        self._at += length

    def text(self) -> str:
        length = self.count()
        start = self._at
        self.skip(length)
        return self._data[start : self._at].decode()

    def mapping(self) -> dict[str, str]:
        return {self.text(): self.text() for _ in range(self.count())}

    def rest(self) -> bytes:
        return self._data[self._at :]


def check_header(path: Path) -> None:
    """Whether a file begins as a VRS file does; cheap.

    Raises:
        SourceError: It does not.
    """
    try:
        with path.open("rb") as file:
            data = file.read(HEADER.size)
    except OSError as error:
        raise SourceError(f"{path}: cannot be opened: {error}") from error
    _check(path, data)


def _check(path: Path, data: bytes) -> tuple[int, ...]:
    if len(data) < HEADER.size:
        raise SourceError(f"{path}: {len(data)} bytes are too few for a VRS file")
    fields = HEADER.unpack(data)
    if (fields[0], fields[10]) != MAGIC:
        raise SourceError(f"{path}: it does not start as a VRS file does")
    if fields[2] < HEADER.size or not RECORD.itemsize <= fields[3] <= MOST_HEADER:
        raise SourceError(f"{path}: headers of {fields[2]} and {fields[3]} bytes are not VRS's")
    return fields[2:7]


def open_vrs(path: Path) -> VrsFile:
    """Open a VRS file and the files `NAME_1`, `NAME_2`, ... over which it may be split.

    Raises:
        SourceError: It is no VRS file, or its header or description is damaged.
    """
    paths, number = [path], 1
    while (part := path.with_name(f"{path.name}_{number}")).is_file():
        paths.append(part)
        number += 1
    try:
        chunks = Chunks([os.open(each, os.O_RDONLY | os.O_CLOEXEC) for each in paths])
    except OSError as error:
        raise SourceError(f"{path}: cannot be opened: {error}") from error
    try:
        return VrsFile(path, chunks)
    except BaseException:
        chunks.close()
        raise
