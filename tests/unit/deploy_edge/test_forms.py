from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

from foreact.deploy_edge.calibration import TensorValues, observe_values
from foreact.deploy_edge.forms import Judge, choose_forms, fastest_forms, inner_convolutions, positions_of
from foreact.deploy_edge.layers import find_layers
from foreact.deploy_edge.parity import Gate, Parity
from foreact.deploy_edge.qdq import Scheme
from foreact.deploy_edge.rounding import rounded
from foreact.deploy_edge.tidy import constants

RNG = np.random.default_rng(0)
GATE = Gate(0.98, 0.02)
START = {"outer.weight": "unpacked", "inner.weight": "both", "logits.weight": "unpacked", "linear.weight": "rows"}


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


def start_of(model: ModelProto) -> tuple[Scheme, dict[str, TensorValues]]:
    layers, values = find_layers(model), constants(model.graph)
    integers = {layer.weight: rounded(values[layer.weight], layer.axis, 8) for layer in layers}
    seen = observe_values(model, ["b", "c"], [{"image": weights(1, 3, 6, 6)} for _ in range(3)])
    return Scheme(layers, fastest_forms(model, layers, "auto"), integers), seen


def parity(error: float) -> Parity:
    return Parity(np.array([1 - error / 1e3]), np.array([error * 2]), np.array([False]), np.array([error]))


def costly(**errors: float) -> Judge:
    """Each named layer adds to the squared error unless it computes in float."""

    def judge(scheme: Scheme, count: int | None) -> Parity:
        fast = [name for name in errors if scheme.forms[f"{name}.weight"] != "unpacked"]
        return parity(float(np.sqrt(sum(errors[name] ** 2 for name in fast))))

    return judge


def test_inner_convolutions_read_a_layer_and_do_not_end_in_a_softmax(model: ModelProto) -> None:
    assert inner_convolutions(model, find_layers(model)) == {"inner"}


def test_the_search_starts_from_the_fastest_forms(model: ModelProto) -> None:
    layers = find_layers(model)
    assert fastest_forms(model, layers, "auto") == START
    assert fastest_forms(model, layers, "int8") == {**START, "linear.weight": "both"}
    assert positions_of(model, layers) == {"outer": 36, "inner": 36, "logits": 36, "linear": 12}


def test_linear_layers_with_many_rows_or_shared_weights(tiny: Any) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "many.weight"], ["a"], "many"),
        helper.make_node("MatMul", ["y", "shared.weight"], ["b"], "one"),
        helper.make_node("MatMul", ["b", "shared.weight"], ["c"], "two"),
        helper.make_node("MatMul", ["a", "c"], ["out"], "product"),
    ]
    inputs = {"x": ("float32", (1, 50, 5)), "y": ("float32", (1, 5, 5))}
    model = tiny.model_of(
        nodes, inputs, {"out": (1, 50, 5)}, {"many.weight": weights(5, 5), "shared.weight": weights(5, 5)}
    )
    layers = find_layers(model)
    assert fastest_forms(model, layers, "auto") == {"many.weight": "both", "shared.weight": "unpacked"}
    assert fastest_forms(model, layers, "float") == {"many.weight": "rows", "shared.weight": "unpacked"}
    assert fastest_forms(model, layers, "int8") == {"many.weight": "both", "shared.weight": "both"}


def test_it_ends_when_the_gate_is_passed(model: ModelProto) -> None:
    start, values = start_of(model)
    found = choose_forms(model, start, values, costly(inner=0.001, linear=0.001), GATE, 0.65)
    assert found.scheme.forms == START and len(found.log) == 2


def test_the_layer_that_does_harm_computes_in_float(model: ModelProto) -> None:
    start, values = start_of(model)
    found = choose_forms(model, start, values, costly(inner=0.5, linear=0.001), GATE, 0.65)
    assert found.scheme.forms == {**START, "inner.weight": "unpacked"}
    found = choose_forms(model, start, values, costly(inner=0.001, linear=0.5), GATE, 0.65)
    assert found.scheme.forms == {**START, "linear.weight": "unpacked"}


def test_what_passes_with_one_kind_of_range_only_is_not_enough(model: ModelProto) -> None:
    start, values = start_of(model)

    def lucky(scheme: Scheme, count: int | None) -> Parity:
        rounded_inner = scheme.forms["inner.weight"] == "both"
        wider = scheme.ranges["c"] != values["c"].range("wide")
        return parity(0.5 if rounded_inner and not wider else 0.0001)

    assert values["c"].range("wider") != values["c"].range("wide")
    assert choose_forms(model, start, values, lucky, GATE, 0.65).scheme.forms["inner.weight"] == "unpacked"


def test_what_was_slowed_for_nothing_becomes_fast_again(model: ModelProto) -> None:
    start, values = start_of(model)
    # 0.013 may be used: the cheaper layer goes first, does not suffice, and is not needed once the other went
    found = choose_forms(model, start, values, costly(inner=0.008, linear=0.016), Gate(0.98, 0.1), 0.65)
    assert [row["what"] for row in found.log[3::2]] == [
        "float: linear", "back: linear", "back: inner",
    ]  # fmt: skip
    assert found.scheme.forms == {**START, "linear.weight": "unpacked"}


def test_of_two_layers_that_do_equal_harm_the_cheaper_one_computes_in_float(model: ModelProto) -> None:
    start, values = start_of(model)
    # 576 products of a convolution against 360 of a linear layer that take eight times as long each
    found = choose_forms(model, start, values, costly(inner=0.012, linear=0.0125), Gate(0.98, 0.1), 0.65)
    assert found.scheme.forms == {**START, "inner.weight": "unpacked"}


def test_the_best_is_returned_when_nothing_passes(model: ModelProto) -> None:
    start, values = start_of(model)
    found = choose_forms(model, start, values, lambda scheme, count: parity(np.nan), GATE, 0.65)
    assert np.isnan(found.parity.min_cosine) and len(found.log) > 2
