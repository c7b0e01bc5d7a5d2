"""Slices, reshapes and transposes that pick every n-th pixel become one convolution with weights 0 and 1.

Engines copy an image once for each such node, and transposes of small axes are slow: here 60 us of an inference of
1200, against 8 for the convolution. The result is the same bit for bit: one product with 1 and sums of zeros.
Shape letters: C channels, H and W image height and width, O picked channels, S step.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.runtime.engine import session_of
from foreact.deploy_edge.tidy import constants, drop_unused_constants, replace_nodes, tensor_shapes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["PICK", "picks_to_convolutions"]

PICK = "pick."  # prefix of the names of these convolutions and their weights
MOVES = ("Slice", "Reshape", "Transpose", "Squeeze", "Unsqueeze")
STEPS = (2, 4, 8)


def picks_to_convolutions(model: "ModelProto") -> int:
    """Replace chains of moves that begin with a slice of an image; return how many were replaced.

    Args:
        model: Changed in place.
    """
    shapes = tensor_shapes(model)
    moved = {name for node in model.graph.node if node.op_type in MOVES for name in node.output}
    starts = [node for node in model.graph.node if node.op_type == "Slice" and node.input[0] not in moved]
    found = [pick for start in starts if (pick := _pick(model, start, shapes)) is not None]
    for chain, weights, step in found:
        _replace(model, chain, weights, step, shapes)
    drop_unused_constants(model.graph)
    return len(found)


def _pick(
    model: "ModelProto", start: "NodeProto", shapes: Mapping[str, tuple[int, ...]]
) -> "tuple[list[NodeProto], np.ndarray, int] | None":
    """The longest chain from a slice that a convolution can do, its weights (O, C, S, S) and S."""
    image = shapes.get(start.input[0], ())
    if len(image) != 4 or image[0] != 1:
        return None
    chain = _chain(model, start)
    for length in range(len(chain), 1, -1):
        order = _order(model, chain[:length], image)
        for step in STEPS:
            weights = _weights(order, image, step)
            if weights is not None:
                return chain[:length], weights, step
    return None


def _chain(model: "ModelProto", start: "NodeProto") -> "list[NodeProto]":
    """The moves that follow a slice, as long as nothing else reads what lies between."""
    known = {each.name for each in model.graph.initializer}
    chain, results = [start], {each.name for each in model.graph.output}
    while True:
        readers = [node for node in model.graph.node if chain[-1].output[0] in node.input]
        if (
            chain[-1].output[0] in results
            or len(readers) != 1
            or readers[0].op_type not in MOVES
            or not set(readers[0].input[1:]) <= known
        ):
            return chain
        chain.append(readers[0])


def _order(model: "ModelProto", chain: "Sequence[NodeProto]", image: tuple[int, ...]) -> np.ndarray:
    """Which pixel of the flattened image each element of the chain's result is."""
    from onnx import TensorProto, helper

    used = {name for node in chain for name in node.input[1:]}
    graph = helper.make_graph(
        list(chain),
        "chain",
        [helper.make_tensor_value_info(chain[0].input[0], TensorProto.FLOAT, image)],
        [helper.make_tensor_value_info(chain[-1].output[0], TensorProto.FLOAT, None)],
        [each for each in model.graph.initializer if each.name in used],
    )
    numbered = np.arange(np.prod(image), dtype=np.float64).reshape(image)
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    session = session_of(part.SerializeToString())
    # two halves of each number: float32 holds whole numbers up to 2^24 only
    low, high = (
        session.run(None, {chain[0].input[0]: half.astype(np.float32)})[0]
        for half in (numbered % 4096, numbered // 4096)
    )
    return (high.astype(np.int64) * 4096 + low.astype(np.int64)).ravel()


def _weights(order: np.ndarray, image: tuple[int, ...], step: int) -> np.ndarray | None:
    """Weights that pick `order` at this step, or None if it is no regular grid."""
    _, channels, height, width = image
    rows, columns = height // step, width // step
    if height % step or width % step or order.size % (rows * columns):
        return None
    grid = order.reshape(-1, rows, columns)
    first = grid[:, 0, 0]
    # pixel(o, y, x) = first_o + y S W + x S
    regular = first[:, None, None] + (np.arange(rows) * step * width)[:, None] + np.arange(columns) * step
    channel, top, left = first // (height * width), first % (height * width) // width, first % width
    if not np.array_equal(grid, regular) or max(top.max(), left.max()) >= step:
        return None
    weights = np.zeros((len(first), channels, step, step), np.float32)
    weights[np.arange(len(first)), channel, top, left] = 1.0
    return weights


def _replace(
    model: "ModelProto",
    chain: "Sequence[NodeProto]",
    weights: np.ndarray,
    step: int,
    shapes: Mapping[str, tuple[int, ...]],
) -> None:
    from onnx import helper, numpy_helper

    result = chain[-1].output[0]
    name, shape = f"{PICK}{result}", np.array(shapes[result], np.int64)
    known = constants(model.graph)
    for label, value in ((f"{name}.weight", weights), (f"{name}.shape", shape)):
        assert label not in known
        model.graph.initializer.append(numpy_helper.from_array(value, label))
    picked = helper.make_node(
        "Conv", [chain[0].input[0], f"{name}.weight"], [f"{name}.grid"], name, strides=[step, step]
    )
    shaped = helper.make_node("Reshape", [f"{name}.grid", f"{name}.shape"], [result], f"{name}.reshape")
    gone = {node.name for node in chain}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        if node.name == chain[0].name:
            nodes += [picked, shaped]
        if node.name not in gone:
            nodes.append(node)
    replace_nodes(model.graph, nodes)
