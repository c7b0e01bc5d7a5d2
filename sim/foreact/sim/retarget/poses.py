"""Rigid motions in rows: position [m] and unit quaternion wxyz, (..., 7), as streams of kind `pose` hold them.

Shape letters: ... = any leading shape.
"""

from __future__ import annotations

import numpy as np

__all__ = [
    "angle_between", "composed", "crossed", "finite_rows", "inverse", "matrices", "mean_turn", "quaternions", "rotated",
    "turned",
]  # fmt: skip

# q = (w, v): which products of elements make q p and at which sign, (4, 4) each
PLACES = np.array([[0, 1, 2, 3], [1, 0, 3, 2], [2, 3, 0, 1], [3, 2, 1, 0]])
SIGNS = np.array([[1, -1, -1, -1], [1, 1, 1, -1], [1, -1, 1, 1], [1, 1, -1, 1]], np.float64)


def turned(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Products of quaternions wxyz (..., 4): the second turn, then the first."""
    # (p q)_k = sum_i s_ki p_i q_(place of k and i)
    return (SIGNS * first[..., None, :] * second[..., PLACES]).sum(-1)


def rotated(turn: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) turned by unit quaternions wxyz (..., 4)."""
    # v' = v + 2 w (u x v) + 2 u x (u x v)
    w, u = turn[..., :1], turn[..., 1:]
    once = 2.0 * crossed(u, vector)
    return vector + w * once + crossed(u, once)


def composed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Poses (..., 7): a pose of c in b after one of b in a gives c in a.

    Args:
        first: Of b in a.
        second: Of c in b.
    """
    place = first[..., :3] + rotated(first[..., 3:], second[..., :3])
    return np.concatenate([place, turned(first[..., 3:], second[..., 3:])], axis=-1)


def inverse(pose: np.ndarray) -> np.ndarray:
    """Poses (..., 7): of b in a from a in b."""
    back = pose[..., 3:] * [1.0, -1.0, -1.0, -1.0]
    return np.concatenate([-rotated(back, pose[..., :3]), back], axis=-1)


def angle_between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Angles (...) [rad], 0 to pi, between orientations, quaternions wxyz (..., 4)."""
    # the sine half is exact where the angle is small; arccos of the dot product is not
    left = turned(first * [1.0, -1.0, -1.0, -1.0], second)
    return 2.0 * np.arctan2(np.sqrt((left[..., 1:] ** 2).sum(-1)), np.abs(left[..., 0]))


def matrices(turn: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of unit quaternions wxyz (..., 4)."""
    return np.stack([rotated(turn, axis) for axis in np.eye(3)], axis=-1)


def quaternions(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternions wxyz, w >= 0, (..., 4) of rotation matrices (..., 3, 3)."""
    m = np.asarray(rotation, np.float64)
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = m[..., 2, 1] - m[..., 1, 2], m[..., 0, 2] - m[..., 2, 0], m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = m[..., 0, 1] + m[..., 1, 0], m[..., 0, 2] + m[..., 2, 0], m[..., 1, 2] + m[..., 2, 1]
    # 4 q q^T has q times one element in each row; the row of the largest element is the exact one
    rows = np.stack(
        [
            np.stack([1.0 + xx + yy + zz, wx, wy, wz], axis=-1),
            np.stack([wx, 1.0 + xx - yy - zz, xy, xz], axis=-1),
            np.stack([wy, xy, 1.0 - xx + yy - zz, yz], axis=-1),
            np.stack([wz, xz, yz, 1.0 - xx - yy + zz], axis=-1),
        ],
        axis=-2,
    )
    best = np.argmax(np.diagonal(rows, axis1=-2, axis2=-1), axis=-1)
    found = np.take_along_axis(rows, best[..., None, None], axis=-2)[..., 0, :]
    found = found / np.sqrt((found**2).sum(-1, keepdims=True))
    return np.where(found[..., :1] < 0, -found, found)


def mean_turn(turns: np.ndarray) -> np.ndarray:
    """The mean orientation, quaternion wxyz (4,), of quaternions (n, 4), n at least 1.

    Source: Markley et al. 2007, "Averaging quaternions", eq. 12.
    """
    # the eigenvector of sum q q^T with the largest eigenvalue; q and -q count alike
    found = np.linalg.eigh(turns.T @ turns)[1][:, -1]
    return -found if found[0] < 0 else found


def crossed(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cross products (..., 3); np.cross takes four times as long for one vector."""
    return first[..., [1, 2, 0]] * second[..., [2, 0, 1]] - first[..., [2, 0, 1]] * second[..., [1, 2, 0]]


def finite_rows(values: np.ndarray) -> np.ndarray:
    """Rows of (n, ...) in which every number is finite, bool (n,)."""
    return np.asarray(np.isfinite(values).all(axis=tuple(range(1, values.ndim))))
