"""The door: plain values in, frozen dataclasses out. An unknown key or a wrong type stops here, with near matches."""

import dataclasses
import difflib
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

__all__ = ["DoorError", "build", "field_type", "key_names", "near"]


class DoorError(ValueError):
    """A configuration does not fit its dataclass; the text names the key, what was expected and what was given."""


def near(name: str, known: list[str]) -> str:
    """Say which known names are close to a mistyped one.

    Args:
        name: what was typed.
        known: what would have been right.

    Returns:
        " Did you mean ...?" with up to three names, or " Known: ..." when none is close.
    """
    tails = {candidate: candidate.rpartition(".")[2] for candidate in known}
    similar = difflib.get_close_matches(name.rpartition(".")[2], set(tails.values()), n=3, cutoff=0.6)
    close = [candidate for tail in similar for candidate in known if tails[candidate] == tail]
    if close:
        return f" Did you mean {' or '.join(close[:3])}?"
    return f" Known: {', '.join(sorted(known))}."


def build[ConfigT](config_type: type[ConfigT], values: Mapping[str, Any], where: str = "") -> ConfigT:
    """Build a frozen dataclass from plain values, checking every key and type.

    Args:
        config_type: a dataclass whose fields are bool, int, float, str, Path, Literal, tuples, dicts with text keys,
            optional or union types of these, or dataclasses. Dataclasses of a union are told apart by a field that is
            a Literal of one text in each of them; without it the first is meant.
        values: what the configuration files and the command line say; absent keys take the dataclass's defaults.
        where: dotted name of this dataclass inside the whole configuration.

    Raises:
        DoorError: an unknown key, a missing one, a wrong type, or a value that the dataclass itself refuses.
    """
    hints = get_type_hints(config_type)
    fields = {field.name: field for field in dataclasses.fields(_as_dataclass(config_type)) if field.init}
    for key in values:
        if key not in fields:
            known = [_join(where, name) for name in key_names(config_type)]
            raise DoorError(f"unknown key '{_join(where, key)}'.{near(_join(where, key), known)}")
    ready = {key: _convert(hints[key], value, _join(where, key)) for key, value in values.items()}
    missing = [_join(where, name) for name, field in fields.items() if name not in ready and _required(field)]
    if missing:
        typed = " ".join(f"{name}={_example(field_type(config_type, name, where))}" for name in missing)
        raise DoorError(f"{' and '.join(missing)} must be given. Type: {typed}")
    try:
        return config_type(**ready)
    except (TypeError, ValueError) as error:
        raise DoorError(f"{where}: {error}" if where else str(error)) from error


def key_names(config_type: type[Any]) -> list[str]:
    """List the dotted names of every key a configuration accepts, nested ones included."""
    return list(dict.fromkeys(name for name, _ in _leaves(config_type)))


def field_type(config_type: type[Any], key: str, where: str = "") -> Any | None:
    """Find the declared type of a dotted key, or None when the dataclass has no such key.

    Args:
        config_type: the dataclass.
        key: dotted name, such as "policy.width".
        where: prefix of `key` that stands for `config_type` itself.
    """
    return dict(_leaves(config_type)).get(key.removeprefix(f"{where}.") if where else key)


def _leaves(config_type: type[Any]) -> Iterator[tuple[str, Any]]:
    hints = get_type_hints(config_type)
    for field in dataclasses.fields(_as_dataclass(config_type)):
        hint = hints[field.name]
        yield field.name, hint
        for member in _members(hint):
            if dataclasses.is_dataclass(member):
                yield from ((f"{field.name}.{name}", inner) for name, inner in _leaves(_as_dataclass(member)))


def _as_dataclass(candidate: Any) -> Any:
    if not dataclasses.is_dataclass(candidate):
        raise TypeError(f"{candidate!r} is not a dataclass, so no configuration can be built from it")
    return candidate


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _join(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _convert(hint: Any, value: Any, where: str) -> Any:
    if len(_members(hint)) > 1:
        return _convert_union(hint, value, where)
    if dataclasses.is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _wrong(where, hint, value)
        return build(_as_dataclass(hint), value, where)
    origin = get_origin(hint)
    if origin is Literal:
        if value not in get_args(hint):
            options = [str(option) for option in get_args(hint)]
            raise DoorError(f"{where} must be one of {', '.join(options)}; got {value!r}.{near(str(value), options)}")
        return value
    if origin is tuple:
        return _convert_tuple(hint, value, where)
    if origin is dict:
        return _convert_dict(hint, value, where)
    return _convert_scalar(hint, value, where)


def _convert_union(hint: Any, value: Any, where: str) -> Any:
    members = [member for member in _members(hint) if member is not type(None)]
    if value is None and len(members) < len(_members(hint)):
        return None
    if len(members) == 1:
        return _convert(members[0], value, where)
    if isinstance(value, Mapping) and all(map(dataclasses.is_dataclass, members)):
        return build(_tagged(members, value, where), value, where)
    errors = []
    for member in members:
        try:
            return _convert(member, value, where)
        except DoorError as error:
            errors.append(str(error))
    raise DoorError(f"{where} fits none of its types: " + "; ".join(errors))


def _tagged(members: list[Any], value: Mapping[str, Any], where: str) -> Any:
    """The dataclass that the values name by the field that tells the members apart."""
    labels = [
        {name: get_args(hint)[0] for name, hint in get_type_hints(each).items() if _is_label(hint)} for each in members
    ]
    tag = next((name for name in labels[0] if all(name in label for label in labels)), None)
    if tag is None:
        raise TypeError(f"{where}: nothing tells {', '.join(map(_type_name, members))} apart")
    named = {label[tag]: each for label, each in zip(labels, members, strict=True)}
    wanted = value.get(tag, labels[0][tag])
    if wanted not in named:
        raise DoorError(
            f"{_join(where, tag)} must be one of {', '.join(named)}; got {wanted!r}.{near(str(wanted), list(named))}"
        )
    return named[wanted]


def _is_label(hint: Any) -> bool:
    return get_origin(hint) is Literal and len(get_args(hint)) == 1


def _convert_tuple(hint: Any, value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise DoorError(f"{where} must be a list, got {_shown(value)}. Type: {where}=[{value}]")
    kinds = get_args(hint)
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        kinds = (kinds[0],) * len(value)
    if len(kinds) != len(value):
        raise DoorError(f"{where} must have {len(kinds)} values, got {len(value)}: {list(value)}")
    return tuple(
        _convert(kind, item, f"{where}[{index}]") for index, (kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _convert_dict(hint: Any, value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(where, hint, value)
    return {str(key): _convert(get_args(hint)[1], item, f"{where}.{key}") for key, item in value.items()}


def _convert_scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Path and isinstance(value, str | Path):
        return Path(value).expanduser()
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (bool, int, float, str) and type(value) is hint:
        return value
    if hint is Any:
        return value
    raise _wrong(where, hint, value)


def _wrong(where: str, hint: Any, value: Any) -> DoorError:
    return DoorError(f"{where} must be {_type_name(hint)}, got {_shown(value)}. Type: {where}={_example(hint)}")


def _shown(value: Any) -> str:
    return f"{value!r} ({type(value).__name__})"


def _type_name(hint: Any) -> str:
    known = {bool: "true or false", int: "a whole number", float: "a number", str: "a text", Path: "a path"}
    if dataclasses.is_dataclass(hint):
        return f"a group of keys ({', '.join(field.name for field in dataclasses.fields(hint))})"
    return known.get(hint) or (hint.__name__ if isinstance(hint, type) else str(hint))


def _example(hint: Any) -> str:
    member = next((member for member in _members(hint) if member is not type(None)), hint)
    if get_origin(member) is Literal:
        return str(get_args(member)[0])
    if get_origin(member) is tuple:
        return f"[{_example(get_args(member)[0])},...]"
    examples = {bool: "true", int: "1", float: "0.5", str: "TEXT", Path: "PATH"}
    return examples.get(member, "...")
