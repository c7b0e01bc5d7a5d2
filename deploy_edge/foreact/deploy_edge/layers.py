"""The layers of a graph that have weights: what quantisation may touch."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.subsampling import PICK

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

__all__ = ["Layer", "embeddings", "find_layers", "float_tensors", "turn_constants"]


@dataclass(frozen=True)
class Layer:
    """A linear or convolution layer.

    Attributes:
        name: The name of its weights, with a number if several nodes share them.
        node: Name of its node.
        operator: Conv, Gemm or MatMul.
        source: Its input tensor.
        weight: Initialiser of its weights.
        axis: Axis of the weights that counts output channels.
        bias: Initialiser of its bias, or None; that of a MatMul is added by the node behind it.
        result: The tensor that comes out, after a ReLU that nothing else sees past.
        elements: Number of weights.
    """

    name: str
    node: str
    operator: str
    source: str
    weight: str
    axis: int
    bias: str | None
    result: str
    elements: int


def find_layers(model: "ModelProto") -> list[Layer]:
    """All linear and convolution layers with constant weights, in the order in which they run.

    Products of two computed tensors (attention) are not among them, nor convolutions that only pick pixels.
    """
    graph = model.graph
    shapes = {each.name: tuple(each.dims) for each in graph.initializer if each.data_type == 1}
    found: list[Layer] = []
    uses: dict[str, int] = {}
    for node in graph.node:
        layer = _layer(node, shapes, graph)
        if layer is None:
            continue
        uses[layer.weight] = uses.get(layer.weight, 0) + 1
        if uses[layer.weight] > 1:
            layer = Layer(**{**layer.__dict__, "name": f"{layer.name}#{uses[layer.weight]}"})
        found.append(layer)
    return found


def turn_constants(model: "ModelProto") -> int:
    """Transpose constant matrices that are only read through a Transpose; return how many.

    An exporter writes the weights of layers that run several times so; an engine turns them once, when it loads them.

    Args:
        model: Changed in place.
    """
    from onnx import numpy_helper

    graph = model.graph
    values = {each.name: each for each in graph.initializer if each.data_type == 1 and len(each.dims) == 2}
    read = [name for node in graph.node for name in node.input]
    turned: dict[str, str] = {}
    for node in graph.node:
        name = node.input[0] if node.op_type == "Transpose" else ""
        if name in values and read.count(name) == 1:
            turned[node.output[0]] = name
            flipped = np.ascontiguousarray(numpy_helper.to_array(values[name]).T)
            values[name].CopyFrom(numpy_helper.from_array(flipped, name))
    kept = [node for node in graph.node if node.op_type != "Transpose" or node.output[0] not in turned]
    for node in kept:
        for place, name in enumerate(node.input):
            node.input[place] = turned.get(name, name)
    del graph.node[:]
    graph.node.extend(kept)
    return len(turned)


def embeddings(model: "ModelProto") -> list[tuple[str, str]]:
    """Tables of two dimensions that are looked up by a Gather: (node name, table)."""
    shapes = {each.name: tuple(each.dims) for each in model.graph.initializer if each.data_type == 1}
    nodes = [node for node in model.graph.node if node.op_type == "Gather" and len(shapes.get(node.input[0], ())) == 2]
    return [(node.name, node.input[0]) for node in nodes]


def float_tensors(model: "ModelProto") -> list[str]:
    """All computed float32 tensors except the model's results."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(model).graph
    results = {each.name for each in model.graph.output}
    floats = [each.name for each in inferred.value_info if each.type.tensor_type.elem_type == 1]
    constant = {name for node in model.graph.node if node.name.startswith("packed.") for name in node.output}
    return [name for name in floats if name not in results | constant]


def _layer(node: "NodeProto", shapes: dict[str, tuple[int, ...]], graph: "GraphProto") -> Layer | None:
    if node.op_type not in ("Conv", "Gemm", "MatMul") or node.input[1] not in shapes or node.input[0] in shapes:
        return None
    attributes = {each.name: (each.f if each.type == 1 else each.i) for each in node.attribute}
    plain = (
        attributes.get("transA", 0) == 0 and attributes.get("alpha", 1.0) == 1.0 and attributes.get("beta", 1.0) == 1.0
    )
    weight = node.input[1]
    if node.name.startswith(PICK):
        return None
    bias = node.input[2] if len(node.input) > 2 and node.input[2] else None
    if node.op_type == "MatMul":
        bias = _added(node.output[0], shapes, graph)
    if not plain or (bias is not None and len(shapes.get(bias, ())) != 1):
        return None
    if node.op_type != "Conv" and len(shapes[weight]) != 2:
        return None
    axis = 0 if node.op_type == "Conv" or attributes.get("transB", 0) else 1
    result = _after_relu(node.output[0], graph) if node.op_type == "Conv" else node.output[0]
    name = weight.removesuffix(".weight")
    return Layer(name, node.name, node.op_type, node.input[0], weight, axis, bias, result, int(np.prod(shapes[weight])))


def _added(tensor: str, shapes: dict[str, tuple[int, ...]], graph: "GraphProto") -> str | None:
    """The constant vector that is added to a tensor, if nothing else reads either."""
    readers = [node for node in graph.node if tensor in node.input]
    if len(readers) != 1 or readers[0].op_type != "Add":
        return None
    other = next((name for name in readers[0].input if name != tensor), tensor)
    adding = [node for node in graph.node if other in node.input]
    return other if len(shapes.get(other, ())) == 1 and all(node.op_type == "Add" for node in adding) else None


def _after_relu(tensor: str, graph: "GraphProto") -> str:
    readers = [node for node in graph.node if tensor in node.input]
    return readers[0].output[0] if len(readers) == 1 and readers[0].op_type == "Relu" else tensor
