"""Viewing rays of a pinhole camera."""

from collections.abc import Sequence

import torch

ORTHONORMAL_TOLERANCE = 1e-4


def camera_rays(
    fx: float,
    fy: float,
    cx: float,
    cy: float,
    width: int,
    height: int,
    rotation: torch.Tensor | Sequence[Sequence[float]],
) -> torch.Tensor:
    """Compute the ray of each pixel of a MuJoCo/OpenGL camera (x right, y up, looking along -z).

    Args:
        fx: focal length along x [px].
        fy: focal length along y [px].
        cx: column of the principal point [px]; pixel centres are at +0.5, so the image centre is width / 2.
        cy: row of the principal point, counted from the top [px].
        width: columns of the image [px].
        height: rows of the image [px].
        rotation: (3, 3), camera to target frame: its columns are the camera's axes in the target frame.

    Returns:
        (height, width, 3) float32 in the target frame, scaled so that ray * planar depth [m] is the offset from the
        camera to the point [m]. Computed in float64.

    Raises:
        ValueError: a focal length or size that is not positive, or a matrix that is not a rotation.
    """
    if not (fx > 0 and fy > 0):
        raise ValueError(f"focal lengths are fx={fx}, fy={fy} [px], expected both above 0")
    if width < 1 or height < 1:
        raise ValueError(f"the image is {width} x {height} px, expected at least 1 x 1")
    matrix = _rotation(rotation)
    # Direction of pixel (u, v) at unit depth: ((u + 0.5 - cx) / fx, -(v + 0.5 - cy) / fy, -1)
    right = (torch.arange(width, dtype=torch.float64) + 0.5 - cx) / fx
    up = -(torch.arange(height, dtype=torch.float64) + 0.5 - cy) / fy
    grid_up, grid_right = torch.meshgrid(up, right, indexing="ij")
    directions = torch.stack([grid_right, grid_up, torch.full_like(grid_up, -1.0)], dim=-1)
    # ray = R direction, for row vectors: direction R^T
    return (directions @ matrix.T).to(torch.float32)


def _rotation(rotation: torch.Tensor | Sequence[Sequence[float]]) -> torch.Tensor:
    matrix = torch.as_tensor(rotation, dtype=torch.float64, device="cpu")
    if matrix.shape != (3, 3):
        raise ValueError(f"rotation has shape {tuple(matrix.shape)}, expected (3, 3)")
    identity = torch.eye(3, dtype=torch.float64)
    orthonormal = torch.allclose(matrix @ matrix.T, identity, atol=ORTHONORMAL_TOLERANCE, rtol=0)
    if not orthonormal or torch.linalg.det(matrix) < 0:
        raise ValueError(f"rotation is not a rotation (orthonormal, determinant +1): {matrix.tolist()}")
    return matrix
