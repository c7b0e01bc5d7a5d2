"""World models by name; importing this imports none of them."""

from __future__ import annotations

import dataclasses
import difflib
import importlib
from collections.abc import Mapping
from typing import Any, get_type_hints

from foreact.worldmodels.models.trajectory import ModelConfig

__all__ = ["MODELS", "UPDATES", "config_class", "config_from_json"]

MODELS: Mapping[str, str] = {
    "codes": "foreact.worldmodels.models.codes:CodesConfig",
    "copy-last": "foreact.worldmodels.models.regression:CopyConfig",
    "linear": "foreact.worldmodels.models.regression:LinearConfig",
    "deterministic": "foreact.worldmodels.models.regression:DeterministicConfig",
    "mdn": "foreact.worldmodels.models.mixture:MixtureConfig",
    "flow": "foreact.worldmodels.models.flow:FlowConfig",
    "rssm": "foreact.worldmodels.models.recurrent:RecurrentConfig",
    "tdmpc2": "foreact.worldmodels.models.tdmpc:EmbeddingConfig",
}
"""Name of each model and where its configuration is."""

UPDATES: Mapping[str, float] = {"flow": 1.4, "rssm": 1.6, "tdmpc2": 0.8}
"""Updates of a model for each of `codes`, where it is not one: none is compared half trained, none takes minutes."""


def config_class(kind: str) -> type[Any]:
    """The configuration's class of a model.

    Args:
        kind: Its name.

    Raises:
        ValueError: There is none; near matches are named.
    """
    if kind not in MODELS:
        near = difflib.get_close_matches(kind, MODELS, n=2)
        raise ValueError(f"no world model {kind!r}; did you mean: {', '.join(near or MODELS)}")
    module, _, name = MODELS[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def config_from_json(described: Mapping[str, Any]) -> ModelConfig:
    """A configuration from what `dataclasses.asdict` made of it.

    Args:
        described: Fields by name, `kind` among them.

    Raises:
        ValueError: The name or a field is unknown, or a value is refused.
    """
    return _built(config_class(str(described.get("kind"))), described)


def _built(target: type[Any], described: Mapping[str, Any]) -> Any:
    hints = get_type_hints(target)
    unknown = described.keys() - hints.keys()
    if unknown:
        raise ValueError(f"{target.__name__} has no {', '.join(sorted(unknown))}")
    nested = {
        name: _built(hints[name], value) if dataclasses.is_dataclass(hints[name]) else value
        for name, value in described.items()
    }
    return target(**nested)
