"""How long a plan is gone on with: planted divergence ends it, fixed length does not notice."""

import numpy as np
import pytest
import torch

from foreact.worldmodels.calibration import CalibrationError
from foreact.worldmodels.futures import Futures
from foreact.worldmodels.planner.execution import (
    Envelope,
    ExecutionConfig,
    calibrated_radii,
    nearest_distance,
    shared_radii,
)

CONFIG = ExecutionConfig(shortest=2, longest=16, level=0.9, least=0.01)
STEPS = np.arange(1, 17)


def two_ways() -> Futures:
    """A hand that moves 2 cm a step, or 0.6 cm; the third element is not tracked."""
    values = torch.zeros(1, 2, 16, 3)
    values[0, 0, :, 1] = torch.from_numpy(0.02 * STEPS)
    values[0, 1, :, 1] = torch.from_numpy(0.006 * STEPS)
    values[0, :, :, 2] = 99.0
    even = torch.full((1, 2), 0.5).log()
    return Futures(values, even, *(torch.zeros(1, 2, 16) for _ in range(3)))


def envelope(config: ExecutionConfig = CONFIG, radii: np.ndarray | None = None) -> Envelope:
    return Envelope(config, two_ways(), (0, 1), np.full(16, 0.03) if radii is None else radii)


def executed(path: np.ndarray, own: Envelope) -> int:
    """Steps until a new plan, when the hand moves along a path (T,)."""
    for step in STEPS:
        if not own.goes_on(int(step), np.array([0.0, path[step - 1], -5.0])):
            return int(step)
    raise AssertionError("a plan must end")


@pytest.mark.parametrize("way", [0.02, 0.006])
def test_either_imagined_way_is_gone_on_with_to_the_end(way: float) -> None:
    assert executed(way * STEPS, envelope()) == 16


def test_planted_divergence_ends_the_plan_where_it_leaves_the_futures() -> None:
    path = 0.02 * np.minimum(STEPS, 6) - 0.02 * np.maximum(STEPS - 6, 0)  # it turns back after step 6
    # 12 cm, then 10, 8, 6, ... against 14, 16, 18 and 4.2, 4.8, 5.4: 4, 3.2 and 0.6 cm from the nearer
    assert executed(path, envelope()) == 7
    assert executed(path, envelope(ExecutionConfig(2, 16, adaptive=False))) == 16  # the control does not notice


def test_the_shortest_length_is_kept() -> None:
    path = np.full(16, 0.5)
    assert executed(path, envelope(ExecutionConfig(1, 16))) == 1
    assert executed(path, envelope(ExecutionConfig(5, 16))) == 5
    assert executed(0.02 * STEPS, envelope(ExecutionConfig(2, 8))) == 8


def test_the_distance_is_to_the_nearest_future() -> None:
    forecast = np.array([[[0.0, 0.0], [0.0, 0.0]], [[3.0, 4.0], [6.0, 8.0]]])
    assert nearest_distance(forecast, np.array([[3.0, 3.0], [0.0, 1.0]])).tolist() == [1.0, 1.0]


def test_calibrated_radii_hold_the_stated_share_of_new_futures() -> None:
    random = np.random.default_rng(0)
    forecast, truth = random.normal(size=(2000, 4, 3, 2)), random.normal(size=(2000, 2, 3, 2))
    held = []
    for start in range(0, 2000, 400):
        radii = calibrated_radii(forecast[start : start + 200], truth[start : start + 200], 0.8)
        new = slice(start + 200, start + 400)
        held.append((nearest_distance(forecast[new, None], truth[new]) <= radii).mean())
    assert np.mean(held) == pytest.approx(0.8, abs=0.03)


def test_the_radius_is_the_rank_that_conformal_prediction_asks_for() -> None:
    truth = np.arange(1.0, 10.0).reshape(9, 1, 1, 1)  # distances 1 to 9 of a future at 0
    forecast = np.zeros((9, 1, 1, 1))
    assert calibrated_radii(forecast, truth, 0.8).tolist() == [8.0]  # ceil(10 * 0.8)
    with pytest.raises(CalibrationError, match="9 states are too few"):
        calibrated_radii(forecast, truth, 0.95)


def test_radii_of_the_futures_themselves() -> None:
    forecast = np.array([0.0, 1.0, 3.0, 30.0]).reshape(4, 1, 1)  # nearest neighbours at 1, 1, 2, 27
    weights = np.array([0.3, 0.3, 0.3, 0.1])
    assert shared_radii(forecast, weights, 0.6, 0.1).tolist() == [1.0]
    assert shared_radii(forecast, weights, 0.9, 0.1).tolist() == [2.0]
    assert shared_radii(forecast, weights, 0.95, 0.1).tolist() == [27.0]
    assert shared_radii(forecast[:1], weights[:1], 0.9, 0.1).tolist() == [0.1]


def test_radii_and_lengths_must_fit_the_futures() -> None:
    with pytest.raises(ValueError, match="one radius per step"):
        envelope(radii=np.full(8, 0.1))
    with pytest.raises(ValueError, match="longest=17, but the futures end after 16 steps"):
        envelope(ExecutionConfig(2, 17))


@pytest.mark.parametrize("wrong", [{"shortest": 0}, {"shortest": 9, "longest": 8}, {"level": 1.0}, {"least": 0.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        ExecutionConfig(**wrong)  # type: ignore[arg-type]
