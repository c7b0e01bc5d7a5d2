"""A latent becomes pictures again, for people to look at: colours, depth and segments.

It is trained on latents that it cannot change. What all pictures have in common it knows from the start, as their mean,
so that it spends its weights on what moves. Shape letters: N = frames, W = side [px], D = latent elements, L = labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DecoderConfig", "Decoded", "FrameDecoder", "picture_loss"]

PATCH = 4  # side of what one cell of the last layer draws [px]
EMPHASIS = 20.0  # how much more a pixel counts that differs from the mean picture as far as it can


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of the decoder.

    Attributes:
        channels: Widths at an eighth and at a quarter of the side.

    Raises:
        ValueError: Not two positive widths.
    """

    channels: tuple[int, int] = (64, 48)

    def __post_init__(self) -> None:
        if len(self.channels) != 2 or min(self.channels) < 1:
            raise ValueError(f"channels={self.channels}: expected two widths above 0")


@dataclass(frozen=True)
class Decoded:
    """Pictures as tensors.

    Attributes:
        rgb: In [-1, 1] where the decoder is good, (N, 3, W, W).
        depth: Logarithm of [m], (N, 1, W, W).
        logits: Of each label, (N, L, W, W).
    """

    rgb: Tensor
    depth: Tensor
    logits: Tensor


class FrameDecoder(nn.Module):
    """Pictures from latents.

    Args:
        config: Sizes.
        latent: D.
        side: W.
        labels: Segments that it can draw: numbers as they stand in pictures, sorted.
    """

    mean_rgb: Tensor
    mean_depth: Tensor
    label_of: Tensor

    def __init__(self, config: DecoderConfig, latent: int, side: int, labels: tuple[int, ...]) -> None:
        super().__init__()
        coarse, fine = config.channels
        self.side, self.labels = side, labels
        self.spread = nn.Linear(latent, coarse * (side // 8) ** 2)
        self.coarse = nn.Conv2d(coarse, 4 * fine, 3, padding=1)
        self.fine = nn.Conv2d(fine, fine, 3, padding=1)
        self.draw = nn.Conv2d(fine, (4 + len(labels)) * PATCH**2, 1)
        nn.init.zeros_(self.draw.weight)
        assert self.draw.bias is not None
        nn.init.zeros_(self.draw.bias)
        self.register_buffer("mean_rgb", torch.zeros(3, side, side))
        self.register_buffer("mean_depth", torch.zeros(1, side, side))
        places = torch.zeros(256, dtype=torch.int64)
        places[list(labels)] = torch.arange(len(labels))
        self.register_buffer("label_of", places)

    def forward(self, latents: Tensor) -> Decoded:
        """Pictures of latents (N, D)."""
        features = torch.relu(self.spread(latents)).unflatten(1, (-1, self.side // 8, self.side // 8))
        features = torch.relu(F.pixel_shuffle(self.coarse(features), 2))
        features = features + torch.relu(self.fine(features))
        drawn = F.pixel_shuffle(self.draw(features), PATCH)
        return Decoded(self.mean_rgb + drawn[:, :3], self.mean_depth + drawn[:, 3:4], drawn[:, 4:])

    @torch.no_grad()
    def know(self, pictures: Mapping[str, Tensor]) -> None:
        """Take the mean of some pictures, as `planes` gives them, for what all pictures have in common."""
        self.mean_rgb.copy_(pictures["rgb"].mean(0))
        self.mean_depth.copy_(pictures["depth"].mean(0))


def picture_loss(decoder: FrameDecoder, drawn: Decoded, pictures: Mapping[str, Tensor]) -> Tensor:
    """Weighted squared errors of colours and depth and the cross-entropy of segments, added up.

    Args:
        decoder: Which drew them.
        drawn: What it drew, N frames.
        pictures: What it should have drawn, as `planes` gives them.
    """
    # small things that move count more than a large table that does not: w = 1 + c |x - mean|
    away = (pictures["rgb"] - decoder.mean_rgb).abs().amax(1, keepdim=True)
    weight = 1 + EMPHASIS / 2 * away
    weight = weight / weight.mean()
    colours = (weight * (drawn.rgb - pictures["rgb"]) ** 2).mean()
    depth = (weight * (drawn.depth - pictures["depth"]) ** 2).mean()
    labels = decoder.label_of[pictures["segmentation"]]
    segments = (weight[:, 0] * F.cross_entropy(drawn.logits, labels, reduction="none")).mean()
    return colours + depth + 0.1 * segments
