"""Recorded samples for the steps of a recipe: what importance, recovery and sparsity look at, and what training draws.

Shape letters: N samples, B batch, H chunk length, A action elements.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from foreact.deploy_edge.observations import half
from foreact.deploy_edge.runtime.compatibility import require_provided
from foreact.episodes.outcome import ProgressFn
from foreact.episodes.store import EpisodeStore, StoreError

if TYPE_CHECKING:
    from torch import Tensor

    from foreact.episodes.contract import PolicyContract
    from foreact.vla.chunk_policy import ChunkPolicy, TrainingDraws
    from foreact.vla.dataset import Demonstrations

__all__ = ["batches", "calibration_samples", "fixed_draws", "some_of", "training_samples"]

BATCH = 32


def calibration_samples(path: Path, contract: PolicyContract, count: int, seed: int) -> Demonstrations:
    """Samples at random frames of the half of a store's episodes that calibrates.

    Args:
        path: The store.
        contract: Of the policy.
        count: N at most.
        seed: Of the draw.

    Raises:
        StoreError, ContractMismatch: The store cannot be read or was recorded with another robot.
    """
    from foreact.vla.dataset import load_demonstrations

    store = EpisodeStore.open(path)
    require_provided(contract, store.contract, f"policy and store {path}")
    return some_of(load_demonstrations(store, half(store, "calibration"), contract), count, seed)


def some_of(samples: Demonstrations, count: int, seed: int) -> Demonstrations:
    """At most so many samples, drawn at random."""
    import torch

    from foreact.vla.dataset import Demonstrations

    rows = torch.randperm(len(samples), generator=torch.Generator().manual_seed(seed))[:count]
    return Demonstrations(
        {name: values[rows] for name, values in samples.inputs.items()},
        samples.chunk[rows],
        samples.mask[rows],
        {name: values[rows] for name, values in samples.landmarks.items()},
    )


def training_samples(
    path: Path | None, steps: list[str], contract: PolicyContract, progress: ProgressFn
) -> Demonstrations:
    """All samples of the training store.

    Args:
        path: What was typed as `train`.
        steps: Names of the steps that need it.
        contract: Of the policy.
        progress: Told of each stream read.

    Raises:
        StoreError: None was typed, or it cannot be read.
    """
    from foreact.vla.dataset import load_demonstrations

    if path is None:
        raise StoreError(
            f"the recipe trains ({', '.join(steps)}), so it needs the store that the policy was trained on: "
            "type train=data/train"
        )
    store = EpisodeStore.open(path)
    require_provided(contract, store.contract, f"policy and store {path}")
    return load_demonstrations(store, store.keys(), contract, progress)


def batches(samples: Demonstrations, size: int = BATCH) -> Iterator[dict[str, Tensor]]:
    """Samples in order, as `ChunkPolicy.loss` takes them."""
    for start in range(0, len(samples), size):
        rows = slice(start, start + size)
        batch = {name: values[rows] for name, values in samples.inputs.items()}
        batch |= {"chunk": samples.chunk[rows], "mask": samples.mask[rows]}
        yield batch | {f"landmarks.{name}": values[rows] for name, values in samples.landmarks.items()}


def fixed_draws(policy: ChunkPolicy, chunk: Tensor, seed: int) -> TrainingDraws:
    """Noise and moments of a seed, no shift, nothing decided before.

    Args:
        policy: What they are for.
        chunk: (B, H, A); only its shape counts.
        seed: Of the draws.
    """
    import torch

    from foreact.vla.chunk_policy import TrainingDraws

    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(chunk.shape, generator=generator)
    moment = torch.rand((len(chunk), 1), generator=generator)
    delay = torch.zeros(len(chunk), dtype=torch.int64) if policy.prefix else None
    return TrainingDraws(noise, moment, None, delay)
