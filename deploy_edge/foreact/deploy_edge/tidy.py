"""Rewrites of an exported graph that keep what it computes.

Shape letters: C channels, H and W image height and width.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["constants", "maxima_to_pools", "pack_constants", "replace_nodes", "strip", "tensor_shapes"]

SEPARABLE_TOLERANCE = 1e-6  # of the largest value: what float32 rounds anyway
PACKED_FROM = 1024  # [elements] smaller constants are left alone
UNFOLDED = "packed."  # prefix of the names of tensors that the engine expands when it loads the model


def strip(model: "ModelProto") -> None:
    """Drop what only the exporter needs: source lines, intermediate shapes, unused constants."""
    for node in model.graph.node:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in [*model.graph.input, *model.graph.output, *model.graph.initializer]:
        value.ClearField("metadata_props")
        value.ClearField("doc_string")
    model.graph.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    del model.graph.value_info[:]
    model.doc_string = ""
    drop_unused_constants(model.graph)


def drop_unused_constants(graph: "GraphProto") -> None:
    """Drop initialisers that no node reads."""
    used = {name for node in graph.node for name in node.input}
    kept = [each for each in graph.initializer if each.name in used]
    del graph.initializer[:]
    graph.initializer.extend(kept)


def constants(graph: "GraphProto") -> dict[str, np.ndarray]:
    """Initialisers by name."""
    from onnx import numpy_helper

    return {each.name: numpy_helper.to_array(each) for each in graph.initializer}


def replace_nodes(graph: "GraphProto", nodes: "list[NodeProto]") -> None:
    """Give a graph other nodes, in this order."""
    del graph.node[:]
    graph.node.extend(nodes)


def maxima_to_pools(model: "ModelProto") -> int:
    """Turn a convolution's largest value over all pixels, (1, C), into a pooling node; return how many were turned.

    Engines keep channels in blocks between convolutions and can pool them there, but must unpack the whole image for a
    maximum over a reshaped one.
    """
    from onnx import helper, numpy_helper

    shapes, values = tensor_shapes(model), constants(model.graph)
    made = {name: node for node in model.graph.node for name in node.output}
    nodes: list[NodeProto] = []
    found = 0
    for node in model.graph.node:
        flat = made.get(node.input[0]) if node.op_type == "ReduceMax" else None
        source = flat.input[0] if flat is not None and flat.op_type == "Reshape" else ""
        image, result = shapes.get(source, ()), node.output[0]
        if (
            len(image) != 4
            or made[source].op_type != "Conv"
            or shapes[node.input[0]] != (*image[:2], image[2] * image[3])
        ):
            nodes.append(node)
            continue
        axes = values[node.input[1]].tolist()
        if axes not in ([-1], [2]):
            nodes.append(node)
            continue
        found += 1
        shape = f"{result}.shape"
        model.graph.initializer.append(numpy_helper.from_array(np.array(shapes[result], np.int64), shape))
        nodes += [
            helper.make_node("GlobalMaxPool", [source], [f"{result}.pool"], f"{node.name}.pool"),
            helper.make_node("Reshape", [f"{result}.pool", shape], [result], f"{node.name}.reshape"),
        ]
    replace_nodes(model.graph, nodes)
    _drop_unread_nodes(model.graph)
    return found


def _drop_unread_nodes(graph: "GraphProto") -> None:
    read = {name for node in graph.node for name in node.input} | {each.name for each in graph.output}
    replace_nodes(graph, [node for node in graph.node if not read.isdisjoint(node.output)])


def pack_constants(model: "ModelProto") -> list[str]:
    """Store large constants as what they are made of; return their names.

    A constant of one value becomes that value, expanded; one of shape (.., H, W) that is a column plus a row (the rays
    of a pinhole camera are) becomes the two. The engine computes them once, when it loads the model.
    """
    from onnx import helper, numpy_helper

    nodes: list[NodeProto] = []
    packed: list[str] = []
    for each in list(model.graph.initializer):
        values = numpy_helper.to_array(each)
        if values.dtype != np.float32 or values.size < PACKED_FROM:
            continue
        parts = _uniform(values) or _separable(values)
        if parts is None:
            continue
        operator, arrays = parts
        names = [f"{UNFOLDED}{each.name}.{index}" for index in range(len(arrays))]
        model.graph.initializer.extend(numpy_helper.from_array(a, n) for a, n in zip(arrays, names, strict=True))
        nodes.append(helper.make_node(operator, names, [each.name], f"{UNFOLDED}{each.name}"))
        model.graph.initializer.remove(each)
        packed.append(each.name)
    replace_nodes(model.graph, [*nodes, *model.graph.node])
    return packed


def _uniform(values: np.ndarray) -> tuple[str, list[np.ndarray]] | None:
    if not (values == values.flat[0]).all():
        return None
    return "Expand", [values.reshape(-1)[:1].copy(), np.array(values.shape, np.int64)]


def _separable(values: np.ndarray) -> tuple[str, list[np.ndarray]] | None:
    if values.ndim < 3 or min(values.shape[-2:]) < 2:
        return None
    exact = values.astype(np.float64)
    # v[.., y, x] = column[.., y, 0] + row[.., 0, x]
    column = exact.mean(-1, keepdims=True)
    row = exact.mean(-2, keepdims=True) - exact.mean((-2, -1), keepdims=True)
    column32, row32 = column.astype(np.float32), row.astype(np.float32)
    error = np.abs(column32 + row32 - exact).max()
    return ("Add", [column32, row32]) if error <= SEPARABLE_TOLERANCE * np.abs(exact).max() else None


def tensor_shapes(model: "ModelProto") -> dict[str, tuple[int, ...]]:
    """Shapes of all tensors of a model, as far as they can be inferred."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(model).graph
    values: list[Any] = [*graph.input, *graph.output, *graph.value_info]
    shapes = {value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim) for value in values}
    return {**shapes, **{each.name: tuple(each.dims) for each in graph.initializer}}
