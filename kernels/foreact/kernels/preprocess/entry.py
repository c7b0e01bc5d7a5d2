"""The public entry of the image pre-processing: checks the inputs, then runs the implementation asked for.

Shapes: B images, H rows, W columns.
"""

import importlib.util
import math
import os

import torch

from foreact.kernels.preprocess import cpu, reference
from foreact.kernels.preprocess.inputs import Geometry, check

IMPLEMENTATIONS = ("reference", "cpu", "triton")
FORWARD_ONLY = ("cpu", "triton")


def rgbd_to_planes(
    rgb: torch.Tensor,
    depth: torch.Tensor,
    rays: torch.Tensor,
    origin: torch.Tensor,
    shift: torch.Tensor | None = None,
    *,
    far: float = math.inf,
    dtype: torch.dtype = torch.float32,
    implementation: str | None = None,
) -> torch.Tensor:
    """Turn colour and depth images into six planes: colour in [-1, 1] and the 3-D point each pixel sees.

    Planes 0..2 are `rgb / 127.5 - 1`; planes 3..5 are `origin + rays * depth / 1000` [m] in the frame of `rays`,
    clipped at `far`. A pixel without return (depth 0) gets `origin`. With `shift`, output pixel (y, x) is computed
    entirely from source pixel (clamp(y + dy), clamp(x + dx)), its ray included, so the points stay true.

    Args:
        rgb: (B, H, W, 3) uint8.
        depth: (B, H, W) uint16, or int32 with values in 0..65535; planar depth along the optical axis [mm].
        rays: (H, W, 3) float32, offset from the camera per metre of planar depth, see `camera_rays`.
        origin: (B, 3) float32, camera position of each image [m] in the frame of `rays`.
        shift: (B, 2) int64, (dy, dx) of each image [px]; None for no shift.
        far: Limit of the absolute value of a coordinate [m].
        dtype: of the result, float32 or bfloat16; the arithmetic is float32 either way.
        implementation: "reference", "cpu" or "triton". None picks "reference" while torch.export or torch.compile
            traces, else "cpu" for CPU tensors and "triton" for CUDA tensors. An implementation that cannot run on
            the device of the inputs is an error, never replaced by another.

    Returns:
        (B, 6, H, W) of `dtype`, contiguous, on the device of the inputs.

    Raises:
        TypeError: an input has the wrong dtype, or wants a gradient from a forward-only implementation.
        ValueError: a shape or device does not fit, `far` is not above 0, or the implementation is unknown.
        RuntimeError: the implementation cannot run on this device.
    """
    return _planes(rgb, Geometry(depth, rays, origin, far), shift, dtype, implementation)


def rgb_to_planes(
    rgb: torch.Tensor,
    shift: torch.Tensor | None = None,
    *,
    dtype: torch.dtype = torch.float32,
    implementation: str | None = None,
) -> torch.Tensor:
    """Turn colour images into three planes in [-1, 1], for cameras without depth.

    Args:
        rgb: (B, H, W, 3) uint8.
        shift: (B, 2) int64, (dy, dx) of each image [px]; None for no shift.
        dtype: of the result, float32 or bfloat16.
        implementation: as in `rgbd_to_planes`.

    Returns:
        (B, 3, H, W) of `dtype`, equal to planes 0..2 of `rgbd_to_planes`.

    Raises:
        TypeError, ValueError, RuntimeError: as in `rgbd_to_planes`.
    """
    return _planes(rgb, None, shift, dtype, implementation)


def unavailable(implementation: str, device: torch.device) -> str | None:
    """Say why an implementation cannot run on a device, or None if it can.

    Args:
        implementation: one of `IMPLEMENTATIONS`.
        device: where the inputs are.

    Raises:
        ValueError: the implementation is unknown.
    """
    if implementation not in IMPLEMENTATIONS:
        raise ValueError(f"unknown implementation {implementation!r}: choose from {', '.join(IMPLEMENTATIONS)}")
    if implementation == "cpu" and device.type != "cpu":
        return f"it takes CPU tensors, these are on {device}"
    if implementation == "triton":
        return _triton_unavailable(device)
    return None


def _triton_unavailable(device: torch.device) -> str | None:
    if importlib.util.find_spec("triton") is None:
        return "the package triton is not installed"
    # The variable must be set before the kernel's module is first imported: triton reads it when it decorates.
    interpreted = os.environ.get("TRITON_INTERPRET", "").lower() in ("1", "true", "yes", "y", "on")
    if device.type == "cuda" or (device.type == "cpu" and interpreted):
        return None
    return f"it takes CUDA tensors, these are on {device} (TRITON_INTERPRET=1 runs it on CPU tensors, slowly)"


def _choose(device: torch.device) -> str:
    # A traced graph must hold plain tensor operations: they export, and the compiler fuses them itself.
    if torch.compiler.is_compiling():
        return "reference"
    chosen = {"cpu": "cpu", "cuda": "triton"}.get(device.type)
    if chosen is None:
        raise RuntimeError(f'no implementation is tuned for {device}: pass implementation="reference"')
    return chosen


def _planes(
    rgb: torch.Tensor,
    geometry: Geometry | None,
    shift: torch.Tensor | None,
    dtype: torch.dtype,
    implementation: str | None,
) -> torch.Tensor:
    check(rgb, geometry, shift, dtype)
    chosen = _choose(rgb.device) if implementation is None else implementation
    reason = unavailable(chosen, rgb.device)
    if reason is not None:
        raise RuntimeError(f"implementation {chosen!r} cannot run here: {reason}")
    wants_gradient = geometry is not None and (geometry.rays.requires_grad or geometry.origin.requires_grad)
    if wants_gradient and chosen in FORWARD_ONLY:
        raise TypeError(f'{chosen!r} gives no gradient to rays and origin: pass implementation="reference"')
    return _run(chosen, rgb, geometry, shift, dtype)


def _run(
    implementation: str,
    rgb: torch.Tensor,
    geometry: Geometry | None,
    shift: torch.Tensor | None,
    dtype: torch.dtype,
) -> torch.Tensor:
    if implementation == "reference":
        return reference.planes(rgb, geometry, shift, dtype)
    if implementation == "cpu":
        return cpu.planes(rgb, geometry, shift, dtype)
    from foreact.kernels.preprocess import triton_kernel

    return triton_kernel.planes(rgb, geometry, shift, dtype)
