"""Rewrites of an exported graph that keep what it computes.

Shape letters: K summed length, H and W image height and width.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["constants", "pack_constants", "replace_nodes", "row_products_to_sums", "strip"]

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


def row_products_to_sums(model: "ModelProto") -> int:
    """Turn batched products of a row (.., 1, K) with a column (.., K, 1) into a product and a sum; return how many.

    An engine does a batch of such products as matrix products one by one: here 130 us instead of 15.
    """
    from onnx import helper, shape_inference

    shapes = _shapes(shape_inference.infer_shapes(model).graph)
    nodes: list[NodeProto] = []
    axes, found = "row_product.axes", 0
    for node in model.graph.node:
        left, right = (shapes.get(name, ()) for name in node.input[:2]) if node.op_type == "MatMul" else ((), ())
        if not _is_row_product(left, right):
            nodes.append(node)
            continue
        found += 1
        stem = node.output[0]
        # (.., 1, K) x (.., K, 1): sum_k a_k b_k; the column becomes a row to be multiplied element by element
        turned = [*range(len(right) - 2), len(right) - 1, len(right) - 2]
        nodes += [
            helper.make_node("Transpose", [node.input[1]], [f"{stem}.column"], f"{node.name}.turn", perm=turned),
            helper.make_node("Mul", [node.input[0], f"{stem}.column"], [f"{stem}.product"], f"{node.name}.product"),
            helper.make_node("ReduceSum", [f"{stem}.product", axes], [stem], f"{node.name}.sum", keepdims=1),
        ]
    if found:
        model.graph.initializer.append(helper.make_tensor(axes, 7, [1], [-1]))
        replace_nodes(model.graph, nodes)
    return found


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


def _is_row_product(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    return len(left) == len(right) >= 3 and left[-2] == 1 and right[-1] == 1


def _shapes(graph: "GraphProto") -> dict[str, tuple[int, ...]]:
    values: list[Any] = [*graph.input, *graph.output, *graph.value_info]
    shapes = {value.name: tuple(d.dim_value for d in value.type.tensor_type.shape.dim) for value in values}
    return {**shapes, **{each.name: tuple(each.dims) for each in graph.initializer}}
