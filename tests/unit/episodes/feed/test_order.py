"""The order is a permutation each epoch, the same everywhere; mixtures keep to their weights."""

import json
from collections import Counter

import numpy as np
import pytest

from foreact.episodes.feed.mixture import Draws, schedule
from foreact.episodes.feed.order import Order, mixed_bits


@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_each_epoch_has_every_sample_once(count: int) -> None:
    order = Order(count, seed=3)
    for epoch in range(4):
        assert sorted(order.epoch(epoch).tolist()) == list(range(count))
    drawn = order.take(0, 3 * count).reshape(3, count)
    assert [sorted(row) for row in drawn.tolist()] == [list(range(count))] * 3


def plain_mix(number: int) -> int:
    """SplitMix64's finaliser in whole numbers of any size."""
    number = (number ^ (number >> 30)) * 0xBF58476D1CE4E5B9 & M
    number = (number ^ (number >> 27)) * 0x94D049BB133111EB & M
    return number ^ (number >> 31)


M = (1 << 64) - 1


def test_the_order_is_the_one_written_down_here() -> None:
    assert mixed_bits(np.array([1, 5], np.uint64)).tolist() == [plain_mix(1), plain_mix(5)]
    start = 0
    for part in (9, 2, 4, 0):  # seed, salt, epoch, samples
        start = plain_mix((start ^ part) + 0x9E3779B97F4A7C15 & M)
    keys = [plain_mix(start + each * 0x9E3779B97F4A7C15 & M) for each in range(50)]
    assert Order(50, seed=9, salt=2).epoch(4).tolist() == sorted(range(50), key=keys.__getitem__)
    assert Order(8, seed=0).epoch(0).tolist() == [6, 0, 3, 4, 7, 1, 2, 5]  # a resumed run relies on it


def test_seed_epoch_and_salt_each_change_it() -> None:
    orders = [
        Order(100, 0).epoch(0),
        Order(100, 1).epoch(0),
        Order(100, 0).epoch(1),
        Order(100, 0, salt=1).epoch(0),
        Order(100, -1).epoch(0),
    ]
    assert len({each.tobytes() for each in orders}) == 5
    assert Order(5, 0, shuffle=False).take(3, 4).tolist() == [3, 4, 0, 1]


def test_every_permutation_is_as_likely() -> None:
    counts = Counter(tuple(Order(4, seed).epoch(0).tolist()) for seed in range(4800))
    assert len(counts) == 24
    chi2 = sum((count - 200) ** 2 / 200 for count in counts.values())
    assert chi2 < 49.7  # 23 degrees of freedom, p = 0.001


def test_any_stretch_can_be_had_by_itself() -> None:
    whole = Order(13, 5).take(0, 100)
    for first, count in ((0, 1), (12, 2), (20, 50), (99, 1), (7, 0)):
        np.testing.assert_array_equal(Order(13, 5).take(first, count), whole[first : first + count])


def test_recordings_shuffled_together_stay_together() -> None:
    recording = np.repeat(np.arange(10), 7)
    order = Order(70, 1, recording=recording, together=3).epoch(0)
    assert sorted(order.tolist()) == list(range(70))
    groups = [set(recording[order[start : start + 21]].tolist()) for start in (0, 21, 42)]
    assert [len(group) for group in groups] == [3, 3, 3] and not set.intersection(*groups[:2])
    assert len({*recording[order[:7]].tolist()}) > 1  # samples of these recordings are mixed


UNEVEN = [0.003, 0.331, 0.113, 0.406, 0.003, 0.003, 0.005, 0.053, 0.003, 0.08]  # largest share first would be 2 off


@pytest.mark.parametrize("shares", [[0.5, 0.5], [0.7, 0.2, 0.1], [1 / 3, 1 / 3, 1 / 3], [0.98, 0.02], UNEVEN])
def test_after_any_number_of_draws_shares_are_off_by_less_than_one_draw(shares: list[float]) -> None:
    weights, drawn = np.array(shares), np.zeros(len(shares), np.int64)
    found = schedule(weights, drawn, 2000)
    counts = np.cumsum(found[:, None] == np.arange(len(shares)), axis=0)
    assert np.abs(counts - weights * np.arange(1, 2001)[:, None]).max() < 1
    np.testing.assert_array_equal(drawn, counts[-1])
    parts, again = np.zeros(len(shares), np.int64), []
    for size in (1, 10, 989, 1000):
        again.append(schedule(weights, parts, size))
    np.testing.assert_array_equal(np.concatenate(again), found)


def test_draws_go_on_from_a_state_that_is_plain_json() -> None:
    def made() -> Draws:
        return Draws([Order(5, 0, salt=0), Order(50, 0, salt=1)], [3, 1])

    whole = made().next(300)
    for place in (0, 1, 17, 299):
        first = made()
        first.next(place)
        state = json.loads(json.dumps(first.state()))
        again = made()
        again.resume(state)
        for found, expected in zip(again.next(300 - place), whole, strict=True):
            np.testing.assert_array_equal(found, expected[place:])
    datasets, numbers = whole
    assert Counter(numbers[datasets == 0][:5].tolist()) == Counter(range(5))  # none twice before all once


def test_bad_mixtures_are_refused() -> None:
    orders = [Order(5, 0), Order(5, 1)]
    for weights in ([1.0], [1.0, 0.0], [1.0, float("nan")]):
        with pytest.raises(ValueError, match="one for each, above 0"):
            Draws(orders, weights)
    with pytest.raises(ValueError, match="is not of 2 datasets"):
        Draws(orders).resume([1])
    with pytest.raises(ValueError, match="must be above 0"):
        Order(0, 0)
