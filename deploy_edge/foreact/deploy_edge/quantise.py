"""Int8 by explicit Q/DQ nodes: 8-bit weights and activations around the layers chosen, float everywhere else.

Activations are uint8 with a zero point, weights int8 without one, one scale per output channel. A convolution is
rounded on both sides, because engines fuse it only then; a linear layer gives its sums on as floats.
Source of the arithmetic: Jacob et al. 2018, "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", equations 1 to 7. Shape letters: C output channels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.calibration import Range
from foreact.deploy_edge.layers import Layer, embeddings
from foreact.deploy_edge.tidy import constants, drop_unused_constants, replace_nodes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["Scheme", "activation_scale", "quantise", "weight_scales"]

INT32 = 2**31 - 1


@dataclass(frozen=True)
class Scheme:
    """What is quantised, and how finely.

    Attributes:
        layers: Layers with 8-bit weights and input.
        weight_only: Names of those among them whose input stays float.
        ranges: Range of each tensor that becomes 8-bit.
        weight_bits: 8, or 7 for processors whose 8-bit sums saturate (x86 before VNNI).
        per_channel: One scale per output channel; otherwise one per weight tensor.
        everywhere: Further tensors that every reader sees rounded: only the naive control uses it.
    """

    layers: Sequence[Layer]
    ranges: Mapping[str, Range]
    weight_only: frozenset[str] = field(default_factory=frozenset)
    weight_bits: int = 8
    per_channel: bool = True
    everywhere: frozenset[str] = field(default_factory=frozenset)


def activation_scale(extent: Range) -> tuple[float, int]:
    """Scale and zero point of uint8 numbers that cover a range holding 0.

    Args:
        extent: Lowest and highest value.
    """
    low, high = min(extent[0], 0.0), max(extent[1], 0.0)
    # x = scale * (q - zero), q in 0..255
    scale = (high - low) / 255 or 1.0
    return scale, int(np.clip(np.rint(-low / scale), 0, 255))


def weight_scales(weight: np.ndarray, axis: int, bits: int, per_channel: bool) -> np.ndarray:
    """Scales (C,) that make int8 numbers of weights, |q| <= 2^(bits-1) - 1."""
    others = tuple(index for index in range(weight.ndim) if index != axis)
    largest = np.abs(weight).max(axis=others)
    if not per_channel:
        largest = np.full_like(largest, largest.max())
    return np.where(largest > 0, largest / (2 ** (bits - 1) - 1), 1.0).astype(np.float32)


def quantise(model: "ModelProto", scheme: Scheme) -> "ModelProto":
    """Put Q/DQ nodes into a copy of a model.

    Args:
        model: With float32 weights.
        scheme: What and how.
    """
    from onnx import ModelProto

    result = ModelProto()
    result.CopyFrom(model)
    _Quantiser(result, scheme).run()
    return result


class _Quantiser:
    def __init__(self, model: "ModelProto", scheme: Scheme) -> None:
        self._model, self._scheme = model, scheme
        self._values = constants(model.graph)
        self._layers = {layer.node: layer for layer in scheme.layers}
        self._tables = dict(embeddings(model))
        full = [layer for layer in scheme.layers if layer.name not in scheme.weight_only]
        # engines fuse a convolution with the rounding after it, so nobody may read its unrounded result
        self._rounded = scheme.everywhere | {layer.result for layer in full if layer.operator == "Conv"}
        self._sources = {layer.source for layer in full}
        self._ranges = _shared_ranges(scheme)
        self._made: set[str] = set()
        self._nodes: list[NodeProto] = []

    def run(self) -> None:
        for each in self._model.graph.input:
            self._round(each.name)
        for node in self._model.graph.node:
            self._rewire(node)
            self._nodes.append(node)
            results = list(node.output)
            if node.name in self._tables:
                self._look_up_int8(node)
            for name in results:
                self._round(name)
        replace_nodes(self._model.graph, self._nodes)
        drop_unused_constants(self._model.graph)

    def _rewire(self, node: "NodeProto") -> None:
        """Let a node read rounded tensors where it should."""
        layer = self._layers.get(node.name)
        full = layer is not None and layer.name not in self._scheme.weight_only
        for index, name in enumerate(node.input):
            if name in self._rounded or (full and index == 0):
                node.input[index] = f"{name}.dq"
        if layer is None:
            return
        if not full:
            node.input[1] = self._unpacked_weights(layer) if layer.operator == "Conv" else self._rows(node, layer)
            return
        scales = self._weights(layer)
        node.input[1] = f"{layer.weight}.dq"
        if layer.bias is not None:
            node.input[2] = self._bias(layer, scales)

    def _round(self, name: str) -> None:
        """Q and DQ after a tensor that becomes 8-bit."""
        from onnx import helper

        if name not in self._sources and name not in self._rounded:
            return
        scale, zero = activation_scale(self._ranges[name])
        parameters = [
            self._constant(f"{name}.scale", np.float32(scale)),
            self._constant(f"{name}.zero", np.uint8(zero)),
        ]
        q, dq = f"{name}.q", f"{name}.dq"
        self._nodes += [
            helper.make_node("QuantizeLinear", [name, *parameters], [q], q),
            helper.make_node("DequantizeLinear", [q, *parameters], [dq], dq),
        ]

    def _weights(self, layer: Layer) -> np.ndarray:
        """Int8 weights of a layer, dequantised by a DQ node that engines fuse with it; their scales (C,)."""
        integers, scales = self._int8(layer)
        if f"{layer.weight}.dq" not in self._made:
            self._dequantised(layer.weight, integers, scales, layer.axis)
        return scales

    def _rows(self, node: "NodeProto", layer: Layer) -> str:
        """Int8 weights (inputs, outputs) of a linear layer with float input.

        onnxruntime fuses this form into one kernel that reads 8-bit weights and rounds the input row by row as it goes:
        2.4 times as fast as float for one observation.
        """
        integers, scales = self._int8(layer)
        name = f"{layer.weight}.rows"
        if f"{name}.dq" not in self._made:
            self._dequantised(name, integers.T if layer.axis == 0 else integers, scales, 1)
        kept = [each for each in node.attribute if each.name != "transB"]
        del node.attribute[:]
        node.attribute.extend(kept)
        return f"{name}.dq"

    def _unpacked_weights(self, layer: Layer) -> str:
        """Int8 weights of a layer as plain arithmetic, which an engine does once, when it loads the model."""
        from onnx import helper

        integers, scales = self._int8(layer)
        cast, name = f"{layer.weight}.cast", f"{layer.weight}.unpacked"
        if name not in self._made:
            self._made.add(name)
            shape = [-1 if index == layer.axis else 1 for index in range(integers.ndim)]
            inputs = (
                self._constant(f"{layer.weight}.int8", integers),
                self._constant(name + ".scales", scales.reshape(shape)),
            )
            self._nodes.append(helper.make_node("Cast", [inputs[0]], [cast], cast, to=1))
            self._nodes.append(helper.make_node("Mul", [cast, inputs[1]], [name], name))
        return name

    def _int8(self, layer: Layer) -> tuple[np.ndarray, np.ndarray]:
        weight, bits = self._values[layer.weight], self._scheme.weight_bits
        scales = weight_scales(weight, layer.axis, bits, self._scheme.per_channel)
        shape = [-1 if index == layer.axis else 1 for index in range(weight.ndim)]
        return _rounded(weight / scales.reshape(shape), 2 ** (bits - 1) - 1, np.int8), scales

    def _bias(self, layer: Layer, scales: np.ndarray) -> str:
        """Int32 bias in units of input scale times weight scale, so that it adds to the integer sums."""
        assert layer.bias is not None
        step = np.float32(activation_scale(self._ranges[layer.source])[0])
        name = f"{layer.bias}.{layer.weight}.{step}"
        if f"{name}.dq" not in self._made:
            unit = step * scales
            self._dequantised(name, _rounded(self._values[layer.bias] / unit, INT32, np.int32), unit, 0)
        return f"{name}.dq"

    def _dequantised(self, name: str, integers: np.ndarray, scales: np.ndarray, axis: int) -> None:
        """The DQ node that turns integers into `name`.dq."""
        from onnx import helper

        kind = integers.dtype.name
        # layers of one width share their zeros
        zeros = self._constant(f"zeros.{kind}.{len(scales)}", np.zeros(len(scales), integers.dtype))
        inputs = [self._constant(f"{name}.{kind}", integers), self._constant(f"{name}.scales", scales), zeros]
        self._nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}.dq"], f"{name}.dq", axis=axis))
        self._made.add(f"{name}.dq")

    def _look_up_int8(self, node: "NodeProto") -> None:
        """Look up int8 rows with a scale each, and make only those rows float again."""
        from onnx import TensorProto, helper

        name, result, rows = node.input[0], node.output[0], node.input[1]
        table = self._values[name]
        scales = weight_scales(table, 0, 8, per_channel=True)[:, None]
        integers = np.clip(np.rint(table / scales), -127, 127).astype(np.int8)
        node.input[0] = self._constant(f"{name}.int8", integers)
        node.output[0] = f"{result}.int8"
        scale_table = self._constant(f"{name}.scales", scales)
        self._nodes += [
            helper.make_node("Cast", [f"{result}.int8"], [f"{result}.cast"], f"{result}.cast", to=TensorProto.FLOAT),
            helper.make_node("Gather", [scale_table, rows], [f"{result}.row_scale"], f"{result}.row_scale", axis=0),
            helper.make_node("Mul", [f"{result}.cast", f"{result}.row_scale"], [result], f"{result}.row"),
        ]

    def _constant(self, name: str, value: np.ndarray | np.generic) -> str:
        from onnx import numpy_helper

        if name not in self._values:
            self._values[name] = np.asarray(value)
            self._model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def _rounded(values: np.ndarray, limit: int, dtype: type[np.integer]) -> np.ndarray:
    return np.clip(np.rint(values.astype(np.float64)), -limit, limit).astype(dtype)


def _shared_ranges(scheme: Scheme) -> dict[str, Range]:
    """Ranges, one for all inputs of a weight tensor: a flow runs its layers at every step with one bias for all."""
    ranges = dict(scheme.ranges)
    sources: dict[str, list[str]] = {}
    for layer in scheme.layers:
        if layer.name not in scheme.weight_only:
            sources.setdefault(layer.weight, []).append(layer.source)
    for names in sources.values():
        union = (min(ranges[name][0] for name in names), max(ranges[name][1] for name in names))
        ranges.update(dict.fromkeys(names, union))
    return ranges
