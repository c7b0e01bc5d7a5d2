"""The graph that TensorRT is given computes what the exported one computes, and what it cannot take is refused."""

from typing import Any

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from foreact.deploy_edge.runtime.engine import session_of  # noqa: E402
from foreact.deploy_edge.tensorrt_graph import NotForTensorRt, for_tensorrt  # noqa: E402

TYPES = {"uint8": 2, "uint16": 4, "float32": 1, "int64": 7}


def model(nodes: list[Any], inputs: dict[str, tuple[str, tuple[int, ...]]], values: dict[str, np.ndarray]) -> Any:
    """A model of these nodes, whose result `out` is float and of any shape that fits."""
    given = [onnx.helper.make_tensor_value_info(name, TYPES[dtype], shape) for name, (dtype, shape) in inputs.items()]
    stored = [onnx.numpy_helper.from_array(value, name) for name, value in values.items()]
    graph = onnx.helper.make_graph(nodes, "g", given, [onnx.helper.make_tensor_value_info("out", 1, None)], stored)
    made = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
    shaped = onnx.shape_inference.infer_shapes(made, strict_mode=True)
    shaped.metadata_props.add(key="foreact.contract", value="{}")
    return shaped


def node(kind: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    return onnx.helper.make_node(kind, inputs, [output], output, **attributes)


def run(content: bytes, arrays: dict[str, np.ndarray]) -> np.ndarray:
    session = session_of(content)
    wide = {each.name for each in session.get_inputs() if each.type == "tensor(int32)"}
    ready = {name: array.astype(np.int32) if name in wide else array for name, array in arrays.items()}
    return session.run(None, ready)[0]


def pictures(**constants: np.ndarray) -> Any:
    nodes = [
        node("Transpose", ["rgb"], "moved", perm=[0, 3, 1, 2]),
        node("Cast", ["moved"], "colours", to=1),
        node("Unsqueeze", ["depth", "axes"], "deep"),
        node("Cast", ["deep"], "metres", to=1),
        node("Concat", ["colours", "metres"], "out", axis=1),
    ]
    inputs = {"rgb": ("uint8", (1, 2, 4, 3)), "depth": ("uint16", (1, 2, 4))}
    return model(nodes, inputs, {"axes": np.array([1]), **constants})


def test_pictures_and_depths_keep_every_value() -> None:
    original, rng = pictures(), np.random.default_rng(0)
    graph = for_tensorrt(original)
    arrays = {
        "rgb": rng.integers(0, 256, (1, 2, 4, 3), dtype=np.uint8),
        "depth": np.array([[[0, 1, 300, 65535], [40000, 2, 3, 65534]]], np.uint16),
    }
    assert np.array_equal(run(graph.content, arrays), run(original.SerializeToString(), arrays))
    assert graph.inputs == {"rgb": ("uint8", (1, 2, 4, 3)), "depth": ("uint16", (1, 2, 4))}
    assert graph.outputs == {"out": ("float32", (1, 4, 2, 4))}
    assert graph.changes == (
        "input rgb: cast to float before it is moved", "input depth: uint16 -> int32",
    )  # fmt: skip
    rewritten = onnx.load_model_from_string(graph.content)
    assert not rewritten.metadata_props and rewritten.graph.node[0].op_type == "Cast"
    assert original.metadata_props and original.graph.node[0].op_type == "Transpose"  # untouched


def test_the_same_model_gives_the_same_bytes() -> None:
    assert for_tensorrt(pictures()).content == for_tensorrt(pictures()).content


def test_arithmetic_with_integers_of_a_picture_is_refused() -> None:
    nodes = [node("Add", ["rgb", "rgb"], "twice"), node("Cast", ["twice"], "out", to=1)]
    with pytest.raises(NotForTensorRt, match="Add twice computes with the integers of input rgb"):
        for_tensorrt(model(nodes, {"rgb": ("uint8", (1, 4))}, {}))


def test_a_picture_that_is_only_cast_stays_as_it_is() -> None:
    assert for_tensorrt(model([node("Cast", ["rgb"], "out", to=1)], {"rgb": ("uint8", (1, 4))}, {})).changes == ()


def quantised(zero: np.generic) -> Any:
    rng = np.random.default_rng(1)
    w_scale = rng.uniform(0.01, 0.02, 4).astype(np.float32)
    values = {
        "scale": np.asarray(0.02, np.float32), "zero": np.asarray(zero),
        "w": rng.integers(-127, 128, (4, 3), dtype=np.int8), "w_scale": w_scale, "w_zero": np.zeros(4, np.int8),
        # onnxruntime takes for granted that a bias is in units of both scales
        "b": rng.integers(-900, 900, 4).astype(np.int32), "b_scale": np.float32(0.02) * w_scale,
        "b_zero": np.zeros(4, np.int32),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], "q"),
        node("DequantizeLinear", ["q", "scale", "zero"], "dq"),
        node("DequantizeLinear", ["w", "w_scale", "w_zero"], "wdq", axis=0),
        node("DequantizeLinear", ["b", "b_scale", "b_zero"], "bdq", axis=0),
        node("Gemm", ["dq", "wdq", "bdq"], "out", transB=1),
    ]
    return model(nodes, {"x": ("float32", (2, 3))}, values)


def test_int32_biases_become_the_floats_they_mean() -> None:
    original, x = quantised(np.int8(0)), np.random.default_rng(2).normal(size=(2, 3)).astype(np.float32)
    graph = for_tensorrt(original)
    assert graph.changes == ("1 int32 biases: float",)
    assert np.allclose(run(graph.content, {"x": x}), run(original.SerializeToString(), {"x": x}), atol=1e-6)
    operators = [each.op_type for each in onnx.load_model_from_string(graph.content).graph.node]
    assert operators == ["QuantizeLinear", "DequantizeLinear", "DequantizeLinear", "Gemm"]


@pytest.mark.parametrize("zero", [np.uint8(128), np.uint8(0), np.int8(3)])
def test_8_bit_numbers_with_a_zero_point_are_refused(zero: np.generic) -> None:
    with pytest.raises(
        NotForTensorRt, match="QuantizeLinear q: 8-bit numbers with a zero point.*quantise.symmetric=true"
    ):
        for_tensorrt(quantised(zero))


def test_numbers_without_a_zero_point_are_uint8_and_refused() -> None:
    original = quantised(np.int8(0))
    for each in original.graph.node[:2]:
        del each.input[2]
    with pytest.raises(NotForTensorRt, match="QuantizeLinear q"):
        for_tensorrt(original)


@pytest.mark.parametrize("shape", [(1, 3), (4, 1), (3,), (1, 1), ()])
def test_unpacked_weights_become_a_dequantise_node(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    values = {
        "w": rng.integers(-127, 128, (4, 3), dtype=np.int8),
        "scales": rng.uniform(0.01, 0.02, shape).astype(np.float32),
    }
    nodes = [
        node("Cast", ["w"], "cast", to=1),
        node("Mul", ["cast", "scales"], "floats"),
        node("MatMul", ["x", "floats"], "out"),
    ]
    original = model(nodes, {"x": ("float32", (2, 4))}, values)
    graph = for_tensorrt(original)
    assert graph.changes == ("1 unpacked int8 weights: DequantizeLinear",)
    x = rng.normal(size=(2, 4)).astype(np.float32)
    # onnxruntime may multiply such weights by rounded rows, so the products are compared by hand
    weight = values["w"].astype(np.float32) * values["scales"]
    (made,) = [each for each in onnx.load_model_from_string(graph.content).graph.node if each.op_type[0] == "D"]
    stored = {
        each.name: onnx.numpy_helper.to_array(each)
        for each in onnx.load_model_from_string(graph.content).graph.initializer
    }
    along = [-1 if axis == made.attribute[0].i else 1 for axis in range(2)]
    assert np.array_equal(stored[made.input[0]].astype(np.float32) * stored[made.input[1]].reshape(along), weight)
    assert np.allclose(run(graph.content, {"x": x}), x @ weight, atol=0.2)


def test_a_table_of_rows_becomes_float() -> None:
    rng = np.random.default_rng(4)
    values = {"table": rng.integers(-127, 128, (5, 3), dtype=np.int8), "scales": np.ones((5, 1), np.float32) / 7}
    nodes = [
        node("Gather", ["table", "tokens"], "rows"),
        node("Cast", ["rows"], "cast", to=1),
        node("Gather", ["scales", "tokens"], "row_scales"),
        node("Mul", ["cast", "row_scales"], "out"),
    ]
    original, tokens = model(nodes, {"tokens": ("int64", (2,))}, values), np.array([4, 0])
    graph = for_tensorrt(original)
    assert graph.changes == ("constant table: int8 -> float",)
    assert np.array_equal(run(graph.content, {"tokens": tokens}), run(original.SerializeToString(), {"tokens": tokens}))


def test_dynamic_shapes_are_refused() -> None:
    original = pictures()
    original.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "batch"
    with pytest.raises(NotForTensorRt, match="static shapes"):
        for_tensorrt(original)


def attention(masked: bool, **attributes: Any) -> Any:
    shapes = {"q": (1, 2, 3, 4), "k": (1, 2, 5, 4), "v": (1, 2, 5, 4), **({"mask": (3, 5)} if masked else {})}
    made = onnx.helper.make_node("Attention", list(shapes), ["out"], "attend", **attributes)
    given = [onnx.helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes.items()]
    graph = onnx.helper.make_graph([made], "g", given, [onnx.helper.make_tensor_value_info("out", 1, (1, 2, 3, 4))])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 23)], ir_version=11)


@pytest.mark.parametrize(("masked", "attributes"), [(False, {}), (True, {}), (False, {"scale": 0.3})])
def test_attention_becomes_products_and_a_softmax(masked: bool, attributes: dict[str, Any]) -> None:
    original, rng = attention(masked, **attributes), np.random.default_rng(5)
    graph = for_tensorrt(original)
    assert graph.changes == ("1 attention nodes: products and softmax",)
    assert all(each.op_type != "Attention" for each in onnx.load_model_from_string(graph.content).graph.node)
    arrays = {name: 3 * rng.normal(size=shape).astype(np.float32) for name, (_, shape) in graph.inputs.items()}
    assert np.allclose(run(graph.content, arrays), run(original.SerializeToString(), arrays), atol=1e-5)


@pytest.mark.parametrize("attributes", [{"is_causal": 1}, {"softcap": 2.0}])
def test_other_attention_is_refused(attributes: dict[str, Any]) -> None:
    with pytest.raises(NotForTensorRt, match="Attention attend: only plain attention"):
        for_tensorrt(attention(False, **attributes))
