"""The vision transformer that all kinds of pictures share: of our sizes, or one that timm knows by name.

Shape letters: B pictures, H = W = side, N tokens, D width.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foreact.perception.omnivorous.stem import ConvStem

__all__ = ["SIZES", "Trunk", "TrunkConfig", "WeightsError"]

FEW = 128  # tokens
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class WeightsError(ValueError):
    """Weights of a named model are not on this machine, or do not fit; the message says how to get them."""


@dataclass(frozen=True)
class TrunkConfig:
    """Which transformer.

    Attributes:
        side: Height and width that pictures are scaled to [px].
        patch: Edge of a token's patch [px].
        width: D.
        depth: Blocks.
        heads: Of attention.
        stem: How a patch becomes a token: `conv` (learns sooner) or `patch` (one linear layer, as in timm's models).
        timm: Name of a model of timm, such as vit_small_patch14_dinov2; its own sizes count then, but for `side`.
        weights: A safetensors file for it, instead of the one in the cache of Hugging Face.
        frozen: First blocks that do not learn, and all before them; 0 lets everything learn.

    Raises:
        ValueError: Numbers do not fit each other.
    """

    side: int = 64
    patch: int = 8
    width: int = 96
    depth: int = 4
    heads: int = 3
    stem: Literal["conv", "patch"] = "conv"
    timm: str = ""
    weights: Path | None = None
    frozen: int = 0

    def __post_init__(self) -> None:
        if min(self.side, self.patch, self.width, self.depth, self.heads) < 1 or self.frozen < 0:
            raise ValueError(f"trunk: expected positive numbers, got {self}")
        if not self.timm and (self.side % self.patch or self.width % self.heads or self.frozen > self.depth):
            raise ValueError(
                f"trunk: side={self.side} must be a multiple of patch={self.patch}, width={self.width} of "
                f"heads={self.heads}, and frozen={self.frozen} at most depth={self.depth}"
            )
        if self.weights is not None and not self.timm:
            raise ValueError("trunk: weights are of a named model; type timm=NAME too")

    def build(self, pretrained: bool = True) -> Trunk:
        """Make the trunk; a named one with its weights, unless `pretrained` is False.

        Raises:
            WeightsError: No such name, or no weights of it here.
        """
        if self.timm:
            return Trunk(self, _named(self, pretrained))
        return Trunk(self, _plain(self))


SIZES: Mapping[str, TrunkConfig] = {
    "tiny": TrunkConfig(),
    "small": TrunkConfig(width=384, depth=12, heads=6),
    "base": TrunkConfig(side=128, width=768, depth=12, heads=12),
}
"""Trunks of our own, by name; `base` is meant for a GPU."""


class Trunk(nn.Module):
    """Pictures in, a token for the whole and one for each patch out.

    Args:
        config: What it is.
        vit: A model of timm with `blocks` and `forward_features`.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: TrunkConfig, vit: Any) -> None:
        super().__init__()
        self.config, self.vit = config, vit
        known = getattr(vit, "pretrained_cfg", None) or {}
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if not config.timm else (known["mean"], known["std"])
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)
        if config.frozen > len(vit.blocks):
            raise ValueError(f"trunk: frozen={config.frozen}, but there are {len(vit.blocks)} blocks")
        if config.frozen:
            self._freeze(config.frozen)

    @property
    def width(self) -> int:
        """D."""
        return self.vit.embed_dim

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the patches' tokens, N in all."""
        return self.vit.patch_embed.grid_size

    def forward(self, pictures: Float[Tensor, "b 3 s s"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b n d"]]:
        """See.

        Args:
            pictures: In [0, 1], of any size.

        Returns:
            What stands for the whole picture, and the tokens of patches.
        """
        side = self.config.side
        if pictures.shape[-2:] != (side, side):
            pictures = nn.functional.interpolate(pictures, (side, side), mode="bilinear", antialias=True)
        found = self.vit.forward_features((pictures - self.mean) / self.std)
        tokens = found[:, self.vit.num_prefix_tokens :]
        if self.vit.num_prefix_tokens:
            return found[:, 0], tokens
        pool = getattr(self.vit, "attn_pool", None)  # SigLIP has no token for the whole, but a query that looks at all
        return (tokens.mean(1) if pool is None else pool(found)), tokens

    def _freeze(self, blocks: int) -> None:
        self.vit.requires_grad_(False)
        learning = [*self.vit.blocks[blocks:], self.vit.norm, getattr(self.vit, "fc_norm", None)]
        for module in [*learning, getattr(self.vit, "attn_pool", None)]:
            if module is not None:
                module.requires_grad_(True)


def _plain(config: TrunkConfig) -> Any:
    from timm.layers.patch_embed import PatchEmbed
    from timm.models.vision_transformer import VisionTransformer

    vit: Any = VisionTransformer(
        img_size=config.side, patch_size=config.patch, embed_dim=config.width, depth=config.depth,
        num_heads=config.heads, num_classes=0, embed_layer=ConvStem if config.stem == "conv" else PatchEmbed,
    )  # fmt: skip
    for block in vit.blocks:
        # for so few tokens the fused kernel's gradient takes four times as long on CPU as that of plain products
        block.attn.fused_attn = vit.patch_embed.num_patches > FEW and block.attn.fused_attn
    return vit


def _named(config: TrunkConfig, pretrained: bool) -> Any:
    import timm

    name = config.timm
    if not timm.is_model(name):
        near = difflib.get_close_matches(name.partition(".")[0], timm.list_models("*vit*"), n=3)
        raise WeightsError(f"timm has no model {name!r}; near: {', '.join(near) or 'see timm.list_models()'}")
    options: dict[str, Any] = {"num_classes": 0, "img_size": config.side}
    if pretrained:
        options |= {"pretrained": True, "pretrained_cfg_overlay": {"file": str(_weights(config)), "hf_hub_id": None}}
    try:
        vit = timm.create_model(name, **options)
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        raise WeightsError(f"{name} could not be made with side={config.side}: {error}") from error
    if not all(hasattr(vit, part) for part in ("blocks", "patch_embed", "num_prefix_tokens", "norm")):
        raise WeightsError(f"{name} is no vision transformer with blocks and patches; choose one such as {NAMED}")
    return vit


NAMED = "vit_small_patch14_dinov2"


def _weights(config: TrunkConfig) -> Path:
    """The file with the weights of a named model: as given, or in the cache; nothing is fetched."""
    import timm

    if config.weights is not None:
        if config.weights.suffix != ".safetensors" or not config.weights.is_file():
            raise WeightsError(f"weights={config.weights}: expected a file that ends in .safetensors")
        return config.weights
    from huggingface_hub import try_to_load_from_cache

    known = timm.get_pretrained_cfg(config.timm)
    place = None if known is None else known.hf_hub_id
    found = try_to_load_from_cache(place, "model.safetensors") if place else None
    if not isinstance(found, str):
        raise WeightsError(
            f"the weights of {config.timm} are not on this machine. Fetch them once where there is a network: "
            f"python -c \"import timm; timm.create_model('{config.timm}', pretrained=True)\", "
            "or give a file with trunk.weights=PATH.safetensors"
        )
    return Path(found)
