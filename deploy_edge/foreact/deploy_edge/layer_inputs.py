"""Mean and second moments of what goes into each layer, over the calibration observations.

Shape letters: D inputs of one output channel, R positions at which a layer is evaluated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.calibration import watched
from foreact.deploy_edge.layers import Layer
from foreact.deploy_edge.observations import Inputs, only
from foreact.deploy_edge.runtime.engine import session_of

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["Moments", "observe_moments", "patches"]


@dataclass(frozen=True)
class Moments:
    """What one weight tensor is multiplied with.

    Attributes:
        mean: Of the inputs x, (D,).
        second: Mean of x x^T, (D, D).
    """

    mean: np.ndarray
    second: np.ndarray


def observe_moments(model: "ModelProto", layers: Sequence[Layer], observations: Sequence[Inputs]) -> dict[str, Moments]:
    """Run a model and gather the moments of its layers' inputs, by weight tensor.

    Args:
        model: With float32 weights; it is not changed.
        layers: Those to look at; several that share weights are taken together. Convolutions in groups are left out.
        observations: Model inputs.
    """
    nodes = {node.name: node for node in model.graph.node}
    known = {each.name for each in model.graph.input}
    taken = [layer for layer in layers if _understood(nodes[layer.node])]
    sources = sorted({layer.source for layer in taken} - known)
    session = session_of(watched(model, sources))
    names = [each.name for each in session.get_inputs()]
    shapes = {each.name: tuple(each.dims) for each in model.graph.initializer}
    mean: dict[str, np.ndarray] = {}
    second: dict[str, np.ndarray] = {}
    uses = {layer.weight: sum(each.weight == layer.weight for each in taken) for layer in taken}
    for inputs in observations:
        found = dict(zip(sources, session.run(sources, only(inputs, names)), strict=True)) if sources else {}
        for layer in taken:
            source = found[layer.source] if layer.source in found else inputs[layer.source]
            seen = patches(source, nodes[layer.node], shapes[layer.weight]).astype(np.float32)
            share = 1 / (len(seen) * uses[layer.weight] * len(observations))
            mean[layer.weight] = mean.get(layer.weight, 0.0) + seen.sum(0, dtype=np.float64) * share
            second[layer.weight] = second.get(layer.weight, 0.0) + (seen.T @ seen).astype(np.float64) * share
    return {weight: Moments(mean[weight], second[weight]) for weight in second}


def patches(source: np.ndarray, node: "NodeProto", shape: tuple[int, ...]) -> np.ndarray:
    """What each output of a layer is computed from, (R, D).

    Args:
        source: Its input.
        node: Conv, Gemm or MatMul.
        shape: Of its weights.
    """
    if node.op_type != "Conv":
        return source.reshape(-1, source.shape[-1])
    attributes = {each.name: list(each.ints) for each in node.attribute}
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    (down, across), (apart_y, apart_x) = attributes.get("strides", [1, 1]), attributes.get("dilations", [1, 1])
    padded = np.pad(source, ((0, 0), (0, 0), (top, bottom), (left, right)))
    tall, wide = (shape[2] - 1) * apart_y + 1, (shape[3] - 1) * apart_x + 1
    windows = np.lib.stride_tricks.sliding_window_view(padded, (tall, wide), axis=(2, 3))  # pyright: ignore
    windows = windows[:, :, ::down, ::across, ::apart_y, ::apart_x]
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(-1, int(np.prod(shape[1:])))


def _understood(node: "NodeProto") -> bool:
    if node.op_type != "Conv":
        return True
    attributes = {each.name: each for each in node.attribute}
    groups = attributes["group"].i if "group" in attributes else 1
    explicit = attributes["auto_pad"].s in (b"", b"NOTSET") if "auto_pad" in attributes else True
    return groups == 1 and explicit
