"""Policies on disk; the states of their training are kept as those of all models are."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from foreact.episodes.contract import PolicyContract
from foreact.episodes.outcome import JSON
from foreact.perception.tensor_folder import (
    CheckpointError,
    TrainingState,
    read_description,
    read_state,
    read_tensors,
    write_folder,
    write_state,
)

if TYPE_CHECKING:
    from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["CheckpointError", "TrainingState", "load_policy", "read_state", "save_policy", "write_state"]

MISSING = "make one with: foreact train"


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
    write_folder(path, "model", dict(policy.state_dict()), described)


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
    described = read_description(folder, "model", MISSING)
    try:
        config = config_from_json(described.get("architecture", FIRST), described["policy"])
        contract = PolicyContract.from_json(json.dumps(described["contract"]))
        policy: ChunkPolicy = config.build(contract)
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / 'model.json'} does not describe a policy: {error}") from error
    tensors = read_tensors(folder, "model", described)
    try:
        policy.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: the weights do not fit the description: {error}") from error
    return policy.to(device).eval()
