"""The graph of an exported policy as TensorRT's parser takes it; what it computes stays the same, the file untouched.

onnxruntime and TensorRT read the same file, but TensorRT has fewer types. Found with TensorRT-RTX 1.7.1:
uint16 inputs and int32 biases behind a DequantizeLinear are refused by the parser; a uint8 input may only be read by a
Cast to float; 8-bit constants may only be read by a DequantizeLinear; and 8-bit numbers with a zero point are accepted
with a warning and then computed as if they were int8, so such a file is refused here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.tidy import constants, drop_unused_constants, replace_nodes, tensor_shapes

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto, ValueInfoProto

__all__ = ["NotForTensorRt", "TensorRtGraph", "for_tensorrt"]

# They move numbers and leave them as they are, so a cast in front of them does what one behind them does.
MOVES = frozenset({"Transpose", "Reshape", "Squeeze", "Unsqueeze", "Slice", "Flatten", "Identity", "Split", "Concat"})
QUANTISING = ("QuantizeLinear", "DequantizeLinear")


class NotForTensorRt(ValueError):
    """A graph that TensorRT would refuse, or compute wrongly; the text names the node and what to do."""


@dataclass(frozen=True)
class TensorRtGraph:
    """What the parser is given.

    Attributes:
        content: The serialised graph, without metadata.
        inputs: numpy name of the type and the shape of each input of the original, in its order.
        outputs: The same of the outputs.
        changes: What was rewritten, one sentence each.
    """

    content: bytes
    inputs: dict[str, tuple[str, tuple[int, ...]]]
    outputs: dict[str, tuple[str, tuple[int, ...]]]
    changes: tuple[str, ...] = field(default=())


def for_tensorrt(model: "ModelProto") -> TensorRtGraph:
    """Rewrite a copy of a graph for TensorRT's parser.

    Args:
        model: As exported or compressed, with static shapes.

    Raises:
        NotForTensorRt: It has 8-bit numbers with a zero point, or integer arithmetic on an input that must be widened.
    """
    import onnx

    graph = onnx.ModelProto()
    graph.CopyFrom(model)
    del graph.metadata_props[:]
    del graph.graph.value_info[:]  # types of what lies between change
    inputs, outputs = _ports(model.graph.input), _ports(model.graph.output)
    _refuse_zero_points(graph.graph)
    changes = [
        *_widen_inputs(graph.graph),
        *_float_biases(graph.graph),
        *_scaled_constants(graph.graph),
        *_other_constants(graph.graph),
        *_plain_attention(graph.graph, tensor_shapes(model)),
    ]
    drop_unused_constants(graph.graph)
    try:
        checked = onnx.shape_inference.infer_shapes(graph, check_type=True, strict_mode=True)
        onnx.checker.check_model(checked, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise NotForTensorRt(f"the graph cannot be given TensorRT's types: {' '.join(str(error).split())}") from error
    return TensorRtGraph(graph.SerializeToString(deterministic=True), inputs, outputs, tuple(changes))


def _ports(values: "Iterable[ValueInfoProto]") -> dict[str, tuple[str, tuple[int, ...]]]:
    from onnx import helper

    found: dict[str, tuple[str, tuple[int, ...]]] = {}
    for value in values:
        kind = value.type.tensor_type
        shape = tuple(each.dim_value for each in kind.shape.dim)
        if not all(shape):
            raise NotForTensorRt(f"{value.name} has the shape {shape}: export it with static shapes")
        found[value.name] = (helper.tensor_dtype_to_np_dtype(kind.elem_type).name, shape)
    return found


def _refuse_zero_points(graph: "GraphProto") -> None:
    values = constants(graph)
    for node in graph.node:
        if node.op_type not in QUANTISING:
            continue
        given = len(node.input) > 2 and node.input[2]
        zero = values.get(node.input[2]) if given else None
        kind = {each.name: each.i for each in node.attribute}.get("output_dtype", 0)
        unsigned = node.op_type == "QuantizeLinear" and not given and not kind
        if (given and zero is None) or unsigned or (zero is not None and (zero.dtype == np.uint8 or np.any(zero))):
            raise NotForTensorRt(
                f"{node.op_type} {node.name}: 8-bit numbers with a zero point (uint8), which TensorRT would compute as "
                "int8 without one; compress it with recipe.quantise.symmetric=true"
            )


def _widen_inputs(graph: "GraphProto") -> list[str]:
    """uint16 inputs become int32, and uint8 inputs float right behind the input; both hold every value exactly."""
    from onnx import TensorProto, helper

    changes: list[str] = []
    for value in graph.input:
        kind = value.type.tensor_type
        if kind.elem_type == TensorProto.UINT16:
            _require_moves_before_cast(graph, value.name)
            kind.elem_type = TensorProto.INT32
            changes.append(f"input {value.name}: uint16 -> int32")
        elif kind.elem_type == TensorProto.UINT8 and not _only_casts(graph, value.name):
            _require_moves_before_cast(graph, value.name)
            cast = f"{value.name}.float"
            _reread(graph, value.name, cast)
            node = helper.make_node("Cast", [value.name], [cast], cast, to=TensorProto.FLOAT)
            replace_nodes(graph, [node, *graph.node])
            changes.append(f"input {value.name}: cast to float before it is moved")
    return changes


def _only_casts(graph: "GraphProto", name: str) -> bool:
    return all(node.op_type == "Cast" for node in graph.node if name in node.input)


def _require_moves_before_cast(graph: "GraphProto", name: str) -> None:
    waiting, seen = [name], {name}
    while waiting:
        current = waiting.pop()
        for node in graph.node:
            if current not in node.input or node.op_type == "Cast":
                continue
            if node.op_type not in MOVES:
                raise NotForTensorRt(
                    f"{node.op_type} {node.name} computes with the integers of input {name}, which TensorRT cannot; "
                    "cast them to float first"
                )
            waiting += [each for each in node.output if each not in seen]
            seen.update(node.output)


def _float_biases(graph: "GraphProto") -> list[str]:
    """Int32 constants behind a DequantizeLinear become the floats that it makes of them."""
    from onnx import numpy_helper

    values = constants(graph)
    nodes: list[NodeProto] = []
    for node in graph.node:
        stored = values.get(node.input[0]) if node.op_type == "DequantizeLinear" else None
        if stored is None or stored.dtype != np.int32:
            nodes.append(node)
            continue
        # b = scale q
        floats = (stored.astype(np.float32) * values[node.input[1]]).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(floats, node.output[0]))
    count = len(graph.node) - len(nodes)
    replace_nodes(graph, nodes)
    return [f"{count} int32 biases: float"] if count else []


def _scaled_constants(graph: "GraphProto") -> list[str]:
    """Int8 constants that a Cast and a Mul unpack become int8 constants behind a DequantizeLinear: the same product."""
    values, nodes = constants(graph), list(graph.node)
    gone: set[int] = set()  # places in `nodes`
    made: dict[int, NodeProto] = {}
    for place, node in enumerate(nodes):
        stored = values.get(node.input[0]) if node.op_type == "Cast" else None
        if stored is None or stored.dtype != np.int8:
            continue
        followers = [other for other, reader in enumerate(nodes) if node.output[0] in reader.input]
        if len(followers) != 1 or nodes[followers[0]].op_type != "Mul":
            continue
        dequantise = _as_dequantise(graph, node, nodes[followers[0]], stored, values)
        if dequantise is not None:
            made[followers[0]] = dequantise
            gone.add(place)
    replace_nodes(graph, [made.get(place, node) for place, node in enumerate(nodes) if place not in gone])
    return [f"{len(made)} unpacked int8 weights: DequantizeLinear"] if made else []


def _as_dequantise(
    graph: "GraphProto", cast: "NodeProto", product: "NodeProto", stored: np.ndarray, values: dict[str, np.ndarray]
) -> "NodeProto | None":
    from onnx import helper, numpy_helper

    other = next((name for name in product.input if name != cast.output[0]), "")
    scales = values.get(other)
    if scales is None or scales.dtype != np.float32:
        return None
    if scales.ndim > stored.ndim:
        return None
    wide = scales.reshape((1,) * (stored.ndim - scales.ndim) + scales.shape)
    axes = [axis for axis, extent in enumerate(wide.shape) if extent != 1]
    if len(axes) > 1 or (axes and wide.shape[axes[0]] != stored.shape[axes[0]]):
        return None
    axis = axes[0] if axes else 0
    flat = np.broadcast_to(wide.reshape(-1), stored.shape[axis]).astype(np.float32)
    names = [f"{product.output[0]}.trt.{label}" for label in ("scales", "zeros")]
    for name, array in zip(names, (flat, np.zeros(len(flat), np.int8)), strict=True):
        graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
    return helper.make_node(
        "DequantizeLinear", [cast.input[0], *names], [product.output[0]], f"{product.output[0]}.trt", axis=axis
    )


def _other_constants(graph: "GraphProto") -> list[str]:
    """8-bit constants that something else reads, such as tables of rows, become floats of the same values."""
    from onnx import numpy_helper

    values = constants(graph)
    changes: list[str] = []
    for name, stored in values.items():
        if stored.dtype not in (np.int8, np.uint8):
            continue
        readers = [node for node in graph.node if name in node.input and node.op_type not in QUANTISING]
        if not readers:
            continue
        floats = f"{name}.trt.float"
        graph.initializer.append(numpy_helper.from_array(stored.astype(np.float32), floats))
        for node in readers:
            node.input[:] = [floats if each == name else each for each in node.input]
        changes.append(f"constant {name}: {stored.dtype} -> float")
    return changes


def _reread(graph: "GraphProto", old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if each == old else each for each in node.input]


def _plain_attention(graph: "GraphProto", shapes: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Attention nodes (opset 23) become the products and the softmax they stand for.

    TensorRT's parser knows the operator from 10.14 on, so not on JetPack 6.2, and the builder of TensorRT-RTX 1.7.1
    ends the process with a segmentation fault on it.
    """
    nodes: list[NodeProto] = []
    count = 0
    for node in graph.node:
        if node.op_type != "Attention":
            nodes.append(node)
            continue
        nodes += _attention_parts(graph, node, shapes)
        count += 1
    replace_nodes(graph, nodes)
    return [f"{count} attention nodes: products and softmax"] if count else []


def _attention_parts(
    graph: "GraphProto", node: "NodeProto", shapes: Mapping[str, tuple[int, ...]]
) -> "list[NodeProto]":
    from onnx import helper, numpy_helper

    settings = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    scale, masked = settings.pop("scale", None), len(node.input) > 3 and bool(node.input[3])
    query, key, value = (shapes.get(name, ()) for name in node.input[:3])
    if (
        len(node.output) != 1
        or len(node.input) > 4
        or any(settings.values())
        or {*map(len, (query, key, value))} != {4}
    ):
        raise NotForTensorRt(
            f"Attention {node.name}: only plain attention of 4 dimensions is known; export at opset 18"
        )
    if query[1] != key[1]:
        raise NotForTensorRt(f"Attention {node.name}: grouped queries are not known; export at opset 18")
    name = node.output[0]
    # softmax(q k^T / sqrt(d) + mask) v
    factor = np.asarray(query[3] ** -0.5 if scale is None else scale, np.float32)
    graph.initializer.append(numpy_helper.from_array(factor, f"{name}.trt.scale"))
    parts = [
        helper.make_node("Mul", [node.input[0], f"{name}.trt.scale"], [f"{name}.trt.query"], f"{name}.trt.query"),
        helper.make_node("Transpose", [node.input[1]], [f"{name}.trt.key"], f"{name}.trt.key", perm=[0, 1, 3, 2]),
        helper.make_node(
            "MatMul", [f"{name}.trt.query", f"{name}.trt.key"], [f"{name}.trt.scores"], f"{name}.trt.scores"
        ),
    ]
    scores = f"{name}.trt.scores"
    if masked:
        parts.append(helper.make_node("Add", [scores, node.input[3]], [f"{name}.trt.masked"], f"{name}.trt.masked"))
        scores = f"{name}.trt.masked"
    return [
        *parts,
        helper.make_node("Softmax", [scores], [f"{name}.trt.parts"], f"{name}.trt.parts", axis=-1),
        helper.make_node("MatMul", [f"{name}.trt.parts", node.input[2]], [name], f"{name}.trt"),
    ]
