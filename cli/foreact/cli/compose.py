"""From what was typed to a plain dictionary: Hydra composes YAML and overrides, and no DictConfig leaves this file."""

import copy
import re
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from foreact.cli.door import DoorError, field_type, near

__all__ = ["compose", "group_options", "normalise"]

CONF = "foreact.cli.conf"


def group_options(command: str, key: str) -> list[str]:
    """List the named configurations of a key, such as tiny and base for `foreact train policy=`.

    Args:
        command: the command whose configuration is composed.
        key: dotted key.

    Returns:
        sorted names; empty when the key has no named configurations.
    """
    folder = resources.files(CONF).joinpath(command, *key.split("."))
    if not folder.is_dir():
        return []
    return sorted(Path(file.name).stem for file in folder.iterdir() if file.name.endswith(".yaml"))


def normalise(command: str, config_type: type[Any], override: str) -> str:
    """Rewrite one typed override in Hydra's grammar.

    A named configuration (`policy=tiny`) selects a YAML file; a text or a path is taken as typed, so that spaces, `~`
    and leading zeros need no second quoting, and so are the texts of a plain list; everything else is forced in, and
    the door checks it.

    Args:
        command: the command whose configuration is composed.
        config_type: the dataclass that will be built.
        override: `key=value`, or `~key` to remove a key that a YAML file sets.

    Raises:
        DoorError: it is neither, or the named configuration does not exist.
    """
    if override.startswith("~"):
        return override
    key, equals, value = override.partition("=")
    key = key.lstrip("+").strip()
    if not equals or not key:
        raise DoorError(f"'{override}' is not an override. Type key=value, such as out=data/x or tasks=[reach,push]")
    options = group_options(command, key)
    if options and value.replace("-", "_").isidentifier():
        if value not in options:
            raise DoorError(f"{key}={value}: there is no such named configuration.{near(value, options)}")
        return f"{command}/{key.replace('.', '/')}@{key}={value}"
    if _takes_text(field_type(config_type, key)) and _is_bare(value):
        return f"++{key}={_quoted(value)}"
    if field_type(config_type, key) in TEXT_LISTS and (words := re.fullmatch(r"\[([^\[\]'\"$\\]*)\]", value)):
        texts = [word.strip() for word in words[1].split(",") if word.strip()]
        return f"++{key}=[{','.join(map(_quoted, texts))}]"
    return f"++{key}={value}"


TEXT_LISTS = (tuple[str, ...], tuple[Path, ...])  # [00,1] are texts there, not numbers


def _quoted(text: str) -> str:
    # In Hydra's quotes a backslash is plain unless quotes follow it.
    return "'" + re.sub(r"(\\*)('|$)", lambda found: found[1] * 2 + found[2].replace("'", "\\'"), text) + "'"


def _takes_text(hint: Any) -> bool:
    return hint in (str, Path, str | None, Path | None)


def _is_bare(value: str) -> bool:
    return value != "null" and not value.startswith(("'", '"', "${"))


def compose(
    command: str, config_type: type[Any], overrides: Sequence[str], base: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Compose the configuration of a command.

    Args:
        command: its name; `conf/<command>.yaml` is read if there is one.
        config_type: the dataclass that will be built, asked for the types of keys.
        overrides: what was typed, in order; a later one wins.
        base: values from an earlier run's `run.json`, taken instead of the YAML file. A named configuration replaces
            all that the base says under its key.

    Returns:
        plain dictionaries, lists and values.

    Raises:
        DoorError: an override cannot be parsed, or names a YAML file that does not exist.
    """
    from hydra import compose as hydra_compose
    from hydra import initialize_config_module
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    ready = [_shielded(normalise(command, config_type, override)) for override in overrides]
    has_file = resources.files(CONF).joinpath(f"{command}.yaml").is_file()
    name = command if base is None and has_file else None
    if name is None:  # a named configuration replaces nothing then, so Hydra wants it added
        named = [override for override in ready if override.startswith(f"{command}/")]
        ready = [f"+{override}" if override in named else override for override in ready]
        base = None if base is None else _without(base, [override.partition("@")[2] for override in named])
    try:
        with initialize_config_module(CONF, version_base="1.3"):
            composed = hydra_compose(name, overrides=ready)
        if base is not None:
            composed = OmegaConf.merge(base, composed)
        return _plain(OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    except (HydraException, OmegaConfBaseException, OSError) as error:
        raise DoorError(_readable(error, overrides)) from error


def _without(base: dict[str, Any], named: Sequence[str]) -> dict[str, Any]:
    """The base without the keys that named configurations, `key=name`, replace."""
    left = copy.deepcopy(base)
    for override in named:
        *groups, last = override.partition("=")[0].split(".")
        inside: Any = left
        for group in groups:
            inside = inside.get(group, {})
        inside.pop(last, None)
    return left


SHIELD = "key."  # no folder of configurations is called so


def _shielded(override: str) -> str:
    """A key that is also the name of a folder of configurations, such as `train`, under a name that Hydra lets pass."""
    key = override.removeprefix("++").partition("=")[0]
    if not override.startswith("++") or not key.isidentifier() or not resources.files(CONF).joinpath(key).is_dir():
        return override
    return f"++{SHIELD}{override.removeprefix('++')}"


def _plain(container: Any) -> dict[str, Any]:
    plain = {str(key): value for key, value in container.items()}
    return plain | plain.pop(SHIELD.rstrip("."), {})


def _readable(error: Exception, overrides: Sequence[str]) -> str:
    lines = [line for line in str(error).splitlines() if "hydra.cc" not in line and "multirun" not in line]
    return "the overrides do not make a configuration: " + " ".join(overrides) + "\n" + "\n".join(lines)
