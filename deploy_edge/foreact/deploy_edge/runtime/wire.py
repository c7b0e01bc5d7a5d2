"""Protocol buffers taken apart by a declared schema, with every length bounded by the bytes that are there.

Nothing is guessed: a field that the schema does not name, a repeated field that must be single, a length beyond the
end, or a number of more than 64 bits is an error.
Source: https://protobuf.dev/programming-guides/encoding
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

__all__ = ["Field", "Schema", "WireError", "count_numbers", "decode", "numbers"]

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_FIELDS = 2_000_000  # of one file: what a hostile one may cost
_FIXED = {FIXED32: 4, FIXED64: 8}


class WireError(ValueError):
    """Bytes that are no message of the expected kind."""


class Field:
    """One field of a message.

    Args:
        name: Key in the decoded dictionary.
        kind: `int`, `float`, `text`, `bytes`; `varints`, `fixed32` or `fixed64` for packed numbers, decoded as their
            bytes; a schema for a message; empty for a field that is refused.
        many: Whether it may occur more than once; it is then a list.
    """

    def __init__(self, name: str, kind: "str | Schema", many: bool = False) -> None:
        self.name, self.kind, self.many = name, kind, many


type Schema = Mapping[int, Field]


class _Budget:
    """Counts fields of a whole file."""

    def __init__(self) -> None:
        self.left = MAX_FIELDS

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise WireError(f"more than {MAX_FIELDS} fields")


def decode(content: bytes, schema: Schema, where: str) -> dict[str, Any]:
    """Take a message apart.

    Args:
        content: The whole message.
        schema: What it may hold; its depth is the depth of the result.
        where: Its name, for messages.

    Returns:
        Values by field name; fields that do not occur are absent, except those of `many`, which are empty lists.

    Raises:
        WireError: Not such a message.
    """
    return _decode(memoryview(content), schema, where, _Budget())


def _decode(data: memoryview, schema: Schema, where: str, budget: _Budget) -> dict[str, Any]:
    found: dict[str, Any] = {field.name: [] for field in schema.values() if field.many}
    for number, wire, value in _fields(data, where, budget):
        field = schema.get(number)
        if field is None:
            raise WireError(f"{where}: unknown field {number}")
        place = f"{where}.{field.name}"
        if field.kind == "":
            raise WireError(f"{place} is not allowed in a policy")
        if field.many:
            found[field.name].append(_value(field, wire, value, f"{place}[{len(found[field.name])}]", budget))
        elif field.name in found:
            raise WireError(f"{place} occurs twice")
        else:
            found[field.name] = _value(field, wire, value, place, budget)
    return found


def _value(field: Field, wire: int, value: int | memoryview, place: str, budget: _Budget) -> Any:
    kind = field.kind
    if kind == "int" and wire == VARINT:
        return value
    if kind == "float" and wire == FIXED32 and isinstance(value, memoryview):
        return float(np.frombuffer(value, "<f4")[0])
    if wire == BYTES and isinstance(value, memoryview):
        return _of_bytes(kind, value, place, budget)
    # a repeated number may also stand alone
    if (kind, wire) in (("varints", VARINT), ("fixed32", FIXED32), ("fixed64", FIXED64)):
        return value
    raise WireError(f"{place} has wire type {wire}")


def _of_bytes(kind: "str | Schema", value: memoryview, place: str, budget: _Budget) -> Any:
    if not isinstance(kind, str):
        return _decode(value, kind, place, budget)
    if kind == "text":
        try:
            return str(value, "utf-8")
        except UnicodeDecodeError as error:
            raise WireError(f"{place} is no UTF-8 text") from error
    if kind in ("bytes", "varints", "fixed32", "fixed64"):
        return value
    raise WireError(f"{place} has wire type {BYTES}")


def _fields(data: memoryview, where: str, budget: _Budget) -> Iterator[tuple[int, int, int | memoryview]]:
    place, end = 0, len(data)
    while place < end:
        budget.spend()
        key, place = _varint(data, place, where)
        number, wire = key >> 3, key & 7
        if wire == VARINT:
            value, place = _varint(data, place, where)
            yield number, wire, value - (1 << 64) if value >> 63 else value
            continue
        if wire == BYTES:
            length, place = _varint(data, place, where)
        elif wire in _FIXED:
            length = _FIXED[wire]
        else:
            raise WireError(f"{where}: field {number} has the wire type {wire}")
        if length > end - place:
            raise WireError(f"{where}: field {number} claims {length} bytes, {end - place} are left")
        yield number, wire, data[place : place + length]
        place += length


def _varint(data: memoryview, place: int, where: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if place >= len(data):
            raise WireError(f"{where} ends in the middle of a number")
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >> 64:
                break
            return value, place
    raise WireError(f"{where} holds a number of more than 64 bits")


def numbers(values: "list[int | memoryview]", where: str) -> list[int]:
    """The whole numbers of a field of kind `varints`, packed or alone."""
    found: list[int] = []
    for each in values:
        if isinstance(each, int):
            found.append(each)
            continue
        place = 0
        while place < len(each):
            value, place = _varint(each, place, where)
            found.append(value - (1 << 64) if value >> 63 else value)
    return found


def count_numbers(values: "list[int | memoryview]", width: int) -> int:
    """How many numbers a packed field holds, without decoding them.

    Args:
        values: Of a field of kind `varints`, `fixed32` or `fixed64`.
        width: Bytes of one, 0 for `varints`.

    Raises:
        WireError: A part of a number.
    """
    count = 0
    for each in values:
        if isinstance(each, int):
            count += 1
        elif width:
            if len(each) % width:
                raise WireError(f"{len(each)} bytes are no {width}-byte numbers")
            count += len(each) // width
        else:
            count += int((np.frombuffer(each, np.uint8) < 128).sum())
    return count
