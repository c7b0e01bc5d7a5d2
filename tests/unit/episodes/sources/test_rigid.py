"""Poses of matrices and axis-angles, against numbers worked out by hand."""

import numpy as np
import pytest
from numpy.typing import ArrayLike

from foreact.episodes.sources.rigid import poses_of_axis_angles, poses_of_matrices

HALF = np.sqrt(0.5)
# axis-angle, matrix, quaternion wxyz
TURNS: dict[str, tuple[list[float], list[list[float]], list[float]]] = {
    "none": ([0, 0, 0], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], [1, 0, 0, 0]),
    "a quarter about z": ([0, 0, np.pi / 2], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], [HALF, 0, 0, HALF]),
    "a quarter back about x": ([-np.pi / 2, 0, 0], [[1, 0, 0], [0, 0, 1], [0, -1, 0]], [HALF, -HALF, 0, 0]),
    "half about y": ([0, np.pi, 0], [[-1, 0, 0], [0, 1, 0], [0, 0, -1]], [0, 0, 1, 0]),
    "three quarters about z": ([0, 0, 1.5 * np.pi], [[0, 1, 0], [-1, 0, 0], [0, 0, 1]], [HALF, 0, 0, -HALF]),
}


def matrix(rotation: ArrayLike, position: ArrayLike = (1, 2, 3)) -> np.ndarray:
    found = np.eye(4)
    found[:3, :3], found[:3, 3] = rotation, position
    return found


@pytest.mark.parametrize("name", TURNS)
def test_turns_worked_out_by_hand(name: str) -> None:
    vector, rotation, quaternion = TURNS[name]
    of_matrix = poses_of_matrices(matrix(rotation)[None])[0]
    of_vector = poses_of_axis_angles(np.array([[1, 2, 3]]), np.array([vector]))[0]
    assert of_matrix[:3].tolist() == of_vector[:3].tolist() == [1, 2, 3]
    for pose in (of_matrix, of_vector):  # half a turn has two quaternions
        assert np.abs(pose[3:] - quaternion).max() < 1e-15 or np.abs(pose[3:] + quaternion).max() < 1e-15


@pytest.mark.parametrize(
    "wrong",
    [
        matrix(2 * np.eye(3)),
        matrix(np.diag([1, 1, -1])),
        matrix(np.eye(3), (np.inf, 0, 0)),
        np.diag([1.0, 1, 1, 0]),
        np.full((4, 4), 1e300),
    ],
)
def test_what_is_no_rigid_motion_is_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="matrix 1 is not a rigid motion"):
        poses_of_matrices(np.stack([np.eye(4), wrong]))


def test_what_was_not_tracked_is_nan() -> None:
    poses = poses_of_matrices(np.stack([np.zeros((4, 4)), np.eye(4), np.full((4, 4), np.nan)]))
    assert np.isnan(poses).all(axis=1).tolist() == [True, False, True]
    assert poses_of_matrices(np.zeros((0, 4, 4))).shape == (0, 7)
