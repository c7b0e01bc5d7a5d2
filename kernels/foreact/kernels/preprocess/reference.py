"""The image pre-processing in plain torch: what the other implementations are proved against, and what is exported."""

import math

import torch

from foreact.kernels.preprocess.inputs import Geometry


def planes(
    rgb: torch.Tensor, geometry: Geometry | None, shift: torch.Tensor | None, dtype: torch.dtype
) -> torch.Tensor:
    """Compute the planes by whole-batch tensor operations, on any device.

    Args:
        rgb: (B, H, W, 3) uint8.
        geometry: depth, rays, origin and limit, or None for colour only.
        shift: (B, 2) int64 [px] or None.
        dtype: of the result.

    Returns:
        (B, 6 or 3, H, W).
    """
    # uint16 has few operations in torch, so depth becomes float before anything else; ONNX casts uint16 directly.
    depth = None if geometry is None else geometry.depth.to(torch.float32)
    rays = None if geometry is None else geometry.rays
    if shift is not None:
        image, row, column = _sources(rgb.shape, shift)
        rgb = rgb[image, row, column]
        depth = None if depth is None else depth[image, row, column]
        rays = None if rays is None else rays[row, column]

    # colour = rgb / 127.5 - 1
    colour = rgb.permute(0, 3, 1, 2).to(torch.float32) / 127.5 - 1
    if geometry is None or depth is None or rays is None:
        return colour.to(dtype).contiguous()
    # point = origin + (ray * 0.001) * depth [mm]: where the rays are constants, so is the bracket
    points = geometry.origin[:, :, None, None] + rays.movedim(-1, -3) * 0.001 * depth.unsqueeze(1)
    if geometry.far < math.inf:
        points = points.clamp(-geometry.far, geometry.far)
    return torch.cat([colour, points], dim=1).to(dtype).contiguous()


def _sources(shape: torch.Size, shift: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return image (B, 1, 1), row (B, H, 1) and column (B, 1, W) indices of the source of every output pixel."""
    batch, height, width, _ = shape
    # A shift of n - 1 already shows nothing but the edge; clamping it first keeps huge shifts from overflowing.
    dy = shift[:, :1].clamp(1 - height, height - 1)
    dx = shift[:, 1:].clamp(1 - width, width - 1)
    row = (torch.arange(height, device=shift.device) + dy).clamp(0, height - 1)
    column = (torch.arange(width, device=shift.device) + dx).clamp(0, width - 1)
    image = torch.arange(batch, device=shift.device)
    return image[:, None, None], row[:, :, None], column[:, None, :]
