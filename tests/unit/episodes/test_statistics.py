import pytest

from foreact.episodes.statistics import paired_difference, wilson_interval


def test_wilson_against_published_numbers() -> None:
    # Newcombe 1998, table I, method 3: 81 of 263 and 0 of 20
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)


def test_counts_that_cannot_be_are_refused() -> None:
    for successes, trials in ((-1, 5), (6, 5), (0, 0)):
        with pytest.raises(ValueError, match="cannot be"):
            wilson_interval(successes, trials)


def test_paired_difference_reproduces_a_published_example() -> None:
    # an example of Newcombe 1998: 36 both, 12 only the first, 2 only the second
    found = paired_difference([True] * 48 + [False] * 2, [True] * 36 + [False] * 12 + [True] * 2)
    assert (round(found.difference, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0569, 0.3404)
    assert (found.only_first, found.only_second) == (12, 2)
    assert round(found.p_value, 4) == 0.0129


def test_a_policy_loses_nothing_to_itself() -> None:
    outcomes = [True] * 50 + [False] * 3
    same = paired_difference(outcomes, outcomes)
    assert same.difference == 0 and same.p_value == 1
    assert 0 <= same.high < 0.07 and -0.07 < same.low <= 0


def test_trials_that_are_no_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 1 trials"):
        paired_difference([True, False], [True])
