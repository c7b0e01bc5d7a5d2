"""One frame becomes one latent: a stem for each kind of picture, convolutions that they share, a projector.

Any of the kinds can be missing: stems of those that are there are averaged, and in training kinds are left out at
random, so that a robot without a depth camera can use the same weights. The projector ends in batch normalisation,
which lets SIGReg move the latents freely (Maes et al. 2026, "LeWorldModel", section 3). Shape letters: N = frames,
W = side [px], D = latent elements.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from foreact.worldmodels.pixels.pictures import STREAMS

__all__ = ["EncoderConfig", "FrameEncoder", "kinds_left", "planes"]

FARTHEST = 10_000.0  # [mm]
PALETTE = 64  # kinds of segments that the encoder tells apart
SPREAD = 37  # odd, so that geoms with neighbouring numbers get different entries
COLOURS = 4  # numbers that a segment is shown as


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of the encoder.

    Attributes:
        latent: D.
        channels: Widths of the stem (a quarter of the side) and of further convolutions, each halving the side.
        hidden: Width of the projector's inner layer.
        kinds: What it may see, of `rgb`, `depth` and `segmentation`.

    Raises:
        ValueError: A size is not positive, or a kind is unknown.
    """

    latent: int = 64
    channels: tuple[int, ...] = (32, 64, 96)
    hidden: int = 256
    kinds: tuple[str, ...] = ("rgb", "depth", "segmentation")

    def __post_init__(self) -> None:
        if min(self.latent, self.hidden, *self.channels) < 1 or not 1 <= len(self.channels) <= 3:
            raise ValueError(
                f"latent={self.latent}, hidden={self.hidden}, channels={self.channels}: expected sizes > 0"
            )
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

    def __init__(self, config: EncoderConfig, side: int) -> None:
        super().__init__()
        self.config = config
        inputs = {"rgb": 3, "depth": 1, "segmentation": COLOURS}
        first = config.channels[0]
        self.stems = nn.ModuleDict({name: nn.Conv2d(inputs[name], first, 6, 4, padding=1) for name in config.kinds})
        self.palette = nn.Embedding(PALETTE, COLOURS)
        self.trunk = nn.ModuleList(
            nn.Conv2d(before, after, 3, 2, padding=1)
            for before, after in zip(config.channels, config.channels[1:], strict=False)
        )
        cells = (side // 4 // 2 ** len(self.trunk)) ** 2
        self.inner = nn.Linear(config.channels[-1] * cells, config.hidden)
        self.outer = nn.Linear(config.hidden, config.latent)
        self.norm = nn.BatchNorm1d(config.latent)

    def forward(self, pictures: Mapping[str, Tensor], kept: Tensor | None = None) -> Tensor:
        """Latents, (N, D).

        Args:
            pictures: What `planes` gives, of one kind at least.
            kept: Which of the configured kinds each frame keeps, bool (N, kinds); None keeps what is given.

        Raises:
            ValueError: No kind that this encoder sees.
        """
        names = [name for name in self.config.kinds if name in pictures]
        if not names:
            raise ValueError(f"the encoder sees {', '.join(self.config.kinds)}, got {', '.join(pictures) or 'nothing'}")
        stems = [self.stems[name](self._input(name, pictures[name])) for name in names]
        features = torch.relu(_mean(stems, None if kept is None else kept[:, [self._place(name) for name in names]]))
        for layer in self.trunk:
            features = torch.relu(layer(features))
        return self.norm(self.outer(torch.relu(self.inner(features.flatten(1)))))

    def _input(self, name: str, values: Tensor) -> Tensor:
        if name != "segmentation":
            return values
        return self.palette(values * SPREAD % PALETTE).permute(0, 3, 1, 2)

    def _place(self, name: str) -> int:
        return self.config.kinds.index(name)


def _mean(stems: Sequence[Tensor], kept: Tensor | None) -> Tensor:
    """The mean of what is kept of each frame."""
    stacked = torch.stack(list(stems), dim=1)
    if kept is None:
        return stacked.mean(1)
    share = kept.to(stacked.dtype)
    share = share / share.sum(1, keepdim=True).clamp(min=1)
    return torch.einsum("nkchw,nk->nchw", stacked, share)
