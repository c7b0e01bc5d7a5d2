"""The kinds of policies by name. What training, checkpoints and the command line know of a policy begins here."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import Any

from foreact.episodes import strictjson
from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["ARCHITECTURES", "UnknownArchitecture", "architecture_of", "config_from_json", "config_type"]

FIRST = "keypoints"  # what checkpoints without the key are
ARCHITECTURES = {
    FIRST: "foreact.vla.policy:PolicyConfig",
    "transformer": "foreact.vla.transformer:TransformerConfig",
    "mlp": "foreact.vla.mlp:MLPConfig",
}
"""Where each architecture's configuration is."""

LATER: dict[str, dict[str, object]] = {FIRST: {"head.hidden": None, "head.prefix": 0, "head.prefix_noise": 0.0}}
"""Keys that older checkpoints lack, with what they meant then."""


class UnknownArchitecture(ValueError):
    """No architecture has this name."""


def config_type(name: str) -> type[Any]:
    """The configuration dataclass of an architecture.

    Raises:
        UnknownArchitecture: The name is unknown; near matches are listed.
    """
    if name not in ARCHITECTURES:
        near = difflib.get_close_matches(str(name), ARCHITECTURES, n=3)
        raise UnknownArchitecture(f"unknown architecture {name!r}; known: {', '.join(near or sorted(ARCHITECTURES))}")
    module, _, attribute = ARCHITECTURES[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def architecture_of(policy: ChunkPolicy) -> str:
    """The name of a policy's architecture."""
    return policy.config.architecture


def config_from_json(name: str, sizes: Mapping[str, Any]) -> Any:
    """A configuration from what a checkpoint says.

    Args:
        name: The architecture.
        sizes: The configuration as JSON values, without the architecture.

    Raises:
        UnknownArchitecture: The name is unknown.
        StrictJsonError: A key is missing or unknown, or a value has another type.
    """
    kind = config_type(name)
    complete: dict[str, Any] = {**sizes, "architecture": name}
    for path, value in LATER.get(name, {}).items():
        group, _, key = path.rpartition(".")
        if isinstance(complete.get(group), dict):
            complete[group] = {key: value, **complete[group]}
    return strictjson.decode(kind, complete, "policy")
