"""The image pre-processing as one Triton kernel: every pixel is read once and every output written once."""

# The arguments of a kernel are device pointers and scalars, for which triton has no annotations.
# ruff: noqa: ANN001, ANN202

import torch
import triton
import triton.language as tl

from foreact.kernels.preprocess.inputs import Geometry

BLOCK = 1024


@triton.jit
def _planes_kernel(
    rgb,
    depth,
    rays,
    origin,
    shift,
    out,
    height,
    width,
    blocks,
    far,
    planes: tl.constexpr,
    has_depth: tl.constexpr,
    has_shift: tl.constexpr,
    block: tl.constexpr,
):
    program = tl.program_id(0)
    # int64: sample * planes * pixels passes 2**31 at a batch of 40 thousand 96 x 96 images.
    sample = (program // blocks).to(tl.int64)
    pixel = (program % blocks) * block + tl.arange(0, block)
    pixels = height * width
    inside = pixel < pixels
    row = (pixel // width).to(tl.int64)
    column = (pixel % width).to(tl.int64)
    if has_shift:
        dy = tl.minimum(tl.maximum(tl.load(shift + sample * 2), 1 - height), height - 1)
        dx = tl.minimum(tl.maximum(tl.load(shift + sample * 2 + 1), 1 - width), width - 1)
        row = tl.minimum(tl.maximum(row + dy, 0), height - 1)
        column = tl.minimum(tl.maximum(column + dx, 0), width - 1)
    source = row * width + column

    to = out + sample * planes * pixels + pixel
    for channel in tl.static_range(3):  # pyright: ignore[reportGeneralTypeIssues]
        value = tl.load(rgb + (sample * pixels + source) * 3 + channel, mask=inside, other=0).to(tl.float32)
        colour = tl.div_rn(value, 127.5) - 1.0
        tl.store(to + channel * pixels, colour.to(out.dtype.element_ty), mask=inside)
    if has_depth:
        z = tl.load(depth + sample * pixels + source, mask=inside, other=0).to(tl.float32)
        for axis in tl.static_range(3):  # pyright: ignore[reportGeneralTypeIssues]
            ray = tl.load(rays + source * 3 + axis, mask=inside, other=0.0)
            point = tl.load(origin + sample * 3 + axis) + (ray * 0.001) * z
            point = tl.minimum(tl.maximum(point, -far), far)
            tl.store(to + (3 + axis) * pixels, point.to(out.dtype.element_ty), mask=inside)


def planes(
    rgb: torch.Tensor, geometry: Geometry | None, shift: torch.Tensor | None, dtype: torch.dtype
) -> torch.Tensor:
    """Compute the planes in one launch; inputs that are not contiguous are copied first.

    Args:
        rgb: (B, H, W, 3) uint8.
        geometry: depth, rays, origin and limit, or None for colour only.
        shift: (B, 2) int64 [px] or None.
        dtype: of the result.

    Returns:
        (B, 6 or 3, H, W).
    """
    batch, height, width, _ = rgb.shape
    out = torch.empty(batch, 3 if geometry is None else 6, height, width, dtype=dtype, device=rgb.device)
    rgb = rgb.contiguous()
    # Absent inputs still need a pointer; the flags keep the kernel from reading it.
    depth, rays, origin = (rgb, rgb, rgb) if geometry is None else (tensor.contiguous() for tensor in geometry[:3])
    blocks = triton.cdiv(height * width, BLOCK)
    if batch == 0:
        return out
    _planes_kernel[(batch * blocks,)](
        rgb,
        depth,
        rays,
        origin,
        rgb if shift is None else shift.contiguous(),
        out,
        height,
        width,
        blocks,
        1.0 if geometry is None else geometry.far,
        planes=out.shape[1],
        has_depth=geometry is not None,
        has_shift=shift is not None,
        block=BLOCK,
        # Rounding the product before the sum, as torch does, keeps points 60 m away equal to the last bit.
        enable_fp_fusion=False,  # pyright: ignore[reportCallIssue]
    )
    return out
