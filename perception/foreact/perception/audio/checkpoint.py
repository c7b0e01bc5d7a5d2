"""Speech models on disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import torch

from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.perception.audio.model import SpeechModel, SpeechModelConfig
from foreact.perception.audio.streams import Vocabulary
from foreact.perception.tensor_folder import CheckpointError, read_description, read_tensors, write_folder

__all__ = ["load_speech_model", "save_speech_model"]

NAME = "speech"


def save_speech_model(path: Path, model: SpeechModel, about: Mapping[str, JSON] | None = None) -> None:
    """Write a model that `load_speech_model` reads; an existing one is replaced whole.

    Args:
        path: Folder of the model.
        model: What to write.
        about: Where it comes from, for people.
    """
    described = {
        "model": dataclasses.asdict(model.config),
        "words": list(model.vocabulary.words),
        "about": dict(about or {}),
    }
    write_folder(path, NAME, model.state_dict(), described)


def load_speech_model(path: Path, device: str | torch.device = "cpu") -> SpeechModel:
    """Read a model in evaluation mode; its weights take no gradients.

    Args:
        path: A folder written by `save_speech_model`, or a run folder, whose `model` it then takes.
        device: Where to put it.

    Raises:
        CheckpointError: Missing, truncated, altered, or not a speech model.
    """
    folder = path / "model" if (path / "model" / f"{NAME}.json").exists() else path
    described = read_description(folder, NAME, "train one: foreact train speech=tiny data=... out=...")
    try:
        config = strictjson.decode(SpeechModelConfig, described["model"], "model")
        model = config.build(Vocabulary(tuple(described["words"])))
        model.load_state_dict(read_tensors(folder, NAME, described))
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder} does not hold a speech model: {error}") from error
    return model.to(device).eval().requires_grad_(False)
