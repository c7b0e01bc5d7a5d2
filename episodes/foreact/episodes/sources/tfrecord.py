"""TFRecord files and the tf.Example messages in them, without TensorFlow.

A record is: uint64 length, uint32 checksum of these 8 bytes, the bytes, uint32 checksum of the bytes; little endian.
The checksum is CRC-32C, rotated right by 15 bits plus 0xa282ead8. Source: tensorflow/core/lib/io/record_writer.h and
tensorflow/core/example/{example,feature}.proto.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.episodes.sources.protocol import SourceError

__all__ = ["Feature", "Record", "index_records", "parse_example", "read_record"]

HEADER = struct.Struct("<QI")
FOOTER = struct.Struct("<I")
Feature = list[bytes] | np.ndarray
"""Values of one feature: byte strings, float32 (n,) or int64 (n,)."""

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5


@dataclass(frozen=True)
class Record:
    """Where a record lies: first byte of its payload, and how many."""

    offset: int
    length: int


def index_records(path: Path) -> tuple[list[Record], str]:
    """Walk the lengths of a file; payloads are not read.

    Returns:
        The records up to the first fault, and the fault in words; empty if there is none.

    Raises:
        SourceError: The file cannot be read.
    """
    records: list[Record] = []
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            at = 0
            while at < size:
                fault, length = _length(file.read(HEADER.size))
                if not fault and at + HEADER.size + length + FOOTER.size > size:
                    fault = f"needs {length} bytes, the file ends before"
                if fault:
                    return records, f"record {len(records)} at byte {at}: {fault}"
                records.append(Record(at + HEADER.size, length))
                at += HEADER.size + length + FOOTER.size
                file.seek(at)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    return records, ""


def read_record(path: Path, record: Record) -> bytes:
    """Bytes of a record, checked.

    Raises:
        SourceError: They do not match their checksum, or the file has become shorter.
    """
    try:
        with path.open("rb") as file:
            file.seek(record.offset)
            payload = file.read(record.length)
            footer = file.read(FOOTER.size)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    if len(footer) < FOOTER.size or FOOTER.unpack(footer)[0] != _checksum(payload):
        raise SourceError(f"{path}: the record at byte {record.offset} does not match its checksum")
    return payload


def parse_example(payload: bytes, where: str) -> dict[str, Feature]:
    """Features of a tf.Example by name; byte strings are copied, numbers too.

    Raises:
        SourceError: Not such a message.
    """
    found: dict[str, Feature] = {}
    try:
        for _, features in _messages(payload, {1}):
            for _, entry in _messages(features, {1}):
                pair = dict(_messages(entry, {1, 2}))
                name = pair.get(1, b"").decode()
                if name in found:
                    raise ValueError(f"feature {name!r} is there twice")
                found[name] = _feature(pair.get(2, b""))
    except (ValueError, IndexError, OverflowError) as error:
        raise SourceError(f"{where}: not a tf.Example: {error}") from error
    return found


def _length(header: bytes) -> tuple[str, int]:
    if len(header) < HEADER.size:
        return "the file ends within its length", 0
    length, checksum = HEADER.unpack(header)
    return ("" if _checksum(header[:8]) == checksum else "its length does not match the checksum"), length


def _checksum(data: bytes) -> int:
    import google_crc32c

    crc = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _feature(message: bytes) -> Feature:
    """A Feature is one of BytesList (1), FloatList (2), Int64List (3), each with its values in field 1."""
    kinds = list(_messages(message, {1, 2, 3}))
    if not kinds:
        return []
    kind, values = kinds[-1]
    if kind == 1:
        return [value for _, value in _messages(values, {1})]
    pieces = [_floats(wire, value) if kind == 2 else _integers(wire, value) for _, wire, value in _fields(values)]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32 if kind == 2 else np.int64)


def _floats(wire: int, value: bytes) -> np.ndarray:
    if wire not in (BYTES, FIXED32) or len(value) % 4:
        raise ValueError("a list of floats is cut off")
    return np.frombuffer(value, "<f4").astype(np.float32)


def _integers(wire: int, value: bytes) -> np.ndarray:
    """Varints, all at once: 7 bits a byte, the lowest first, the last byte below 128."""
    raw = np.frombuffer(value, np.uint8)
    if wire not in (BYTES, VARINT) or (len(raw) and raw[-1] >= 128):
        raise ValueError("a list of integers is cut off")
    ends = np.flatnonzero(raw < 128)
    starts = np.concatenate([[0], ends[:-1] + 1]) if len(ends) else ends
    lengths = ends - starts + 1
    if lengths.max(initial=0) > 10:
        raise ValueError("an integer of more than 10 bytes")
    values = np.zeros(len(ends), np.uint64)
    for byte in range(int(lengths.max(initial=0))):
        some = lengths > byte
        values[some] |= (raw[starts[some] + byte].astype(np.uint64) & np.uint64(127)) << np.uint64(7 * byte)
    return values.view(np.int64)


def _messages(message: bytes, wanted: set[int]) -> Iterator[tuple[int, bytes]]:
    """Fields that hold bytes; a wanted number of another type is an error, unknown numbers are passed over."""
    for number, wire, value in _fields(message):
        if number in wanted:
            if wire != BYTES:
                raise ValueError(f"field {number} has wire type {wire}")
            yield number, value


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Every field: its number, wire type, and bytes; those of a varint are the varint itself."""
    at, end = 0, len(message)
    while at < end:
        tag, at = _varint(message, at)
        number, wire = tag >> 3, tag & 7
        if wire == VARINT:
            stop = _varint(message, at)[1]
        elif wire == BYTES:
            length, at = _varint(message, at)
            stop = at + length
        elif wire in (FIXED32, FIXED64):
            stop = at + (4 if wire == FIXED32 else 8)
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if stop > end or number == 0:
            raise ValueError(f"field {number} at byte {at} does not fit")
        yield number, wire, message[at:stop]
        at = stop


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = message[at + shift // 7]
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at + shift // 7 + 1
    raise ValueError(f"an integer of more than 10 bytes at byte {at}")
