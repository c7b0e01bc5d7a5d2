"""Messages in CDR, the encoding of ROS 2: bytes and a definition in, a dictionary out.

Source: OMG CORBA 3.3 part 2, section 9.3 (plain CDR), as DDS-RTPS 2.2 wraps it in four bytes.
"""

from __future__ import annotations

import struct
from typing import Any, Literal

import numpy as np

from foreact.episodes.sources.rosbag_types import PRIMITIVES, Types

__all__ = ["CdrError", "decode", "head"]

NS = 1_000_000_000
PADDING = 3  # senders fill up to four bytes


class CdrError(ValueError):
    """A payload that does not have the form of its definition."""


def decode(data: bytes, name: str, types: Types) -> dict[str, Any]:
    """One message as a dictionary: numbers, texts, dictionaries, lists of them, arrays of numbers.

    Args:
        data: The payload, with the four bytes of its encapsulation.
        name: Full type name.
        types: Holds it and what it refers to.

    Raises:
        CdrError: Too short, too long, or another encapsulation than plain CDR.
    """
    reader = _Reader(data, types)
    try:
        value = reader.message(name)
    except (struct.error, UnicodeDecodeError) as error:
        raise CdrError(f"not a {name}: {error}") from None
    if len(data) - reader.at > PADDING:
        raise CdrError(f"not a {name}: {len(data) - reader.at} bytes too many")
    return value


def head(data: bytes | memoryview) -> tuple[int, bytes]:
    """Stamp [ns] and frame name of a message that begins with a standard header; (0, b"") if there is none."""
    if len(data) < 16 or data[0] != 0 or data[1] > 1:
        return 0, b""
    sec, nanosec, length = struct.unpack_from("<iII" if data[1] else ">iII", data, 4)
    if sec < 0 or nanosec >= NS or length > len(data) - 16:
        return 0, b""
    return sec * NS + nanosec, bytes(data[16 : 16 + max(length - 1, 0)])


class _Reader:
    def __init__(self, data: bytes, types: Types) -> None:
        if len(data) < 4 or data[0] != 0 or data[1] > 1:
            raise CdrError(f"the encapsulation {bytes(data[:4]).hex()} is not that of plain CDR")
        self.data, self.types = data, types
        self.order: Literal["<", ">"] = "<" if data[1] else ">"
        self.at = 4

    def message(self, name: str) -> dict[str, Any]:
        if self.types.least[name] > len(self.data) - self.at:
            raise CdrError(f"not a {name}: ends after {len(self.data)} bytes")
        fields = self.types.fields[name]
        run = self.types.runs.get(name)
        if run is not None:
            self.align(run[1])
            values = struct.unpack_from(self.order + run[0], self.data, self.at)
            self.at += run[1] * len(values)
            return dict(zip((field.name for field in fields), values, strict=True))
        if not fields:  # an empty structure is one byte
            self.at += 1
        return {field.name: self.field(field.type, field.count) for field in fields}

    def field(self, kind: str, count: int | None) -> Any:
        if count is None:
            return self.one(kind)
        count = count or self.length(kind)
        if kind in PRIMITIVES:
            return self.numbers(kind, count)
        return [self.one(kind) for _ in range(count)]

    def one(self, kind: str) -> Any:
        primitive = PRIMITIVES.get(kind)
        if primitive is None:
            return self.text() if kind == "string" else self.message(kind)
        letter, size = primitive
        self.align(size)
        (value,) = struct.unpack_from(self.order + letter, self.data, self.at)
        self.at += size
        return value

    def length(self, kind: str) -> int:
        """Of a sequence; no longer than what is left could hold."""
        count = self.one("uint32")
        size = PRIMITIVES[kind][1] if kind in PRIMITIVES else self.types.least.get(kind, 4)
        if count * size > len(self.data) - self.at:
            raise CdrError(f"a sequence of {count} {kind} does not fit into {len(self.data)} bytes")
        return count

    def numbers(self, kind: str, count: int) -> np.ndarray:
        letter, size = PRIMITIVES[kind]
        if count:
            self.align(size)
        if self.at + count * size > len(self.data):
            raise CdrError(f"{count} {kind} do not fit into {len(self.data)} bytes")
        values = np.frombuffer(self.data, np.dtype(letter).newbyteorder(self.order), count, self.at)
        self.at += count * size
        found = values.astype(np.dtype(letter), copy=False)
        found.flags.writeable = False  # messages are shared between the streams of a topic
        return found

    def text(self) -> str:
        size = self.one("uint32")
        if size > len(self.data) - self.at:
            raise CdrError(f"a text of {size} bytes does not fit into {len(self.data)} bytes")
        raw = self.data[self.at : self.at + size]
        self.at += size
        return raw.removesuffix(b"\0").decode("utf-8")

    def align(self, size: int) -> None:
        self.at += -(self.at - 4) % size
