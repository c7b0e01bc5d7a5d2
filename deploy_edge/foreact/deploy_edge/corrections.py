"""What is done about the systematic part of the error of rounding weights.

Shape letters: C output channels, D inputs of a channel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.energy import Branch
from foreact.deploy_edge.layer_inputs import Moments
from foreact.deploy_edge.layers import Layer
from foreact.deploy_edge.rounding import Integers, as_matrix
from foreact.deploy_edge.tidy import constants

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["correct_biases", "scale_layers"]


def correct_biases(
    model: "ModelProto",
    layers: Sequence[Layer],
    integers: Mapping[str, Integers],
    moments: Mapping[str, Moments],
) -> int:
    """Add to each bias what rounding the weights takes from the mean result; return how many were changed.

    Source: Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction", section 4.2.

    Args:
        model: With float32 weights; its biases are changed in place.
        layers: All of its layers.
        integers: Their rounded weights.
        moments: Of their inputs.
    """
    from onnx import numpy_helper

    values = constants(model.graph)
    shifts: dict[str, np.ndarray] = {}
    for layer in layers:
        if layer.bias is None or layer.weight not in integers or layer.weight not in moments:
            continue
        # E[W x] - E[W_q x] = (W - W_q) E[x]
        lost = values[layer.weight] - integers[layer.weight].dequantised()
        shifts[layer.bias] = as_matrix(lost, layer.axis).astype(np.float64) @ moments[layer.weight].mean
    for each in model.graph.initializer:
        if each.name in shifts:
            changed = values[each.name] + shifts[each.name]
            each.CopyFrom(numpy_helper.from_array(changed.astype(np.float32), each.name))
    return len(shifts)


def scale_layers(
    model: "ModelProto", branches: Sequence[Branch], integers: Mapping[str, Integers], factors: Mapping[str, float]
) -> dict[str, Integers]:
    """Multiply the results of layers by factors; return the integers with other scales.

    Args:
        model: Its weights and biases are changed in place.
        branches: The layers and what is added to their results.
        integers: Of all weights.
        factors: Of some weight tensors.
    """
    from onnx import numpy_helper

    values = constants(model.graph)
    by_name = {
        name: factors[branch.weight]
        for branch in branches
        if factors.get(branch.weight, 1.0) != 1.0
        for name in (branch.weight, *branch.biases)
    }
    for each in model.graph.initializer:
        if each.name in by_name:
            scaled = (values[each.name] * by_name[each.name]).astype(np.float32)
            each.CopyFrom(numpy_helper.from_array(scaled, each.name))
    return {
        name: replace(each, scales=(each.scales * by_name.get(name, 1.0)).astype(np.float32))
        for name, each in integers.items()
    }
