"""Channels of an integer tensor brought to one height: each then uses all of the integers.

Between a convolution with a ReLU and what reads it, channel c can be divided by t_c and made good for behind it,
because a ReLU commutes with positive factors. Source: Nagel et al. 2019, "Data-free quantization through weight
equalization and bias correction", section 4.1; here the factors come from the activations, since weights have a scale
per channel anyway.
Shape letters: C channels.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.calibration import watched
from foreact.deploy_edge.layers import Layer
from foreact.deploy_edge.observations import Inputs, only
from foreact.deploy_edge.runtime.engine import session_of
from foreact.deploy_edge.tidy import constants, replace_nodes, tensor_shapes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["channel_peaks", "equalise"]

FLOOR = 0.125  # of the highest channel: a channel that hardly ever fired in calibration may do so later


def channel_peaks(model: "ModelProto", tensors: Sequence[str], observations: Sequence[Inputs]) -> dict[str, np.ndarray]:
    """Largest magnitude of each channel of some tensors, (C,).

    Args:
        model: With float32 weights; it is not changed.
        tensors: Names of tensors (1, C, ..) in it.
        observations: Model inputs.
    """
    session = session_of(watched(model, tensors))
    names = [each.name for each in session.get_inputs()]
    peaks: dict[str, np.ndarray] = {}
    for inputs in observations if tensors else ():
        for name, values in zip(tensors, session.run(list(tensors), only(inputs, names)), strict=True):
            seen = np.abs(values).max(axis=(0, *range(2, values.ndim)))
            peaks[name] = np.maximum(peaks.get(name, 0.0), seen)
    return peaks


def equalise(model: "ModelProto", layers: Sequence[Layer], peaks: Mapping[str, np.ndarray]) -> list[str]:
    """Bring the channels of tensors to one height without changing what the model computes; return which tensors.

    Args:
        model: Changed in place.
        layers: All of its layers.
        peaks: Largest magnitude of each channel of the results of convolutions.
    """
    done: list[str] = []
    for layer in layers:
        if layer.result not in peaks or layer.operator != "Conv":
            continue
        plan = _plan(model, layers, layer)
        if plan is None:
            continue
        heights = np.maximum(peaks[layer.result], FLOOR * peaks[layer.result].max())
        if not heights.max() > 0:
            continue
        factors = (heights / heights.max()).astype(np.float64)
        _scale(model, layer.weight, 1 / factors, 0)
        if layer.bias is not None:
            _scale(model, layer.bias, 1 / factors, 0)
        for reader in plan[0]:
            _scale(model, reader.weight, factors, 1)
        for node, place in plan[1]:
            _multiply_operand(model, node, place, factors, layer.result)
        done.append(layer.result)
    return done


def _plan(
    model: "ModelProto", layers: Sequence[Layer], layer: Layer
) -> "tuple[list[Layer], list[tuple[NodeProto, int]]] | None":
    """What reads a convolution's result: convolutions and products with one value per channel; None if others do."""
    nodes = {node.name: node for node in model.graph.node}
    by_node = {each.node: each for each in layers}
    shapes = tensor_shapes(model)
    raw = nodes[layer.node].output[0]
    relu = next((node for node in model.graph.node if node.output[0] == layer.result), None)
    uses = [each.weight for each in layers].count
    if relu is None or (raw != layer.result and relu.op_type != "Relu") or uses(layer.weight) > 1:
        return None
    if layer.result in {each.name for each in model.graph.output}:
        return None
    convolutions: list[Layer] = []
    products: list[tuple[NodeProto, int]] = []
    channels = shapes[layer.result][1]
    for node in model.graph.node:
        if layer.result not in node.input:
            continue
        reader = by_node.get(node.name)
        if reader is not None and reader.operator == "Conv" and uses(reader.weight) == 1 and _ungrouped(node):
            convolutions.append(reader)
            continue
        other = 1 - list(node.input).index(layer.result)
        if node.op_type != "Mul" or shapes.get(node.input[other]) != (1, channels, 1, 1):
            return None
        products.append((node, other))
    return convolutions, products


def _scale(model: "ModelProto", name: str, factors: np.ndarray, axis: int) -> None:
    from onnx import numpy_helper

    for each in model.graph.initializer:
        if each.name == name:
            values = numpy_helper.to_array(each)
            shape = [-1 if index == axis else 1 for index in range(values.ndim)]
            each.CopyFrom(numpy_helper.from_array((values * factors.reshape(shape)).astype(np.float32), name))


def _multiply_operand(model: "ModelProto", node: "NodeProto", place: int, factors: np.ndarray, name: str) -> None:
    """Put the factors on the operand that has one value per channel."""
    from onnx import helper, numpy_helper

    label, operand = f"{name}.heights", node.input[place]
    if label not in constants(model.graph):
        values = factors.astype(np.float32).reshape(1, -1, 1, 1)
        model.graph.initializer.append(numpy_helper.from_array(values, label))
    result = f"{operand}.{label}"
    product = helper.make_node("Mul", [operand, label], [result], result)
    nodes = list(model.graph.node)
    nodes.insert(next(index for index, each in enumerate(nodes) if each.name == node.name), product)
    node.input[place] = result
    replace_nodes(model.graph, nodes)


def _ungrouped(node: "NodeProto") -> bool:
    return all(each.i == 1 for each in node.attribute if each.name == "group")
