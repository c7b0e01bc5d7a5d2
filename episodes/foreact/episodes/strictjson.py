"""JSON without surprises: no NaN, no unknown or missing keys, no value of another type."""

import dataclasses
import json
import math
import types
import typing
from typing import Any

from foreact.episodes.outcome import JSON


class StrictJsonError(ValueError):
    """A JSON text or value that does not have the expected form; the message names the path inside it."""


def loads(text: str) -> Any:
    """Parse JSON text; NaN, infinities and repeated keys raise `StrictJsonError`."""
    try:
        return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except json.JSONDecodeError as error:
        raise StrictJsonError(f"not valid JSON: {error}") from error


def canonical(value: JSON) -> str:
    """One text per value: keys sorted, no white space, ASCII only; NaN and infinities raise `StrictJsonError`."""
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise StrictJsonError(f"cannot be written as JSON: {error}") from error


def decode[T](kind: type[T], value: object, path: str) -> T:
    """Build the dataclass `kind` from a parsed JSON value, checking every key and type on the way."""
    return _decode(kind, value, path)


def _refuse_constant(name: str) -> float:
    raise StrictJsonError(f"the number {name} is not allowed")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    repeated = sorted({key for key in keys if keys.count(key) > 1})
    if repeated:
        raise StrictJsonError(f"repeated key {repeated[0]!r}")
    return dict(pairs)


def _decode(kind: Any, value: object, path: str) -> Any:
    origin = typing.get_origin(kind)
    if dataclasses.is_dataclass(kind):
        return _decode_dataclass(kind, value, path)
    if origin in (types.UnionType, typing.Union):
        if value is None:
            return None
        (inner,) = [option for option in typing.get_args(kind) if option is not type(None)]
        return _decode(inner, value, path)
    if origin is tuple:
        return _decode_tuple(typing.get_args(kind), value, path)
    if origin is dict:
        return _decode_dict(typing.get_args(kind)[1], value, path)
    if kind is JSON:
        return value
    if origin is typing.Literal:
        return _decode_choice(typing.get_args(kind), value, path)
    return _decode_scalar(kind, value, path)


def _decode_dataclass(kind: Any, value: object, path: str) -> Any:
    if not isinstance(value, dict):
        raise StrictJsonError(f"{path}: expected an object, got {value!r}")
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    missing = [name for name in names if name not in value]
    unknown = sorted(set(value) - set(names))
    if missing or unknown:
        raise StrictJsonError(f"{path}: missing keys {missing}, unknown keys {unknown}")
    return kind(**{name: _decode(hints[name], value[name], f"{path}.{name}") for name in names})


def _decode_dict(kind: Any, value: object, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise StrictJsonError(f"{path}: expected an object, got {value!r}")
    return {name: _decode(kind, item, f"{path}.{name}") for name, item in value.items()}


def _decode_tuple(args: tuple[Any, ...], value: object, path: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise StrictJsonError(f"{path}: expected a list, got {value!r}")
    kinds = [args[0]] * len(value) if args[-1] is Ellipsis else list(args)
    if len(kinds) != len(value):
        raise StrictJsonError(f"{path}: expected {len(kinds)} items, got {len(value)}")
    return tuple(
        _decode(kind, item, f"{path}[{index}]") for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _decode_choice(choices: tuple[Any, ...], value: object, path: str) -> object:
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise StrictJsonError(f"{path}: expected one of {list(choices)}, got {value!r}")
    return value


def _decode_scalar(kind: type, value: object, path: str) -> object:
    # JSON has one kind of number, so 80 is accepted where a float is wanted; True is never a number.
    if kind is float and type(value) is int:
        value = float(value)
    if type(value) is not kind:
        raise StrictJsonError(f"{path}: expected {kind.__name__}, got {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise StrictJsonError(f"{path}: must be finite, got {value!r}")
    return value
