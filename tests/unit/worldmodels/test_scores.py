"""Scores of weighted futures against numbers worked out by hand."""

import numpy as np
import pytest

from foreact.worldmodels.scores import (
    code_usage,
    coverage,
    crps,
    cvar,
    cvar_error,
    distances,
    energy_score,
    intervals,
    min_ade,
    min_fde,
    quantiles,
)


def line(*values: float) -> np.ndarray:
    """Futures of one state, of one step and one element, (1, K, 1, 1)."""
    return np.array(values, np.float32).reshape(1, -1, 1, 1)


def test_the_distance_of_trajectories_is_the_mean_length_of_their_gaps() -> None:
    first = np.zeros((1, 1, 2, 2))
    second = np.array([[[[3.0, 4.0], [0.0, 0.0]], [[6.0, 8.0], [5.0, 12.0]]]])
    # (5 + 0) / 2 and (10 + 13) / 2
    np.testing.assert_allclose(distances(first, second), [[[2.5, 11.5]]])


def test_energy_score_by_hand() -> None:
    # futures 0 (1/4) and 4 (3/4), truths 1 and 3:
    # E d(X, Y) = (1/4 (1 + 3) + 3/4 (3 + 1)) / 2 = 2; E d(X, X') = 2 * 1/4 * 3/4 * 4 = 1.5
    found = energy_score(line(0, 4), np.array([[0.25, 0.75]]), line(1, 3))
    np.testing.assert_allclose(found, [2 - 0.75])
    # one future: the mean distance
    np.testing.assert_allclose(energy_score(line(2), np.ones((1, 1)), line(1, 5)), [2.0])


def test_the_truth_itself_scores_best_on_average() -> None:
    rng = np.random.default_rng(0)
    truth = np.where(rng.random((300, 8, 1, 1)) < 0.5, -1.0, 1.0)
    even = np.full((300, 2), 0.5)
    both = np.tile(np.array([-1.0, 1.0]).reshape(1, 2, 1, 1), (300, 1, 1, 1))
    scores = [energy_score(both * wide, even, truth).mean() for wide in (0.5, 1.0, 1.5)]
    assert scores[1] < min(scores[0], scores[2])
    lopsided = energy_score(both, np.tile([0.8, 0.2], (300, 1)), truth).mean()
    assert scores[1] < lopsided


def test_crps_is_the_energy_score_of_each_number() -> None:
    forecast = np.array([[[[0.0, 10.0]], [[4.0, 10.0]]]])
    truth = np.array([[[[1.0, 12.0]], [[3.0, 12.0]]]])
    # 1.25 as above for the first element, 2 for the second
    np.testing.assert_allclose(crps(forecast, np.array([[0.25, 0.75]]), truth), [(1.25 + 2) / 2])


def test_the_nearest_future_counts_and_futures_without_weight_do_not() -> None:
    forecast = np.array([[[[0.0], [0.0]], [[2.0], [4.0]], [[1.0], [1.0]]]])
    truth = np.array([[[[1.0], [1.0]], [[2.0], [3.0]]]])
    even, two = np.full((1, 3), 1 / 3), np.array([[0.5, 0.5, 0.0]])
    # to the first truth 1, 2, 0; to the second 2.5, 0.5, 1.5
    np.testing.assert_allclose(min_ade(forecast, even, truth), [(0 + 0.5) / 2])
    np.testing.assert_allclose(min_ade(forecast, two, truth), [(1 + 0.5) / 2])
    # at the last step: 1, 3, 0 and 3, 1, 2
    np.testing.assert_allclose(min_fde(forecast, even, truth), [(0 + 1) / 2])
    np.testing.assert_allclose(min_fde(forecast, two, truth), [(1 + 1) / 2])


def test_quantiles_follow_the_weights() -> None:
    forecast, weights = line(3, 1, 2), np.array([[0.2, 0.5, 0.3]])
    found = quantiles(forecast, weights, [0.4, 0.5, 0.51, 0.8, 0.81, 1.0]).ravel()
    np.testing.assert_array_equal(found, [1, 1, 2, 2, 3, 3])


def test_coverage_by_hand() -> None:
    forecast, even = line(*range(1, 11)), np.full((1, 10), 0.1)
    low, high = intervals(forecast, even, (0.5, 0.8))
    np.testing.assert_array_equal([low.ravel(), high.ravel()], [[3, 1], [8, 9]])
    truth = line(0, 2, 3, 8.5)
    np.testing.assert_allclose(coverage(forecast, even, truth, (0.5, 0.8)), [[0.25, 0.75]])


def test_cvar_counts_an_atom_at_the_edge_in_part() -> None:
    cost, weights = np.array([[1.0, 5.0, 3.0]]), np.array([[0.5, 0.1, 0.4]])
    # the worst fifth: 0.1 of 5 and 0.1 of 3
    np.testing.assert_allclose(cvar(cost, weights, 0.2), [4.0])
    np.testing.assert_allclose(cvar(cost, weights, 1.0), [0.5 + 0.5 + 1.2])
    # truths 0 ... 9: the worst fifth is 8 and 9
    np.testing.assert_allclose(cvar_error(cost, weights, np.arange(10.0)[None], 0.2), [4.0 - 8.5])


def test_code_usage_is_the_number_of_futures_that_are_ever_nearest() -> None:
    truth, even = line(0, 0, 1, 1), np.full((1, 4), 0.25)
    assert code_usage(line(0, 1, 50, 60), even, truth) == pytest.approx(2.0)
    assert code_usage(line(0, 70, 50, 60), even, truth) == pytest.approx(1.0)
    # 3/4 and 1/4: exp(0.5623)
    assert code_usage(line(0, 1, 50, 60), even, line(0, 0, 0, 1)) == pytest.approx(1.7548, abs=1e-4)


@pytest.mark.parametrize(
    ("forecast", "weights", "truth", "says"),
    [
        (line(0, 1), np.ones((1, 2)), line(0), "add up to 1"),
        (line(0, np.nan), np.full((1, 2), 0.5), line(0), "not finite"),
        (line(0, 1), np.full((1, 3), 1 / 3), line(0), "expected forecast"),
        (line(0, 1), np.full((1, 2), 0.5), np.zeros((1, 1, 2, 1)), "expected forecast"),
        (line(), np.zeros((1, 0)), line(0), "to score"),
    ],
)
def test_what_does_not_fit_is_refused(forecast: np.ndarray, weights: np.ndarray, truth: np.ndarray, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        energy_score(forecast, weights, truth)


def test_levels_and_shares_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        intervals(line(0, 1), np.full((1, 2), 0.5), (0.5, 1.0))
    with pytest.raises(ValueError, match="share"):
        cvar(np.zeros((1, 2)), np.full((1, 2), 0.5), 0.0)
