"""Maps of depth and segments become pictures of three channels: grey, or in the colours of a picture.

Shape letters: B pictures, H and W height and width, K bins of a palette, S numbers that a segment may have.
Source: Kabra et al. 2026, arXiv 2602.24181, section 3 (the palette).
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["BINS", "SEGMENTS", "TAPS", "coloured", "fixed_keys", "grey", "unit_depth", "unit_segments"]

BINS = 64
TAPS = 5  # bins that fill an empty one between them
TINY = 1e-6
SEGMENTS = 256  # numbers that a segment may have
GOLDEN = 0.6180339887498949


def unit_depth(depth: Int[Tensor, "b h w"]) -> Float[Tensor, "b h w"]:
    """Depth from nearest 0 to farthest 1, on a logarithmic scale so that near things differ; holes are farthest.

    Args:
        depth: [mm], 0 where nothing was hit. A picture of holes alone becomes all 0.
    """
    known = depth > 0
    logs = torch.log(depth.clamp(min=1).float())
    far = torch.where(known, logs, 0.0).amax((1, 2), keepdim=True)
    near = torch.where(known, logs, far).amin((1, 2), keepdim=True)
    return (torch.where(known, logs, far) - near) / (far - near + TINY)


def unit_segments(segments: Int[Tensor, "b h w"], keys: Float[Tensor, "b s"]) -> Float[Tensor, "b h w"]:
    """Segments as numbers evenly spread from 0 to 1, in the order of keys, so that their own numbers mean nothing.

    Args:
        segments: Numbers below `SEGMENTS`.
        keys: One for each number, drawn anew in training; (1, S) for all pictures alike.
    """
    flat = segments.flatten(1).long()
    present = torch.zeros(len(flat), SEGMENTS, dtype=torch.bool, device=flat.device).scatter_(1, flat, True)
    ranks = torch.where(present, keys, torch.inf).argsort(1).argsort(1)
    levels = ranks / (present.sum(1, keepdim=True) - 1).clamp(min=1)
    return levels.gather(1, flat).view(segments.shape)


def fixed_keys(device: torch.device | str = "cpu") -> Float[Tensor, "1 s"]:
    """Keys that are always the same, with neighbouring numbers far apart: for cameras, frame after frame."""
    return (torch.arange(SEGMENTS, device=device, dtype=torch.float64) * GOLDEN).remainder(1.0).float()[None]


def grey(unit: Float[Tensor, "b h w"]) -> Float[Tensor, "b 3 h w"]:
    """A map three times."""
    return unit[:, None].expand(-1, 3, -1, -1)


def coloured(unit: Float[Tensor, "b h w"], rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3 h w"]:
    """A map in the colours that a picture has where the map has the same value.

    With the picture of the same scene this tells its colours, so that scenes are known by them (a leak); with that of
    another scene it does not.

    Args:
        unit: In [0, 1].
        rgb: The picture that gives its colours, in [0, 1].
    """
    # b = clip(floor(m K), 0, K - 1)
    bins = (unit * BINS).long().clamp(0, BINS - 1).flatten(1)[:, None]
    # S_k = sum of colours where b = k, N_k = how many
    sums = rgb.new_zeros(len(rgb), 3, BINS).scatter_add_(2, bins.expand(-1, 3, -1), rgb.flatten(2))
    counts = rgb.new_zeros(len(rgb), 1, BINS).scatter_add_(2, bins, torch.ones_like(bins, dtype=rgb.dtype))
    # palette = conv(S, 1_5) / (conv(N, 1_5) + eps)
    palette = _filled(sums) / (_filled(counts) + TINY)
    return palette.gather(2, bins.expand(-1, 3, -1)).view(rgb.shape)


def _filled(bins: Float[Tensor, "b c k"]) -> Float[Tensor, "b c k"]:
    return torch.nn.functional.avg_pool1d(bins, TAPS, 1, TAPS // 2, count_include_pad=True) * TAPS
