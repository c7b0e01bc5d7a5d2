"""Intervals, what positions tell, and futures taken from others: against numbers worked out by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foreact.episodes.statistics import wilson_interval
from foreact.worldmodels.futures import Futures
from foreact.worldmodels.planner.charts import draw_rates
from foreact.worldmodels.planner.intervals import Estimate, mean_of, paired, ratio_of
from foreact.worldmodels.planner.measures import clearance, measured, told_by
from foreact.worldmodels.planner.sources import likeliest, shuffled
from foreact.worldmodels.scenes import scene

PASSER = scene("arm-reach-passer")


def seen(**elements: float) -> torch.Tensor:
    """An observation with all elements 0 but some, (O,)."""
    values = torch.zeros(len(PASSER.columns))
    for name, value in elements.items():
        values[PASSER.columns.index(name)] = value
    return values


def test_the_clearance_is_from_the_nearest_part_of_the_gripper() -> None:
    # below the closed fingers' lower end, which is 1.6 cm below the tips: 10 - 1.6 - 4 cm
    assert clearance(PASSER, seen(passer_z=-0.10)).item() == pytest.approx(0.044, abs=1e-6)
    # beside the palm at its height: 20 - 9 - 4 cm
    assert clearance(PASSER, seen(passer_y=0.20, passer_z=0.092)).item() == pytest.approx(0.07, abs=1e-6)
    # in front of an open finger, which reaches from 4 to 5.2 cm: 10 - 5.2 - 4 cm
    assert clearance(PASSER, seen(passer_y=0.10, jaw_left=0.04)).item() == pytest.approx(0.008, abs=1e-6)
    # with the fingers closed the palm's edge is nearer, 1 cm inwards and 7.4 cm above
    assert clearance(PASSER, seen(passer_y=0.10)).item() == pytest.approx(np.hypot(0.01, 0.074) - 0.04, abs=1e-6)
    assert clearance(PASSER, seen(passer_z=0.092)).item() < -0.04  # in the palm
    # only what lies between the two counts
    moved = seen(hand_x=0.5, hand_y=0.1, passer_x=0.5, passer_y=0.2, jaw_left=0.04)
    assert clearance(PASSER, moved).item() == pytest.approx(0.008, abs=1e-6)


def test_positions_tell_rewards_successes_and_contacts() -> None:
    zeros = torch.zeros(1, 2, 1)
    values = torch.stack([seen(goal_x=0.02, passer_x=1.0), seen(goal_x=0.3, passer_z=-0.056)])[None, :, None]
    told = measured(PASSER, Futures(values, torch.full((1, 2), 0.5).log(), zeros, zeros, zeros))
    assert told.success[0, :, 0].tolist() == pytest.approx([0.5, 0.0], abs=1e-6)
    assert told.contact[0, :, 0].tolist() == pytest.approx([0.0, 0.5], abs=1e-6)
    assert told.reward[0, :, 0].tolist() == pytest.approx([1 - np.tanh(0.1), 1 - np.tanh(1.5)], abs=1e-6)
    assert told_by("heads", PASSER, told) is told
    plain = scene("arm-reach")
    away = measured(plain, replace(told, values=torch.zeros(1, 2, 1, len(plain.columns))))
    assert (away.contact == 0).all()


def told(name: str, **elements: float) -> Futures:
    """What positions say of one observation, all elements 0 but some."""
    place, zeros = scene(name), torch.zeros(1, 1, 1)
    values = torch.zeros(1, 1, 1, len(place.columns))
    for element, value in elements.items():
        values[..., place.columns.index(element)] = value
    return measured(place, Futures(values, torch.zeros(1, 1), zeros, zeros, zeros))


def near(distance: float) -> float:
    return 1 - np.tanh(5 * distance)


def test_positions_tell_how_things_are_moved() -> None:
    # 4 cm short of the disc, so 1 cm of its edge; the hand where a push begins, 5 cm behind the cube
    push = told("arm-push", goal_x=0.04, cube_z=0.02, hand_x=-0.05, hand_z=0.02)
    assert push.success.item() == pytest.approx(1 / (1 + np.e), abs=1e-5)
    assert push.reward.item() == pytest.approx(0.7 * near(0.04) + 0.3, abs=1e-4)
    ahead = told("arm-push", goal_x=0.04, cube_z=0.02, hand_x=0.05, hand_z=0.02)
    # on the wrong side: 10 cm up, 10 across, 10 down; from above the beginning only down
    assert ahead.reward.item() == pytest.approx(0.7 * near(0.04) + 0.3 * near(0.3), abs=1e-4)
    above = told("arm-push", goal_x=0.04, cube_z=0.02, hand_x=-0.05, hand_z=0.12)
    assert above.reward.item() == pytest.approx(0.7 * near(0.04) + 0.3 * near(0.1), abs=1e-4)
    # a cube 1 cm above what counts as lifted, the hand 2 cm over it
    lift = told("arm-lift", cube_z=0.13, hand_z=0.15)
    assert lift.success.item() == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-5)
    assert lift.reward.item() == pytest.approx(0.7 + 0.3 * near(0.02), abs=1e-5)
    # 1 cm of 15 left, the fingers 3 cm under where they pull
    drawer = told("arm-drawer", drawer=0.14, handle_x=0.5, handle_z=0.075, hand_x=0.524, hand_z=0.04)
    assert drawer.success.item() == pytest.approx(1 / (1 + np.e), abs=1e-5)
    assert drawer.reward.item() == pytest.approx(0.7 * near(0.01) + 0.3 * near(0.03), abs=1e-5)
    assert (push.contact == 0).all()


def numbered(chunks: torch.Tensor) -> Futures:
    """Each chunk's futures carry its first action; the second of two is likelier."""
    shape = (len(chunks), 2, chunks.shape[1])
    own = chunks[:, None, :, 0].expand(shape) + torch.tensor([0.0, 100.0])[:, None]
    weights = torch.tensor([0.3, 0.7]).log().expand(len(chunks), 2)
    return Futures(own[..., None], weights, own, own, own)


CHUNKS = torch.arange(6.0).reshape(6, 1, 1).expand(6, 3, 1)


def test_no_chunk_keeps_its_own_futures_and_every_future_stays() -> None:
    for seed in range(20):
        found = shuffled(numbered, seed)(CHUNKS).reward[:, 0, 0]
        assert sorted(found.tolist()) == [0, 1, 2, 3, 4, 5]
        assert not (found == torch.arange(6.0)).any()


def test_the_likeliest_future_becomes_certain() -> None:
    found = likeliest(numbered)(CHUNKS)
    assert found.reward[:, :, 0].tolist() == [[100.0 + each] for each in range(6)]
    assert found.values.shape == (6, 1, 3, 1) and (found.log_weights == 0).all()


def test_intervals_of_a_mean_hold_it_as_often_as_they_say() -> None:
    random = np.random.default_rng(0)
    held = 0
    for trial in range(200):
        found = mean_of(random.normal(3.0, 2.0, 60), resamples=400, seed=trial)
        held += found.low <= 3.0 <= found.high
    assert 180 <= held <= 199


def test_rates_at_the_ends_of_their_range_are_drawn(tmp_path: Path) -> None:
    none, every = (Estimate(float(hits > 0), *wilson_interval(hits, 4)) for hits in (0, 4))
    assert every.high < every.value or none.low > none.value  # rounding puts the figure outside its interval
    draw_rates(tmp_path / "new" / "rates.png", {"solved": {"first": every, "second": none}}, "four episodes")
    assert (tmp_path / "new" / "rates.png").read_bytes().startswith(b"\x89PNG")
    assert [each.name for each in (tmp_path / "new").iterdir()] == ["rates.png"]


def test_pairs_and_ratios() -> None:
    hard = np.random.default_rng(0).uniform(0, 1, 200)  # what both share
    first, second = 0.5 * hard, hard
    less = paired(second, first)
    assert less.value == pytest.approx((0.5 * hard).mean()) and less.low > 0.2 and less.high < 0.3
    half = ratio_of(first, second)
    assert (half.value, half.low, half.high) == pytest.approx((0.5, 0.5, 0.5))
    with pytest.raises(ValueError, match="no ratio"):
        ratio_of(first, np.zeros(200))
    with pytest.raises(ValueError, match="1 states give no interval"):
        mean_of(np.ones(1))
