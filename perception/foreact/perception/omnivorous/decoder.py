"""Pictures drawn from tokens, one linear layer a patch: what training asks tokens to know.

Shape letters: B scenes, N tokens, D width, H and W height and width, C channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["PictureDecoder", "borders", "class_weights", "dense_loss", "scene_losses"]


class PictureDecoder(nn.Module):
    """Draws planes of a scene from its tokens.

    Args:
        width: D.
        grid: Rows and columns of tokens.
        side: H = W of what is drawn, a multiple of the grid.
        channels: Planes of each name.

    Raises:
        ValueError: The side does not divide.
    """

    def __init__(self, width: int, grid: tuple[int, int], side: int, channels: Mapping[str, int]) -> None:
        super().__init__()
        if side % grid[0] or grid[0] != grid[1]:
            raise ValueError(f"decoder: pictures of {side} px do not divide into {grid[0]} x {grid[1]} tokens")
        self.grid, self.patch, self.channels = grid, side // grid[0], dict(channels)
        self.norm = nn.LayerNorm(width)
        self.draw = nn.Linear(width, self.patch**2 * sum(channels.values()))

    def forward(self, tokens: Float[Tensor, "b n d"]) -> dict[str, Float[Tensor, "b c h w"]]:
        """Planes by name."""
        cells = self.draw(self.norm(tokens)).float().transpose(1, 2).unflatten(2, self.grid)
        planes = nn.functional.pixel_shuffle(cells, self.patch)
        return dict(zip(self.channels, planes.split(list(self.channels.values()), dim=1), strict=True))


def borders(segments: Float[Tensor, "b h w"]) -> Float[Tensor, "b 1 h w"]:
    """1 where a pixel's segment is another than that of the pixel right of it or below, else 0."""
    found = torch.zeros_like(segments)
    found[:, :, :-1] = (segments[:, :, 1:] != segments[:, :, :-1]).float()
    found[:, :-1] = torch.maximum(found[:, :-1], (segments[:, 1:] != segments[:, :-1]).float())
    return found[:, None]


def class_weights(counts: Float[Tensor, " c"]) -> Float[Tensor, " c"]:
    """Weights of classes in a loss: one over the root of how often they are seen, 1 on average over pixels.

    Args:
        counts: Pixels of each class; a class that is never seen weighs nothing.
    """
    share = counts / counts.sum()
    weights = torch.where(share > 0, share.clamp(min=1e-12).rsqrt(), 0.0)
    return weights / (weights * share).sum()


def dense_loss(drawn: Float[Tensor, "b c h w"], classes: Int[Tensor, "b h w"], weights: Tensor) -> Float[Tensor, ""]:
    """Cross-entropy of pixels' classes, weighted by class."""
    each = nn.functional.cross_entropy(drawn, classes, weights, reduction="none")
    return each.mean()


def scene_losses(
    drawn: Mapping[str, Tensor], rgb: Float[Tensor, "b 3 h w"], depth: Float[Tensor, "b h w"], segments: Tensor
) -> dict[str, Float[Tensor, ""]]:
    """Errors of what was drawn: colours (squared, times 10), depth (absolute), borders (cross-entropy)."""
    found: dict[str, Tensor] = {}
    if "colours" in drawn:
        found["colours"] = 10 * (drawn["colours"] - rgb).square().mean()
    if "depth" in drawn:
        found["depth"] = (drawn["depth"][:, 0] - depth).abs().mean()
    if "borders" in drawn:
        found["borders"] = nn.functional.binary_cross_entropy_with_logits(drawn["borders"], borders(segments))
    return found
