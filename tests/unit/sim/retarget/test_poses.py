"""Rigid motions, and actions as seen from a camera."""

import numpy as np
import pytest

from foreact.sim.retarget.poses import angle_between, composed, inverse, matrices, mean_turn, quaternions, turned
from foreact.sim.retarget.relative import absolute, relative


def random_poses(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    turns = rng.normal(size=(count, 4))
    return np.concatenate([rng.normal(size=(count, 3)), turns / np.linalg.norm(turns, axis=1, keepdims=True)], axis=1)


def homogeneous(poses: np.ndarray) -> np.ndarray:
    found = np.tile(np.eye(4), (len(poses), 1, 1))
    found[:, :3, :3], found[:, :3, 3] = matrices(poses[:, 3:]), poses[:, :3]
    return found


def test_composing_is_multiplying_matrices() -> None:
    one, other = random_poses(40), random_poses(40, 1)
    assert np.allclose(homogeneous(composed(one, other)), homogeneous(one) @ homogeneous(other), atol=1e-12)
    assert np.allclose(homogeneous(inverse(one)), np.linalg.inv(homogeneous(one)), atol=1e-12)
    assert np.allclose(matrices(turned(one[:, 3:], other[:, 3:])), matrices(one[:, 3:]) @ matrices(other[:, 3:]))


def test_quaternions_of_matrices_also_of_half_turns() -> None:
    turns = np.concatenate([random_poses(40)[:, 3:], np.eye(4), [[0.0, 0.6, 0.8, 0.0], [1e-9, 1.0, 0.0, 0.0]]])
    again = quaternions(matrices(turns / np.linalg.norm(turns, axis=1, keepdims=True)))
    assert float(angle_between(turns, again).max()) < 1e-12 and (again[:, 0] >= 0).all()


def test_angles_and_means_by_hand() -> None:
    def about_z(angle: float) -> np.ndarray:
        return np.array([np.cos(angle / 2), 0, 0, np.sin(angle / 2)])

    assert float(angle_between(about_z(0.3), -about_z(0.3 + 1e-8))) == pytest.approx(1e-8, rel=1e-6)
    mean = mean_turn(np.stack([about_z(0.1), -about_z(0.3)]))
    assert float(angle_between(mean, about_z(0.2))) < 1e-12


def test_actions_from_the_camera_by_hand() -> None:
    # the camera stands at (1, 0, 0) and looks along y; the hand is 2 m before it and moves 1 m to its right (world x)
    camera = np.array([1.0, 0, 0, np.sqrt(0.5), 0, 0, np.sqrt(0.5)])
    hands = np.array([[1.0, 2, 0, 1, 0, 0, 0], [2.0, 2, 0, 1, 0, 0, 0]])
    moving = np.stack(
        [camera, composed(camera, np.array([5.0, 5, 5, 0, 1, 0, 0]))]
    )  # where it is later does not matter
    found = relative(hands, moving, 2)
    assert np.allclose(found[0, :, :3], [[2, 0, 0], [2, -1, 0]], atol=1e-12)
    assert np.allclose(found[0, 0, 3:], [np.sqrt(0.5), 0, 0, -np.sqrt(0.5)])
    assert np.isnan(found[1, 1]).all()  # nothing is known past the last frame


def test_the_inverse_is_exact() -> None:
    hands, cameras = random_poses(30), random_poses(30, 1)
    actions = relative(hands, cameras, 8)
    assert actions.shape == (30, 8, 7)
    again = absolute(actions, cameras)
    for frame in range(23):
        assert np.abs(again[frame] - hands[frame : frame + 8]).max() < 1e-9
    with pytest.raises(ValueError, match="ahead >= 1"):
        relative(hands, cameras, 0)
