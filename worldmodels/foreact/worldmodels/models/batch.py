"""States with their true futures as tensors, and random numbers that do not depend on the number of processes.

Shape letters: S = states, B = states of a batch, M = futures of each, T = control steps, O = observed elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
from torch import Tensor

from foreact.worldmodels.branches import Branches

__all__ = ["Batch", "Draws", "gather_sets"]


@dataclass(frozen=True)
class Batch:
    """Tensors of `Branches`, in its units.

    Attributes:
        context: (B, O).
        actions: (B, T, A).
        futures: (B, M, T, O).
        reward: (B, M, T).
        success: 0 or 1, (B, M, T).
        contact: 0 or 1, (B, M, T).
    """

    context: Tensor
    actions: Tensor
    futures: Tensor
    reward: Tensor
    success: Tensor
    contact: Tensor

    def __len__(self) -> int:
        return len(self.context)

    def rows(self, rows: Tensor) -> Batch:
        """Some states."""
        return Batch(*(getattr(self, each.name)[rows] for each in fields(self)))

    def chosen(self, futures: Tensor) -> Batch:
        """The same states with some of their futures."""
        branched = (values[:, futures] for values in (self.futures, self.reward, self.success, self.contact))
        return Batch(self.context, self.actions, *branched)

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(getattr(self, each.name).to(device, non_blocking=True) for each in fields(self)))


def gather_sets(sets: Sequence[Branches]) -> Batch:
    """All states of some sets, one after the other.

    Args:
        sets: Of one signature and with equally many futures of each state.
    """
    names = [each.name for each in fields(Batch)]
    joined = [np.concatenate([getattr(each, name) for each in sets]).astype(np.float32) for name in names]
    return Batch(*(torch.from_numpy(values) for values in joined))


class Draws:
    """Random numbers of one update, drawn for the batch of all processes; each takes its rows.

    Args:
        generator: On CPU, in the same state in every process.
        device: Where the numbers are put.
        rank: Number of this process.
        world: Number of processes.
    """

    def __init__(self, generator: torch.Generator, device: torch.device, rank: int = 0, world: int = 1) -> None:
        self.generator, self.device, self.rank, self.world = generator, device, rank, world

    def normal(self, *shape: int) -> Tensor:
        """Standard normal numbers; the first axis is the states of this process."""
        return self._mine(torch.randn(shape[0] * self.world, *shape[1:], generator=self.generator))

    def uniform(self, *shape: int) -> Tensor:
        """Numbers spread evenly over [0, 1); the first axis is the states of this process."""
        return self._mine(torch.rand(shape[0] * self.world, *shape[1:], generator=self.generator))

    def integers(self, below: int, *shape: int) -> Tensor:
        """Whole numbers from 0 to `below` - 1; the first axis is the states of this process."""
        return self._mine(torch.randint(below, (shape[0] * self.world, *shape[1:]), generator=self.generator))

    def gather(self, values: Tensor) -> Tensor:
        """Rows of all processes, with gradient; averaging gradients over processes afterwards is right."""
        if self.world == 1:
            return values
        from torch.distributed.nn.functional import all_gather

        return torch.cat(list(all_gather(values.contiguous())))

    def _mine(self, values: Tensor) -> Tensor:
        share = len(values) // self.world
        return values[self.rank * share : (self.rank + 1) * share].to(self.device)
