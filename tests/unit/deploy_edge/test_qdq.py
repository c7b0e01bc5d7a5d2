from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from foreact.deploy_edge.calibration import observe_values
from foreact.deploy_edge.layers import Layer, find_layers, float_tensors, turn_constants
from foreact.deploy_edge.qdq import Form, Scheme, activation_scale, with_qdq
from foreact.deploy_edge.rounding import rounded
from foreact.deploy_edge.tidy import constants

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
    return {name: seen.range("minmax") for name, seen in observe_values(model, sorted(names | extra), SEEN).items()}


def scheme_of(model: ModelProto, form: Form, ranges: Any = None, *, bits: int = 8, **options: Any) -> Scheme:
    """Every layer in one form, rounded to the nearest."""
    layers, weights = find_layers(model), constants(model.graph)
    how = {name: options.pop(name) for name in ("group", "per_channel") if name in options}
    integers = {each.weight: rounded(weights[each.weight], each.axis, bits, **how) for each in layers}
    return Scheme(layers, {each.weight: form for each in layers}, integers, ranges or {}, **options)


def kinds_of(model: ModelProto) -> dict[str, int]:
    return {each.name: each.data_type for each in model.graph.initializer}


def test_scales_by_hand() -> None:
    assert activation_scale((0.0, 2.55)) == (pytest.approx(0.01), 0)
    assert activation_scale((-1.0, 1.55)) == (pytest.approx(0.01), 100)
    assert activation_scale((0.5, 2.55)) == (pytest.approx(0.01), 0)  # zero must be exact
    assert activation_scale((0.0, 0.0)) == (1.0, 0)
    assert activation_scale((-1.0, 2.54), symmetric=True) == (pytest.approx(0.02), 0)
    assert activation_scale((-2.54, 1.0), symmetric=True) == (pytest.approx(0.02), 0)
    assert activation_scale((0.0, 1.5), levels=15) == (pytest.approx(0.1), 0)


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
    result = with_qdq(model, scheme_of(model, "both", {"x": (0.0, 2.55)}))
    x = np.array([[1.003, 0.498]], np.float32)
    # x rounds to 1.00 and 0.50; the weights are exact multiples of their scales 0.01 and 0.02
    assert tiny.run_model(result, x=x)[0] == pytest.approx([1.27 + 0.25 + 0.5, -2.54 - 0.25], abs=1e-4)


def test_int8_is_near_and_attention_stays_float(tiny: Any) -> None:
    model = network(tiny)
    layers = find_layers(model)
    result = with_qdq(model, scheme_of(model, "both", observed(model, layers)))
    attention = next(node for node in result.graph.node if node.name == "attention")
    assert list(attention.input) == ["t", "out1"]
    kinds = kinds_of(result)
    assert kinds["conv.weight.int8"] == kinds["first.weight.int8"] == kinds["second.weight.int8"] == 3
    assert not {"conv.weight", "first.weight", "second.weight"} & set(kinds)
    for inputs in SEEN[:5]:
        wanted, got = tiny.run_model(model, **inputs), tiny.run_model(result, **inputs)
        assert 0 < np.abs(wanted - got).max() < 0.06 * np.abs(wanted).max()


@pytest.mark.parametrize("form", ["rows", "unpacked", "half"])
def test_other_forms_read_float_inputs(tiny: Any, form: Any) -> None:
    model = network(tiny)
    scheme = scheme_of(model, form)
    if form == "rows":
        scheme = replace(scheme, forms={**scheme.forms, "conv.weight": "unpacked"})
    result = with_qdq(model, scheme)
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
    result = with_qdq(model, scheme_of(model, "both", {"x": (-1, 1), "y": (-5, 8)}))
    kinds = [each.data_type for each in result.graph.initializer if each.dims]
    assert sorted(kinds) == [1, 1, 3, 3, 6, 6]  # scales of weights and bias; weights, zeros; bias, zeros
    x = f32([[0.5, -0.5]])
    assert tiny.run_model(result, x=x) == pytest.approx(tiny.run_model(model, x=x), abs=0.1)


def test_embeddings_become_int8_rows(tiny: Any) -> None:
    table = RNG.normal(size=(20, 6)).astype(np.float32) * np.arange(1, 21, dtype=np.float32)[:, None]
    nodes = [helper.make_node("Gather", ["table", "tokens"], ["out"], "look_up")]
    model = tiny.model_of(nodes, {"tokens": ("int64", (3,))}, {"out": (3, 6)}, {"table": table})
    result = with_qdq(model, Scheme([], {}))
    assert kinds_of(result)["table.int8"] == 3
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
    naive = with_qdq(model, scheme_of(model, "both", ranges, per_channel=False, everywhere=everywhere))
    recipe = with_qdq(model, scheme_of(model, "both", ranges))
    errors = [
        [np.abs(tiny.run_model(each, **inputs) - tiny.run_model(model, **inputs)).mean() for each in (naive, recipe)]
        for inputs in SEEN
    ]
    naive_error, recipe_error = np.mean(errors, axis=0)
    assert naive_error > 1.2 * recipe_error


def test_symmetric_activations_have_no_zero_points_and_round_before_the_relu(tiny: Any) -> None:
    model = network(tiny)
    layers = find_layers(model)
    result = with_qdq(model, scheme_of(model, "both", observed(model, layers), symmetric=True))
    zeros = {name: value for name, value in constants(result.graph).items() if name.endswith(".zero")}
    assert zeros and all(value.dtype == np.int8 and value == 0 for value in zeros.values())
    made = {name: node for node in result.graph.node for name in node.output}
    relu = made["r"]
    assert relu.op_type == "Relu" and made[relu.input[0]].op_type == "DequantizeLinear"
    assert list(made[made[relu.input[0]].input[0]].input)[:1] == ["c"]  # the convolution's own result
    for inputs in SEEN[:5]:
        wanted, got = tiny.run_model(model, **inputs), tiny.run_model(result, **inputs)
        assert 0 < np.abs(wanted - got).max() < 0.08 * np.abs(wanted).max()


def test_four_bits_have_a_scale_per_group_and_a_newer_opset(tiny: Any) -> None:
    weight = RNG.normal(size=(64, 8)).astype(np.float32)
    nodes = [helper.make_node("MatMul", ["x", "a.weight"], ["out"], "a")]
    model = tiny.model_of(nodes, {"x": ("float32", (1, 64))}, {"out": (1, 8)}, {"a.weight": weight})
    scheme = scheme_of(model, "rows", bits=4, group=16)
    result = with_qdq(model, scheme)
    onnx.checker.check_model(result, full_check=True)
    assert kinds_of(result)["a.weight.int4"] == TensorProto.INT4 and result.opset_import[0].version == 21
    assert constants(result.graph)["a.weight.scales"].shape == (4, 8)
    stored = next(each for each in result.graph.initializer if each.name == "a.weight.int4")
    assert len(stored.raw_data) == 64 * 8 // 2
    assert np.array_equal(numpy_helper.to_array(stored).astype(np.int8), scheme.integers["a.weight"].values)
    x = RNG.normal(size=(1, 64)).astype(np.float32)
    exact = x @ scheme.integers["a.weight"].dequantised()
    # the engine rounds the input to 8 bits as it multiplies
    assert np.abs(tiny.run_model(result, x=x) - exact).max() < 0.02 * np.abs(exact).max()


def test_a_control_with_fewer_bits_clips_and_is_worse(tiny: Any) -> None:
    model = network(tiny)
    everywhere = frozenset(float_tensors(model))
    ranges = observed(model, find_layers(model), extra=everywhere)
    errors: list[float] = []
    for bits in (8, 4):
        options = {"per_channel": False, "everywhere": everywhere, "levels": 2**bits - 1}
        naive = with_qdq(model, scheme_of(model, "both", ranges, bits=bits, **options))
        steps = {value for each in constants(naive.graph).items() if (value := each[0]).endswith(".high")}
        assert bool(steps) == (bits < 8)
        errors.append(float(np.mean([np.abs(tiny.run_model(naive, **i) - tiny.run_model(model, **i)) for i in SEEN])))
    assert errors[1] > 4 * errors[0]


def test_the_bias_behind_a_matmul_joins_its_integer_sums(tiny: Any) -> None:
    weight, bias = f32([[1.27, -0.5], [0.4, 0.25]]), f32([0.5, -2.0])
    nodes = [
        helper.make_node("MatMul", ["x", "a.weight"], ["product"], "a"),
        helper.make_node("Add", ["product", "a.bias"], ["out"], "sum"),
    ]
    model = tiny.model_of(nodes, {"x": ("float32", (1, 2))}, {"out": (1, 2)}, {"a.weight": weight, "a.bias": bias})
    (layer,) = find_layers(model)
    assert layer.bias == "a.bias"
    result = with_qdq(model, scheme_of(model, "both", {"x": (0.0, 2.55)}))
    assert TensorProto.INT32 in kinds_of(result).values() and "a.bias" not in kinds_of(result)
    x = f32([[1.0, 0.5]])
    assert tiny.run_model(result, x=x) == pytest.approx(x @ weight + bias, abs=0.02)


def test_constants_that_exporters_transpose_are_turned_once(tiny: Any) -> None:
    weight = RNG.normal(size=(5, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Transpose", ["a.weight"], ["turned"], "turn", perm=[1, 0]),
        helper.make_node("MatMul", ["x", "turned"], ["y"], "one"),
        helper.make_node("MatMul", ["z", "turned"], ["w"], "two"),
        helper.make_node("Add", ["y", "w"], ["out"], "sum"),
    ]
    inputs = {"x": ("float32", (1, 3)), "z": ("float32", (1, 3))}
    model = tiny.model_of(nodes, inputs, {"out": (1, 5)}, {"a.weight": weight})
    seen = {name: RNG.normal(size=(1, 3)).astype(np.float32) for name in inputs}
    before = tiny.run_model(model, **seen)
    assert find_layers(model) == [] and turn_constants(model) == 1
    assert [layer.name for layer in find_layers(model)] == ["a", "a#2"]
    assert tiny.run_model(model, **seen) == pytest.approx(before, abs=1e-6)
    # each layer has a DQ node of its own, because engines fuse none that others read
    result = with_qdq(model, scheme_of(model, "rows"))
    assert [node.op_type for node in result.graph.node].count("DequantizeLinear") == 2
