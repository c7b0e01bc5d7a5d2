"""The policy that is exported, and what goes into every kind of file: the original's chunks, golden inputs, stages.

Shape letters: H chunk length, A action elements.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.observations import Inputs
from foreact.deploy_edge.parity import ParityError
from foreact.deploy_edge.runtime.golden import golden_bytes

if TYPE_CHECKING:
    from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["finite_chunks", "golden_of", "longest_delay", "read_policy", "stage_table"]

GOLDEN = 12


def read_policy(path: Path) -> ChunkPolicy:
    """Read a trained policy for export.

    Args:
        path: Its folder, or the run folder of its training.

    Raises:
        CheckpointError: Missing, damaged, or a weight is NaN or infinite.
    """
    import torch

    from foreact.vla.checkpoint import CheckpointError, load_policy

    policy = load_policy(path)
    for name, tensor in policy.state_dict().items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            wrong = int((~torch.isfinite(tensor)).sum())
            raise CheckpointError(
                f"{path}: {wrong} of {tensor.numel()} values of {name} are NaN or infinite, so its training diverged; "
                "export an earlier checkpoint, or train again with a smaller learning rate"
            )
    return policy


def longest_delay(policy: ChunkPolicy) -> int:
    """How many decided actions [control steps] the policy can be told at most; 0 if it takes no prefix."""
    return policy.prefix


def stage_table(policy: ChunkPolicy) -> str:
    """The policy's stages as JSON: name, inputs, outputs, how often each runs and what it hands to its next run."""
    keys = ("name", "inputs", "outputs", "repeats", "loop")
    return json.dumps([{key: getattr(stage, key) for key in keys} for stage in policy.stages()])


def finite_chunks(
    original: Callable[[Inputs], np.ndarray], observations: Sequence[Inputs], where: Path
) -> list[np.ndarray]:
    """The original's chunk for each observation, (H, A).

    Raises:
        ParityError: One is not finite, so there is nothing to compare with.
    """
    chunks = [original(inputs) for inputs in observations]
    for number, chunk in enumerate(chunks):
        if not np.isfinite(chunk).all():
            raise ParityError(f"{where}: torch itself answers observation {number} with NaN; train it again")
    return chunks


def golden_of(observations: Sequence[Inputs], reference: Sequence[np.ndarray]) -> bytes:
    """A golden file's content from some of the observations, spread over all.

    Args:
        observations: Exactly the graph's inputs.
        reference: The original's chunk for each.
    """
    chosen = sorted({int(index) for index in np.linspace(0, len(observations) - 1, GOLDEN)})
    return golden_bytes([observations[index] for index in chosen], [reference[index] for index in chosen])
