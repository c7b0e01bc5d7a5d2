from functools import partial
from typing import Any

import numpy as np
import pytest
from onnx import helper

from foreact.deploy_edge.calibration import BINS, TensorValues, observe_values

f32 = partial(np.array, dtype=np.float32)


def values(low: float, high: float, counts: dict[int, float]) -> TensorValues:
    histogram = np.zeros(BINS)
    for place, count in counts.items():
        histogram[place] = count
    return TensorValues(low, high, histogram)


def test_minmax_covers_everything_and_zero() -> None:
    assert values(-1.0, 3.0, {0: 1}).range("minmax") == (-1.0, 3.0)
    assert values(2.0, 3.0, {0: 1}).range("minmax") == (0.0, 3.0)
    assert values(0.0, 0.0, {0: 5}).range("mse") == (0.0, 0.0)


def test_mse_clips_a_lone_outlier_but_not_an_even_spread() -> None:
    spread = TensorValues(-1.0, 1.0, np.ones(BINS))
    low, high = spread.range("mse")
    assert (low, high) == (pytest.approx(-1.0, abs=0.05), pytest.approx(1.0, abs=0.05))
    lone = np.zeros(BINS)
    lone[: BINS // 4] = 1e6
    lone[-1] = 1
    assert TensorValues(0.0, 1.0, lone).range("mse")[1] < 0.6


def test_values_are_seen_over_all_observations(tiny: Any) -> None:
    model = tiny.model_of(
        [helper.make_node("Mul", ["x", "two"], ["y"]), helper.make_node("Neg", ["y"], ["out"])],
        {"x": ("float32", (2,))},
        {"out": (2,)},
        {"two": f32([2])},
    )
    seen = observe_values(model, ["x", "y", "out"], [{"x": f32([0, 1])}, {"x": f32([-3, 0.5])}])
    assert {name: (each.low, each.high) for name, each in seen.items()} == {"x": (-3, 1), "y": (-6, 2), "out": (-2, 6)}
    assert all(each.counts.sum() == 4 for each in seen.values())
    assert seen["y"].counts[0] == 1 and seen["y"].counts[-1] == 1
