"""The grid solver against numbers worked out by hand and against closed forms."""

import dataclasses

import numpy as np
import pytest

from foreact.worldmodels.safety.grid import Grid, backup, overlap, solve
from foreact.worldmodels.safety.systems import DoubleIntegrator, DubinsCar


def test_one_update_gives_the_numbers_worked_out_by_hand() -> None:
    margin = np.array([0.4, 0.4, -0.2])
    following = np.array([[0.1, 0.9, 0.5], [-0.3, 0.2, 0.6]])  # two actions
    # undiscounted: min(l, max_a V'): min(.4, .1), min(.4, .9), min(-.2, .6)
    assert np.allclose(backup(margin, following, 1.0), [0.1, 0.4, -0.2])
    # half: .5 l + .5 min(l, max_a V')
    assert np.allclose(backup(margin, following, 0.5), [0.25, 0.4, -0.2])


def test_interpolation_is_exact_for_linear_functions_and_wraps_angles() -> None:
    car = DubinsCar()
    grid = Grid.over(car, (9, 8, 12))
    points = grid.points()
    states = np.random.default_rng(0).uniform(car.low, car.high, (50, 3))
    numbers, weights = grid.corners(states)
    assert np.allclose(weights.sum(axis=1), 1)
    for axis in (0, 1):
        inner = np.clip(states[:, axis], car.low[axis], car.high[axis])
        assert np.allclose((points[numbers, axis] * weights).sum(axis=1), inner, atol=1e-6)
    around = np.array([[0.0, 0.0, np.pi - 0.01]])
    used = points[grid.corners(around)[0][0]][:, 2]
    assert set(np.round(used, 6)) == {np.round(-np.pi, 6), np.round(np.pi - np.pi / 6, 6)}


def test_the_safe_set_of_the_cart_lies_between_two_parabolas() -> None:
    cart = DoubleIntegrator()
    grid = Grid.over(cart, (121, 111))
    found = solve(cart, grid)
    true = cart.value(grid.points())
    assert overlap(found.values.ravel() <= 0, true <= 0) > 0.99
    # the control: what has failed now is not what must fail
    assert overlap(cart.margin(grid.points()) <= 0, true <= 0) < 0.7


def test_the_closed_form_of_the_cart_gives_numbers_worked_out_by_hand() -> None:
    cart = DoubleIntegrator()
    # at 0.5 and 0.8 m/s it stops at 0.5 + 0.64 / 2 = 0.82; at -0.9 going right the start is the worst
    assert np.allclose(cart.value(np.array([[0.5, 0.8], [-0.9, 0.5], [0.0, 2.0]])), [0.18, 0.1, -1.0])


def test_the_safe_set_of_the_car_is_that_of_the_circles_it_turns_on() -> None:
    car = DubinsCar()
    grid = Grid.over(car, (36, 36, 36))
    found, points = solve(car, grid), grid.points()
    true = car.value(points)
    assert overlap(found.values.ravel() <= 0, true <= 0) > 0.98
    assert overlap(car.margin(points) <= 0, true <= 0) < 0.75
    assert np.abs(found.at(points) - found.values.ravel()).max() < 1e-5
    slower = dataclasses.replace(car, fastest_turn=0.6)
    assert (slower.value(points) <= 0).sum() > 1.2 * (true <= 0).sum()
    assert overlap(found.values.ravel() <= 0, slower.value(points) <= 0) < 0.85


def test_a_discount_hides_what_lies_ahead() -> None:
    cart = DoubleIntegrator()
    grid = Grid.over(cart, (61, 56))
    whole, discounted = solve(cart, grid), solve(cart, grid, gamma=0.9)
    assert (discounted.values >= whole.values - 1e-4).all()
    assert (discounted.values <= 0).sum() < 0.9 * (whole.values <= 0).sum()


def test_a_solver_that_does_not_settle_says_so() -> None:
    cart = DoubleIntegrator()
    with pytest.raises(RuntimeError, match="after 2 sweeps"):
        solve(cart, Grid.over(cart, (31, 31)), most=2)
    with pytest.raises(ValueError, match="expected 2 sizes"):
        Grid.over(cart, (31,))


def test_overlap_is_intersection_over_union() -> None:
    assert overlap(np.array([True, True, False]), np.array([False, True, True])) == pytest.approx(1 / 3)
    assert overlap(np.zeros(3, bool), np.zeros(3, bool)) == 1


def test_the_car_drives_arcs() -> None:
    car, state = DubinsCar(), np.array([[0.0, 0.0, 0.0]])
    for _ in range(round(2 * np.pi / (car.fastest_turn * car.dt))):
        state = car.step(state, np.array([[1.0]]))
    assert np.abs(state).max() < 0.1  # nearly a whole circle
    assert np.allclose(car.step(np.array([[0.0, 0.0, np.pi / 2]]), np.zeros((1, 1))), [[0, 0.1, np.pi / 2]])
    noisy = dataclasses.replace(car, heading_noise=0.1)
    many = noisy.step(np.zeros((4000, 3)), np.zeros((4000, 1)), np.random.default_rng(0))
    assert many[:, 2].std() == pytest.approx(0.1, rel=0.1)
