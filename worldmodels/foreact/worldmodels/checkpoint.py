"""World models and training states on disk: safetensors and JSON, written whole or not at all, checked when read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from foreact.episodes.outcome import JSON
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.staging import remove_stale, staged_folder
from foreact.worldmodels.models.registry import config_from_json
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.models.trajectory import ModelConfig, TrajectoryModel

__all__ = [
    "CheckpointError",
    "TrainingState",
    "load_model",
    "read_about",
    "read_description",
    "read_state",
    "read_tensors",
    "save_model",
    "write_folder",
    "write_state",
]

FORMAT = 1


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or of another kind."""


@dataclasses.dataclass(frozen=True)
class TrainingState:
    """Everything a training run continues from.

    Attributes:
        step: Updates done.
        tensors: All tensors by name: weights, moving average, optimiser moments.
    """

    step: int
    tensors: dict[str, Tensor]


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
    described = {"model": _fields(config), "signature": _fields(signature), "about": dict(about or {})}
    write_folder(path, "model", tensors, described)


def load_model(path: Path, device: str | torch.device = "cpu") -> TrajectoryModel:
    """Read a model in evaluation mode; its weights take no gradients.

    Args:
        path: A folder written by `save_model`, or a run folder, whose `model` it then takes.
        device: Where to put it.

    Raises:
        CheckpointError: Missing, truncated, altered, or not a world model.
    """
    folder = _model_folder(path)
    described = read_description(folder, "model")
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


def write_state(run: Path, state: TrainingState, keep: int = 2) -> None:
    """Write a training state under `run/checkpoints` and drop all but the newest.

    Args:
        run: The run folder.
        state: What to keep.
        keep: How many states stay.
    """
    write_folder(run / "checkpoints" / f"step-{state.step:07d}", "state", state.tensors, {"step": state.step})
    for old in _state_folders(run)[:-keep]:
        shutil.rmtree(old)


def read_state(run: Path) -> TrainingState | None:
    """The newest training state of a run, or None if it has none.

    Raises:
        CheckpointError: It is damaged; the message says which folder to delete to go back to the one before.
    """
    folders = _state_folders(run)
    if not folders:
        return None
    try:
        described = read_description(folders[-1], "state")
        return TrainingState(int(described["step"]), read_tensors(folders[-1], "state", described))
    except CheckpointError as error:
        raise CheckpointError(f"{error}. Delete {folders[-1]} to continue from the state before it") from error


def _model_folder(path: Path) -> Path:
    return path / "model" if (path / "model" / "model.json").exists() else path


def _fields(each: Any) -> dict[str, Any]:
    return dataclasses.asdict(each)


def _signature(described: Mapping[str, Any]) -> Signature:
    values: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in described.items()}
    return Signature(**values)


def _state_folders(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step-*"))


def write_folder(path: Path, name: str, tensors: Mapping[str, Tensor], described: Mapping[str, object]) -> None:
    """Write a folder with `name.safetensors` and `name.json`; an existing one is replaced whole.

    Args:
        path: The folder.
        name: Of its two files.
        tensors: By name.
        described: What they are; format and a hash are added.
    """
    from safetensors.torch import save

    content = save({key: tensor.detach().contiguous().cpu() for key, tensor in tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path.parent)  # of a writer that was killed
    if path.exists():
        shutil.rmtree(path)
    with staged_folder(path) as folder:
        (folder / f"{name}.safetensors").write_bytes(content)
        write_json_atomic(folder / f"{name}.json", {"format": FORMAT, **described, "sha256": digest})


def read_description(folder: Path, name: str) -> dict[str, Any]:
    """What `write_folder` was told.

    Args:
        folder: Its folder.
        name: Of its files.

    Raises:
        CheckpointError: Missing, damaged, or of another format.
    """
    file = folder / f"{name}.json"
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"no checkpoint in {folder}: it has no {file.name}; give the folder that training a world model printed"
        ) from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise CheckpointError(f"{file} is not a checkpoint of format {FORMAT}")
    return described


def read_tensors(folder: Path, name: str, described: Mapping[str, object]) -> dict[str, Tensor]:
    """The tensors beside a description.

    Args:
        folder: Their folder.
        name: Of its files.
        described: What `read_description` gave.

    Raises:
        CheckpointError: Missing, truncated or altered.
    """
    from safetensors.torch import load

    file = folder / f"{name}.safetensors"
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing") from None
    if hashlib.sha256(content).hexdigest() != described.get("sha256"):
        raise CheckpointError(f"{file} is truncated or altered: its content does not match the recorded hash")
    return load(content)
