"""What lies in a VRS record: blocks, and the named fields of a data layout.

`RF:` tags list the blocks of a record (`data_layout/size=84+image/jpg`), `DL:` tags the fields of a data layout: fixed
ones at offsets, then one (offset, length) pair for each field of varying size, then their bytes. Source:
`DataLayout.cpp`, `RecordFormat.cpp` of github.com/facebookresearch/vrs.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.sources.protocol import SourceError

__all__ = ["Block", "Layout", "parse_format", "parse_layout", "whole"]

PLAIN = {"Bool": "?", "char": "i1", "float": "<f4", "double": "<f8"} | {
    f"{sign}int{bits}_t": f"<{kind}{bits // 8}" for sign, kind in (("", "i"), ("u", "u")) for bits in (8, 16, 32, 64)
}
SHAPED = re.compile(r"(Point|Matrix)([234])D([ifd])")
LETTERS = {"i": "<i4", "f": "<f4", "d": "<f8"}
TYPE = re.compile(r"DataPiece(Value|Array|Vector|String|StringMap)(?:<(\w+)>)?")
MOST_FIELDS, MOST_ITEMS = 4096, 1 << 24


def whole(value: object) -> int:
    """A field as a whole number; 0 where it is none."""
    if isinstance(value, float):
        return int(value) if math.isfinite(value) else 0
    return value if isinstance(value, int) else 0


@dataclass(frozen=True)
class Block:
    """One block of a record.

    Attributes:
        kind: `data_layout`, `image`, `audio`, `custom` or `empty`.
        size: [bytes]; None where the format does not say.
        words: What else it says, such as `jpg` or `codec=H.265`.
    """

    kind: str
    size: int | None
    words: tuple[str, ...]

    def option(self, name: str) -> str:
        """Value of `name=value`; empty where it is not said."""
        return next((word[len(name) + 1 :] for word in self.words if word.startswith(f"{name}=")), "")


def parse_format(text: str) -> tuple[Block, ...]:
    """Blocks of a record.

    Raises:
        SourceError: The text is no list of blocks.
    """
    return tuple(_parse_block(block) for block in text.split("+"))


def _parse_block(text: str) -> Block:
    kind, *words = text.split("/")
    if kind not in ("data_layout", "image", "audio", "custom", "empty"):
        raise SourceError(f"a block {text!r} is unknown")
    sizes = [word[5:] for word in words if word.startswith("size=")]
    if sizes and not sizes[0].isdecimal():
        raise SourceError(f"a block {text!r} has no size")
    return Block(kind, int(sizes[0]) if sizes else None, tuple(word for word in words if not word.startswith("size=")))


@dataclass(frozen=True)
class Layout:
    """Fields of a data layout.

    Attributes:
        fixed: Fields at fixed places, and the size of all [bytes].
        varying: Names of fields of varying size with their kind and type, in their order.
    """

    fixed: np.dtype
    varying: tuple[tuple[str, str, str], ...]

    def size(self, data: bytes) -> int:
        """How many of these bytes are the layout's.

        Raises:
            SourceError: There are too few.
        """
        size = self.fixed.itemsize
        if self.varying and size <= len(data):
            offset, length = struct.unpack_from("<II", data, size - 8)
            size += offset + length
        if size > len(data):
            raise SourceError(f"its fields need {size} bytes, there are {len(data)}")
        return size

    def decode(self, data: bytes) -> dict[str, Any]:
        """Values by name: numbers, arrays, text, lists.

        Raises:
            SourceError: There are too few bytes, or a field is damaged.
        """
        end = self.size(data)
        values: dict[str, Any] = {}
        if self.fixed.names:
            values = {name: _plain(value) for name, value in zip(self.fixed.names, self._row(data), strict=True)}
        start = self.fixed.itemsize
        for number, (name, kind, element) in enumerate(self.varying):
            place = start - 8 * (len(self.varying) - number)
            offset, length = struct.unpack_from("<II", data, place)
            if start + offset + length > end:
                raise SourceError(f"its field {name} goes beyond the record")
            values[name] = _varying(kind, element, data[start + offset : start + offset + length])
        return values

    def _row(self, data: bytes) -> tuple[Any, ...]:
        return tuple(np.frombuffer(data, self.fixed, 1)[0])


def parse_layout(text: str) -> Layout:
    """Fields of a data layout, out of its tag.

    Raises:
        SourceError: The tag is damaged or a type is unknown.
    """
    try:
        pieces = strictjson.loads(text)["data_layout"]
        fields = [_parse_piece(piece) for piece in pieces[:MOST_FIELDS]]
    except (strictjson.StrictJsonError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise SourceError(f"a data layout is damaged: {error}") from error
    if len(pieces) > MOST_FIELDS:
        raise SourceError(f"a data layout has {len(pieces)} fields")
    fixed = sorted((place, name, form) for kind, name, form, place in fields if kind in ("Value", "Array"))
    varying = sorted((place, name, kind, form) for kind, name, form, place in fields if kind not in ("Value", "Array"))
    end = 0
    for place, name, form in fixed:
        if place < end or place > MOST_ITEMS:
            raise SourceError(f"field {name} of a data layout lies over another")
        end = place + np.dtype(form).itemsize
    spec: Any = {
        "names": [name for _, name, _ in fixed],
        "formats": [form for _, _, form in fixed],
        "offsets": [place for place, _, _ in fixed],
        "itemsize": end + 8 * len(varying),
    }
    try:
        return Layout(np.dtype(spec), tuple((name, kind, str(form)) for _, name, kind, form in varying))
    except (ValueError, TypeError) as error:
        raise SourceError(f"a data layout is damaged: {error}") from error


def _parse_piece(piece: Any) -> tuple[str, str, Any, int]:
    """Kind, name, form and place of a field."""
    match = TYPE.fullmatch(piece["type"])
    if match is None:
        raise SourceError(f"field type {piece['type']!r} is unknown")
    kind, element = match[1], match[2] or ""
    if kind in ("String", "StringMap", "Vector"):
        if kind != "String" and element != "string":
            _form(element)
        return kind, str(piece["name"]), element, int(piece["index"])
    if kind == "Value":
        return kind, str(piece["name"]), _form(element), int(piece["offset"])
    size = int(piece["size"])
    if not 0 < size <= MOST_ITEMS:
        raise SourceError(f"an array of {size}")
    return kind, str(piece["name"]), np.dtype((_form(element), (size,))), int(piece["offset"])


def _form(element: str) -> np.dtype:
    if element in PLAIN:
        return np.dtype(PLAIN[element])
    shaped = SHAPED.fullmatch(element)
    if shaped is None:
        raise SourceError(f"field type {element!r} is unknown")
    side = int(shaped[2])
    return np.dtype((LETTERS[shaped[3]], (side,) if shaped[1] == "Point" else (side, side)))


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _varying(kind: str, element: str, data: bytes) -> Any:
    if kind == "String":
        return data.decode("utf-8", "replace")
    if kind == "Vector" and element != "string":
        form = _form(element)
        return np.frombuffer(data[: len(data) // form.itemsize * form.itemsize], form)
    texts = _texts(data, "" if kind == "Vector" else element)
    return list(texts) if kind == "Vector" else dict(texts)


def _texts(data: bytes, element: str) -> Iterator[Any]:
    """Strings of a vector; pairs with a value where an element is named."""
    at = 0
    while at < len(data):
        text, at = _text(data, at)
        if not element:
            yield text
        elif element == "string":
            value, at = _text(data, at)
            yield text, value
        else:
            form = _form(element)
            if at + form.itemsize > len(data):
                raise SourceError("a map of strings is cut short")
            yield text, np.frombuffer(data, form, 1, at)[0].tolist()
            at += form.itemsize


def _text(data: bytes, at: int) -> tuple[str, int]:
    if at + 4 > len(data):
        raise SourceError("a string is cut short")
    (length,) = struct.unpack_from("<I", data, at)
    if at + 4 + length > len(data):
        raise SourceError("a string is cut short")
    return data[at + 4 : at + 4 + length].decode("utf-8", "replace"), at + 4 + length
