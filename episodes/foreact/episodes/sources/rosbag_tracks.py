"""The messages of a bag's topics: when they were and where they lie; filled file by file, read when asked for."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Protocol

import numpy as np

from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.rosbag_cdr import head
from foreact.episodes.sources.rosbag_types import DefinitionError, Types, full_name, parse, standard

__all__ = ["LARGEST", "BagFile", "ByteCache", "Definition", "Place", "Track", "Tracks", "inflated"]

LARGEST = 512 << 20  # bytes of a chunk or a message; more is taken for damage
CACHED = 64 << 20
SAFE, RATIO = 64 << 20, 1000  # more than this, unpacked from a thousandth, is taken for a bomb
INT64 = 1 << 63

Place = tuple[int, int, int]
"""Where a message lies in its file: chunk or row, offset, length."""


@dataclass(frozen=True)
class Definition:
    """What a topic's messages are.

    Attributes:
        type: Such as `sensor_msgs/msg/Imu`.
        encoding: Of the messages: `cdr`, `json`, ...
        schema_encoding: Of the definition: `ros2msg`, `ros2idl`, `jsonschema`, ...; empty without one.
        schema: The definition.
        stream: How foreact itself described the stream when it wrote the file, as JSON; empty in files of others.
    """

    type: str
    encoding: str
    schema_encoding: str = ""
    schema: bytes = b""
    stream: str = ""

    def types(self) -> Types:
        """What its fields are.

        Raises:
            DefinitionError: That cannot be understood; the message says why.
        """
        if self.encoding != "cdr":
            raise DefinitionError(f"its messages are encoded in {self.encoding!r}, which is not known")
        if not self.schema:
            return standard(self.type)
        try:
            return parse(self.type, self.schema_encoding, self.schema.decode("utf-8"))
        except UnicodeDecodeError:
            raise DefinitionError(f"the definition of {self.type} is not text") from None


class BagFile(Protocol):
    """One file of a bag."""

    path: Path

    def scan(self, tracks: Tracks) -> list[str]:
        """Enter every message; returns what is damaged or lost."""
        ...

    def read(self, place: Place) -> bytes:
        """The payload of one message."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


@dataclass
class Track:
    """The messages of one topic, in the order of the files.

    Attributes:
        topic: Its name.
        definition: What they are.
        stamped: Whether they begin with a standard header.
        frame: Frame name of the first header.
        frames_differ: Whether another header names another frame.
    """

    topic: str
    definition: Definition
    stamped: bool
    frame: bytes | None = None
    frames_differ: bool = False
    _log: array = field(default_factory=lambda: array("q"))
    _header: array = field(default_factory=lambda: array("q"))
    _places: array = field(default_factory=lambda: array("q"))

    def add(self, log: int, payload: bytes | memoryview, file: int, place: Place) -> None:
        """Enter a message: log time [ns], payload or its beginning, where it lies."""
        stamp = 0
        if self.stamped:
            stamp, frame = head(payload)
            if self.frame is None:
                self.frame = frame
            self.frames_differ |= frame != self.frame
        self._log.append(log)
        self._header.append(stamp)
        self._places.extend((file, *place))

    def __len__(self) -> int:
        return len(self._log)

    @property
    def log(self) -> np.ndarray:
        """When they were written, int64 (n,) [ns]."""
        return np.array(self._log, np.int64)

    @property
    def header(self) -> np.ndarray:
        """Stamps of their headers, int64 (n,) [ns]; 0 where there is none."""
        return np.array(self._header, np.int64)

    def place(self, index: int) -> tuple[int, Place]:
        """File and place of a message."""
        file, chunk, offset, length = self._places[4 * index : 4 * index + 4]
        return file, (chunk, offset, length)


class Tracks:
    """All topics of a bag.

    Args:
        files: Of which it is made, in order.
        unpack: Undoes the compression of each message; None without.

    Raises:
        SourceError: See `scan`.
    """

    def __init__(self, files: Sequence[BagFile], unpack: Callable[[bytes], bytes] | None = None) -> None:
        self.files, self.notes = tuple(files), list[str]()
        self._unpack, self._file = unpack, 0
        self._tracks: dict[tuple[str, Definition], Track] = {}

    def scan(self) -> None:
        """Enter what the files hold.

        Raises:
            SourceError: No file of the bag can be read.
        """
        faults: list[str] = []
        for number, file in enumerate(self.files):
            self._file = number
            try:
                self.notes += file.scan(self)
            except SourceError as error:
                faults.append(str(error))
        if len(faults) == len(self.files):
            raise SourceError("; ".join(faults[:5]))
        self.notes += faults

    def topic(self, name: str, definition: Definition) -> Track:
        """The track of a topic; made when it is met first."""
        key = (name, definition)
        if key not in self._tracks:
            try:
                stamped = definition.types().stamped(full_name(definition.type, definition.type))
            except DefinitionError:
                stamped = False
            self._tracks[key] = Track(name, definition, stamped)
        return self._tracks[key]

    def add(self, track: Track, log: int, payload: bytes | memoryview, place: Place) -> bool:
        """Enter a message; False if its time is past what 63 bits hold."""
        if not -INT64 <= log < INT64:
            return False
        if self._unpack is not None and track.stamped:
            try:
                payload = self._unpack(bytes(payload))
            except SourceError:
                payload = b""
        track.add(log, payload, self._file, place)
        return True

    def all(self) -> list[Track]:
        """Every topic, in the order in which they were met."""
        return list(self._tracks.values())

    def payload(self, track: Track, index: int) -> bytes:
        """One message of a track.

        Raises:
            SourceError: The file is damaged there.
        """
        file, place = track.place(index)
        raw = self.files[file].read(place)
        return raw if self._unpack is None else self._unpack(raw)

    def close(self) -> None:
        """Let go of the files."""
        for file in self.files:
            file.close()


class ByteCache:
    """The chunks used last, at most `CACHED` bytes of them or one. Safe to use from several threads."""

    def __init__(self) -> None:
        self._kept: OrderedDict[int, bytes] = OrderedDict()
        self._lock = Lock()

    def get(self, key: int, load: Callable[[], bytes]) -> bytes:
        """The bytes of a key, loaded if they are not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
            value = load()
            self._kept[key] = value
            while len(self._kept) > 1 and sum(map(len, self._kept.values())) > CACHED:
                self._kept.popitem(last=False)
            return value


def inflated(data: bytes, compression: str, size: int | None) -> bytes:
    """Undo a compression, never into more than `LARGEST` bytes.

    Args:
        data: The compressed bytes.
        compression: `zstd`, `lz4` or empty.
        size: Bytes it must give; None where that is not known.

    Raises:
        SourceError: Another size, damaged, too large, or another compression.
        ModuleNotFoundError: The package for it is lacking.
    """
    most = min(LARGEST, max(SAFE, RATIO * len(data)))
    if size is not None and size > most:
        raise SourceError(f"{len(data)} bytes that unpack to {size} are taken for damage")
    limit = (most if size is None else size) + 1
    if not compression:
        found = data
    elif compression == "zstd":
        found = _zstd(data, limit)
    elif compression == "lz4":
        found = _lz4(data, limit)
    else:
        raise SourceError(f"the compression {compression!r} is not known")
    if len(found) > most or (size is not None and len(found) != size):
        raise SourceError(f"{len(data)} bytes unpack to another size than {size or f'at most {most}'}")
    return found


def _zstd(data: bytes, limit: int) -> bytes:
    import zstandard

    try:
        with zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(data) as stream:
            return stream.read(limit)
    except (zstandard.ZstdError, MemoryError) as error:
        raise SourceError(f"damaged zstd data: {error}") from None


def _lz4(data: bytes, limit: int) -> bytes:
    import lz4.frame

    try:
        return lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=limit)
    except (RuntimeError, MemoryError, EOFError) as error:
        raise SourceError(f"damaged lz4 data: {error}") from None
