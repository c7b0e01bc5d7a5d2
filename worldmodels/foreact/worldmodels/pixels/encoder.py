"""One frame becomes one latent: convolutions, points beside them that say where something is, a projector.

Any of the kinds of pictures can be missing: the first layer takes the mean of those that are there, and in training
kinds are left out at random, so that a robot without a depth camera can use the same weights. Points are expected
places under a softmax over cells (Finn et al. 2016, "Deep spatial autoencoders for visuomotor learning", section IV):
a thing of a few pixels moves a point as far as a large one does. The projector ends in batch normalisation, which lets
SIGReg move the latents freely (Maes et al. 2026, "LeWorldModel", section 3). Shape letters: N = frames, W = side [px],
D = latent elements, P = points.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from foreact.worldmodels.pixels.pictures import STREAMS

__all__ = ["EncoderConfig", "FrameEncoder", "centres", "kinds_left", "planes"]

FARTHEST = 10_000.0  # [mm]
PALETTE = 64  # kinds of segments that the encoder tells apart
SPREAD = 37  # odd, so that geoms with neighbouring numbers get different entries
PLANES = {"rgb": 3, "depth": 1, "segmentation": 4}  # numbers that a pixel is shown as
SHARPNESS = 4.0  # of fresh points: with less, each stands at the centre of every picture
REACH = 4.0  # what points are multiplied by, which move little at first


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of the encoder.

    Attributes:
        latent: D.
        channels: Widths of the first layer (a quarter of the side) and of further convolutions, each halving the side.
        hidden: Width of the projector's inner layer.
        points: P.
        kinds: What it may see, of `rgb`, `depth` and `segmentation`.

    Raises:
        ValueError: A size is not positive, or a kind is unknown.
    """

    latent: int = 64
    channels: tuple[int, ...] = (32, 64, 96)
    hidden: int = 256
    points: int = 24
    kinds: tuple[str, ...] = ("rgb", "depth", "segmentation")

    def __post_init__(self) -> None:
        if min(self.latent, self.hidden, self.points, *self.channels) < 1 or not 1 <= len(self.channels) <= 3:
            raise ValueError(f"encoder: expected sizes above 0 and one to three widths, got {self}")
        if not self.kinds or not set(self.kinds) <= set(STREAMS) or len(set(self.kinds)) < len(self.kinds):
            raise ValueError(f"kinds={list(self.kinds)}: choose from {', '.join(STREAMS)}, each once")


def planes(pictures: Mapping[str, np.ndarray]) -> dict[str, Tensor]:
    """Pictures as an encoder takes them and a decoder is compared with.

    Args:
        pictures: `rgb` (..., W, W, 3) uint8, `depth` (..., W, W) uint16 [mm], `segmentation` (..., W, W) uint8.

    Returns:
        `rgb` (N, 3, W, W) in [-1, 1], `depth` (N, 1, W, W), the logarithm of [m] with nothing seen as far away, and
        `segmentation` (N, W, W) int64, N being all leading axes.

    Raises:
        ValueError: A kind is unknown, of another type or not square.
    """
    found: dict[str, Tensor] = {}
    for name, values in pictures.items():
        if name not in STREAMS:
            raise ValueError(f"pictures of kind {name!r} are unknown; there are {', '.join(STREAMS)}")
        dtype, channels = STREAMS[name]
        square = values.shape[: -1 if channels else None][-2:]
        if (
            str(values.dtype) != dtype
            or len(square) < 2
            or square[0] != square[1]
            or channels not in (0, values.shape[-1])
        ):
            raise ValueError(f"{name}: expected square pictures of {dtype}, got {values.dtype} {values.shape}")
        found[name] = _plane(name, values.reshape(-1, *square, *((channels,) if channels else ())))
    return found


def _plane(name: str, values: np.ndarray) -> Tensor:
    if name == "rgb":
        return torch.from_numpy(values).permute(0, 3, 1, 2).float() / 127.5 - 1
    if name == "depth":
        far = torch.from_numpy(values.astype(np.float32))
        return torch.where(far > 0, far, FARTHEST).clamp(1.0, FARTHEST)[:, None].div(1000).log()
    return torch.from_numpy(values.astype(np.int64))


def centres(side: int) -> Tensor:
    """Places (x, y) of the cells of a square picture, row by row, from -1 to 1, x to the right and y down, (side^2, 2).

    Args:
        side: Cells of a row.
    """
    along = (torch.arange(side) + 0.5) * 2 / side - 1
    return torch.stack([along.repeat(side), along.repeat_interleave(side)], dim=1)


def kinds_left(count: int, kinds: int, generator: torch.Generator) -> Tensor:
    """Which kinds of pictures are kept: all for half of the samples, one for the others; bool (count, kinds).

    Args:
        count: Samples.
        kinds: Number of kinds.
        generator: Where it is drawn from.
    """
    every = torch.rand(count, 1, generator=generator) < 0.5
    single = torch.randint(0, kinds, (count, 1), generator=generator) == torch.arange(kinds)
    return every | single


class FrameEncoder(nn.Module):
    """Latents of frames.

    Args:
        config: Sizes.
        side: W.
    """

    palette: Tensor
    cells: Tensor

    def __init__(self, config: EncoderConfig, side: int) -> None:
        super().__init__()
        self.config = config
        first, grid = config.channels[0], side // 4
        self.stem = nn.Conv2d(sum(PLANES[name] for name in config.kinds), first, 6, 4, padding=1)
        self.near = nn.Conv2d(first, first, 3, padding=1)
        self.heat = nn.Conv2d(first, config.points, 1, bias=False)
        nn.init.normal_(self.heat.weight, std=SHARPNESS / first**0.5)
        self.trunk = nn.ModuleList(
            nn.Conv2d(before, after, 3, 2, padding=1)
            for before, after in zip(config.channels, config.channels[1:], strict=False)
        )
        left = (grid // 2 ** len(self.trunk)) ** 2
        self.inner = nn.Linear(config.channels[-1] * left, config.hidden)
        self.outer = nn.Linear(config.hidden + 2 * config.points, config.latent, bias=False)
        self.norm = nn.BatchNorm1d(config.latent)
        # learning which numbers a segment is shown as would take more time than all convolutions
        self.register_buffer("palette", torch.randn(PALETTE, PLANES["segmentation"]))
        self.register_buffer("cells", REACH * centres(grid))

    def forward(self, pictures: Mapping[str, Tensor], kept: Tensor | None = None) -> Tensor:
        """Latents, (N, D); arguments as for `features`."""
        return self.norm(self.features(pictures, kept))

    def features(self, pictures: Mapping[str, Tensor], kept: Tensor | None = None) -> Tensor:
        """Latents that have not been normalised over a batch yet, (N, D).

        Args:
            pictures: What `planes` gives, of one kind at least.
            kept: Which of the configured kinds each frame keeps, bool (N, kinds); None keeps what is given.

        Raises:
            ValueError: No kind that this encoder sees.
        """
        seen = torch.relu(self.stem(self._seen(pictures, kept)))
        seen = seen + torch.relu(self.near(seen))
        # (x, y)_p = sum_c softmax(heat_p)_c (x, y)_c
        points = torch.softmax(self.heat(seen).flatten(2), -1) @ self.cells
        for layer in self.trunk:
            seen = torch.relu(layer(seen))
        inner = torch.relu(self.inner(seen.flatten(1)))
        return self.outer(torch.cat([inner, points.flatten(1)], dim=1))

    def _seen(self, pictures: Mapping[str, Tensor], kept: Tensor | None) -> Tensor:
        """Planes of all kinds side by side, what is missing 0 and the rest larger for it, (N, planes, W, W)."""
        names = self.config.kinds
        given = next((pictures[name] for name in names if name in pictures), None)
        if given is None:
            raise ValueError(f"the encoder sees {', '.join(names)}, got {', '.join(pictures) or 'nothing'}")
        there = torch.tensor([name in pictures for name in names], device=given.device).expand(len(given), -1)
        share = (there if kept is None else there & kept).to(torch.float32)
        share = share * (len(names) / share.sum(1, keepdim=True).clamp(min=1))
        parts = []
        for number, name in enumerate(names):
            if name in pictures:
                parts.append(self._plane(name, pictures[name]) * share[:, number, None, None, None])
            else:
                parts.append(self.cells.new_zeros(len(given), PLANES[name], *given.shape[-2:]))
        return torch.cat(parts, dim=1)

    def _plane(self, name: str, values: Tensor) -> Tensor:
        return self.palette[values * SPREAD % PALETTE].permute(0, 3, 1, 2) if name == "segmentation" else values
