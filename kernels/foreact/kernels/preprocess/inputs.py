"""What the image pre-processing accepts, and the errors for everything else."""

from typing import NamedTuple

import torch

DEPTH_DTYPES = (torch.uint16, torch.int32)
OUTPUT_DTYPES = (torch.float32, torch.bfloat16)


class Geometry(NamedTuple):
    """What turns pixels into points: depth (B, H, W) [mm], rays (H, W, 3), origin (B, 3) [m], limit of a coordinate."""

    depth: torch.Tensor
    rays: torch.Tensor
    origin: torch.Tensor
    far: float


def check(rgb: torch.Tensor, geometry: Geometry | None, shift: torch.Tensor | None, dtype: torch.dtype) -> None:
    """Check dtypes, shapes and devices of one call; tensor values are not read.

    Args:
        rgb: (B, H, W, 3) uint8.
        geometry: depth, rays and origin, or None for colour only.
        shift: (B, 2) int64 or None.
        dtype: of the result.

    Raises:
        TypeError: a wrong dtype.
        ValueError: a wrong shape or device.
    """
    if dtype not in OUTPUT_DTYPES:
        raise TypeError(f"dtype is {dtype}, expected one of {_names(OUTPUT_DTYPES)}")
    _check_dtype("rgb", rgb, (torch.uint8,))
    if rgb.ndim != 4 or rgb.shape[3] != 3 or 0 in rgb.shape[1:]:
        raise ValueError(f"rgb has shape {tuple(rgb.shape)}, expected (B, H, W, 3) with H and W at least 1")
    batch, height, width, _ = rgb.shape
    if geometry is not None:
        _check_tensor("depth", geometry.depth, DEPTH_DTYPES, (batch, height, width), rgb)
        _check_tensor("rays", geometry.rays, (torch.float32,), (height, width, 3), rgb)
        _check_tensor("origin", geometry.origin, (torch.float32,), (batch, 3), rgb)
        if not geometry.far > 0:
            raise ValueError(f"far is {geometry.far}, expected a limit above 0")
    if shift is not None:
        _check_tensor("shift", shift, (torch.int64,), (batch, 2), rgb)


def _check_tensor(
    name: str, tensor: torch.Tensor, dtypes: tuple[torch.dtype, ...], shape: tuple[int, ...], rgb: torch.Tensor
) -> None:
    _check_dtype(name, tensor, dtypes)
    if tuple(tensor.shape) != shape:
        raise ValueError(
            f"{name} has shape {tuple(tensor.shape)}, expected {shape} to go with rgb of shape {tuple(rgb.shape)}"
        )
    if tensor.device != rgb.device:
        raise ValueError(f"{name} is on {tensor.device} but rgb is on {rgb.device}: move one of them")


def _check_dtype(name: str, tensor: torch.Tensor, dtypes: tuple[torch.dtype, ...]) -> None:
    if tensor.dtype not in dtypes:
        raise TypeError(f"{name} has dtype {tensor.dtype}, expected {_names(dtypes)}")


def _names(dtypes: tuple[torch.dtype, ...]) -> str:
    return " or ".join(str(dtype) for dtype in dtypes)
