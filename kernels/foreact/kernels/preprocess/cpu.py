"""The image pre-processing tuned for one CPU core.

Whole-batch operations stream every intermediate through main memory. Here one image at a time is converted into a
scratch of its size, which stays in the cache, and leaves it in one copy that shifts, edge-fills and casts. Computing
before shifting is allowed because a shifted pixel takes everything, its ray included, from its source pixel.
"""

import math

import torch

from foreact.kernels.preprocess.inputs import Geometry


def planes(
    rgb: torch.Tensor, geometry: Geometry | None, shift: torch.Tensor | None, dtype: torch.dtype
) -> torch.Tensor:
    """Compute the planes image by image; float32 results equal the reference bit for bit.

    Args:
        rgb: (B, H, W, 3) uint8.
        geometry: depth, rays, origin and limit, or None for colour only.
        shift: (B, 2) int64 [px] or None.
        dtype: of the result.

    Returns:
        (B, 6 or 3, H, W).
    """
    batch, height, width, _ = rgb.shape
    count = 3 if geometry is None else 6
    out = torch.empty(batch, count, height, width, dtype=dtype)
    scratch = torch.empty(count, height, width)
    z = torch.empty(height, width)
    if geometry is not None:
        rays = geometry.rays.permute(2, 0, 1).contiguous() * 0.001
        geometry = geometry._replace(rays=rays, origin=geometry.origin[:, :, None, None])
    shifts = [(0, 0)] * batch if shift is None else shift.tolist()

    for index, (dy, dx) in enumerate(shifts):
        target = out[index]
        in_place = dtype == torch.float32 and dy == 0 and dx == 0
        buffer = target if in_place else scratch
        _convert(rgb, geometry, index, z, buffer)
        if not in_place:
            _place(buffer, target, dy, dx)
    return out


def _convert(rgb: torch.Tensor, geometry: Geometry | None, index: int, z: torch.Tensor, into: torch.Tensor) -> None:
    # The divisions, products and sums are those of the reference, in its order: a fused addcmul rounds differently.
    into[:3].copy_(rgb[index].permute(2, 0, 1)).div_(127.5).sub_(1)
    if geometry is not None:
        z.copy_(geometry.depth[index])
        points = torch.mul(geometry.rays, z, out=into[3:]).add_(geometry.origin[index])
        if geometry.far < math.inf:
            points.clamp_(-geometry.far, geometry.far)


def _overlap(size: int, shift: int) -> tuple[int, int, int]:
    """Return (first output index, first source index, count) of the pixels that a shift keeps inside the image."""
    # A shift of size - 1 already shows nothing but the edge pixel, so at least one pixel always overlaps.
    shift = max(1 - size, min(size - 1, shift))
    first = max(0, -shift)
    return first, first + shift, size - abs(shift)


def _place(source: torch.Tensor, target: torch.Tensor, dy: int, dx: int) -> None:
    """Copy (C, H, W) so that target[:, y, x] = source[:, clamp(y + dy), clamp(x + dx)]."""
    _, height, width = source.shape
    top, source_top, rows = _overlap(height, dy)
    left, source_left, columns = _overlap(width, dx)
    bottom, right = top + rows, left + columns

    kept = source[:, source_top : source_top + rows]
    band = target[:, top:bottom]
    band[:, :, left:right].copy_(kept[:, :, source_left : source_left + columns])
    if left > 0:
        band[:, :, :left].copy_(kept[:, :, :1].expand(-1, -1, left))
    if right < width:
        band[:, :, right:].copy_(kept[:, :, -1:].expand(-1, -1, width - right))
    if top > 0:
        target[:, :top].copy_(band[:, :1].expand(-1, top, -1))
    if bottom < height:
        target[:, bottom:].copy_(band[:, -1:].expand(-1, height - bottom, -1))
