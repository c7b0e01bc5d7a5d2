"""What aligns the kinds of pictures: matching of scenes by all kinds, and an anchor to a frozen teacher.

Shape letters: B scenes, T tokens of each, D width. Source: Kabra et al. 2026, arXiv 2602.24181, section 3; the matching
loss is InfoNCE (van den Oord et al. 2018) in both directions with a learned temperature (Radford et al. 2021).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

__all__ = ["PAIRS", "Temperature", "anchor", "matching", "own_tokens"]

PAIRS = (("rgb", "depth"), ("depth", "segmentation"), ("segmentation", "rgb"))
LARGEST = 100.0
FIRST = 1 / 0.07


class Temperature(nn.Module):
    """A learned factor on cosines, at most 100.

    Args:
        first: Where it begins.
    """

    def __init__(self, first: float = FIRST) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(first)))

    def forward(self) -> Float[Tensor, ""]:
        """The factor."""
        return self.log.exp().clamp(max=LARGEST)


def matching(
    first: Float[Tensor, "b d"],
    second: Float[Tensor, "b d"],
    factor: Tensor | float,
    left_out: Bool[Tensor, "b b"] | None = None,
) -> Float[Tensor, ""]:
    """How badly rows of one matrix find their partners among the rows of another; log B where nothing is known.

    Args:
        first: Features.
        second: Features, row i the partner of row i.
        factor: On cosines: one over the temperature.
        left_out: Pairs that count as neither, such as other tokens of the same picture.
    """
    first, second = (nn.functional.normalize(each.float(), dim=-1) for each in (first, second))
    scores = factor * first @ second.T
    if left_out is not None:
        scores = scores.masked_fill(left_out, -torch.inf)
    right = torch.arange(len(scores), device=scores.device)
    # - (log softmax_j(c a_i b_j)[i] + log softmax_i(c a_i b_j)[j]) / 2
    return (nn.functional.cross_entropy(scores, right) + nn.functional.cross_entropy(scores.T, right)) / 2


def own_tokens(count: int, tokens: int, device: torch.device | str = "cpu") -> Bool[Tensor, "n n"]:
    """True for two different tokens of one scene, N = B T: those are no negatives of each other.

    Args:
        count: B.
        tokens: T.
        device: Where.
    """
    scene = torch.arange(count, device=device).repeat_interleave(tokens)
    return (scene[:, None] == scene) & ~torch.eye(count * tokens, dtype=torch.bool, device=device)


def anchor(student: Float[Tensor, "*b d"], teacher: Float[Tensor, "*b d"]) -> Float[Tensor, ""]:
    """One minus the cosine between what student and frozen teacher make of the same picture, on average."""
    return 1 - nn.functional.cosine_similarity(student.float(), teacher.detach().float(), dim=-1).mean()
