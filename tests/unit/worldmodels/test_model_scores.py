"""The benchmark's figures of models whose answers are known."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from foreact.worldmodels.branches import BranchError, Branches, BranchSpec
from foreact.worldmodels.calibration import CalibrationError
from foreact.worldmodels.futures import Futures
from foreact.worldmodels.model_scores import calibrate, energy_floor, gap_closed, score_model, score_truth
from foreact.worldmodels.scenes import scene

STATES, FUTURES, STEPS = 60, 8, 4
REACH = scene("arm-reach")
SIZE = len(REACH.columns)


def made(purpose: str = "test", states: int = STATES, seed: int = 0) -> Branches:
    """Hands that go as commanded in x, or back, half of the futures each; everything else stays."""
    rng = np.random.default_rng(seed)
    spec = BranchSpec("arm-reach", REACH.columns, REACH.tracked, REACH.actions, ("back",), 20.0, seed, purpose)
    context = rng.normal(size=(states, SIZE)).astype(np.float32)
    actions = rng.uniform(0.5, 1.0, (states, STEPS, 4)).astype(np.float32)
    back = np.tile(np.arange(FUTURES) % 2 == 1, (states, 1))
    futures = moved(context, actions, np.where(back, -1.0, 1.0)).astype(np.float32)
    zeros = np.zeros((states, FUTURES, STEPS), np.float32)
    contact, hidden = np.broadcast_to(back[:, :, None], zeros.shape), back[:, :, None].astype(np.float32)
    return Branches(spec, context, actions, futures, zeros, zeros > 0, contact, hidden)


def moved(context: np.ndarray, actions: np.ndarray, signs: np.ndarray) -> np.ndarray:
    futures = np.repeat(np.repeat(context[:, None, None], signs.shape[1], 1), STEPS, 2)
    futures[..., REACH.tracked[0]] += signs[:, :, None] * np.cumsum(actions[:, None, :, 0], 2)
    return futures


@dataclass
class Going:
    """Imagines hands that go along and against the commanded way, in given shares."""

    signs: tuple[float, ...]
    weights: tuple[float, ...]
    horizon: int = STEPS
    futures: int = 0

    def __post_init__(self) -> None:
        self.futures = len(self.signs)

    def imagine(self, context: Tensor, actions: Tensor) -> Futures:
        signs = np.tile(np.array(self.signs), (len(context), 1))
        values = torch.from_numpy(moved(context.numpy(), actions.numpy(), signs))
        weights = torch.tensor(self.weights).log().expand(len(context), -1)
        flat = torch.zeros(len(context), self.futures, STEPS)
        contact = (torch.tensor(self.signs) < 0).float()[None, :, None].expand_as(flat)
        return Futures(values, weights, flat, contact, flat)


BOTH, AHEAD, STAYS = Going((1.0, -1.0), (0.5, 0.5)), Going((1.0,), (1.0,)), Going((0.0,), (1.0,))


def test_who_knows_both_futures_is_at_the_floor() -> None:
    branches = made()
    figures = score_model(BOTH, branches)
    floor, one = energy_floor(branches), score_model(STAYS, branches)["energy_score"]
    assert figures["energy_score"] == pytest.approx(floor, rel=1e-5)
    assert figures["min_ade"] == pytest.approx(0, abs=1e-6)
    assert figures["code_usage"] == pytest.approx(2)
    assert figures["coverage_80"] == 1.0 and figures["cvar_error"] == pytest.approx(0, abs=1e-5)
    assert figures["contact_brier"] == pytest.approx(0.25) and figures["success_brier"] == 0
    assert gap_closed(figures["energy_score"], one, floor) == pytest.approx(1, abs=1e-4)
    assert one == pytest.approx(2 * floor, rel=1e-5)  # two points: E d(X, X') / 2 is half of the way


def test_true_futures_forecast_the_others() -> None:
    figures, branches = score_truth(made()), made()
    assert figures["energy_score"] == energy_floor(branches) and figures["futures"] == FUTURES / 2
    assert figures["coverage_80"] == 1 and figures["min_fde"] == figures["cvar_error"] == figures["reward_error"] == 0
    assert figures["code_usage"] == pytest.approx(2) and figures["contact_brier"] == pytest.approx(0.25)


def test_one_future_is_half_right() -> None:
    figures = score_model(AHEAD, made())
    # where nothing moves it is right, where things move in half of the futures
    assert figures["coverage_80_moving"] == pytest.approx(0.5, abs=0.01)
    assert figures["coverage_80"] > 0.8 and figures["code_usage"] == 1
    assert figures["contact_brier"] == pytest.approx(0.5)


def test_shuffled_actions_are_worse_for_who_uses_them_and_only_for_them() -> None:
    branches = made()
    for model, hurts in ((BOTH, True), (AHEAD, True), (STAYS, False)):
        right, wrong = (score_model(model, branches, shuffle_actions=each)["energy_score"] for each in (False, True))
        assert (wrong > right + 0.01) == hurts


def test_calibrated_intervals_cover_what_they_say() -> None:
    model = Going((0.3, -0.3), (0.5, 0.5))  # too narrow by far
    calibration = calibrate(model, made("calibrate", 500, 1))
    assert score_model(model, made())["coverage_80_moving"] == 0
    figures = score_model(model, made(), calibration)
    assert figures["coverage_80_moving"] >= 0.78 and figures["coverage_80_raw"] < 0.7


def test_what_does_not_fit_is_refused() -> None:
    branches = made()
    with pytest.raises(BranchError, match="the model imagines 3 steps, the set has 4"):
        score_model(replace(BOTH, horizon=3), branches)
    with pytest.raises(BranchError, match="made to test"):
        calibrate(BOTH, branches)
    with pytest.raises(CalibrationError, match="too few"):
        calibrate(BOTH, made("calibrate", 10))
    with pytest.raises(BranchError, match="at least two"):
        energy_floor(branches.part(slice(None), slice(1)))
    with pytest.raises(ValueError, match="no gap"):
        gap_closed(1.0, 1.0, 1.0)
    with pytest.raises(BranchError, match="not finite"):
        score_model(Going((1.0, float("nan")), (0.5, 0.5)), branches)
