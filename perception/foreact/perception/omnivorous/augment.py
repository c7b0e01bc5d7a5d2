"""What training does to pictures: light and colour, windows, and the ways that a map may be shown.

Random numbers come from a generator on CPU, so that a resumed run draws the same. Shape letters: B pictures, H and W
height and width. Source of the ranges and of the mix: Kabra et al. 2026, arXiv 2602.24181, section 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from foreact.perception.omnivorous.palette import coloured, grey

__all__ = ["MapWays", "Window", "foreign", "mixed", "photometric", "shown", "windows"]

# rows: luma, then two axes of chroma in which hue is an angle (NTSC's YIQ)
TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
FOREIGN = {"depth": 1, "segmentation": 2}  # scenes further on in the batch
BRIGHTNESS, SATURATION, HUE, CONTRAST = 0.1, 0.2, 0.03, 0.2


@dataclass(frozen=True)
class MapWays:
    """How maps are shown in training, as shares.

    Attributes:
        grey: Three times the map, which is how retrieval is judged.
        foreign: In the colours of another scene's picture.
        own: In those of the same scene, as in the paper; this tells its colours, and matching may learn nothing else.
        mix: Largest share of the picture itself that is mixed into a map at the start of training; it leaks likewise.
        mix_until: Part of the training after which nothing is mixed any more; the share falls evenly until then.

    Raises:
        ValueError: Shares do not add up to 1, or a number is out of range.
    """

    grey: float = 1.0
    foreign: float = 0.0
    own: float = 0.0
    mix: float = 0.0
    mix_until: float = 0.5

    def __post_init__(self) -> None:
        shares = (self.grey, self.foreign, self.own)
        if min(shares) < 0 or not math.isclose(sum(shares), 1.0, abs_tol=1e-6):
            raise ValueError(f"ways: grey, foreign and own are {shares}, expected shares that add up to 1")
        if not 0 <= self.mix <= 1 or not 0 < self.mix_until <= 1:
            raise ValueError(f"ways: mix={self.mix}, mix_until={self.mix_until}: expected 0 to 1")

    def mix_at(self, done: float) -> float:
        """Largest share that is mixed in when so much of the training is done (0 to 1)."""
        return self.mix * max(0.0, 1 - done / self.mix_until)


def photometric(rgb: Float[Tensor, "b 3 h w"], generator: torch.Generator) -> Float[Tensor, "b 3 h w"]:
    """Other brightness, saturation, hue and contrast in each picture.

    Args:
        rgb: In [0, 1].
        generator: Where they are drawn from, on CPU.
    """
    draw = (2 * torch.rand(len(rgb), 4, generator=generator) - 1).to(rgb)[:, :, None]
    return adjusted(
        rgb, draw[:, 0] * BRIGHTNESS, 1 + draw[:, 1] * SATURATION, draw[:, 2] * HUE, 1 + draw[:, 3] * CONTRAST
    )


def adjusted(
    rgb: Float[Tensor, "b 3 h w"], brightness: Tensor, saturation: Tensor, hue: Tensor, contrast: Tensor
) -> Float[Tensor, "b 3 h w"]:
    """Add brightness, scale chroma by saturation, turn it by hue, scale about the mean by contrast.

    Args:
        rgb: In [0, 1].
        brightness: (B, 1), as all of them.
        saturation: 1 for no change.
        hue: Parts of a full turn.
        contrast: 1 for no change.
    """
    to = torch.tensor(TO_YIQ).to(rgb)
    cos, sin = (saturation * each(2 * math.pi * hue) for each in (torch.cos, torch.sin))
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    turn = torch.cat([one, zero, zero, zero, cos, -sin, zero, sin, cos], dim=1).view(-1, 3, 3)
    # x' = T^-1 diag(1, s R(hue)) T (x + b), then mean + c (x' - mean)
    turned = torch.linalg.inv(to) @ turn @ to @ (rgb.flatten(2) + brightness[:, :, None])
    mean = turned.mean((1, 2), keepdim=True)
    return (mean + contrast[:, :, None] * (turned - mean)).clamp(0, 1).view(rgb.shape)


@dataclass(frozen=True)
class Window:
    """Parts of pictures, as rows and columns to take: all kinds of pictures of a scene are cut alike.

    Attributes:
        rows: (B, H).
        columns: (B, W).
    """

    rows: Int[Tensor, "b h"]
    columns: Int[Tensor, "b w"]


def windows(count: int, side: int, zoom: float, flip: bool, generator: torch.Generator) -> Window:
    """Draw windows of pictures, with edges of `zoom` to 1 of theirs, half of them mirrored if asked for.

    Args:
        count: B.
        side: H = W [px].
        zoom: Least edge of a window over that of a picture.
        flip: Mirror half of them.
        generator: Where they are drawn from, on CPU.
    """
    draw = torch.rand(count, 4, generator=generator)
    edge = (zoom + (1 - zoom) * draw[:, :1]) * side
    steps = (torch.arange(side) + 0.5) / side
    rows, columns = (((side - edge) * draw[:, [axis]] + steps * edge).long() for axis in (1, 2))
    mirrored = (draw[:, 3:] < 0.5) & flip
    return Window(rows, torch.where(mirrored, columns.flip(1), columns))


def foreign(kind: str, pictures: Float[Tensor, "b ..."]) -> Float[Tensor, "b ..."]:
    """Pictures of other scenes of the batch, others for each kind of maps: the same for two kinds would match them."""
    return pictures.roll(FOREIGN[kind], 0)


def shown(
    kind: str, unit: Float[Tensor, "b h w"], rgb: Float[Tensor, "b 3 h w"], ways: MapWays, generator: torch.Generator
) -> Float[Tensor, "b 3 h w"]:
    """Show each map in a way that is drawn for it.

    Args:
        kind: Of the maps.
        unit: Maps in [0, 1].
        rgb: Pictures of the same scenes; another scene's are taken from among them.
        ways: Shares of the ways.
        generator: Where the way is drawn from, on CPU.
    """
    draw = torch.rand(len(unit), 1, 1, 1, generator=generator).to(unit)
    pictures = grey(unit)
    if ways.foreign:
        pictures = torch.where(draw < ways.foreign, coloured(unit, foreign(kind, rgb)), pictures)
    if ways.own:
        pictures = torch.where(draw >= 1 - ways.own, coloured(unit, rgb), pictures)
    return pictures


def mixed(
    pictures: Float[Tensor, "b 3 h w"], rgb: Float[Tensor, "b 3 h w"], most: float, generator: torch.Generator
) -> Float[Tensor, "b 3 h w"]:
    """Mix up to `most` of the picture of the same scene into that of a map, another share in each."""
    if not most:
        return pictures
    # x <- (1 - a) x + a rgb, a ~ U(0, most)
    return torch.lerp(pictures, rgb, most * torch.rand(len(rgb), 1, 1, 1, generator=generator).to(rgb))
