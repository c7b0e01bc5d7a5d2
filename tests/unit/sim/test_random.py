"""Streams of many worlds: nobody's numbers depend on anybody else's."""

import numpy as np
import pytest

from foreact.sim.random import WorldRandom


def test_a_world_draws_the_same_alone_and_among_others() -> None:
    many, one = WorldRandom(0, 5), WorldRandom(9, 1)
    many.seed(np.arange(5), np.array([7, 3, 3, 1, 0]))
    one.seed(np.array([0]), np.array([3]))
    both = many.uniform(np.arange(5), 4)
    np.testing.assert_array_equal(both[1], one.uniform(np.array([0]), 4)[0])
    np.testing.assert_array_equal(both[1], both[2])
    assert len(np.unique(both[[0, 1, 3, 4]])) == 16


def test_drawing_in_parts_gives_the_numbers_of_drawing_at_once() -> None:
    first, second = WorldRandom(4, 2), WorldRandom(4, 2)
    ids = np.arange(2)
    parts = np.concatenate([first.uniform(ids, 3), first.uniform(ids, 2)], axis=1)
    np.testing.assert_array_equal(parts, second.uniform(ids, 5))


def test_a_stream_that_is_put_back_repeats() -> None:
    random, ids = WorldRandom(1, 3), np.array([0, 2])
    drawn = random.drawn.copy()
    before = random.normal(ids, 2)
    random.drawn[:] = drawn
    np.testing.assert_array_equal(random.normal(ids, 2), before)
    assert random.drawn[1] == 0


@pytest.mark.parametrize(("kind", "mean", "variance"), [("uniform", 0.5, 1 / 12), ("normal", 0.0, 1.0)])
def test_moments(kind: str, mean: float, variance: float) -> None:
    values = getattr(WorldRandom(0, 200), kind)(np.arange(200), 500)
    # 100,000 numbers: standard errors are below 0.004
    assert abs(values.mean() - mean) < 0.015 and abs(values.var() - variance) < 0.02
    assert abs(np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(values[:, :-1].ravel(), values[:, 1:].ravel())[0, 1]) < 0.02


def test_bounds() -> None:
    values = WorldRandom(0, 50).uniform(np.arange(50), 100, -2.0, 3.0)
    assert values.min() >= -2 and values.max() < 3 and values.max() > 2.9
