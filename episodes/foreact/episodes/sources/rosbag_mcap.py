"""One MCAP file: its chunks are walked once at opening, checked against their checksums and kept only as an index.

Source: the MCAP 1 specification. The header stamps of ROS messages stand in the messages alone, so that the summary
does not suffice; it is what is fallen back on where the walk meets damage.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.rosbag_own import STREAM
from foreact.episodes.sources.rosbag_tracks import LARGEST, ByteCache, Definition, Place, Track, Tracks, inflated

if TYPE_CHECKING:
    from mcap.records import Channel, Schema

__all__ = ["MAGIC", "McapFile"]

MAGIC = b"\x89MCAP0\r\n"
HEAD = struct.Struct("<BQ")  # opcode, length
MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
CHUNK = struct.Struct("<QQQII")  # first time, last time, size, checksum, length of the compression's name
FOOTER = struct.Struct("<QQI")  # start of the summary, of its offsets, checksum
FOOTER_BYTES = HEAD.size + FOOTER.size + len(MAGIC)
SMALL = 16 << 20  # bytes of a record that is no chunk, message or attachment
OP = {
    **{"footer": 2, "schema": 3, "channel": 4, "message": 5, "chunk": 6, "chunk index": 8},
    **{"attachment": 9, "statistics": 11, "metadata": 12, "end": 15},
}
RAW = -1  # "chunk" of a message that lies in no chunk


@dataclass
class _Walk:
    """What lies in the file, by its records.

    Attributes:
        chunks: Offset and length of each chunk's content.
        loose: Channel, log time, offset and length of messages outside chunks.
        notes: What is damaged.
        ended: Whether the walk met the end of the data.
        orphans: Messages whose channel is not defined or whose time is impossible.
        total: Messages by the statistics; None where they are lacking.
    """

    chunks: dict[int, int] = field(default_factory=dict)
    loose: list[tuple[int, int, int, int]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    ended: bool = False
    orphans: int = 0
    total: int | None = None


class McapFile:
    """One MCAP file; safe to read from several threads.

    Args:
        path: Of the file.

    Attributes:
        says: What its metadata records say, by their names; known after the scan.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.says: dict[str, dict[str, str]] = {}
        self._schemas: dict[int, Schema] = {}
        self._channels: dict[int, Channel] = {}
        self._cache = ByteCache()
        self._size = path.stat().st_size

    def scan(self, tracks: Tracks) -> list[str]:
        """Enter every message; see `BagFile`.

        Raises:
            SourceError: It is no MCAP file, or nothing of it can be read.
        """
        if self._bytes(0, len(MAGIC)) != MAGIC:
            raise SourceError(f"{self.path} is not an MCAP file: it does not begin with its mark")
        walk = _Walk()
        self._walk(walk, len(MAGIC), self._size)
        self._summary(walk)
        entered = self._loose(tracks, walk) + self._chunks(tracks, walk)
        for channel in self._channels:  # those without messages as well
            self._track(tracks, channel, {})
        if walk.orphans:
            walk.notes.append(
                f"{walk.orphans} messages are left out: their channels are not defined, or their times lie past 2^63 ns"
            )
        if not entered and (walk.notes or not walk.ended):
            raise SourceError(
                f"{self.path} holds no message that can be read: {'; '.join(walk.notes[:3]) or 'cut off'}"
            )
        if not walk.ended:
            walk.notes.append("the file was never closed or is cut off; what it holds until there is read")
        if walk.total is not None and walk.total != entered:
            walk.notes.append(f"{entered} of {walk.total} messages can be read")
        return [f"{self.path.name}: {note}" for note in walk.notes]

    def read(self, place: Place) -> bytes:
        """The payload of one message; see `BagFile`.

        Raises:
            SourceError: The file is damaged there.
        """
        chunk, offset, length = place
        try:
            if chunk == RAW:
                return self._bytes(offset, length)
            return self._cache.get(chunk, lambda: self._unpacked(chunk, offset))[offset : offset + length]
        except SourceError as error:
            raise SourceError(f"{self.path}: {error}") from None

    def close(self) -> None:
        """Nothing is held."""

    def _bytes(self, offset: int, length: int) -> bytes:
        """Bytes of the file; checked against its size before anything is allocated."""
        if offset + length > self._size:
            raise SourceError(f"{length} bytes at {offset} lie past the end of the file")
        try:
            with self.path.open("rb") as file:
                file.seek(offset)
                found = file.read(length)
        except OSError as error:
            raise SourceError(f"cannot be read: {error}") from None
        if len(found) != length:
            raise SourceError("the file became shorter while it was read")
        return found

    def _records(self, start: int, stop: int, walk: _Walk) -> Iterator[tuple[int, int, int]]:
        """Opcode, offset and length of the records between two places, until one does not fit."""
        with self.path.open("rb") as file:
            while start + HEAD.size <= stop:
                file.seek(start)
                raw = file.read(HEAD.size)
                if len(raw) < HEAD.size:
                    return
                opcode, length = HEAD.unpack(raw)
                start += HEAD.size
                if opcode == 0 or start + length > stop:
                    walk.notes.append(f"the record at {start - HEAD.size} does not fit into the file")
                    return
                yield opcode, start, length
                start += length

    def _walk(self, walk: _Walk, start: int, stop: int) -> None:
        for opcode, offset, length in self._records(start, stop, walk):
            if opcode == OP["chunk"]:
                walk.chunks[offset] = length
            elif opcode == OP["message"] and length >= MESSAGE.size:
                channel, _, log, _ = MESSAGE.unpack(self._bytes(offset, MESSAGE.size))
                walk.loose.append((channel, log, offset + MESSAGE.size, length - MESSAGE.size))
            elif opcode in (OP["schema"], OP["channel"]) and length <= SMALL:
                self._define(opcode, self._bytes(offset, length), walk)
            elif opcode == OP["metadata"] and length <= SMALL:
                record = _parsed(opcode, self._bytes(offset, length))
                if record is not None:
                    self.says[record.name] = record.metadata
            elif opcode == OP["attachment"]:
                walk.notes.append(f"an attachment of {length} bytes is not read")
            elif opcode == OP["end"]:
                walk.ended = True
                self._check_data(walk, offset, length)
            elif opcode == OP["footer"]:
                return

    def _check_data(self, walk: _Walk, offset: int, length: int) -> None:
        """Where the writer left a checksum of all data, messages outside chunks are held to it."""
        (expected,) = struct.unpack("<I", self._bytes(offset, 4)) if length >= 4 else (0,)
        if not expected:
            return
        found, at, end = 0, 0, offset - HEAD.size
        while at < end:
            piece = self._bytes(at, min(1 << 22, end - at))
            found, at = zlib.crc32(piece, found), at + len(piece)
        if found != expected:
            walk.notes.append("the checksum of the data does not fit: something in it is damaged")

    def _summary(self, walk: _Walk) -> None:
        """What the end of the file says: definitions, where the chunks are, how many messages there are."""
        if self._size < FOOTER_BYTES + len(MAGIC):
            return
        tail = self._bytes(self._size - FOOTER_BYTES, FOOTER_BYTES)
        opcode, length = HEAD.unpack_from(tail)
        start, _, checksum = FOOTER.unpack_from(tail, HEAD.size)
        stop = self._size - FOOTER_BYTES
        if opcode != OP["footer"] or length != FOOTER.size or not tail.endswith(MAGIC) or not 0 < start <= stop:
            return
        if stop - start > LARGEST:
            walk.notes.append("the summary is too large to be true; it is not used")
            return
        covered = self._bytes(start, stop - start) + tail[: HEAD.size + FOOTER.size - 4]
        if checksum and zlib.crc32(covered) != checksum:
            walk.notes.append("the checksum of the summary does not fit; it is not used")
            return
        for opcode, offset, length in self._records(start, stop, walk):
            if length > SMALL:
                continue
            self._summarised(opcode, self._bytes(offset, length), walk)

    def _summarised(self, opcode: int, content: bytes, walk: _Walk) -> None:
        if opcode in (OP["schema"], OP["channel"]):
            self._define(opcode, content, walk)
        elif opcode == OP["statistics"] and len(content) >= 8:
            (walk.total,) = struct.unpack_from("<Q", content)
        elif opcode == OP["chunk index"] and len(content) >= 32:
            at, length = struct.unpack_from("<QQ", content, 16)
            if at + length <= self._size and length > HEAD.size:
                walk.chunks.setdefault(at + HEAD.size, length - HEAD.size)
                # a chunk whose mark is damaged can look like a message
                walk.loose = [each for each in walk.loose if not at <= each[2] < at + length]

    def _define(self, opcode: int, content: bytes, walk: _Walk) -> None:
        record = _parsed(opcode, content)
        if record is None:
            walk.notes.append("a definition of a topic or type is damaged")
        elif opcode == OP["schema"]:
            self._schemas.setdefault(record.id, record)
        else:
            self._channels.setdefault(record.id, record)

    def _loose(self, tracks: Tracks, walk: _Walk) -> int:
        entered = 0
        known: dict[int, Track | None] = {}
        for channel, log, offset, length in walk.loose:
            track = self._track(tracks, channel, known)
            head = self._bytes(offset, min(length, 1 << 10))
            if track is not None and tracks.add(track, log, head, (RAW, offset, length)):
                entered += 1
            else:
                walk.orphans += 1
        return entered

    def _chunks(self, tracks: Tracks, walk: _Walk) -> int:
        entered = 0
        for offset in sorted(walk.chunks):
            try:
                data = self._unpacked(offset)
                entered += self._chunk(tracks, offset, data, walk)
            except SourceError as error:
                walk.notes.append(f"the chunk at {offset} is lost: {error}")
        return entered

    def _chunk(self, tracks: Tracks, chunk: int, data: bytes, walk: _Walk) -> int:
        entered, at, end = 0, 0, len(data)
        known: dict[int, Track | None] = {}
        view = memoryview(data)
        while at + HEAD.size <= end:
            opcode, length = HEAD.unpack_from(data, at)
            at += HEAD.size
            if at + length > end or opcode == 0:
                walk.notes.append(f"the chunk at {chunk} is damaged from its byte {at - HEAD.size} on")
                break
            if opcode == OP["message"] and length >= MESSAGE.size:
                channel, _, log, _ = MESSAGE.unpack_from(data, at)
                track = known[channel] if channel in known else self._track(tracks, channel, known)
                first = at + MESSAGE.size
                place = (chunk, first, at + length - first)
                if track is not None and tracks.add(track, log, view[first : at + length], place):
                    entered += 1
                else:
                    walk.orphans += 1
            elif opcode in (OP["schema"], OP["channel"]) and length <= SMALL:
                self._define(opcode, data[at : at + length], walk)
            at += length
        return entered

    def _track(self, tracks: Tracks, channel: int, known: dict[int, Track | None]) -> Track | None:
        if channel not in known:
            known[channel] = None
            found = self._channels.get(channel)
            if found is not None:
                schema = self._schemas.get(found.schema_id)
                name, kind, text = (schema.name, schema.encoding, schema.data) if schema else ("", "", b"")
                stream = found.metadata.get(STREAM, "")
                known[channel] = tracks.topic(found.topic, Definition(name, found.message_encoding, kind, text, stream))
        return known[channel]

    def _unpacked(self, offset: int, reach: int = 0) -> bytes:
        """Content of the chunk whose record begins there, held to its checksum.

        Raises:
            SourceError: It is damaged.
        """
        opcode, length = HEAD.unpack(self._bytes(offset - HEAD.size, HEAD.size))
        if opcode != OP["chunk"] or length < CHUNK.size + 8 or length > LARGEST:
            raise SourceError("there is no chunk of a possible size")
        content = self._bytes(offset, length)
        _, _, size, checksum, name = CHUNK.unpack_from(content)
        start = CHUNK.size + name + 8
        if start > length:
            raise SourceError("it is cut off")
        compression = content[CHUNK.size : CHUNK.size + name].decode("ascii", "replace")
        (packed,) = struct.unpack_from("<Q", content, start - 8)
        if start + packed > length:
            raise SourceError("it is cut off")
        data = inflated(content[start : start + packed], compression, size)
        if checksum and zlib.crc32(data) != checksum:
            raise SourceError("its checksum does not fit")
        if reach > len(data):
            raise SourceError("it became shorter while it was read")
        return data


def _parsed(opcode: int, content: bytes) -> Any:
    """A schema, channel or metadata; None if it is damaged."""
    from mcap.data_stream import ReadDataStream
    from mcap.exceptions import McapError
    from mcap.records import Channel, Metadata, Schema

    kinds = {OP["schema"]: Schema, OP["channel"]: Channel, OP["metadata"]: Metadata}
    try:
        return kinds[opcode].read(ReadDataStream(BytesIO(content)))
    except (McapError, ValueError, struct.error):
        return None
