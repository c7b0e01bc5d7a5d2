"""Message definitions of ROS 2 as a recording carries them: text in, fields out. Nothing of the text is executed."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

__all__ = ["HEADER", "PRIMITIVES", "DefinitionError", "Field", "Types", "full_name", "parse", "standard"]

HEADER = "std_msgs/msg/Header"
PRIMITIVES: dict[str, tuple[str, int]] = {
    # struct letter and size; char is unsigned in ROS 2
    "bool": ("?", 1),
    "byte": ("B", 1),
    "octet": ("B", 1),
    "char": ("B", 1),
    "int8": ("b", 1),
    "uint8": ("B", 1),
    "int16": ("h", 2),
    "uint16": ("H", 2),
    "int32": ("i", 4),
    "uint32": ("I", 4),
    "int64": ("q", 8),
    "uint64": ("Q", 8),
    "float32": ("f", 4),
    "float64": ("d", 8),
}
STRINGS = ("string", "wstring")
TIME = "builtin_interfaces/msg/Time"
DURATION = "builtin_interfaces/msg/Duration"
SHORT = {"Header": HEADER, "time": TIME, "duration": DURATION}
LIMIT = 1 << 20  # bytes of a definition
DEPTH = 40
LINE = re.compile(
    r"(?P<type>[A-Za-z][\w/]*)(?:<=\d{1,9})?(?P<array>\[(?:<=\d{1,9}|(?P<count>\d{1,9}))?\])?\s+(?P<name>[A-Za-z]\w*)"
    r"(?P<rest>\s.*|=.*)?"
)


class DefinitionError(ValueError):
    """A definition that cannot be understood; the message says why."""


@dataclass(frozen=True)
class Field:
    """One field of a message.

    Attributes:
        name: Of the field.
        type: A primitive, `string` or the full name of a message.
        count: None for one value, 0 for a sequence, otherwise the length of an array.
    """

    name: str
    type: str
    count: int | None = None


TIME_FIELDS = (Field("sec", "int32"), Field("nanosec", "uint32"))
HEAD_FIELDS = (Field("stamp", TIME), Field("frame_id", "string"))


@dataclass(frozen=True)
class Types:
    """The message types of one definition.

    Attributes:
        fields: By full type name, in order.
        least: Fewest bytes a value of the type takes; bounds what a damaged length can make a reader allocate.
        runs: Struct letters of types that are numbers of one size and nothing else, and that size; read at once.
    """

    fields: Mapping[str, tuple[Field, ...]]
    least: Mapping[str, int]
    runs: Mapping[str, tuple[str, int]]

    def stamped(self, name: str) -> bool:
        """Whether a message begins with a standard header."""
        first = self.fields[name][:1]
        begins = bool(first) and first[0].type == HEADER and first[0].count is None
        return begins and self.fields[HEADER] == HEAD_FIELDS and self.fields[TIME] == TIME_FIELDS


@lru_cache(maxsize=256)
def parse(name: str, encoding: str, text: str) -> Types:
    """Read a definition with all it refers to.

    Args:
        name: Full name of the message, such as `sensor_msgs/msg/Imu`.
        encoding: `ros2msg` or `ros2idl`.
        text: Of the definition; the types it refers to follow after lines of equals signs.

    Raises:
        DefinitionError: It is no such text, too long, or refers to a type that it does not hold or to itself.
    """
    if len(text) > LIMIT:
        raise DefinitionError(f"the definition of {name} is longer than {LIMIT} bytes")
    if encoding not in ("ros2msg", "ros2idl"):
        raise DefinitionError(f"the definition of {name} is written in {encoding or 'nothing'}")
    fields: dict[str, tuple[Field, ...]] = {
        TIME: TIME_FIELDS,
        DURATION: TIME_FIELDS,
    }
    for owner, body in _sections(full_name(name, name), text):
        fields |= _from_idl(body) if encoding == "ros2idl" else {owner: _from_msg(owner, body)}
    return _checked(full_name(name, name), fields)


@lru_cache(maxsize=256)
def standard(name: str) -> Types:
    """A message of ROS 2's standard packages, for bags that carry no definitions (before Iron).

    Raises:
        DefinitionError: It is not among them.
    """
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_HUMBLE).fielddefs
    if name not in store:
        raise DefinitionError(f"{name} is defined neither in the bag nor in ROS 2's standard packages")
    return _checked(name, {each: _from_store(definition) for each, definition in store.items()})


def full_name(name: str, owner: str) -> str:
    """A type name with package and `msg`, as seen from the message that uses it."""
    if name in PRIMITIVES or name in STRINGS:
        return name
    if name in SHORT:
        return SHORT[name]
    parts = name.split("/")
    if len(parts) == 1:
        return "/".join([*owner.split("/")[:-1], name])
    return f"{parts[0]}/msg/{parts[1]}" if len(parts) == 2 else name


def _sections(name: str, text: str) -> Iterator[tuple[str, str]]:
    for number, body in enumerate(re.split(r"^={3,}[ \t]*$", text.replace("\r\n", "\n"), flags=re.MULTILINE)):
        head = re.match(r"\s*(?:MSG|IDL):[ \t]*(\S+)[ \t]*\n?", body)
        if head:
            yield full_name(head[1], head[1]), body[head.end() :]
        elif number == 0:
            yield name, body
        elif body.strip():
            raise DefinitionError(f"the definition of {name} has a part without a name")


def _from_msg(owner: str, body: str) -> tuple[Field, ...]:
    fields = []
    for line in body.splitlines():
        line = line.strip()
        if not line or line.startswith(("#", "@")):
            continue
        found = LINE.fullmatch(line)
        if found is None:
            why = "a service, which has no message of its own" if line == "---" else f"the line {line[:80]!r}"
            raise DefinitionError(f"the definition of {owner} cannot be read: {why}")
        if (found["rest"] or "").lstrip().startswith("="):  # a constant
            continue
        count = None if found["array"] is None else int(found["count"] or 0)
        fields.append(Field(found["name"], full_name(found["type"], owner), count))
    return tuple(fields)


def _from_idl(body: str) -> dict[str, tuple[Field, ...]]:
    from rosbags.typesys import TypesysError, get_types_from_idl

    try:
        found = get_types_from_idl(body)
    except (TypesysError, AssertionError, LookupError, ValueError, RecursionError) as error:
        raise DefinitionError(f"an IDL definition cannot be read: {str(error)[:200]}") from None
    return {name: _from_store(definition) for name, definition in found.items()}


def _from_store(definition: object) -> tuple[Field, ...]:
    return tuple(_field(name, kind) for name, kind in definition[1])  # type: ignore[index]


def _field(name: str, kind: tuple) -> Field:
    from rosbags.interfaces import Nodetype

    if kind[0] == Nodetype.BASE:
        return Field(name, kind[1][0])
    if kind[0] == Nodetype.NAME:
        return Field(name, kind[1])
    inner, size = kind[1]
    return Field(name, _field(name, inner).type, size if kind[0] == Nodetype.ARRAY else 0)


def _checked(name: str, fields: Mapping[str, tuple[Field, ...]]) -> Types:
    least: dict[str, int] = {}
    _measure(name, fields, least, 0)
    reached = {each: fields[each] for each in least}
    return Types(reached, least, {each: run for each in reached if (run := _run(reached[each])) is not None})


def _run(fields: tuple[Field, ...]) -> tuple[str, int] | None:
    kinds = [PRIMITIVES.get(field.type) if field.count is None else None for field in fields]
    sizes = {kind[1] if kind else None for kind in kinds}
    if not kinds or None in sizes or len(sizes) > 1:
        return None
    return "".join(kind[0] for kind in kinds if kind), next(kind[1] for kind in kinds if kind)


def _measure(name: str, fields: Mapping[str, tuple[Field, ...]], least: dict[str, int], depth: int) -> int:
    """Fewest bytes of a type; fills in those of all types under it."""
    if name in least:
        return least[name]
    if name not in fields:
        raise DefinitionError(f"the type {name} is used but not defined")
    if depth > DEPTH:
        raise DefinitionError(f"the type {name} lies {DEPTH} levels deep or holds itself")
    total = 0
    for field in fields[name]:
        if field.type in PRIMITIVES:
            size = PRIMITIVES[field.type][1]
        elif field.type == "string":
            size = 4
        elif field.type == "wstring":
            raise DefinitionError(f"{name}.{field.name} is a wstring, whose bytes differ between ROS 2's middlewares")
        else:
            size = _measure(field.type, fields, least, depth + 1)
        total += size if field.count is None else size * field.count or 4
    least[name] = max(total, 1)
    return least[name]
