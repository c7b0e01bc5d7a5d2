"""Shapes of all tensors of a graph, worked out from its inputs and constants, and their bounds."""

import math

import numpy as np

from foreact.deploy_edge.runtime.onnx_outline import Constant, Graph, Node
from foreact.deploy_edge.runtime.shape_rules import RULES, Call, Shape, ShapeError

__all__ = ["MAX_ELEMENTS", "MAX_TOTAL_ELEMENTS", "ShapeError", "tensor_shapes"]

MAX_ELEMENTS = 1 << 26  # of one tensor
MAX_TOTAL_ELEMENTS = 1 << 30  # of all that one inference computes
MAX_RANK = 16


def tensor_shapes(graph: Graph) -> dict[str, Shape]:
    """Shape of every input, constant and intermediate result.

    Args:
        graph: Of a file.

    Raises:
        ShapeError: An operator is not allowed, its shapes do not fit, a tensor is too large, a name is read before it
            is made or made twice, or a result is not of the shape that the file claims.
    """
    shapes = {name: constant.shape for name, constant in graph.constants.items()}
    values = {name: constant.values for name, constant in graph.constants.items() if constant.values is not None}
    for name, (_, shape) in graph.inputs.items():
        if shapes.setdefault(name, shape) != shape:
            raise ShapeError(f"input {name!r} is {shape}, and a constant of another shape")
        values.pop(name, None)  # an input may replace a constant of the same name
    for name, shape in shapes.items():
        _check_size(shape, f"{name!r}")
    total = 0
    for number, node in enumerate(graph.nodes):
        where = f"node {number} {node.name[:80]!r} ({node.operator[:40]})"
        for name, shape in _outputs(node, graph, shapes, values, where).items():
            _check_size(shape, where)
            if shapes.setdefault(name, shape) is not shape:
                raise ShapeError(f"{where}: {name[:80]!r} exists already")
            total += math.prod(shape)
        held = node.attributes.get("value")
        if node.operator == "Constant" and isinstance(held, Constant) and held.values is not None:
            values[node.outputs[0]] = held.values
    if total > MAX_TOTAL_ELEMENTS:
        raise ShapeError(f"one inference would compute {total} elements, a policy may at most {MAX_TOTAL_ELEMENTS}")
    for name, (_, shape) in graph.outputs.items():
        if shapes.get(name) != shape:
            raise ShapeError(f"output {name!r} should be {shape}, the graph computes {shapes.get(name)}")
    return shapes


def _outputs(
    node: Node, graph: Graph, shapes: dict[str, Shape], values: dict[str, np.ndarray], where: str
) -> dict[str, Shape]:
    domain = "" if node.domain == "ai.onnx" else node.domain
    rule = RULES.get((domain, node.operator))
    if rule is None:
        raise ShapeError(f"{where}: this operator is not allowed in a policy")
    unknown = [name for name in node.inputs if name and name not in shapes]
    if unknown:
        raise ShapeError(f"{where} reads {unknown[0][:80]!r}, which nothing before it makes")
    call = Call(
        node,
        tuple(shapes[name] if name else None for name in node.inputs),
        tuple(values.get(name) for name in node.inputs),
        graph.opsets.get(node.domain, 0),
    )
    try:
        found = rule(call)
    except ShapeError as error:
        raise ShapeError(f"{where}: {error}") from error
    except (IndexError, KeyError, TypeError, ValueError, AttributeError, ArithmeticError, StopIteration) as error:
        raise ShapeError(f"{where}: its inputs or attributes do not fit ({error})") from error
    if len(node.outputs) > len(found):
        raise ShapeError(f"{where} has {len(node.outputs)} results, expected at most {len(found)}")
    return {name: shape for name, shape in zip(node.outputs, found, strict=False) if name}


def _check_size(shape: Shape, where: str) -> None:
    if len(shape) > MAX_RANK or min(shape, default=0) < 0 or math.prod(shape) > MAX_ELEMENTS:
        raise ShapeError(f"{where} is a tensor of the shape {shape[:MAX_RANK]}; a policy's have at most {MAX_ELEMENTS}")
