"""Convolutions that make patches of a picture into tokens: they learn sooner than one linear layer of each patch.

Source: Xiao et al. 2021, "Early convolutions help transformers see better". Shape letters: B pictures, H and W height
and width, N tokens, D width.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ConvStem"]

GROUPS = 8


class ConvStem(nn.Module):
    """3 x 3 convolutions of stride 2 until a patch is one token; normed in groups, so that a batch does not matter.

    Args:
        img_size: H = W; the names are those that timm's VisionTransformer gives.
        patch_size: Pixels of a token's edge, a power of two from 2 on.
        in_chans: Channels of a picture.
        embed_dim: D, a multiple of 8 and of the patch.

    Raises:
        ValueError: The numbers do not fit.
    """

    def __init__(
        self, img_size: int, patch_size: int, in_chans: int = 3, embed_dim: int = 128, bias: bool = True, **rest: Any
    ) -> None:
        super().__init__()
        stages = patch_size.bit_length() - 1
        if stages < 1 or patch_size != 2**stages or img_size % patch_size or embed_dim % (GROUPS << (stages - 1)):
            raise ValueError(
                f"stem=conv: patch={patch_size} must be a power of two that divides side={img_size}, and "
                f"width={embed_dim} a multiple of {GROUPS} times half of it; type stem=patch for other numbers"
            )
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        self.num_patches = self.grid_size[0] ** 2
        self.patch_size = (patch_size, patch_size)
        widths = [in_chans, *(embed_dim >> (stages - 1 - stage) for stage in range(stages))]
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False), nn.GroupNorm(GROUPS, after), nn.GELU()
            )
            for before, after in zip(widths, widths[1:], strict=False)
        )
        self.proj = nn.Conv2d(embed_dim, embed_dim, 1, bias=bias)

    def forward(self, pictures: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n d"]:
        """Tokens of patches, row by row."""
        features = pictures.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            features = layer(features)
        return self.proj(features).flatten(2).transpose(1, 2)
