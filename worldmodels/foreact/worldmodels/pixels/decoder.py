"""A latent becomes pictures again, for people to look at: colours, depth and segments.

It is trained on latents that it cannot change. How each segment looks it knows from the start, as the mean of its
pixels at each place, so that it spends its weights on where things are. Beside a coarse picture a latent gives points,
each a bump of the size of a cell at its place, so that a small thing is drawn where it is. Shape letters: N = frames,
W = side [px], D = latent elements, L = labels, P = points, G = W / 4 = cells of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DecoderConfig", "Decoded", "FrameDecoder", "picture_loss", "segment_weights"]

PATCH = 4  # side of what one cell of the last layer draws [px]
FEWEST = 2.0  # pictures that the mean look of a segment counts as, at a place where it has seldom been seen
BALANCE = 0.5  # 0: each pixel counts alike, 1: each segment


@dataclass(frozen=True)
class DecoderConfig:
    """Sizes of the decoder.

    Attributes:
        channels: Widths at an eighth and at a quarter of the side.
        hidden: Width of the first layer.
        points: P.

    Raises:
        ValueError: Not two positive widths, or another size is not positive.
    """

    channels: tuple[int, int] = (48, 48)
    hidden: int = 256
    points: int = 24

    def __post_init__(self) -> None:
        if len(self.channels) != 2 or min(*self.channels, self.hidden, self.points) < 1:
            raise ValueError(f"decoder: expected two widths and sizes above 0, got {self}")


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

    looks: Tensor
    common: Tensor
    label_of: Tensor
    along: Tensor

    def __init__(self, config: DecoderConfig, latent: int, side: int, labels: tuple[int, ...]) -> None:
        super().__init__()
        coarse, fine = config.channels
        self.side, self.labels, self.points = side, labels, config.points
        self.hidden = nn.Linear(latent, config.hidden)
        self.places = nn.Linear(config.hidden, 2 * config.points)
        self.spread = nn.Linear(config.hidden, coarse * (side // 8) ** 2)
        self.coarse = nn.Conv2d(coarse, 4 * fine, 3, padding=1)
        self.fine = nn.Conv2d(fine + config.points, fine, 3, padding=1)
        self.draw = nn.Conv2d(fine, (4 + len(labels)) * PATCH**2, 1)
        nn.init.zeros_(self.draw.weight)
        assert self.draw.bias is not None
        nn.init.zeros_(self.draw.bias)
        self.register_buffer("looks", torch.zeros(len(labels), 4, side, side))
        self.register_buffer("common", torch.zeros(len(labels), side, side))
        found = torch.zeros(256, dtype=torch.int64)
        found[list(labels)] = torch.arange(len(labels))
        self.register_buffer("label_of", found)
        self.register_buffer("along", torch.arange(side // PATCH) + 0.5)

    def forward(self, latents: Tensor) -> Decoded:
        """Pictures of latents (N, D)."""
        hidden = F.silu(self.hidden(latents))
        coarse = torch.relu(self.spread(hidden)).unflatten(1, (-1, self.side // 8, self.side // 8))
        coarse = torch.relu(F.pixel_shuffle(self.coarse(coarse), 2))
        fine = torch.relu(self.fine(torch.cat([coarse, self._bumps(hidden)], dim=1)))
        drawn = F.pixel_shuffle(self.draw(fine), PATCH)
        logits = self.common + drawn[:, 4:]
        chances = torch.softmax(logits, 1)
        # rgbd(u) = sum_l p_l(u) looks_l(u) + what is drawn on top
        seen = torch.stack([(chances * plane).sum(1) for plane in self.looks.unbind(1)], dim=1) + drawn[:, :4]
        return Decoded(seen[:, :3], seen[:, 3:], logits)

    def _bumps(self, hidden: Tensor) -> Tensor:
        """One bump for each point, (N, P, G, G)."""
        places = len(self.along) * torch.sigmoid(self.places(hidden)).unflatten(1, (self.points, 2))
        # b(u, v) = exp(-(u - x)^2) exp(-(v - y)^2), in cells
        across, down = torch.exp(-((self.along - places[..., None]) ** 2)).unbind(2)
        return down[..., :, None] * across[..., None, :]

    @torch.no_grad()
    def know(self, pictures: Mapping[str, Tensor]) -> None:
        """Take from some pictures, as `planes` gives them, how often and how each segment is seen at each place."""
        labels, seen = self.label_of[pictures["segmentation"]], torch.cat([pictures["rgb"], pictures["depth"]], 1)
        for label in range(len(self.labels)):
            there = (labels == label)[:, None]
            count, total = there.sum(0), (seen * there).sum(0)
            # where a segment has hardly been seen it looks as it does elsewhere
            elsewhere = total.sum((1, 2)) / count.sum().clamp(min=1)
            self.looks[label] = (total + FEWEST * elsewhere[:, None, None]) / (count + FEWEST)
            self.common[label] = ((count[0] + 1) / (len(labels) + len(self.labels))).log()


def segment_weights(labels: Tensor, count: int) -> Tensor:
    """How much each pixel counts, more where a segment is small, 1 on average over a picture, (N, W, W).

    Args:
        labels: Places of pixels in the list of labels, int64 (N, W, W).
        count: L.
    """
    frames = len(labels)
    numbers = labels.flatten(1) + torch.arange(frames, device=labels.device)[:, None] * count
    pixels = torch.bincount(numbers.flatten(), minlength=frames * count).to(torch.float32)
    # w_i proportional to n_segment(i)^-b
    weights = pixels.clamp(min=1).pow(-BALANCE)[numbers]
    return (weights / weights.mean(1, keepdim=True)).view(labels.shape)


def picture_loss(decoder: FrameDecoder, drawn: Decoded, pictures: Mapping[str, Tensor]) -> Tensor:
    """Weighted squared errors of colours and depth and the cross-entropy of segments, added up.

    Args:
        decoder: Which drew them.
        drawn: What it drew, N frames.
        pictures: What it should have drawn, as `planes` gives them.
    """
    labels = decoder.label_of[pictures["segmentation"]]
    weight = segment_weights(labels, len(decoder.labels))
    colours = (weight[:, None] * (drawn.rgb - pictures["rgb"]) ** 2).mean()
    depth = (weight[:, None] * (drawn.depth - pictures["depth"]) ** 2).mean()
    segments = (weight * F.cross_entropy(drawn.logits, labels, reduction="none")).mean()
    return colours + depth + 0.1 * segments
