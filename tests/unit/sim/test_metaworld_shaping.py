"""Meta-World's shaped rewards over many worlds, against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from foreact.sim.metaworld_worlds.fixtures import funnel
from foreact.sim.metaworld_worlds.objects import quaternion_of
from foreact.sim.metaworld_worlds.shaping import gaussian, hamacher, inside_box, length, long_tail


def test_long_tail_is_one_inside_a_tenth_at_the_margin_and_falls_with_the_square() -> None:
    x = np.array([0.0, 0.5, 1.5, 2.5])
    # bounds 0..0.5, margin 1: distances 0, 0, 1, 2 margins: 1/(1 + 9) and 1/(1 + 36)
    np.testing.assert_allclose(long_tail(x, 0.5, 1.0), [1, 1, 0.1, 1 / 37], rtol=1e-14)


def test_long_tail_has_a_lower_bound_and_a_margin_per_world() -> None:
    x, margin = np.array([0.1, 0.1, 0.1]), np.array([0.1, 0.2, 0.0])
    # 0.1 below the bound: 1 margin, half a margin (1/(1 + 9/4)), and no margin at all
    np.testing.assert_allclose(long_tail(x, 0.4, margin, lower=0.2), [0.1, 4 / 13, 0.0], rtol=1e-13)


def test_gaussian_is_a_tenth_at_the_margin_and_a_ten_thousandth_at_two() -> None:
    np.testing.assert_allclose(gaussian(np.array([0.05, 1.05, 2.05]), 0.05, 1.0), [1, 0.1, 1e-4], rtol=1e-12)


def test_hamacher_product_of_halves_is_a_third_and_of_zeros_zero() -> None:
    a, b = np.array([0.5, 1.0, 0.0, 0.3]), np.array([0.5, 0.3, 0.0, 0.0])
    # 0.25 / 0.75, 0.3 / 1
    np.testing.assert_allclose(hamacher(a, b), [1 / 3, 0.3, 0, 0], rtol=1e-15)


def test_a_box_multiplies_the_shares_of_the_way_and_is_one_outside() -> None:
    points = np.array([[0.5, 0.5, 0.5], [1.5, 0.5, 0.5], [0.25, 0.5, 1.0]])
    corner = np.zeros((3, 3))
    np.testing.assert_allclose(inside_box(points, corner, corner + 1), [0.125, 1, 0.125])
    # from the other corner: 0.75 of the way along x, half along y, none along z
    np.testing.assert_allclose(inside_box(points, corner + 1, corner), [0.125, 1, 0])


def test_a_funnel_is_flat_at_its_mouth_and_logarithmic_outside() -> None:
    heights = funnel(np.array([0.1, 0.2, 1.2]), 0.2, 0.04, 0.4)
    np.testing.assert_allclose(heights, [0, 0, 0.4])
    np.testing.assert_allclose(funnel(np.array([0.2 + np.exp(-5)]), 0.2, 0.04, 0.4), [0.2])


@pytest.mark.parametrize("width", [2, 3, 4])
def test_lengths_are_the_bits_of_one_vector_at_a_time(width: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(50, width))
    np.testing.assert_array_equal(length(vectors), [np.linalg.norm(row) for row in vectors])


def test_quaternions_of_half_and_quarter_turns_have_the_real_part_last() -> None:
    turns = np.array([np.eye(3), np.diag([1, -1, -1]), np.diag([-1, 1, -1]), [[0, -1, 0], [1, 0, 0], [0, 0, 1]]])
    root = np.sqrt(0.5)
    np.testing.assert_allclose(
        quaternion_of(turns.astype(float)), [[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, root, root]], atol=1e-15
    )


def test_quaternions_are_the_bits_of_the_library_that_metaworld_calls() -> None:
    rotation = pytest.importorskip("scipy.spatial.transform").Rotation
    turns = rotation.from_rotvec(np.random.default_rng(0).normal(size=(200, 3)) * 2).as_matrix()
    np.testing.assert_array_equal(quaternion_of(turns), [rotation.from_matrix(turn).as_quat() for turn in turns])
