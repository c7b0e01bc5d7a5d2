"""Tensors on disk with what they are; see `foreact.perception.tensor_folder`."""

from foreact.perception.tensor_folder import (
    CheckpointError,
    TrainingState,
    read_description,
    read_state,
    read_tensors,
    write_folder,
    write_state,
)

__all__ = [
    "CheckpointError",
    "TrainingState",
    "read_description",
    "read_state",
    "read_tensors",
    "write_folder",
    "write_state",
]
