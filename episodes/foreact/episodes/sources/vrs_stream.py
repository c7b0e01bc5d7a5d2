"""One stream of a VRS file: its data records, their stamps and fields.

Shape letters: n = data records of the stream, w = bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.vrs_bytes import inflate_start
from foreact.episodes.sources.vrs_file import CONFIGURATION, DATA, VrsFile
from foreact.episodes.sources.vrs_layout import Block, Layout, parse_format, parse_layout, whole

__all__ = ["Piece", "VrsStream"]

CAPTURE = ("capture_timestamp_ns", "capture_timestamps_ns", "system_timestamp_ns", "monotonic_timestamp_ns")
"""Fields with the time of capture on the device's clock, the first that is there counts."""
ENOUGH_TO_INFLATE = 1 << 18
"""A Zstandard block and its header fit into it."""
MOST_SECONDS = 9e9
CONFIGURATIONS_KEPT = 1000


@dataclass(frozen=True)
class Piece:
    """One block of a record.

    Attributes:
        block: What it is.
        data: Its bytes; empty for a data layout.
        fields: Values of a data layout by name, else empty.
    """

    block: Block
    data: bytes
    fields: dict[str, Any]


class VrsStream:
    """A stream of a VRS file. Reading is thread-safe.

    Attributes:
        id: Type and instance, such as `1201-1`.
        kind: The type.
        flavour: Who recorded, such as `device/aria`.
        rows: int64 (n,), its data records among the file's.
        config: Fields of its last configuration record; empty if it has none.
        stamps: int64 (n,) [ns].
        captured: Name of the field that the stamps are; empty where they are the records' own times.
        notes: What is odd.

    Raises:
        SourceError: What its tags say of its records is damaged, or a time is no number.
    """

    def __init__(self, file: VrsFile, kind: int, instance: int) -> None:
        self._file, self.kind, self.id = file, kind, f"{kind}-{instance}"
        tags = file.streams[(kind, instance)].vrs
        self._tags = tags
        self.flavour, self.name = tags.get("VRS_Recordable_Flavor", ""), tags.get("VRS_Original_Recordable_Name", "")
        mine = (file.records["type"] == kind) & (file.records["instance"] == instance)
        self.rows = np.flatnonzero(mine & (file.records["kind"] == DATA))
        self.notes: list[str] = []
        versions = {int(version) for version in np.unique(file.records["format"][self.rows])}
        self._formats = {version: self._format("Data", version) for version in versions}
        self.config = self._configuration(np.flatnonzero(mine & (file.records["kind"] == CONFIGURATION)))
        self.captured = self._captured()
        self.stamps = self._stamps()

    @property
    def blocks(self) -> tuple[Block, ...]:
        """Blocks of its first data record."""
        return self._formats[int(self._file.records["format"][self.rows[0]])][0] if len(self.rows) else ()

    def pieces(self, index: int) -> list[Piece]:
        """Blocks of a data record.

        Raises:
            SourceError: The record is damaged.
        """
        row = int(self.rows[index])
        try:
            return self._split(self._file.payload(row), *self._formats[int(self._file.records["format"][row])])
        except SourceError as error:
            raise self.fault(index, error) from error

    def fault(self, index: int, error: SourceError) -> SourceError:
        """The same fault with the names of file and stream and the number of the sample."""
        return SourceError(f"{self._file.path}: stream {self.id}, sample {index}: {error}")

    def fields(self, index: int) -> dict[str, Any]:
        """Values of the data layouts of a data record."""
        return {name: value for piece in self.pieces(index) for name, value in piece.fields.items()}

    def configured(self, name: str) -> int:
        """A whole number of its configuration; 0 where there is none."""
        return whole(self.config.get(name))

    def has(self, *names: str) -> bool:
        """Whether every record has these fields at fixed places."""
        return bool(self._formats) and all(
            layouts and layouts[0] is not None and set(names) <= set(layouts[0].fixed.names or ())
            for _, layouts in self._formats.values()
        )

    def columns(self, *names: str) -> list[np.ndarray]:
        """Fields at fixed places over all records, each (n, ...).

        Raises:
            SourceError: A record is too short or damaged.
        """
        out: list[np.ndarray] = []
        for version, (_, layouts) in self._formats.items():
            mine = np.flatnonzero(self._file.records["format"][self.rows] == version)
            layout = layouts[0]
            if layout is None:
                raise SourceError(f"records of version {version} have no fields")
            rows = self.rows[mine]
            fields = cast("dict[str, Any]", layout.fixed.fields or {})
            for number, name in enumerate(names):
                form, place = fields[name][:2]
                # one field of a record, so that an array of points gets its whole shape
                cells = self._cells(rows, place, form.itemsize).view(np.dtype([("cell", form)]))["cell"][:, 0]
                if number == len(out):
                    out.append(np.empty((len(self.rows), *cells.shape[1:]), cells.dtype))
                if cells.shape[1:] != out[number].shape[1:]:
                    raise SourceError(f"its records have {name} in several shapes")
                out[number][mine] = cells
        return out

    def _cells(self, rows: np.ndarray, place: int, width: int) -> np.ndarray:
        """Bytes at a place of records, uint8 (len(rows), width)."""
        if not self._file.records["compression"][rows].any():
            return self._file.gather(rows, width, place)
        return np.ascontiguousarray(self._starts(rows, place + width)[:, place:])

    def _starts(self, rows: np.ndarray, width: int) -> np.ndarray:
        """First bytes of records, inflated, uint8 (len(rows), width)."""
        out = np.empty((len(rows), width), np.uint8)
        heads = self._file.records[rows]
        plain = np.flatnonzero(heads["compression"] == 0)
        out[plain] = self._file.gather(rows[plain], width)
        for index in np.flatnonzero(heads["compression"] != 0):
            raw = self._file.raw(int(rows[index]), ENOUGH_TO_INFLATE + width)
            start = inflate_start(raw, int(heads["compression"][index]), width)
            out[index] = np.frombuffer(start, np.uint8)
        return out

    def _format(self, kind: str, version: int) -> tuple[tuple[Block, ...], tuple[Layout | None, ...]]:
        text = self._tags.get(f"RF:{kind}:{version}")
        if text is None:
            return (Block("custom", None, ()),), (None,)
        blocks = parse_format(text)
        tags = [self._tags.get(f"DL:{kind}:{version}:{number}") for number in range(len(blocks))]
        pairs = zip(blocks, tags, strict=True)
        return blocks, tuple(parse_layout(tag) if block.kind == "data_layout" and tag else None for block, tag in pairs)

    def _split(self, data: bytes, blocks: tuple[Block, ...], layouts: tuple[Layout | None, ...]) -> list[Piece]:
        pieces: list[Piece] = []
        at = 0
        for number, (block, layout) in enumerate(zip(blocks, layouts, strict=True)):
            rest = data[at:]
            last = number == len(blocks) - 1
            if layout is not None:
                size, fields = layout.size(rest), layout.decode(rest)
            elif block.size is not None or last or block.kind == "empty":
                size, fields = (0 if block.kind == "empty" else block.size or len(rest)), {}
            else:
                raise SourceError(f"block {number} does not say its size")
            if size > len(rest) or (block.size is not None and block.size != size):
                raise SourceError(f"block {number} should have {block.size or size} bytes, {len(rest)} are left")
            pieces.append(Piece(block, b"" if layout else rest[:size], fields))
            at += size
        return pieces

    def _configuration(self, rows: np.ndarray) -> dict[str, Any]:
        if len(rows) > 1:
            self.notes.append(f"{self.id} was configured {len(rows)} times; the last counts for all")
        for row in rows[::-1][:CONFIGURATIONS_KEPT]:
            version = int(self._file.records["format"][row])
            try:
                pieces = self._split(self._file.payload(int(row)), *self._format("Configuration", version))
            except SourceError as error:
                self.notes.append(f"a configuration of {self.id} is damaged: {error}")
                continue
            return {name: value for piece in pieces for name, value in piece.fields.items()}
        return {}

    def _captured(self) -> str:
        layouts = [layouts[0] for _, layouts in self._formats.values()]
        if not layouts or any(layout is None for layout in layouts):
            return ""
        for name in CAPTURE:
            if self.has(name) or all(
                (name, "Vector", "int64_t") in layout.varying for layout in layouts if layout is not None
            ):
                return name
        return ""

    def _stamps(self) -> np.ndarray:
        seconds = self._file.records["time"][self.rows]
        sane = np.isfinite(seconds) & (np.abs(seconds) < MOST_SECONDS)
        times = np.rint(np.where(sane, seconds, 0.0) * 1e9).astype(np.int64)
        if not self.captured:
            if not sane.all():
                raise SourceError(f"{int((~sane).sum())} of its times are no numbers")
            return times
        if self.has(self.captured):
            stamps = self.columns(self.captured)[0].astype(np.int64)
        else:
            return self._firsts()
        odd = int((stamps != times).sum())
        if 0 < odd <= len(stamps) // 2:
            self.notes.append(f"{odd} of {len(stamps)} stamps of {self.id} disagree with the times of their records")
        return stamps

    def _firsts(self) -> np.ndarray:
        """First stamp of each record that has one for each of its samples."""
        stamps = np.empty(len(self.rows), np.int64)
        for version, (_, layouts) in self._formats.items():
            layout = layouts[0]
            if layout is None:
                raise SourceError(f"records of version {version} have no fields")
            mine = np.flatnonzero(self._file.records["format"][self.rows] == version)
            width = layout.fixed.itemsize
            number = [name for name, _, _ in layout.varying].index(self.captured)
            place = width - 8 * (len(layout.varying) - number)
            pairs = self._starts(self.rows[mine], width)[:, place : place + 8].copy().view("<u4").astype(np.int64)
            if (pairs[:, 1] < 8).any():
                raise SourceError(f"{int((pairs[:, 1] < 8).sum())} records have no {self.captured}")
            stamps[mine] = self._at(self.rows[mine], width + pairs[:, 0])
        return stamps

    def _at(self, rows: np.ndarray, skip: np.ndarray) -> np.ndarray:
        """Whole numbers at a place of each record, int64 (len(rows),)."""
        out = np.empty((len(rows), 8), np.uint8)
        plain = self._file.records["compression"][rows] == 0
        out[plain] = self._file.gather(rows[plain], 8, skip[plain])
        for index in np.flatnonzero(~plain):
            data = self._file.payload(int(rows[index]))[int(skip[index]) :][:8]
            if len(data) < 8:
                raise SourceError("a stamp lies beyond its record")
            out[index] = np.frombuffer(data, np.uint8)
        return out.view("<i8")[:, 0]
