"""Agreement of imagined and true success rates, against numbers worked out by hand."""

import math

import numpy as np
import pytest

from foreact.worldmodels.ranking.correlation import agreement, mean_maximum_rank_violation, pearson, spearman


def test_ranks_share_the_mean_of_ties() -> None:
    # ranks 1, 2.5, 2.5, 4 against 1, 2, 3, 4: covariance 4.5, variances 4.5 and 5
    first, second = np.array([0.1, 0.5, 0.5, 0.9]), np.array([0.0, 0.2, 0.4, 0.6])
    assert spearman(first, second) == pytest.approx(4.5 / math.sqrt(4.5 * 5))


def test_pearson_of_four_points() -> None:
    # deviations -1.5 -.5 .5 1.5 and -1 0 0 1: 3 / sqrt(5 * 2)
    assert pearson(np.array([1.0, 2, 3, 4]), np.array([0.0, 1, 1, 2])) == pytest.approx(3 / math.sqrt(10))


def test_a_swapped_pair_costs_its_true_gap() -> None:
    true = np.array([0.2, 0.4, 0.9])
    assert mean_maximum_rank_violation(np.array([0.1, 0.5, 0.6]), true) == 0
    # the first two are swapped: both lose 0.2, the third nothing
    assert mean_maximum_rank_violation(np.array([0.5, 0.1, 0.6]), true) == pytest.approx(0.4 / 3)
    # a tie where the truth has none is a wrong order too
    assert mean_maximum_rank_violation(np.array([0.5, 0.5, 0.6]), true) == pytest.approx(0.4 / 3)


def test_the_whole_report() -> None:
    true = np.linspace(0, 1, 12)
    found = agreement(0.5 * true + 0.3, true)
    assert (found.policies, found.pearson, found.spearman, found.mmrv) == (12, pytest.approx(1), pytest.approx(1), 0)
    assert found.permutation_p == pytest.approx(1 / 10_001)
    assert found.bias == pytest.approx(0.05)
    assert found.bias_range == (pytest.approx(-0.2), pytest.approx(0.3))


def test_intervals_are_fishers_and_wider_for_ranks() -> None:
    true = np.arange(12) / 12
    imagined = true.copy()
    imagined[[0, 5, 11]] = imagined[[5, 11, 0]]
    found = agreement(imagined, true)
    z, error = math.atanh(found.pearson), 1.959964 / 3
    assert found.pearson_interval == (pytest.approx(math.tanh(z - error)), pytest.approx(math.tanh(z + error)))
    assert found.spearman_interval[0] < found.pearson_interval[0]
    assert found.left_out[0] < found.spearman < found.left_out[1]
    assert 0.001 < found.permutation_p < 0.5


def test_who_says_the_same_of_all_orders_nothing() -> None:
    found = agreement([0.0] * 5, [0.1, 0.2, 0.3, 0.4, 0.5])
    assert (found.spearman, found.pearson, found.permutation_p) == (0, 0, 1)
    # a lone policy that is told apart is left out: then nothing is
    assert agreement([0, 0, 0, 0, 1], [0.1, 0.2, 0.3, 0.4, 0.5]).left_out[0] == 0


@pytest.mark.parametrize(
    ("imagined", "true", "match"),
    [([0.1, 0.2, 0.3], [0.1, 0.2, 0.3], "4 or more"), ([0.1, 0.2, 0.3, 0.4, 0.5], [0.5] * 5, "all true")],
)
def test_too_few_or_all_equal_is_refused(imagined: list[float], true: list[float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        agreement(imagined, true)
