from typing import Any

import numpy as np
import pytest
from onnx import helper

from foreact.deploy_edge.corrections import correct_biases
from foreact.deploy_edge.layer_inputs import observe_moments, patches
from foreact.deploy_edge.layers import find_layers
from foreact.deploy_edge.rounding import rounded
from foreact.deploy_edge.tidy import constants

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("attributes", [{}, {"pads": [1, 0, 2, 1]}, {"strides": [2, 1]}, {"dilations": [1, 2]}])
def test_patches_times_weights_are_the_convolution(tiny: Any, attributes: dict[str, Any]) -> None:
    weight = RNG.normal(size=(4, 3, 2, 3)).astype(np.float32)
    node = helper.make_node("Conv", ["x", "w"], ["out"], "conv", **attributes)
    x = RNG.normal(size=(1, 3, 7, 8)).astype(np.float32)
    model = tiny.model_of([node], {"x": ("float32", x.shape)}, {"out": (1, 4, 0, 0)}, {"w": weight})
    model.graph.output[0].type.tensor_type.ClearField("shape")
    result = tiny.run_model(model, x=x)
    assert patches(x, node, weight.shape) @ weight.reshape(4, -1).T == pytest.approx(
        result[0].reshape(4, -1).T, abs=1e-4
    )


def test_moments_by_hand(tiny: Any) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["y"], "one"),
        helper.make_node("Gemm", ["y", "w", "b"], ["out"], "two"),
    ]
    weight, bias = np.array([[0, 1], [2, 0]], np.float32), np.zeros(2, np.float32)
    model = tiny.model_of(nodes, {"x": ("float32", (1, 2))}, {"out": (1, 2)}, {"w": weight, "b": bias})
    found = observe_moments(model, find_layers(model), [{"x": np.array([[1, 3]], np.float32)}])
    # the shared weights see (1, 3), and then what comes out of them, (6, 1)
    assert found["w"].mean == pytest.approx([3.5, 2.0])
    assert found["w"].second == pytest.approx(np.array([[37, 9], [9, 10]]) / 2)


def test_convolutions_in_groups_are_left_out(tiny: Any) -> None:
    node = helper.make_node("Conv", ["x", "w"], ["out"], "conv", group=2)
    weight = np.ones((2, 1, 1, 1), np.float32)
    model = tiny.model_of([node], {"x": ("float32", (1, 2, 3, 3))}, {"out": (1, 2, 3, 3)}, {"w": weight})
    assert observe_moments(model, find_layers(model), [{"x": np.ones((1, 2, 3, 3), np.float32)}]) == {}


def test_a_corrected_bias_restores_the_mean_result(tiny: Any) -> None:
    weight = RNG.normal(size=(5, 8)).astype(np.float32)
    nodes = [helper.make_node("Gemm", ["x", "w", "b"], ["out"], "one", transB=1)]
    model = tiny.model_of(
        nodes, {"x": ("float32", (1, 8))}, {"out": (1, 5)}, {"w": weight, "b": np.ones(5, np.float32)}
    )
    seen = [{"x": (RNG.normal(size=(1, 8)) + 3).astype(np.float32)} for _ in range(20)]
    layers = find_layers(model)
    integers = {"w": rounded(weight, 0, 3)}
    assert correct_biases(model, layers, integers, observe_moments(model, layers, seen)) == 1
    bias = constants(model.graph)["b"]
    mean = np.mean([each["x"][0] for each in seen], axis=0)
    assert integers["w"].dequantised() @ mean + bias == pytest.approx(weight @ mean + 1, abs=1e-5)
    assert np.abs(bias - 1).max() > 0.01
