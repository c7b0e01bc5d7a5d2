"""Actions of a chunk that are already decided when the chunk is computed, because the robot is executing them.

Source: Black et al. 2025, "Training-time action conditioning for efficient real-time chunking", arXiv 2512.05964.
Shape letters: B batch, H chunk length, A action elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

__all__ = ["Given", "known_rows"]


@dataclass(frozen=True)
class Given:
    """The decided beginning of each chunk, in network units.

    Attributes:
        chunk: The decided actions, 0 in rows that are not decided, (B, H, A).
        known: Which rows are decided, (B, H, 1).
    """

    chunk: Float[Tensor, "b h a"]
    known: Bool[Tensor, "b h 1"]

    @classmethod
    def of(cls, chunk: Float[Tensor, "b h a"], delay: Int[Tensor, " b"]) -> Given:
        """The first `delay` rows of a chunk; what stands in the others, even NaN, has no influence."""
        known = known_rows(delay, chunk.shape[1])
        return cls(torch.where(known, chunk, torch.zeros_like(chunk)), known)

    def vector(self) -> Float[Tensor, "b n"]:
        """All that is given as one vector: actions, then which rows are known, (B, H A + H); 0 if nothing is given."""
        return torch.cat([self.chunk.flatten(1), self.known.flatten(1).to(self.chunk.dtype)], dim=-1)

    def placed(self, chunk: Float[Tensor, "b h a"]) -> Float[Tensor, "b h a"]:
        """A chunk with its first rows replaced by what is given."""
        return torch.where(self.known, self.chunk, chunk)

    def open(self, mask: Float[Tensor, "b h"]) -> Float[Tensor, "b h"]:
        """A mask of steps without those that are given."""
        return mask * (~self.known.squeeze(-1)).to(mask.dtype)


def known_rows(delay: Int[Tensor, " b"], length: int) -> Bool[Tensor, "b h 1"]:
    """Rows of a chunk before its delay, (B, H, 1)."""
    return (torch.arange(length, device=delay.device)[None, :] < delay[:, None]).unsqueeze(-1)
