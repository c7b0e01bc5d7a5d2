"""Poses from the ways in which files write them: 4x4 matrices, position and axis-angle.

Shape letters: n = poses. A pose is (7,): position, then unit quaternion wxyz with w >= 0.
"""

from __future__ import annotations

import numpy as np

__all__ = ["poses_of_axis_angles", "poses_of_matrices"]

RIGID = 1e-3  # how far R R^T may be from the identity: text files and float32 round


def poses_of_matrices(matrices: np.ndarray) -> np.ndarray:
    """Poses (n, 7) float64 of homogeneous matrices (n, 4, 4), units as given.

    A matrix that is all zero or has a NaN means that nothing was tracked: its pose is NaN.
    The quaternion is the eigenvector of Bar-Itzhack (2000), "New method for extracting the quaternion from a rotation
    matrix", eq. 4: the closest rotation where the matrix is slightly off.

    Raises:
        ValueError: A matrix is not a rigid motion.
    """
    matrices = np.asarray(matrices, np.float64)
    poses = np.full((len(matrices), 7), np.nan)
    known = ~np.isnan(matrices).any(axis=(1, 2)) & (matrices != 0).any(axis=(1, 2))
    given = matrices[known]
    rotations = given[:, :3, :3]
    with np.errstate(all="ignore"):
        off = np.abs(rotations @ rotations.transpose(0, 2, 1) - np.eye(3)).max(axis=(1, 2), initial=0.0)
        rigid = (off < RIGID) & (np.linalg.det(rotations) > 0) & np.isfinite(given[:, :3, 3]).all(axis=1)
    rigid &= np.abs(given[:, 3] - [0, 0, 0, 1]).max(axis=1, initial=0.0) < RIGID
    if not rigid.all():
        raise ValueError(f"matrix {np.flatnonzero(known)[np.argmin(rigid)]} is not a rigid motion")
    poses[known] = np.concatenate([given[:, :3, 3], _quaternions(rotations)], axis=1)
    return poses


def poses_of_axis_angles(positions: np.ndarray, axis_angles: np.ndarray) -> np.ndarray:
    """Poses (n, 7) float64 of positions (n, 3) and rotations (n, 3): axis times angle [rad]."""
    vectors = np.asarray(axis_angles, np.float64)
    angles = np.linalg.norm(vectors, axis=1, keepdims=True)
    # q = (cos(a/2), v sin(a/2) / a); np.sinc(x) = sin(pi x) / (pi x) has the limit at 0
    quaternions = np.concatenate([np.cos(angles / 2), vectors / 2 * np.sinc(angles / (2 * np.pi))], axis=1)
    quaternions *= np.where(quaternions[:, :1] < 0, -1.0, 1.0)
    return np.concatenate([np.asarray(positions, np.float64), quaternions], axis=1)


def _quaternions(rotations: np.ndarray) -> np.ndarray:
    (xx, xy, xz), (yx, yy, yz), (zx, zy, zz) = (tuple(row) for row in rotations.transpose(1, 2, 0))
    k = np.array(
        [
            [xx - yy - zz, yx + xy, zx + xz, zy - yz],
            [yx + xy, yy - xx - zz, zy + yz, xz - zx],
            [zx + xz, zy + yz, zz - xx - yy, yx - xy],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    ).transpose(2, 0, 1)
    xyzw = np.linalg.eigh(k)[1][..., -1]
    wxyz = xyzw[:, [3, 0, 1, 2]]
    return wxyz * np.where(wxyz[:, :1] < 0, -1.0, 1.0)
