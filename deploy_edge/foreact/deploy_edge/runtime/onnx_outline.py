"""What an ONNX file holds, read without the onnx package and without unpacking any weight.

Source: onnx/onnx.proto of onnx 1.23, https://github.com/onnx/onnx
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foreact.deploy_edge.runtime.wire import Field, WireError, count_numbers, decode, numbers

__all__ = ["ELEMENT_BITS", "NUMPY_NAMES", "Constant", "Graph", "Node", "read_outline"]

NOT_ALLOWED = ""
EXTERNAL = 1  # TensorProto.DataLocation
SMALL = 1024  # [elements] of constants whose values are looked at: shapes, axes, repeats
MAX_RANK = 16

# TensorProto.DataType: bits of one element; texts are missing because no policy needs them
ELEMENT_BITS = {
    1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16,
    17: 8, 18: 8, 19: 8, 20: 8, 21: 4, 22: 4, 23: 4, 24: 8,
}  # fmt: skip
NUMPY_NAMES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64",
}  # fmt: skip

_PROPERTY = {1: Field("key", "text"), 2: Field("value", "text")}
_PROPERTIES = Field("metadata_props", _PROPERTY, many=True)
_TEXT = Field("doc_string", "text")
_TENSOR = {
    1: Field("dims", "varints", many=True),
    2: Field("data_type", "int"),
    3: Field("segment", NOT_ALLOWED),
    4: Field("float_data", "fixed32", many=True),
    5: Field("int32_data", "varints", many=True),
    6: Field("string_data", NOT_ALLOWED),
    7: Field("int64_data", "varints", many=True),
    8: Field("name", "text"),
    9: Field("raw_data", "bytes"),
    10: Field("double_data", "fixed64", many=True),
    11: Field("uint64_data", "varints", many=True),
    12: _TEXT,
    13: Field("external_data", NOT_ALLOWED),
    14: Field("data_location", "int"),
    16: _PROPERTIES,
}
_DIMENSION = {1: Field("dim_value", "int"), 2: Field("dim_param", "text"), 3: Field("denotation", "text")}
_SHAPE = {1: Field("dim", _DIMENSION, many=True)}
_TENSOR_TYPE = {1: Field("elem_type", "int"), 2: Field("shape", _SHAPE)}
_TYPE = {
    1: Field("tensor_type", _TENSOR_TYPE),
    4: Field("sequence_type", NOT_ALLOWED),
    5: Field("map_type", NOT_ALLOWED),
    6: Field("denotation", "text"),
    7: Field("opaque_type", NOT_ALLOWED),
    8: Field("sparse_tensor_type", NOT_ALLOWED),
    9: Field("optional_type", NOT_ALLOWED),
}
_VALUE = {1: Field("name", "text"), 2: Field("type", _TYPE), 3: _TEXT, 4: _PROPERTIES}
_ATTRIBUTE = {
    1: Field("name", "text"),
    2: Field("f", "float"),
    3: Field("i", "int"),
    4: Field("s", "bytes"),
    5: Field("t", _TENSOR),
    6: Field("g (a subgraph)", NOT_ALLOWED),
    7: Field("floats", "fixed32", many=True),
    8: Field("ints", "varints", many=True),
    9: Field("strings", NOT_ALLOWED),
    10: Field("tensors", NOT_ALLOWED),
    11: Field("graphs (subgraphs)", NOT_ALLOWED),
    13: _TEXT,
    14: Field("tp", NOT_ALLOWED),
    15: Field("type_protos", NOT_ALLOWED),
    20: Field("type", "int"),
    21: Field("ref_attr_name", NOT_ALLOWED),
    22: Field("sparse_tensor", NOT_ALLOWED),
    23: Field("sparse_tensors", NOT_ALLOWED),
}
_NODE = {
    1: Field("input", "text", many=True),
    2: Field("output", "text", many=True),
    3: Field("name", "text"),
    4: Field("op_type", "text"),
    5: Field("attribute", _ATTRIBUTE, many=True),
    6: _TEXT,
    7: Field("domain", "text"),
    8: Field("overload", NOT_ALLOWED),
    9: _PROPERTIES,
    10: Field("device_configurations", NOT_ALLOWED),
}
_GRAPH = {
    1: Field("node", _NODE, many=True),
    2: Field("name", "text"),
    5: Field("initializer", _TENSOR, many=True),
    10: _TEXT,
    11: Field("input", _VALUE, many=True),
    12: Field("output", _VALUE, many=True),
    13: Field("value_info", _VALUE, many=True),
    14: Field("quantization_annotation", NOT_ALLOWED),
    15: Field("sparse_initializer", NOT_ALLOWED),
    16: _PROPERTIES,
}
_OPSET = {1: Field("domain", "text"), 2: Field("version", "int")}
_MODEL = {
    1: Field("ir_version", "int"),
    2: Field("producer_name", "text"),
    3: Field("producer_version", "text"),
    4: Field("domain", "text"),
    5: Field("model_version", "int"),
    6: _TEXT,
    7: Field("graph", _GRAPH),
    8: Field("opset_import", _OPSET, many=True),
    14: _PROPERTIES,
    20: Field("training_info", NOT_ALLOWED),
    25: Field("functions", NOT_ALLOWED),
    26: Field("configuration", NOT_ALLOWED),
}


@dataclass(frozen=True)
class Constant:
    """A tensor inside the file.

    Attributes:
        data_type: `TensorProto.DataType`.
        shape: Every extent.
        values: Of small constants of whole or float numbers, flat; None for others.
    """

    data_type: int
    shape: tuple[int, ...]
    values: np.ndarray | None = None


@dataclass(frozen=True)
class Node:
    """One operator.

    Attributes:
        operator: Its type.
        domain: Its operator set; "" is ONNX's own.
        name: For messages.
        inputs: Tensor names, "" for an optional one that is left out.
        outputs: Tensor names.
        attributes: Numbers, lists of whole numbers, bytes, constants, by name.
    """

    operator: str
    domain: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]


@dataclass(frozen=True)
class Graph:
    """A file's content without its weights.

    Attributes:
        opsets: Version of each operator set.
        metadata: The model's properties.
        inputs: Data type and shape by name, in order.
        outputs: Likewise.
        constants: Initialisers by name.
        nodes: In order.
    """

    opsets: Mapping[str, int]
    metadata: Mapping[str, str]
    inputs: Mapping[str, tuple[int, tuple[int, ...]]]
    outputs: Mapping[str, tuple[int, tuple[int, ...]]]
    constants: Mapping[str, Constant]
    nodes: tuple[Node, ...] = field(default=())


def read_outline(content: bytes) -> Graph:
    """Take an ONNX file apart.

    Args:
        content: The whole file.

    Raises:
        WireError: Not such a file, or it holds what no policy has: data outside the file, subgraphs, functions, texts,
            sequences, an input or output without a fixed shape, a constant whose bytes are not its shape's.
    """
    model = decode(content, _MODEL, "model")
    if "graph" not in model or "ir_version" not in model:
        raise WireError("model: it has no graph or no ir_version")
    graph = model["graph"]
    for value in graph["value_info"]:
        _value(value, "value_info", fixed=False)
    return Graph(
        _unique([(each.get("domain", ""), each.get("version", 0)) for each in model["opset_import"]], "opset_import"),
        _unique([(each.get("key", ""), each.get("value", "")) for each in model["metadata_props"]], "metadata"),
        _unique([_value(each, "input") for each in graph["input"]], "input"),
        _unique([_value(each, "output") for each in graph["output"]], "output"),
        _unique([(each.get("name", ""), _constant(each)) for each in graph["initializer"]], "initializer"),
        tuple(_node(each) for each in graph["node"]),
    )


def _unique[T](pairs: list[tuple[str, T]], where: str) -> dict[str, T]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise WireError(f"{where}: a name occurs twice")
    return found


def _value(value: Mapping[str, Any], where: str, *, fixed: bool = True) -> tuple[str, tuple[int, tuple[int, ...]]]:
    name = value.get("name", "")
    tensor = value.get("type", {}).get("tensor_type", {})
    place = f"{where} {name!r}"
    if fixed and "shape" not in tensor:
        raise WireError(f"{place} is no tensor of a fixed shape")
    extents = tensor.get("shape", {}).get("dim", [])
    if fixed and any("dim_value" not in each for each in extents):
        raise WireError(f"{place} has a dynamic shape")
    shape = checked_shape([each.get("dim_value", 1) for each in extents], place)
    return name, (tensor.get("elem_type", 0), shape)


def checked_shape(extents: list[int], where: str) -> tuple[int, ...]:
    """Refuse negative extents and too many of them."""
    if len(extents) > MAX_RANK or any(each < 0 for each in extents):
        raise WireError(f"{where} has the shape {extents[: MAX_RANK + 1]}")
    return tuple(extents)


def _node(node: Mapping[str, Any]) -> Node:
    name = node.get("name", "")
    attributes = _unique([_attribute(each, name) for each in node["attribute"]], f"node {name!r}: attribute")
    return Node(
        node.get("op_type", ""), node.get("domain", ""), name, tuple(node["input"]), tuple(node["output"]), attributes
    )


def _attribute(attribute: Mapping[str, Any], node: str) -> tuple[str, Any]:
    name = attribute.get("name", "")
    if "t" in attribute:
        return name, _constant(attribute["t"])
    for kind in ("i", "f"):
        if kind in attribute:
            return name, attribute[kind]
    if "s" in attribute:
        return name, bytes(attribute["s"])
    if attribute["floats"]:
        count_numbers(attribute["floats"], 4)
        return name, b"".join(bytes(each) for each in attribute["floats"])
    return name, numbers(attribute["ints"], f"node {node!r}: attribute {name!r}")


def _constant(tensor: Mapping[str, Any]) -> Constant:
    name, kind = tensor.get("name", ""), tensor.get("data_type", 0)
    place = f"constant {name!r}"
    if tensor.get("data_location", 0) != 0:
        raise WireError(f"{place} lies outside the file, which is not allowed in a policy")
    if kind not in ELEMENT_BITS:
        raise WireError(f"{place} has the data type {kind}")
    shape = checked_shape(numbers(tensor["dims"], place), place)
    elements = math.prod(shape)
    if "raw_data" in tensor:
        wanted, found = -(-elements * ELEMENT_BITS[kind] // 8), len(tensor["raw_data"])
    else:
        wanted, found = _stored(kind, elements), _counted(tensor)
    if wanted != found or ("raw_data" in tensor and _counted(tensor)):
        raise WireError(f"{place} has the shape {shape}, which is {wanted} bytes or numbers, but {found} are there")
    return Constant(kind, shape, _small(tensor, kind, elements))


def _stored(kind: int, elements: int) -> int:
    """Numbers that hold so many elements: two to a complex one, one for two of 4 bits."""
    return -(-elements // 2) if ELEMENT_BITS[kind] == 4 else elements


def _counted(tensor: Mapping[str, Any]) -> int:
    widths = {"float_data": 4, "double_data": 8, "int32_data": 0, "int64_data": 0, "uint64_data": 0}
    return sum(count_numbers(tensor[name], width) for name, width in widths.items())


def _small(tensor: Mapping[str, Any], kind: int, elements: int) -> np.ndarray | None:
    if elements > SMALL or kind not in (1, 6, 7):
        return None
    if "raw_data" in tensor:
        return np.frombuffer(bytes(tensor["raw_data"]), {1: "<f4", 6: "<i4", 7: "<i8"}[kind])
    if kind == 1:
        return np.frombuffer(b"".join(bytes(each) for each in tensor["float_data"]), "<f4")
    return np.array(numbers(tensor["int64_data" if kind == 7 else "int32_data"], "constant"), np.int64)
