from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

from foreact.deploy_edge.calibration import TensorValues, observe_values
from foreact.deploy_edge.layers import Layer, find_layers
from foreact.deploy_edge.parity import Parity
from foreact.deploy_edge.selection import inner_convolutions, select_scheme

RNG = np.random.default_rng(0)
FLOAT_FROM_THE_START = frozenset({"outer", "logits", "linear"})


def weights(*shape: int) -> np.ndarray:
    return RNG.normal(size=shape).astype(np.float32)


@pytest.fixture
def model(tiny: Any) -> ModelProto:
    """A picture, two convolutions, then one whose results go into a softmax, and a linear layer."""
    constants = {
        "outer.weight": weights(4, 3, 1, 1),
        "inner.weight": weights(4, 4, 1, 1),
        "logits.weight": weights(2, 4, 1, 1),
        "linear.weight": weights(6, 5),
    }
    nodes = [
        helper.make_node("Conv", ["image", "outer.weight"], ["a"], "outer_node"),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "inner.weight"], ["c"], "inner_node"),
        helper.make_node("Conv", ["c", "logits.weight"], ["d"], "logits_node"),
        helper.make_node("Softmax", ["d"], ["e"], "softmax"),
        helper.make_node("MatMul", ["e", "linear.weight"], ["out"], "linear_node"),
    ]
    return tiny.model_of(nodes, {"image": ("float32", (1, 3, 6, 6))}, {"out": (1, 2, 6, 5)}, constants)


def values_of(model: ModelProto, layers: list[Layer]) -> dict[str, TensorValues]:
    names = sorted({name for layer in layers for name in (layer.source, layer.result)})
    return observe_values(model, names, [{"image": weights(1, 3, 6, 6)} for _ in range(3)])


def parity(error: float) -> Parity:
    return Parity(np.array([1 - error]), np.array([error]), np.array([False]), np.array([error]))


def has_float_input(candidate: ModelProto, layer: str) -> bool:
    return any(node.name == f"{layer}.weight.unpacked" for node in candidate.graph.node)


def test_inner_convolutions_read_a_layer_and_do_not_end_in_a_softmax(model: ModelProto) -> None:
    assert inner_convolutions(model, find_layers(model)) == {"inner"}


def test_the_search_ends_when_the_gate_is_passed(model: ModelProto) -> None:
    layers = find_layers(model)
    found = select_scheme(model, layers, values_of(model, layers), lambda candidate, quick: parity(0.0001), 0.98)
    assert found.scheme.weight_only == FLOAT_FROM_THE_START and found.score == pytest.approx(1 - 15 * 0.0001)
    assert len(found.log) == 2 and len(found.scheme.layers) == 4


def test_a_layer_whose_rounding_does_harm_gets_a_float_input(model: ModelProto) -> None:
    layers = find_layers(model)

    def harm(candidate: ModelProto, quick: bool) -> Parity:
        return parity(0.0001 if has_float_input(candidate, "inner") else 0.5)

    found = select_scheme(model, layers, values_of(model, layers), harm, 0.98)
    assert found.scheme.weight_only == FLOAT_FROM_THE_START | {"inner"} and found.score == pytest.approx(
        1 - 15 * 0.0001
    )


def test_the_best_is_returned_when_nothing_passes(model: ModelProto) -> None:
    layers = find_layers(model)
    found = select_scheme(model, layers, values_of(model, layers), lambda candidate, quick: parity(np.nan), 0.98)
    assert np.isnan(found.score) and len(found.log) > 2
