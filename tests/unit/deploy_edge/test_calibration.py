from functools import partial
from typing import Any

import numpy as np
import pytest
from onnx import helper

from foreact.deploy_edge.calibration import TensorValues, observe_values

f32 = partial(np.array, dtype=np.float32)


def test_ranges_hold_everything_and_zero_and_leave_room() -> None:
    assert TensorValues(-1.0, 3.0).range("minmax") == (-1.0, 3.0)
    assert TensorValues(2.0, 3.0).range("minmax") == (0.0, 3.0)
    assert TensorValues(0.0, 0.0).range("wider") == (0.0, 0.0)
    assert TensorValues(-1.0, 2.0).range("wide") == pytest.approx((-1.15, 2.3))
    assert TensorValues(-1.0, 2.0).range("wider") == pytest.approx((-1.3, 2.6))


def test_values_are_seen_over_all_observations(tiny: Any) -> None:
    model = tiny.model_of(
        [helper.make_node("Mul", ["x", "two"], ["y"]), helper.make_node("Neg", ["y"], ["out"])],
        {"x": ("float32", (2,))},
        {"out": (2,)},
        {"two": f32([2])},
    )
    seen = observe_values(model, ["x", "y", "out"], [{"x": f32([0, 1])}, {"x": f32([-3, 0.5])}])
    assert {name: (each.low, each.high) for name, each in seen.items()} == {"x": (-3, 1), "y": (-6, 2), "out": (-2, 6)}
