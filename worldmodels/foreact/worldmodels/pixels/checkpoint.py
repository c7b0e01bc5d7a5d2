"""Models of pictures on disk: safetensors and JSON, written whole or not at all, checked when read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from foreact.episodes.outcome import JSON
from foreact.perception.tensor_folder import CheckpointError, read_description, read_tensors, write_folder
from foreact.worldmodels.models.predictor import PredictorConfig
from foreact.worldmodels.pixels.decoder import DecoderConfig
from foreact.worldmodels.pixels.encoder import EncoderConfig
from foreact.worldmodels.pixels.model import PixelModel, PixelModelConfig
from foreact.worldmodels.pixels.pictures import PictureSpec
from foreact.worldmodels.pixels.signature import PixelSignature

__all__ = ["load_pixel_model", "save_pixel_model"]

NAME = "pixels"


def save_pixel_model(path: Path, model: PixelModel, about: Mapping[str, JSON] | None = None) -> None:
    """Write a model that `load_pixel_model` reads; an existing one is replaced whole.

    Args:
        path: Folder of the model.
        model: Weights, sizes and what it is made for.
        about: Where it comes from, for people.
    """
    described = {"model": asdict(model.config), "signature": asdict(model.signature), "about": dict(about or {})}
    write_folder(path, NAME, model.state_dict(), described)


def load_pixel_model(path: Path, device: str | torch.device = "cpu") -> PixelModel:
    """Read a model in evaluation mode; its weights take no gradients.

    Args:
        path: A folder written by `save_pixel_model`, or a run folder, whose `model` it then takes.
        device: Where to put it.

    Raises:
        CheckpointError: Missing, truncated, altered, or not a model of pictures.
    """
    folder = path / "model" if (path / "model" / f"{NAME}.json").exists() else path
    described = read_description(folder, NAME)
    try:
        model = _config(described["model"]).build(_signature(described["signature"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / NAME}.json does not describe a model of pictures: {error}") from error
    try:
        model.load_state_dict(read_tensors(folder, NAME, described))
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: the weights do not fit the description: {error}") from error
    return model.to(device).eval().requires_grad_(False)


def _config(described: Mapping[str, Any]) -> PixelModelConfig:
    return PixelModelConfig(
        EncoderConfig(**_tuples(described["encoder"])),
        DecoderConfig(**_tuples(described["decoder"])),
        PredictorConfig(**_tuples(described["predictor"])),
    )


def _signature(described: Mapping[str, Any]) -> PixelSignature:
    fields = _tuples(described)
    return PixelSignature(**{**fields, "pictures": PictureSpec(**fields["pictures"])})


def _tuples(described: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(each) if isinstance(each, list) else each for name, each in described.items()}
