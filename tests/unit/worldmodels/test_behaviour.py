"""Which states and chunks are drawn, and that no two purposes share any."""

import itertools
from typing import Any

import numpy as np
import pytest

from foreact.sim.random import WorldRandom
from foreact.sim.tabletop import EXPERTS
from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.behaviour import (
    CHUNK,
    CHUNK_KINDS,
    DRIVERS,
    FEWEST,
    SHARE,
    chunks,
    drifting_noise,
    state_keys,
    warm_up,
)
from foreact.worldmodels.scenes import scene

STATES = np.arange(500)


def test_no_two_purposes_seeds_streams_or_copies_share_a_key() -> None:
    purposes: Any = ("train", "calibrate", "test")
    keys = [
        state_keys(purpose, seed, STATES, stream, 32)
        for purpose, seed, stream in itertools.product(purposes, (0, 1, 1000), range(4))
    ]
    together = np.concatenate(keys)
    assert len(np.unique(together)) == len(together) == 3 * 3 * 4 * 500 * 32


def test_keys_do_not_depend_on_how_many_there_are() -> None:
    many = state_keys("test", 3, STATES, 3, 32).reshape(500, 32)
    np.testing.assert_array_equal(many[7:9, :5].ravel(), state_keys("test", 3, STATES[7:9], 3, 5))


@pytest.mark.parametrize(
    ("purpose", "seed", "copies", "says"),
    [
        ("tset", 0, 1, "train, calibrate, test"),
        ("test", -1, 1, "seed"),
        ("test", 0, 1025, "copies"),
        ("test", 0, 0, "copies"),
    ],
)
def test_what_is_out_of_range_is_refused(purpose: Any, seed: int, copies: int, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        state_keys(purpose, seed, STATES, 0, copies)


def test_states_lie_anywhere_in_an_episode() -> None:
    before = warm_up(scene("arm-lift"), "train", 0, STATES)
    last = int(SHARE * scene("arm-lift").task.limit)
    assert before.min() == FEWEST and last - 3 <= before.max() <= last
    assert abs(before.mean() - (FEWEST + last) / 2) < 3


def test_shares_add_up() -> None:
    assert sum(DRIVERS.values()) == pytest.approx(1) and sum(CHUNK_KINDS.values()) == pytest.approx(1)


def test_a_leaning_expert_is_off_by_the_same_all_the_time() -> None:
    reach, expert, count, steps = scene("arm-reach"), EXPERTS["arm-reach"](), 60, 6
    keys = state_keys("train", 3, np.arange(count), CHUNK)

    def worlds() -> TaskWorlds:
        made = TaskWorlds(reach.task, count, seed=3)
        made.reset()
        return made

    found, kind = chunks(expert, worlds(), worlds(), keys, steps)
    ahead, planned = worlds(), []
    expert.reset(ahead.views, np.arange(count))
    for _ in range(steps):
        planned.append(np.array(expert(ahead.views)))
        ahead.step(planned[-1])
    off = found - np.stack(planned, axis=1)
    leaning, noisy = (kind == list(CHUNK_KINDS).index(each) for each in ("leaning expert", "noisy expert"))
    whole = (np.abs(found) < 1).all(1)  # what is not clipped anywhere, (N, A)
    assert np.ptp(off, axis=1)[leaning[:, None] & whole].max() < 1e-6 < 0.05 < np.abs(off[leaning]).max()
    assert np.ptp(off, axis=1)[noisy[:, None] & whole].min() > 0.01


def test_noise_drifts_with_the_size_that_is_asked_for() -> None:
    scale = np.repeat([0.2, 1.0], 2000)
    noise = drifting_noise(WorldRandom(0, 4000), 16, 3, scale)
    assert noise.shape == (4000, 16, 3)
    for half, size in ((noise[:2000], 0.2), (noise[2000:], 1.0)):
        np.testing.assert_allclose(half.std((0, 2)), size, rtol=0.05)
        # one step apart: 1 - theta
        np.testing.assert_allclose((half[:, 1:] * half[:, :-1]).mean() / size**2, 0.85, atol=0.03)
