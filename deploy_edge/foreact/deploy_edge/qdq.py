"""Q/DQ nodes in a graph: each layer's weights and activations in the form that was chosen for it.

Source of the arithmetic: Jacob et al. 2018, "Quantization and training of neural networks for efficient
integer-arithmetic-only inference", equations 1 to 7. Shape letters: C output channels, D inputs of a channel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from foreact.deploy_edge.calibration import Range
from foreact.deploy_edge.layers import Layer, embeddings
from foreact.deploy_edge.rounding import Integers, outputs_last, rounded
from foreact.deploy_edge.tidy import constants, drop_unused_constants, replace_nodes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["Form", "Scheme", "activation_scale", "with_qdq"]

INT32 = 2**31 - 1
BLOCKS_SINCE = 21  # opset that knows scales per block and 4-bit integers

Form = Literal["both", "rows", "unpacked", "half", "float"]
"""What becomes of a layer.

both: weights and input are integers, and so is the result of a convolution.
rows: integer weights in front of a linear layer with float input; engines multiply them without unpacking.
unpacked: integer weights that the engine makes float when it loads the model; the layer computes in float.
half: weights in float16, made float on loading.
float: left alone.
"""


@dataclass(frozen=True)
class Scheme:
    """What is quantised, and how finely.

    Attributes:
        layers: All layers that may be.
        forms: Form of each weight tensor; `float` for those not named.
        integers: Of each weight tensor whose form needs them.
        ranges: Range of each tensor that becomes 8-bit.
        symmetric: int8 activations without zero points, as TensorRT takes them; otherwise uint8 with zero points.
        levels: Steps of an activation's range: 255, or fewer for a control with fewer bits.
        everywhere: Further tensors that every reader sees rounded: only the naive control uses it.
    """

    layers: Sequence[Layer]
    forms: Mapping[str, Form]
    integers: Mapping[str, Integers] = field(default_factory=dict)
    ranges: Mapping[str, Range] = field(default_factory=dict)
    symmetric: bool = False
    levels: int = 255
    everywhere: frozenset[str] = field(default_factory=frozenset)

    def form(self, layer: Layer) -> Form:
        """What becomes of a layer."""
        return self.forms.get(layer.weight, "float")


def activation_scale(extent: Range, *, symmetric: bool = False, levels: int = 255) -> tuple[float, int]:
    """Scale and zero point of 8-bit numbers that cover a range holding 0.

    Args:
        extent: Lowest and highest value.
        symmetric: int8 with zero point 0, otherwise uint8.
        levels: Steps that the range is divided into.
    """
    low, high = min(extent[0], 0.0), max(extent[1], 0.0)
    if symmetric:
        return max(-low, high) / (levels // 2) or 1.0, 0
    # x = scale * (q - zero), q in 0..levels
    scale = (high - low) / levels or 1.0
    return scale, int(np.clip(np.rint(-low / scale), 0, levels))


def with_qdq(model: "ModelProto", scheme: Scheme) -> "ModelProto":
    """A copy of a model with Q/DQ nodes.

    Args:
        model: With float32 weights.
        scheme: What and how.
    """
    from onnx import ModelProto

    result = ModelProto()
    result.CopyFrom(model)
    _Writer(result, scheme).run()
    return result


class _Writer:
    def __init__(self, model: "ModelProto", scheme: Scheme) -> None:
        self._model, self._scheme = model, scheme
        self._values = constants(model.graph)
        self._layers = {layer.node: layer for layer in scheme.layers if scheme.form(layer) != "float"}
        self._tables = dict(embeddings(model))
        both = [layer for layer in scheme.layers if scheme.form(layer) == "both"]
        # engines fuse a convolution with the rounding after it, so nobody may read its unrounded result
        self._rounded = scheme.everywhere | {layer.result for layer in both if layer.operator == "Conv"}
        self._sources = {layer.source for layer in both}
        self._ranges = _shared_ranges(scheme.ranges, both)
        self._raw = _before_relu(model, both) if scheme.symmetric else {}
        self._adds = _bias_sums(model, [layer for layer in both if layer.operator == "MatMul"])
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
        both = layer is not None and self._scheme.form(layer) == "both"
        for index, name in enumerate(node.input):
            if name in self._rounded or name in self._raw or (both and index == 0):
                node.input[index] = f"{name}.dq"
        if layer is not None:
            node.input[1] = self._weights(node, layer)
            if both and layer.bias is not None and layer.operator != "MatMul":
                node.input[2] = self._bias(layer)
        if node.name in self._adds:
            added = self._adds[node.name]
            place = next(index for index, name in enumerate(node.input) if name == added.bias)
            node.input[place] = self._bias(added)

    def _weights(self, node: "NodeProto", layer: Layer) -> str:
        form = self._scheme.form(layer)
        if form == "half":
            return self._half(layer)
        integers = self._scheme.integers[layer.weight]
        if form == "unpacked":
            return self._unpacked(layer, integers)
        if form == "rows":
            integers = outputs_last(integers)
            _drop_attribute(node, "transB")
        # a DQ node of its own for each layer, even where they share weights: engines fuse no node that others read
        return self._dequantised(layer, integers)

    def _round(self, name: str) -> None:
        """Q and DQ after a tensor that becomes 8-bit."""
        if name in self._raw:
            # an integer convolution cannot be fused with a ReLU if zero is in the middle of its integers
            self._quantise_tensor(name, self._ranges[self._raw[name]])
        elif name in self._sources or name in self._rounded:
            self._quantise_tensor(name, self._ranges[name])

    def _quantise_tensor(self, name: str, extent: Range) -> None:
        from onnx import helper

        symmetric, levels = self._scheme.symmetric, self._scheme.levels
        scale, zero = activation_scale(extent, symmetric=symmetric, levels=levels)
        parameters = [
            self._constant(f"{name}.scale", np.float32(scale)),
            self._constant(f"{name}.zero", np.int8(0) if symmetric else np.uint8(zero)),
        ]
        source, q, dq = name, f"{name}.q", f"{name}.dq"
        if levels < 255:
            source = f"{name}.clipped"
            ends = (-zero * scale, (levels - zero) * scale) if not symmetric else (-scale * (levels // 2),) * 2
            low, high = ends[0], -ends[0] if symmetric else ends[1]
            bounds = [self._constant(f"{name}.{label}", np.float32(v)) for label, v in (("low", low), ("high", high))]
            self._nodes.append(helper.make_node("Clip", [name, *bounds], [source], source))
        self._nodes += [
            helper.make_node("QuantizeLinear", [source, *parameters], [q], q),
            helper.make_node("DequantizeLinear", [q, *parameters], [dq], dq),
        ]

    def _half(self, layer: Layer) -> str:
        """Weights in float16, which an engine widens once, when it loads the model."""
        from onnx import helper

        name = f"{layer.weight}.widened"
        if name not in self._made:
            self._made.add(name)
            narrow = self._constant(f"{layer.weight}.half", self._values[layer.weight].astype(np.float16))
            self._nodes.append(helper.make_node("Cast", [narrow], [name], name, to=1))
        return name

    def _unpacked(self, layer: Layer, integers: Integers) -> str:
        """Int8 weights as plain arithmetic, which an engine does once, when it loads the model."""
        from onnx import helper

        cast, name = f"{layer.weight}.cast", f"{layer.weight}.unpacked"
        if name not in self._made:
            self._made.add(name)
            shape = [-1 if index == integers.axis else 1 for index in range(integers.values.ndim)]
            values = self._constant(f"{layer.weight}.int8", integers.values)
            scales = self._constant(f"{name}.scales", integers.scales.reshape(shape))
            self._nodes.append(helper.make_node("Cast", [values], [cast], cast, to=1))
            self._nodes.append(helper.make_node("Mul", [cast, scales], [name], name))
        return name

    def _dequantised(self, layer: Layer, integers: Integers) -> str:
        """Integers in front of the layer that reads them, in a DQ node that engines fuse with it."""
        from onnx import helper

        name, result = layer.weight, f"{layer.node}.weight.dq"
        packed = integers.bits == 4 and integers.group is not None
        store = self._int4 if packed else self._constant
        values = store(f"{name}.int{4 if packed else 8}", integers.values)
        more = [helper.make_attribute("axis", integers.axis)]
        if integers.group is not None:
            more = [
                helper.make_attribute("axis", 1 - integers.axis),
                helper.make_attribute("block_size", integers.group),
            ]
            _require_blocks(self._model)
        inputs = [values, self._constant(f"{name}.scales", integers.scales)]
        if integers.group is None:
            # layers of one width share their zeros
            inputs.append(self._constant(f"zeros.int8.{len(integers.scales)}", np.zeros(len(integers.scales), np.int8)))
        made = helper.make_node("DequantizeLinear", inputs, [result], result)
        made.attribute.extend(more)
        self._nodes.append(made)
        return result

    def _bias(self, layer: Layer) -> str:
        """Int32 bias in units of input scale times weight scale, so that it adds to the integer sums."""
        from onnx import helper

        assert layer.bias is not None
        scheme = self._scheme
        step = activation_scale(self._ranges[layer.source], symmetric=scheme.symmetric, levels=scheme.levels)[0]
        unit = np.float32(step) * scheme.integers[layer.weight].scales
        name = f"{layer.bias}.{layer.weight}.{np.float32(step)}"
        if name not in self._made:
            self._made.add(name)
            sums = np.clip(np.rint(self._values[layer.bias].astype(np.float64) / unit), -INT32, INT32).astype(np.int32)
            zeros = self._constant(f"zeros.int32.{len(unit)}", np.zeros(len(unit), np.int32))
            inputs = [self._constant(f"{name}.int32", sums), self._constant(f"{name}.scales", unit), zeros]
            self._nodes.append(helper.make_node("DequantizeLinear", inputs, [f"{name}.dq"], f"{name}.dq", axis=0))
        return f"{name}.dq"

    def _look_up_int8(self, node: "NodeProto") -> None:
        """Look up int8 rows with a scale each, and make only those rows float again."""
        from onnx import TensorProto, helper

        name, result, rows = node.input[0], node.output[0], node.input[1]
        table = rounded(self._values[name], 0, 8)
        node.input[0] = self._constant(f"{name}.int8", table.values)
        node.output[0] = f"{result}.int8"
        scale_table = self._constant(f"{name}.scales", table.scales[:, None])
        self._nodes += [
            helper.make_node("Cast", [f"{result}.int8"], [f"{result}.cast"], f"{result}.cast", to=TensorProto.FLOAT),
            helper.make_node("Gather", [scale_table, rows], [f"{result}.row_scale"], f"{result}.row_scale", axis=0),
            helper.make_node("Mul", [f"{result}.cast", f"{result}.row_scale"], [result], f"{result}.row"),
        ]

    def _int4(self, name: str, values: np.ndarray) -> str:
        from onnx import TensorProto, helper

        if name not in self._values:
            self._values[name] = values
            flat = np.append(values.ravel(), np.zeros(values.size % 2, np.int8)).astype(np.uint8) & 15
            # two to a byte, the first in the lower half
            packed = (flat[0::2] | (flat[1::2] << 4)).tobytes()
            made = helper.make_tensor(name, TensorProto.INT4, values.shape, packed, raw=True)
            self._model.graph.initializer.append(made)
        return name

    def _constant(self, name: str, value: np.ndarray | np.generic) -> str:
        from onnx import numpy_helper

        if name not in self._values:
            self._values[name] = np.asarray(value)
            self._model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name


def _drop_attribute(node: "NodeProto", name: str) -> None:
    kept = [each for each in node.attribute if each.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def _require_blocks(model: "ModelProto") -> None:
    """Raise the opset for scales per block; no operator of our graphs changed its meaning from 18 to there."""
    for each in model.opset_import:
        if each.domain == "" and each.version < BLOCKS_SINCE:
            each.version = BLOCKS_SINCE


def _bias_sums(model: "ModelProto", layers: Sequence[Layer]) -> dict[str, Layer]:
    """The nodes that add the bias of a MatMul, by name."""
    results = {node.name: node.output[0] for node in model.graph.node}
    by_result = {results[layer.node]: layer for layer in layers if layer.bias is not None}
    return {
        node.name: by_result[name]
        for node in model.graph.node
        for name in node.input
        if node.op_type == "Add" and name in by_result
    }


def _before_relu(model: "ModelProto", both: Sequence[Layer]) -> dict[str, str]:
    """Result of each convolution that a ReLU follows, and what the ReLU makes of it."""
    nodes = {node.name: node for node in model.graph.node}
    raw = {nodes[layer.node].output[0]: layer.result for layer in both if layer.operator == "Conv"}
    return {name: result for name, result in raw.items() if name != result}


def _shared_ranges(ranges: Mapping[str, Range], both: Sequence[Layer]) -> dict[str, Range]:
    """Ranges, one for all inputs of a weight tensor: a flow runs its layers at every step with one bias for all."""
    shared = dict(ranges)
    sources: dict[str, list[str]] = {}
    for layer in both:
        sources.setdefault(layer.weight, []).append(layer.source)
    for names in sources.values():
        union = (min(shared[name][0] for name in names), max(shared[name][1] for name in names))
        shared.update(dict.fromkeys(names, union))
    return shared
