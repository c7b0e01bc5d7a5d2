from functools import partial
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, helper

from foreact.deploy_edge.calibration import observe_values
from foreact.deploy_edge.layers import Layer, find_layers, float_tensors
from foreact.deploy_edge.quantise import Scheme, activation_scale, quantise, weight_scales
from foreact.deploy_edge.selection import ranges_of

f32 = partial(np.array, dtype=np.float32)

RNG = np.random.default_rng(0)


def network(tiny: Any) -> ModelProto:
    """Image -> Conv, ReLU -> mean -> Gemm -> MatMul, and an attention-like product of two computed tensors."""
    constants = {
        # channels of very different size, which one scale for all cannot serve
        "conv.weight": (RNG.normal(size=(4, 3, 3, 3)) * np.array([8, 1, 0.2, 0.05]).reshape(4, 1, 1, 1)).astype(
            np.float32
        ),
        "conv.bias": RNG.normal(size=4).astype(np.float32),
        "first.weight": RNG.normal(size=(6, 4)).astype(np.float32),
        "first.bias": RNG.normal(size=6).astype(np.float32),
        "second.weight": RNG.normal(size=(6, 5)).astype(np.float32),
        "axes": np.array([2, 3]),
    }
    nodes = [
        helper.make_node("Conv", ["image", "conv.weight", "conv.bias"], ["c"], "conv_node", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("ReduceMean", ["r", "axes"], ["m"], "mean", keepdims=0),
        helper.make_node("Gemm", ["m", "first.weight", "first.bias"], ["g"], "gemm_node", transB=1),
        helper.make_node("MatMul", ["g", "second.weight"], ["out1"], "matmul_node"),
        helper.make_node("Transpose", ["out1"], ["t"], "turn", perm=[1, 0]),
        helper.make_node("MatMul", ["t", "out1"], ["out"], "attention"),
    ]
    return tiny.model_of(nodes, {"image": ("float32", (1, 3, 8, 8))}, {"out": (5, 5)}, constants)


def images(count: int) -> list[dict[str, np.ndarray]]:
    return [{"image": RNG.uniform(-1, 1, (1, 3, 8, 8)).astype(np.float32)} for _ in range(count)]


SEEN = images(16)


def observed(model: ModelProto, layers: list[Layer], extra: frozenset[str] = frozenset()) -> Any:
    names = {name for layer in layers for name in (layer.source, layer.result)}
    return ranges_of(observe_values(model, sorted(names | extra), SEEN), "minmax")


def test_scales_by_hand() -> None:
    assert activation_scale((0.0, 2.55)) == (pytest.approx(0.01), 0)
    assert activation_scale((-1.0, 1.55)) == (pytest.approx(0.01), 100)
    assert activation_scale((0.5, 2.55)) == (pytest.approx(0.01), 0)  # zero must be exact
    assert activation_scale((0.0, 0.0)) == (1.0, 0)
    weight = np.array([[1.27, -0.5], [0.0, 0.0], [0.1, -0.254]], np.float32)
    assert weight_scales(weight, 0, 8, per_channel=True) == pytest.approx([0.01, 1.0, 0.002])
    assert weight_scales(weight, 1, 8, per_channel=True) == pytest.approx([0.01, 0.5 / 127])
    assert weight_scales(weight, 0, 7, per_channel=True) == pytest.approx([1.27 / 63, 1.0, 0.254 / 63])
    assert weight_scales(weight, 0, 8, per_channel=False) == pytest.approx([0.01] * 3)


def test_layers_are_those_with_constant_weights(tiny: Any) -> None:
    layers = find_layers(network(tiny))
    found = [(layer.name, layer.operator, layer.axis, layer.source, layer.result) for layer in layers]
    assert found == [
        ("conv", "Conv", 0, "image", "r"),
        ("first", "Gemm", 0, "m", "g"),
        ("second", "MatMul", 1, "g", "out1"),
    ]
    assert [layer.elements for layer in layers] == [108, 24, 30]


def test_a_quantised_gemm_by_hand(tiny: Any) -> None:
    weight, bias = np.array([[1.27, 0.5], [-2.54, 0.0]], np.float32), np.array([0.5, -0.25], np.float32)
    model = tiny.model_of(
        [helper.make_node("Gemm", ["x", "a.weight", "a.bias"], ["out"], "a", transB=1)],
        {"x": ("float32", (1, 2))},
        {"out": (1, 2)},
        {"a.weight": weight, "a.bias": bias},
    )
    result = quantise(model, Scheme(find_layers(model), {"x": (0.0, 2.55)}))
    x = np.array([[1.003, 0.498]], np.float32)
    # x rounds to 1.00 and 0.50; the weights are exact multiples of their scales 0.01 and 0.02
    assert tiny.run_model(result, x=x)[0] == pytest.approx([1.27 + 0.25 + 0.5, -2.54 - 0.25], abs=1e-4)


def test_int8_is_near_and_attention_stays_float(tiny: Any) -> None:
    model = network(tiny)
    layers = find_layers(model)
    result = quantise(model, Scheme(layers, observed(model, layers)))
    attention = next(node for node in result.graph.node if node.name == "attention")
    assert list(attention.input) == ["t", "out1"]
    kinds = {each.name: each.data_type for each in result.graph.initializer}
    assert kinds["conv.weight.int8"] == kinds["first.weight.int8"] == kinds["second.weight.int8"] == 3
    assert not {"conv.weight", "first.weight", "second.weight"} & set(kinds)
    for inputs in SEEN[:5]:
        wanted, got = tiny.run_model(model, **inputs), tiny.run_model(result, **inputs)
        assert 0 < np.abs(wanted - got).max() < 0.06 * np.abs(wanted).max()


def test_weight_only_layers_read_float_inputs(tiny: Any) -> None:
    model = network(tiny)
    layers = find_layers(model)
    result = quantise(model, Scheme(layers, {}, weight_only=frozenset(layer.name for layer in layers)))
    assert "QuantizeLinear" not in {node.op_type for node in result.graph.node}
    inputs = images(1)[0]
    wanted, got = tiny.run_model(model, **inputs), tiny.run_model(result, **inputs)
    assert 0 < np.abs(wanted - got).max() < 0.03 * np.abs(wanted).max()


def test_layers_that_share_weights_keep_one_copy(tiny: Any) -> None:
    model = tiny.model_of(
        [
            helper.make_node("Gemm", ["x", "a.weight", "a.bias"], ["y"], "one"),
            helper.make_node("Gemm", ["y", "a.weight", "a.bias"], ["out"], "two"),
        ],
        {"x": ("float32", (1, 2))},
        {"out": (1, 2)},
        {"a.weight": f32([[1, 2], [3, 4]]), "a.bias": f32([0.5, 1])},
    )
    layers = find_layers(model)
    assert [layer.name for layer in layers] == ["a", "a#2"]
    result = quantise(model, Scheme(layers, {"x": (-1, 1), "y": (-5, 8)}))
    kinds = [each.data_type for each in result.graph.initializer if each.dims]
    assert sorted(kinds) == [1, 1, 3, 3, 6, 6]  # scales of weights and bias; weights, zeros; bias, zeros
    x = f32([[0.5, -0.5]])
    assert tiny.run_model(result, x=x) == pytest.approx(tiny.run_model(model, x=x), abs=0.1)


def test_embeddings_become_int8_rows(tiny: Any) -> None:
    table = RNG.normal(size=(20, 6)).astype(np.float32) * np.arange(1, 21, dtype=np.float32)[:, None]
    nodes = [helper.make_node("Gather", ["table", "tokens"], ["out"], "look_up")]
    model = tiny.model_of(nodes, {"tokens": ("int64", (3,))}, {"out": (3, 6)}, {"table": table})
    result = quantise(model, Scheme([], {}))
    assert {each.name: each.data_type for each in result.graph.initializer}["table.int8"] == 3
    tokens = np.array([0, 7, 19])
    rows = tiny.run_model(result, tokens=tokens)
    limit = np.abs(table[tokens]).max(1, keepdims=True) / 254
    assert (np.abs(rows - table[tokens]) <= limit * 1.001).all()


def test_rounding_everything_is_worse_than_the_recipe(tiny: Any) -> None:
    model = network(tiny)
    layers = find_layers(model)
    everywhere = frozenset(float_tensors(model))
    assert {"r", "m", "g", "out1", "t"} <= everywhere and "out" not in everywhere
    ranges = observed(model, layers, extra=everywhere)
    naive = quantise(model, Scheme(layers, ranges, per_channel=False, everywhere=everywhere))
    recipe = quantise(model, Scheme(layers, ranges))
    errors = [
        [np.abs(tiny.run_model(each, **inputs) - tiny.run_model(model, **inputs)).mean() for each in (naive, recipe)]
        for inputs in SEEN
    ]
    naive_error, recipe_error = np.mean(errors, axis=0)
    assert naive_error > 1.2 * recipe_error
