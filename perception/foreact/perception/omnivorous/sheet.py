"""A picture of what an encoder sees: its tokens in colours, kind beside kind, and where it looks.

Shape letters: N scenes, T tokens, D width, H and W height and width.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from foreact.episodes.runfolder import write_bytes_atomic
from foreact.perception.omnivorous.memory import PictureMemory
from foreact.perception.omnivorous.model import KINDS, OmnivorousEncoder
from foreact.perception.omnivorous.retrieval import pictures_of
from foreact.perception.omnivorous.trunk import Trunk

__all__ = ["cls_attention", "principal_colours", "write_sheet"]

GAP = 2  # between pictures [px]
EDGE = 96  # least edge of a picture [px]


def cls_attention(trunk: Trunk, pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n t"]:
    """How much the token of the whole looks at each patch in the last block, over heads; a trunk without one has none.

    Args:
        trunk: In evaluation mode.
        pictures: In [0, 1].

    Raises:
        ValueError: The trunk has no token for the whole.
    """
    if not trunk.vit.num_prefix_tokens:
        raise ValueError("attention: this trunk has no token for the whole, so it has no attention to show")
    layer, kept = trunk.vit.blocks[-1].attn, []
    fused = layer.fused_attn
    hook = layer.attn_drop.register_forward_hook(lambda module, inputs, output: kept.append(output))
    layer.fused_attn = False  # the fused kernel keeps no weights
    try:
        with torch.inference_mode():
            trunk(pictures)
    finally:
        hook.remove()
        layer.fused_attn = fused
    return kept[0].float().mean(1)[:, 0, trunk.vit.num_prefix_tokens :]


def principal_colours(tokens: Float[Tensor, "n t d"]) -> Float[Tensor, "n t 3"]:
    """Tokens as colours in [0, 1]: their first three principal components, from 2nd to 98th percentile.

    Args:
        tokens: Of several pictures, whose colours are then comparable.
    """
    flat = tokens.flatten(0, 1).float()
    flat = flat - flat.mean(0)
    _, _, axes = torch.linalg.svd(flat, full_matrices=False)
    axes = axes[:3] * torch.sign(axes[:3].sum(1, keepdim=True) + 1e-12)  # the sign of an axis is arbitrary
    found = flat @ axes.T
    low, high = torch.quantile(found[:: max(1, len(found) // 100_000)], torch.tensor([0.02, 0.98]), dim=0)
    return ((found - low) / (high - low).clamp(min=1e-6)).clamp(0, 1).view(*tokens.shape[:2], 3)


def write_sheet(path: Path, encoder: OmnivorousEncoder, data: PictureMemory, count: int) -> None:
    """Write a PNG, atomically: a row per scene with its pictures, their tokens, and the attention in each.

    Args:
        path: Ends in .png.
        encoder: In evaluation mode.
        data: Scenes, of which some are shown, evenly spread.
        count: How many.
    """
    from PIL import Image

    scenes = np.linspace(0, len(data) - 1, max(1, min(count, len(data)))).astype(int)
    pictures = {kind: _of_scenes(data, kind, scenes) for kind in KINDS}
    with torch.inference_mode():
        tokens = torch.cat([encoder.see(each).tokens for each in pictures.values()]).cpu()
    rows = encoder.trunk.grid[0]
    colours = principal_colours(tokens).permute(0, 2, 1).unflatten(2, (rows, rows)).split(len(scenes))
    columns = [*pictures.values(), *colours]
    if encoder.trunk.vit.num_prefix_tokens:
        columns += [_brightest(cls_attention(encoder.trunk, each), rows) for each in pictures.values()]
    edge = -(-EDGE // data.side) * data.side
    tiles = [_tiles(each, edge) for each in columns]
    drawn = np.concatenate([np.concatenate([column[row] for column in tiles], 1) for row in range(len(scenes))], 0)
    found = io.BytesIO()
    Image.fromarray(drawn).save(found, format="png")
    write_bytes_atomic(path, found.getvalue())


def _of_scenes(data: PictureMemory, kind: str, scenes: np.ndarray) -> Tensor:
    return torch.cat([pictures_of(data.take(slice(scene, scene + 1)), kind, "grey") for scene in scenes.tolist()])


def _brightest(weights: Float[Tensor, "n t"], rows: int) -> Float[Tensor, "n 3 r r"]:
    bright = weights / weights.amax(1, keepdim=True).clamp(min=1e-9)
    return bright.cpu().unflatten(1, (rows, rows))[:, None].expand(-1, 3, -1, -1)


def _tiles(pictures: Float[Tensor, "n 3 h w"], edge: int) -> np.ndarray:
    """Enlarged to one edge, with a gap to the right and below, uint8 (N, edge + gap, edge + gap, 3)."""
    large = torch.nn.functional.interpolate(pictures.float().cpu(), (edge, edge), mode="nearest")
    large = torch.nn.functional.pad(large, (0, GAP, 0, GAP), value=1.0)
    return (large.permute(0, 2, 3, 1) * 255).round().to(torch.uint8).numpy()
