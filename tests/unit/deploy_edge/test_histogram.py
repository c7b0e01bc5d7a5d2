import numpy as np
import pytest

from foreact.deploy_edge.runtime.histogram import Histogram, bucket_low, bucket_of


def filled(values: list[int]) -> Histogram:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    return histogram


@pytest.mark.parametrize(
    ("value", "low", "next_low"),
    [(0, 0, 1), (15, 15, 16), (16, 16, 17), (31, 31, 32), (32, 32, 34), (33, 32, 34), (63, 62, 64), (1000, 992, 1024)],
)
def test_buckets_by_hand(value: int, low: int, next_low: int) -> None:
    assert (bucket_low(bucket_of(value)), bucket_low(bucket_of(value) + 1)) == (low, next_low)


def test_buckets_meet_without_gaps_and_are_at_most_a_sixteenth_wide() -> None:
    for index in range(500):
        low, next_low = bucket_low(index), bucket_low(index + 1)
        assert low < next_low and bucket_of(low) == index and bucket_of(next_low - 1) == index
        assert next_low - low <= max(1, low / 16)


def test_percentiles_by_hand() -> None:
    histogram = filled([1] * 98 + [10, 100])
    assert [histogram.percentile(q) for q in (50, 98, 99, 100)] == [1, 1, 10, 100]
    assert (histogram.count, histogram.max) == (100, 100)


def test_percentiles_are_within_a_bucket_of_the_exact_ones() -> None:
    values = np.random.default_rng(0).lognormal(5, 1.5, 5000).astype(int)
    histogram = filled(values.tolist())
    for q in (50, 95, 99):
        exact = np.percentile(values, q, method="inverted_cdf")
        assert exact <= histogram.percentile(q) <= exact * 17 / 16 + 1


def test_an_empty_one_and_negative_and_huge_values() -> None:
    assert Histogram().percentile(99) == 0 and Histogram().buckets() == []
    histogram = filled([-5, 2**60])
    assert histogram.buckets()[0] == (0, 1, 1) and histogram.count == 2


def test_merging_is_counting_together() -> None:
    first, second = filled([3, 70, 70]), filled([5000, 1])
    first.merge(second.buckets(), second.max)
    assert first.buckets() == filled([3, 70, 70, 5000, 1]).buckets() and first.max == 5000


def test_a_percentile_outside_its_range_is_an_error() -> None:
    with pytest.raises(ValueError, match="outside"):
        Histogram().percentile(0)
