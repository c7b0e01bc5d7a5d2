"""Tensors on disk with what they are: safetensors and JSON, written whole or not at all, checked when read.

Models of every room and the states of their training are kept so.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.staging import remove_stale, staged_folder

__all__ = [
    "CheckpointError",
    "TrainingState",
    "read_description",
    "read_state",
    "read_tensors",
    "write_folder",
    "write_state",
]

FORMAT = 1
MISSING = "give the folder that its training printed"


class CheckpointError(ValueError):
    """A checkpoint is missing, damaged, or of another kind."""


@dataclass(frozen=True)
class TrainingState:
    """Everything a training run continues from.

    Attributes:
        step: Updates done.
        tensors: All tensors by name: weights, moving average, optimiser moments.
    """

    step: int
    tensors: dict[str, Tensor]


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


def read_description(folder: Path, name: str, missing: str = MISSING) -> dict[str, Any]:
    """What `write_folder` was told.

    Args:
        folder: Its folder.
        name: Of its files.
        missing: What to do where there is none.

    Raises:
        CheckpointError: Missing, damaged, or of another format.
    """
    file = folder / f"{name}.json"
    try:
        described = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"no checkpoint in {folder}: it has no {file.name}; {missing}") from None
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


def _state_folders(run: Path) -> list[Path]:
    return sorted((run / "checkpoints").glob("step-*"))
