"""World models on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foreact.episodes.outcome import JSON
from foreact.perception.tensor_folder import CheckpointError, read_description, read_tensors, write_folder
from foreact.worldmodels.models.registry import config_from_json
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.models.trajectory import ModelConfig, TrajectoryModel

__all__ = ["load_model", "read_about", "save_model"]

VERSION = 2  # 1 told outcomes by layers of the predictor


def save_model(
    path: Path,
    config: ModelConfig,
    signature: Signature,
    tensors: Mapping[str, Tensor],
    about: Mapping[str, JSON] | None = None,
) -> None:
    """Write a model that `load_model` reads; an existing one is replaced whole.

    Args:
        path: Folder of the model.
        config: Sizes.
        signature: What it is made for.
        tensors: Its state dictionary, the normaliser's numbers among them.
        about: Where it comes from, for people.
    """
    described = {
        "version": VERSION,
        "model": _fields(config),
        "signature": _fields(signature),
        "about": dict(about or {}),
    }
    write_folder(path, "model", tensors, described)


def load_model(path: Path, device: str | torch.device = "cpu") -> TrajectoryModel:
    """Read a model in evaluation mode; its weights take no gradients.

    Args:
        path: A folder written by `save_model`, or a run folder, whose `model` it then takes.
        device: Where to put it.

    Raises:
        CheckpointError: Missing, truncated, altered, of another version, or not a world model.
    """
    folder = _model_folder(path)
    described = read_description(folder, "model")
    if (version := described.get("version", 1)) != VERSION:
        raise CheckpointError(
            f"{folder} holds a world model of version {version}, this program reads {VERSION}; "
            f"train it again: foreact train worldmodel=... data=... out=..."
        )
    try:
        config = config_from_json(described["model"])
        model = config.build(_signature(described["signature"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'model.json'} does not describe a world model: {error}") from error
    tensors = read_tensors(folder, "model", described)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: the weights do not fit the description: {error}") from error
    return model.to(device).eval().requires_grad_(False)


def read_about(path: Path) -> dict[str, Any]:
    """What a model says about where it comes from, and its `kind`.

    Args:
        path: As `load_model` takes it.

    Raises:
        CheckpointError: Missing or damaged.
    """
    described = read_description(_model_folder(path), "model")
    return {"kind": described["model"]["kind"], **described.get("about", {})}


def _model_folder(path: Path) -> Path:
    return path / "model" if (path / "model" / "model.json").exists() else path


def _fields(each: Any) -> dict[str, Any]:
    return dataclasses.asdict(each)


def _signature(described: Mapping[str, Any]) -> Signature:
    values: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in described.items()}
    return Signature(**values)
