"""Encoders on disk: their weights, and what pictures they take."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.episodes.runfolder import jsonable
from foreact.perception.omnivorous.model import KINDS, TAKES, EncoderConfig, OmnivorousEncoder
from foreact.perception.tensor_folder import CheckpointError, read_description, read_tensors, write_folder

__all__ = ["load_encoder", "read_about", "save_encoder"]

NAME = "encoder"
VERSION = 1
MISSING = "train one: foreact train encoder=tiny data=SET out=RUN"


def save_encoder(
    path: Path, config: EncoderConfig, tensors: Mapping[str, Tensor], about: Mapping[str, JSON] | None = None
) -> None:
    """Write an encoder that `load_encoder` reads; an existing one is replaced whole.

    Args:
        path: Folder of the encoder.
        config: Sizes.
        tensors: Its state dictionary.
        about: Where it comes from, for people and for evaluation.
    """
    takes = {kind: TAKES[kind][0] for kind in KINDS}
    described = {"version": VERSION, "encoder": jsonable(config), "takes": takes, "about": jsonable(dict(about or {}))}
    write_folder(path, NAME, tensors, described)


def load_encoder(path: Path, device: str | torch.device = "cpu") -> OmnivorousEncoder:
    """Read an encoder in evaluation mode; its weights take no gradients.

    Args:
        path: A folder written by `save_encoder`, or a run folder, whose `model` it then takes.
        device: Where to put it.

    Raises:
        CheckpointError: Missing, truncated, altered, of another version, or no encoder.
    """
    folder = _folder(path)
    described = _described(folder)
    try:
        config = strictjson.decode(EncoderConfig, described["encoder"], f"{NAME}.json")
        encoder = config.build(pretrained=False)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / NAME}.json does not describe an encoder: {error}") from error
    tensors = read_tensors(folder, NAME, described)
    try:
        encoder.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: the weights do not fit the description: {error}") from error
    return encoder.to(device).eval().requires_grad_(False)


def read_about(path: Path) -> dict[str, Any]:
    """What an encoder says about where it comes from, with the hash of its weights.

    Args:
        path: As `load_encoder` takes it.

    Raises:
        CheckpointError: Missing or damaged.
    """
    described = _described(_folder(path))
    return {**described.get("about", {}), "sha256": described.get("sha256")}


def _described(folder: Path) -> dict[str, Any]:
    described = read_description(folder, NAME, MISSING)
    if described.get("version") != VERSION:
        raise CheckpointError(
            f"{folder} holds an encoder of version {described.get('version')}, this program reads {VERSION}; {MISSING}"
        )
    takes = {kind: TAKES[kind][0] for kind in KINDS}
    if described.get("takes") != takes:
        raise CheckpointError(f"{folder} takes other pictures: {described.get('takes')}, this program gives {takes}")
    return described


def _folder(path: Path) -> Path:
    return path / "model" if (path / "model" / f"{NAME}.json").exists() else path
