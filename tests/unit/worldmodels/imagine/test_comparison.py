"""Imagined beside true futures: numbers worked out by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from foreact.worldmodels.branches import BranchError, Branches, BranchSpec
from foreact.worldmodels.calibration import fit_calibration
from foreact.worldmodels.futures import Futures
from foreact.worldmodels.imagine.comparison import State, chosen_states, compare
from foreact.worldmodels.scenes import scene

REACH = scene("arm-reach")
STEPS = 4
HAND = [REACH.columns.index(f"hand_{axis}") for axis in "xyz"]


class Gains:
    """The hand goes so much of the commanded way [0.02 m per step] as each gain says."""

    def __init__(
        self,
        gains: tuple[float, ...] = (0.5, 1.0),
        weights: tuple[float, ...] = (0.25, 0.75),
        horizon: int = STEPS,
    ) -> None:
        self.gains, self.weights, self.horizon, self.futures = gains, weights, horizon, len(gains)

    def imagine(self, context: Tensor, actions: Tensor) -> Futures:
        way = 0.02 * actions[:, None, :, :3].cumsum(2) * torch.tensor(self.gains)[None, :, None, None]
        values = context[:, None, None].repeat(1, len(self.gains), self.horizon, 1)
        values[..., HAND] += way
        even = torch.full(values.shape[:3], 0.5)
        numbers = even * torch.arange(len(self.gains))[None, :, None]
        return Futures(values, torch.log(torch.tensor(self.weights)).repeat(len(context), 1), numbers, even, even)


def branches(gains: tuple[float, ...], states: int = 6) -> Branches:
    """True futures of the same kind; state s goes s cm sideways."""
    random = np.random.default_rng(1000)
    context = random.normal(0, 0.01, (states, len(REACH.columns))).astype(np.float32)
    actions = np.zeros((states, STEPS, 4), np.float32)
    actions[:, :, 1] = 0.5 * np.arange(states)[:, None] / STEPS
    made = Gains(gains, (1 / len(gains),) * len(gains)).imagine(torch.from_numpy(context), torch.from_numpy(actions))
    flags = np.zeros((states, len(gains), STEPS), bool)
    spec = BranchSpec("arm-reach", REACH.columns, REACH.tracked, REACH.actions, (), 20.0, 1000, "test")
    hidden = np.zeros((states, len(gains), 0), np.float32)
    return Branches(spec, context, actions, made.values.numpy(), flags.astype(np.float32), flags, flags, hidden)


def state(number: int = 4, gains: tuple[float, ...] = (0.5, 1.0, 1.0)) -> State:
    return compare(Gains(), branches(gains), REACH, None).state(number)


def test_futures_are_sorted_by_probability_with_all_that_belongs_to_them() -> None:
    found = state()
    assert found.weights.tolist() == pytest.approx([0.75, 0.25])
    assert found.success[:, 0].tolist() == [0.5, 0.0], "that of gain 1 comes first now"
    # 4 steps of 0.5 * 4 / 4 * 2 cm: the future of gain 1 ends 4 cm to the left
    np.testing.assert_allclose(found.values[:, -1, HAND[1]] - found.context[HAND[1]], [0.04, 0.02], atol=1e-6)
    assert found.commanded == "4 cm to its left in 0.2 s, jaws open"


def test_distances_to_what_happened() -> None:
    found = state()
    # what happened has gain 0.5: step t is t cm less than gain 1
    np.testing.assert_allclose(found.apart, [[0.005, 0.01, 0.015, 0.02], [0, 0, 0, 0]], atol=1e-6)
    np.testing.assert_allclose(found.others_apart, [[0.005, 0.01, 0.015, 0.02]] * 2, atol=1e-6)
    assert found.nearest == 1
    assert found.scores["nearest"] == pytest.approx(0, abs=1e-6)
    assert found.scores["nearest_weight"] == pytest.approx(0.25)
    assert found.scores["likeliest"] == pytest.approx(0.0125, abs=1e-6)


def test_the_energy_score_of_two_futures_against_three() -> None:
    found = state()
    # d = 1.25 cm between the gains: E d(X, Y) = d (0.75 / 3 + 0.25 * 2 / 3), E d(X, X') = 2 d 0.75 * 0.25
    expected = 0.0125 * ((0.75 / 3 + 0.25 * 2 / 3) - 0.75 * 0.25)
    assert found.scores["energy"] == pytest.approx(expected, rel=1e-4)


def test_the_chunk_of_another_state_makes_it_worse() -> None:
    scores = compare(Gains(), branches((0.5, 1.0, 1.0)), REACH, None).scores
    assert (scores.shuffled > scores.energy + 0.005).all()


def test_risk_is_the_mean_of_the_worst_fifth() -> None:
    found = state()
    assert found.scores["risk"] == pytest.approx(found.left.max()), "a quarter of the weight holds the worst fifth"
    assert found.scores["true_risk"] == pytest.approx(found.true_left.max())


def test_paths_begin_where_the_state_is() -> None:
    found = state()
    path = found.places(found.truth[0], "hand")
    assert path.shape == (STEPS + 1, 3)
    np.testing.assert_array_equal(path[0], found.context[HAND])
    assert found.parts == ("hand",)
    assert scene("arm-reach-passer").columns.index("passer_y") in scene("arm-reach-passer").tracked


def test_states_are_chosen_from_best_to_worst_of_those_that_part() -> None:
    compared = compare(Gains((0.9, 1.0)), branches((0.5, 1.0, 0.9)), REACH, None)
    chosen = chosen_states(compared, 2)
    # the way, and with it the spread, grows with the number of the state: half of them are 3, 4 and 5
    assert len(chosen) == 2 and set(chosen) <= {3, 4, 5}
    assert len(chosen_states(compared, 50)) == 3


def test_the_band_is_the_calibrated_one() -> None:
    made = branches((0.5, 1.0, 0.6), states=30)
    values = Gains().imagine(torch.from_numpy(made.context), torch.from_numpy(made.actions)).values.numpy()[..., HAND]
    weights = np.tile([0.25, 0.75], (30, 1))
    calibration = fit_calibration(values, weights, made.positions + 0.01)
    bare, wide = compare(Gains(), made, REACH, None), compare(Gains(), made, REACH, calibration)
    assert (wide.bands[:, 1] - wide.bands[:, 0] > bare.bands[:, 1] - bare.bands[:, 0]).all()
    other = fit_calibration(values, weights, made.positions, levels=(0.5, 0.9))
    with pytest.raises(BranchError, match="not 0.8; calibrate again"):
        compare(Gains(), made, REACH, other)


def test_what_cannot_be_compared_is_refused() -> None:
    with pytest.raises(BranchError, match="6 states with 1 futures"):
        compare(Gains(), branches((1.0,)), REACH, None)
    with pytest.raises(BranchError, match="imagines 8 steps, the set has 4"):
        compare(Gains(horizon=8), branches((1.0, 0.5)), REACH, None)
    with pytest.raises(BranchError, match="values that are not finite"):
        compare(Gains((1.0, np.nan)), branches((1.0, 0.5)), REACH, None)
