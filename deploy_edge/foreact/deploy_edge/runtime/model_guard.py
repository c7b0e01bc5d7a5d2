"""A model file is looked over before any engine parses it: engines trust a file more than a robot should.

The guard reads the file with code of its own, refuses everything a policy has no use for, and works out the shape of
every tensor, so that a file of a kilobyte cannot ask for a terabyte.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from foreact.deploy_edge.runtime.graph_shapes import ShapeError, tensor_shapes
from foreact.deploy_edge.runtime.onnx_outline import NUMPY_NAMES, Graph, read_outline
from foreact.deploy_edge.runtime.protocol import TensorFormat
from foreact.deploy_edge.runtime.refusal import EngineError
from foreact.deploy_edge.runtime.wire import WireError

__all__ = ["MAX_MODEL_BYTES", "MAX_NODES", "ModelOutline", "ModelRefused", "inspect_model"]

MAX_MODEL_BYTES = 1 << 30
MAX_NODES = 50_000
OPSETS = {"": (13, 25), "ai.onnx": (13, 25), "com.microsoft": (1, 1)}


class ModelRefused(EngineError):
    """A model file that no engine should parse; the text says why."""


@dataclass(frozen=True)
class ModelOutline:
    """What is known of a model that passed the guard.

    Attributes:
        metadata: Its properties.
        inputs: Format of each input, in order.
        outputs: Format of each output, in order.
        opset: Version of ONNX's own operators.
        operators: How often each operator occurs.
        largest: Elements of the largest tensor.
    """

    metadata: Mapping[str, str]
    inputs: Mapping[str, TensorFormat]
    outputs: Mapping[str, TensorFormat]
    opset: int
    operators: Mapping[str, int]
    largest: int


def inspect_model(content: bytes, where: str) -> ModelOutline:
    """Look over an ONNX file.

    Args:
        content: The whole file.
        where: Its path, for the message.

    Raises:
        ModelRefused: It is damaged, holds what a policy has no use for, or asks for too much memory.
    """
    if len(content) > MAX_MODEL_BYTES:
        raise ModelRefused(f"{where}: {len(content)} bytes, policies have at most {MAX_MODEL_BYTES}")
    try:
        graph = read_outline(content)
        _check_operators(graph)
        shapes = tensor_shapes(graph)
        return ModelOutline(
            graph.metadata, _formats(graph.inputs, "input"), _formats(graph.outputs, "output"),
            graph.opsets.get("", graph.opsets.get("ai.onnx", 0)), _count(graph), _largest(shapes),
        )  # fmt: skip
    except (WireError, ShapeError) as error:
        raise ModelRefused(
            f"{where} was refused before any engine saw it: {error}; use a file that foreact export or foreact "
            "compress wrote"
        ) from error


def _check_operators(graph: Graph) -> None:
    if len(graph.nodes) > MAX_NODES:
        raise WireError(f"{len(graph.nodes)} nodes, policies have at most {MAX_NODES}")
    for domain, version in graph.opsets.items():
        lowest, highest = OPSETS.get(domain, (1, 0))
        if not lowest <= version <= highest:
            raise WireError(f"operator set {domain!r} of version {version} is not allowed in a policy")
    for node in graph.nodes:
        if node.domain not in graph.opsets and not (node.domain in ("", "ai.onnx") and graph.opsets):
            raise WireError(f"node {node.name!r} is of the operator set {node.domain!r}, which the file does not name")


def _formats(values: Mapping[str, tuple[int, tuple[int, ...]]], label: str) -> dict[str, TensorFormat]:
    for name, (kind, _) in values.items():
        if kind not in NUMPY_NAMES:
            raise WireError(f"{label} {name!r} has the data type {kind}")
    return {name: TensorFormat(NUMPY_NAMES[kind], shape) for name, (kind, shape) in values.items()}


def _count(graph: Graph) -> dict[str, int]:
    counts: dict[str, int] = {}
    for node in graph.nodes:
        counts[node.operator] = counts.get(node.operator, 0) + 1
    return counts


def _largest(shapes: Mapping[str, tuple[int, ...]]) -> int:
    return max((math.prod(shape) for shape in shapes.values()), default=0)
