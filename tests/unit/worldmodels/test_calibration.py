"""Calibrated intervals hold on new states what they say; those of a too narrow forecast do not."""

from pathlib import Path

import numpy as np
import pytest

from foreact.worldmodels.calibration import Calibration, CalibrationError, conformal_quantile, fit_calibration
from foreact.worldmodels.scores import LEVELS, coverage

STEPS, ELEMENTS, FUTURES = 3, 2, 8


def drawn(states: int, seed: int, narrow: float = 0.4) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truths with two modes whose distance differs between states, and forecasts of eight atoms that are too near."""
    rng = np.random.default_rng(seed)
    middle = rng.normal(size=(states, 1, STEPS, ELEMENTS))
    apart = rng.uniform(0.2, 2.0, (states, 1, 1, 1)) * np.arange(1, STEPS + 1)[:, None]
    side = np.where(rng.random((states, 12, 1, 1)) < 0.6, 1.0, -1.0)
    truth = middle + apart * (side + 0.3 * rng.normal(size=(states, 12, STEPS, ELEMENTS)))
    atoms = np.linspace(-1.0, 1.0, FUTURES).reshape(1, FUTURES, 1, 1)
    weights = rng.dirichlet(np.full(FUTURES, 5.0), states)
    return middle + narrow * apart * atoms, weights, truth


def test_the_quantile_by_hand() -> None:
    # 3 states of 2 futures: each score weighs 1 / 8, a quarter lies at infinity
    scores = np.array([[6.0, 1.0], [2.0, 5.0], [3.0, 4.0]])[:, :, None]
    assert conformal_quantile(scores, 0.5)[0] == 4.0
    assert conformal_quantile(scores, 0.51)[0] == 5.0
    assert conformal_quantile(scores, 0.75)[0] == 6.0
    with pytest.raises(CalibrationError, match="3 states are too few for intervals of 80%; 4 are needed"):
        conformal_quantile(scores, 0.8)


@pytest.mark.parametrize("together", [False, True])
def test_stated_levels_are_held_on_other_states(together: bool) -> None:
    calibration = fit_calibration(*drawn(1000, 0), together=together)
    forecast, weights, truth = drawn(2000, 1)
    np.testing.assert_allclose(calibration.coverage(forecast, weights, truth).mean(0), LEVELS, atol=0.02)
    # the control: what the forecast says of itself
    own = coverage(forecast, weights, truth).mean(0)
    assert (own < np.array(LEVELS) - 0.2).all()


def test_too_wide_intervals_become_narrower() -> None:
    calibration = fit_calibration(*drawn(1000, 0, narrow=5.0))
    forecast, weights, truth = drawn(2000, 1, narrow=5.0)
    assert (coverage(forecast, weights, truth).mean(0)[:2] > np.array(LEVELS)[:2] + 0.1).all()
    np.testing.assert_allclose(calibration.coverage(forecast, weights, truth).mean(0), LEVELS, atol=0.02)
    assert (calibration.margins < 0).all()


def test_margins_of_each_step_and_element_hold_for_each() -> None:
    forecast, weights, truth = drawn(1500, 2)
    forecast[..., 1] += 3.0  # one element is foreseen badly
    half = slice(0, 750), slice(750, None)
    each = fit_calibration(forecast[half[0]], weights[half[0]], truth[half[0]])
    low, high = each.intervals(forecast[half[1]], weights[half[1]])
    inside = (truth[half[1], :, None] >= low[:, None]) & (truth[half[1], :, None] <= high[:, None])
    np.testing.assert_allclose(
        inside.mean((0, 1)), np.broadcast_to(np.array(LEVELS)[:, None, None], (3, 3, 2)), atol=0.06
    )


def test_a_single_future_gets_intervals_too() -> None:
    forecast, weights, truth = drawn(800, 3)
    middle, one = (forecast * weights[:, :, None, None]).sum(1, keepdims=True), np.ones((800, 1))
    calibration = fit_calibration(middle[:400], one[:400], truth[:400])
    found = calibration.coverage(middle[400:], one[400:], truth[400:]).mean(0)
    np.testing.assert_allclose(found, LEVELS, atol=0.05)


def test_a_calibration_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = fit_calibration(*drawn(100, 0))
    made.save(tmp_path / "calibration.json")
    again = Calibration.open(tmp_path / "calibration.json")
    assert again.levels == made.levels
    np.testing.assert_array_equal(again.margins, made.margins)
    np.testing.assert_array_equal(again.least, made.least)


@pytest.mark.parametrize(
    "text", [None, "", "{}", '{"levels": [0.5], "margins": [[[1]], [[2]]], "least": [[1]]}',
             '{"levels": [0.5], "margins": [[[NaN]]], "least": [[1]]}', '{"levels": 3, "margins": [], "least": []}'],
)  # fmt: skip
def test_a_damaged_calibration_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "calibration.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CalibrationError, match=r"calibration\.json"):
        Calibration.open(path)


def test_another_horizon_is_refused() -> None:
    forecast, weights, _ = drawn(5, 0)
    with pytest.raises(CalibrationError, match="calibrated for"):
        fit_calibration(*drawn(100, 0)).intervals(forecast[:, :, :2], weights)
