"""Policies and training states on disk: safetensors and JSON, written whole or not at all, checked when read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from foreact.episodes.contract import PolicyContract
from foreact.episodes.outcome import JSON
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.staging import staged_folder

if TYPE_CHECKING:
    from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["CheckpointError", "TrainingState", "load_policy", "read_state", "save_policy", "write_state"]

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


def save_policy(path: Path, policy: ChunkPolicy, about: Mapping[str, JSON] | None = None) -> None:
    """Write a policy that `load_policy` reads; an existing one is replaced whole.

    Args:
        path: Folder of the policy.
        policy: Weights to keep.
        about: Where it comes from, for people.
    """
    sizes = dataclasses.asdict(policy.config)
    described = {"architecture": sizes.pop("architecture"), "policy": sizes}
    described |= {"contract": json.loads(policy.contract.to_json()), "about": dict(about or {})}
    _write_folder(path, "model", dict(policy.state_dict()), described)


def load_policy(path: Path, device: str | torch.device = "cpu") -> ChunkPolicy:
    """Read a policy in evaluation mode.

    Args:
        path: A folder written by `save_policy`, or a run folder of `foreact train`, whose `policy` it then takes.
        device: Where to put it.

    Raises:
        CheckpointError: Missing, truncated, altered, or not a policy.
    """
    from foreact.vla.architectures import FIRST, config_from_json

    folder = path / "policy" if (path / "policy" / "model.json").exists() else path
    described = _read_description(folder, "model")
    try:
        config = config_from_json(described.get("architecture", FIRST), described["policy"])
        contract = PolicyContract.from_json(json.dumps(described["contract"]))
        policy: ChunkPolicy = config.build(contract)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'model.json'} does not describe a policy: {error}") from error
    tensors = _read_tensors(folder, "model", described)
    try:
        policy.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: the weights do not fit the description: {error}") from error
    return policy.to(device).eval()


def write_state(run: Path, state: TrainingState, keep: int = 2) -> None:
    """Write a training state under `run/checkpoints` and drop all but the newest `keep`.

    Args:
        run: The run folder.
        state: What to keep.
        keep: How many states stay.
    """
    _write_folder(run / "checkpoints" / f"step-{state.step:07d}", "state", state.tensors, {"step": state.step})
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
        described = _read_description(folders[-1], "state")
        return TrainingState(int(described["step"]), _read_tensors(folders[-1], "state", described))
    except CheckpointError as error:
        raise CheckpointError(f"{error}. Delete {folders[-1]} to continue from the state before it") from error


def _state_folders(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step-*"))


def _write_folder(path: Path, name: str, tensors: dict[str, Tensor], described: Mapping[str, object]) -> None:
    from safetensors.torch import save

    content = save({key: tensor.detach().contiguous().cpu() for key, tensor in tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        shutil.rmtree(path)
    with staged_folder(path) as folder:
        (folder / f"{name}.safetensors").write_bytes(content)
        write_json_atomic(folder / f"{name}.json", {"format": FORMAT, **described, "sha256": digest})


def _read_description(folder: Path, name: str) -> dict[str, Any]:
    file = folder / f"{name}.json"
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(
            f"no checkpoint in {folder}: it has no {file.name}; make one with: foreact train"
        ) from None
    except ValueError as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise CheckpointError(f"{file} is not a checkpoint of format {FORMAT}")
    return described


def _read_tensors(folder: Path, name: str, described: Mapping[str, object]) -> dict[str, Tensor]:
    from safetensors.torch import load

    file = folder / f"{name}.safetensors"
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise CheckpointError(f"{file} is missing") from None
    if hashlib.sha256(content).hexdigest() != described.get("sha256"):
        raise CheckpointError(f"{file} is truncated or altered: its content does not match the recorded hash")
    return load(content)
