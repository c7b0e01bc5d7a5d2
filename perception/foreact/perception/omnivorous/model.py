"""The omnivorous encoder: colours, depth or segments as cameras give them, one or several, become the same tokens.

Shape letters: B scenes, H and W height and width, N tokens, M tokens after resampling, D width, L width of language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from foreact.perception.omnivorous.palette import fixed_keys, grey, unit_depth, unit_segments
from foreact.perception.omnivorous.resampler import ResamplerConfig
from foreact.perception.omnivorous.trunk import TrunkConfig

__all__ = ["KINDS", "EncoderConfig", "OmnivorousEncoder", "Seen", "kinds_left"]

KINDS = ("rgb", "depth", "segmentation")
WHOLE = (torch.uint8, torch.uint16, torch.int16, torch.int32, torch.int64)
TAKES: Mapping[str, tuple[str, tuple[torch.dtype, ...]]] = {
    "rgb": ("uint8 (B, H, W, 3)", (torch.uint8,)),
    "depth": ("whole millimetres (B, H, W), 0 where nothing was hit", WHOLE),
    "segmentation": ("whole numbers from 0 to 255 (B, H, W)", WHOLE),
}


@dataclass(frozen=True)
class Seen:
    """What was made of pictures.

    Attributes:
        tokens: Of patches, (B, N, D), or of the resampler's queries, (B, M, D).
        cls: What stands for the whole picture, (B, D).
    """

    tokens: Float[Tensor, "b n d"]
    cls: Float[Tensor, "b d"]


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of an encoder.

    Attributes:
        trunk: The transformer.
        resampler: Makes few tokens of many, and lets language steer; None for the tokens of patches.
    """

    trunk: TrunkConfig = field(default_factory=TrunkConfig)
    resampler: ResamplerConfig | None = None

    def build(self, pretrained: bool = True) -> OmnivorousEncoder:
        """Make the encoder, a named trunk with its weights unless `pretrained` is False."""
        return OmnivorousEncoder(self, pretrained)


class OmnivorousEncoder(nn.Module):
    """Encodes scenes from any of the `KINDS`.

    Args:
        config: Sizes.
        pretrained: Take the weights of a trunk that is known by name.
    """

    keys: Tensor

    def __init__(self, config: EncoderConfig, pretrained: bool = True) -> None:
        super().__init__()
        self.config = config
        self.trunk = config.trunk.build(pretrained)
        self.resampler = None if config.resampler is None else config.resampler.build(self.trunk.width)
        self.register_buffer("keys", fixed_keys(), persistent=False)

    @property
    def width(self) -> int:
        """D."""
        return self.trunk.width

    def see(self, pictures: Float[Tensor, "b 3 h w"]) -> Seen:
        """Tokens of patches of three-channel pictures in [0, 1], whatever they show."""
        cls, tokens = self.trunk(pictures)
        return Seen(tokens, cls)

    def planes(self, kind: str, pictures: Tensor) -> Float[Tensor, "b 3 h w"]:
        """Three channels in [0, 1] of what a camera gave: colours as they are, maps in grey.

        Args:
            kind: One of `KINDS`.
            pictures: As `TAKES` says.

        Raises:
            ValueError: No such kind, or another type or shape.
        """
        _check(kind, pictures)
        if kind == "rgb":
            return pictures.permute(0, 3, 1, 2).float() / 255
        whole = pictures.to(torch.int64)
        return grey(unit_depth(whole) if kind == "depth" else unit_segments(whole, self.keys))

    def encode(self, kind: str, pictures: Tensor) -> Seen:
        """Tokens of patches of one kind of pictures, as `planes` takes them."""
        return self.see(self.planes(kind, pictures))

    def forward(
        self,
        pictures: Mapping[str, Tensor],
        language: Float[Tensor, "b l"] | None = None,
        present: Mapping[str, Bool[Tensor, " b"]] | None = None,
    ) -> Seen:
        """Encode scenes from all kinds that are given, averaged, and resample if configured.

        Args:
            pictures: By kind, as `planes` takes them.
            language: What is asked for, if the resampler takes language.
            present: Scenes whose picture of a kind counts; all where a kind is not named.

        Raises:
            ValueError: No picture, one that does not fit, or a scene of which none counts.
        """
        if not pictures:
            raise ValueError(f"encoder: no pictures; give one or more of {', '.join(KINDS)}")
        each = [self.encode(kind, values) for kind, values in pictures.items()]
        counted = [None if present is None else present.get(kind) for kind in pictures]
        seen = fused(each, counted)
        return seen if self.resampler is None else Seen(self.resampler(seen.tokens, language), seen.cls)


def fused(each: Sequence[Seen], present: Sequence[Bool[Tensor, " b"] | None]) -> Seen:
    """Average what was made of several kinds of pictures of the same scenes.

    Args:
        each: Of every kind.
        present: Scenes that a kind counts for; None for all.

    Raises:
        ValueError: A scene has no kind at all, or numbers of scenes differ.
    """
    if len({seen.cls.shape for seen in each}) > 1:
        raise ValueError(f"encoder: {[len(seen.cls) for seen in each]} pictures of the kinds; give as many of each")
    if len(each) == 1 and present[0] is None:
        return each[0]
    first = each[0].cls
    every = torch.ones(len(first), dtype=torch.bool, device=first.device)
    counts = torch.stack([every if some is None else some for some in present]).to(first)
    total = counts.sum(0)
    if not torch.compiler.is_exporting() and bool((total == 0).any()):
        raise ValueError("encoder: a scene has no picture that counts")
    share = (counts / total)[:, :, None]
    cls = torch.stack([seen.cls for seen in each])
    tokens = torch.stack([seen.tokens for seen in each])
    return Seen((tokens * share[..., None]).sum(0), (cls * share).sum(0))


def kinds_left(count: int, kinds: int, generator: torch.Generator) -> Bool[Tensor, "k b"]:
    """Modality dropout: all kinds for half of the scenes, one for the others.

    Args:
        count: B.
        kinds: Number of kinds.
        generator: Where it is drawn from, on CPU.
    """
    every = torch.rand(1, count, generator=generator) < 0.5
    single = torch.randint(0, kinds, (1, count), generator=generator) == torch.arange(kinds)[:, None]
    return every | single


def _check(kind: str, pictures: Tensor) -> None:
    if kind not in TAKES:
        raise ValueError(f"encoder: no kind {kind!r}; it sees {', '.join(KINDS)}")
    text, dtypes = TAKES[kind]
    shaped = pictures.ndim == 4 and pictures.shape[-1] == 3 if kind == "rgb" else pictures.ndim == 3
    if not shaped or 0 in pictures.shape or pictures.dtype not in dtypes:
        hint = "; multiply metres by 1000 and round" if kind == "depth" and pictures.is_floating_point() else ""
        raise ValueError(f"encoder: {kind} is {pictures.dtype} {tuple(pictures.shape)}, expected {text}{hint}")
    if kind == "segmentation" and not torch.compiler.is_exporting() and pictures.dtype != torch.uint8:
        low, high = (int(each) for each in torch.aminmax(pictures.long()))
        if low < 0 or high > 255:
            raise ValueError(f"encoder: segmentation holds {low} to {high}, expected {text}")
