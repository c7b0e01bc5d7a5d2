"""Where a graph begins to compute something else than the torch program that it was made of.

The exporter names a value as torch does, so the two can be compared value by value on one observation.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.deploy_edge.observations import Inputs, only
from foreact.deploy_edge.runtime.engine import session_of
from foreact.episodes.outcome import JSON

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch.export import ExportedProgram

    from foreact.deploy_edge.export.trace import Traced

__all__ = ["NodeDifference", "compare_nodes", "first_difference", "node_report", "node_table"]

TOLERANCE = 1e-3  # relative: rounding of float32 stays far below, a wrong weight far above
SHOWN = 8


@dataclass(frozen=True)
class NodeDifference:
    """One value, as torch and as the graph compute it.

    Attributes:
        name: Of the value, the same on both sides.
        operator: ONNX operator that makes it.
        max_abs: Largest difference of any element; infinite where one side alone is not finite, or shapes differ.
        relative: That as a part of the largest element torch computes.
    """

    name: str
    operator: str
    max_abs: float
    relative: float


def compare_nodes(traced: Traced, inputs: Inputs) -> list[NodeDifference]:
    """Compare every value that both sides name, in the graph's order.

    Args:
        traced: A graph and its program.
        inputs: One observation.
    """
    torch_values = _torch_values(traced.program, traced.model, inputs)
    made = {name: node.op_type for node in traced.model.graph.node for name in node.output if name in torch_values}
    found = _graph_values(traced.model, list(made), inputs)
    return [_difference(name, operator, torch_values[name], found[name]) for name, operator in made.items()]


def first_difference(rows: Sequence[NodeDifference]) -> NodeDifference | None:
    """The first value, in the graph's order, that differs by more than rounding; None if none does."""
    return next((row for row in rows if not row.relative <= TOLERANCE), None)


def node_table(rows: Sequence[NodeDifference]) -> str:
    """The first values that differ by more than rounding, or those that differ most, as text."""
    chosen = [row for row in rows if not row.relative <= TOLERANCE][:SHOWN]
    chosen = chosen or sorted(rows, key=lambda row: row.relative, reverse=True)[:SHOWN]
    wide = max([5, *(len(row.name) for row in chosen)])
    lines = [f"  {'value':<{wide}}  {'operator':<20} {'max abs':>10} {'relative':>10}"]
    lines += [f"  {row.name:<{wide}}  {row.operator:<20} {row.max_abs:>10.3g} {row.relative:>10.3g}" for row in chosen]
    return "\n".join(lines)


def node_report(rows: Sequence[NodeDifference], observation: int) -> dict[str, JSON]:
    """All compared values as JSON; what is not finite is None.

    Args:
        rows: See `compare_nodes`.
        observation: Which one was compared.
    """
    first = first_difference(rows)
    nodes: list[JSON] = [
        {
            "name": row.name,
            "operator": row.operator,
            "max_abs": row.max_abs if np.isfinite(row.max_abs) else None,
            "relative": row.relative if np.isfinite(row.relative) else None,
        }
        for row in rows
    ]
    return {
        "observation": observation,
        "tolerance_relative": TOLERANCE,
        "first": None if first is None else first.name,
        "nodes": nodes,
    }


def _torch_values(program: ExportedProgram, model: ModelProto, inputs: Inputs) -> dict[str, np.ndarray]:
    import torch
    from torch import fx

    kept: dict[str, np.ndarray] = {}

    class Watching(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Any:
            value = super().run_node(n)
            if isinstance(value, torch.Tensor) and n.op == "call_function":
                kept[n.name] = value.detach().numpy().copy()
            return value

    with torch.no_grad():
        results = Watching(program.graph_module).run(*_arguments(program, inputs))
    outputs = {each.name: result.numpy() for each, result in zip(model.graph.output, results, strict=True)}
    return {**kept, **outputs}


def _arguments(program: ExportedProgram, inputs: Inputs) -> list[Any]:
    """What the program's graph takes: weights and constants by their names, then the observation in its order."""
    import torch
    from torch.export.graph_signature import InputKind

    own: Mapping[str, Any] = {**program.state_dict, **program.constants}
    given = iter(inputs.values())
    return [
        torch.from_numpy(next(given)) if spec.kind is InputKind.USER_INPUT else own[str(spec.target)]
        for spec in program.graph_signature.input_specs
    ]


def _graph_values(model: ModelProto, names: Sequence[str], inputs: Inputs) -> dict[str, np.ndarray]:
    from onnx import ModelProto, shape_inference

    watched = ModelProto()
    watched.CopyFrom(shape_inference.infer_shapes(model))
    present = {each.name for each in watched.graph.output}
    watched.graph.output.extend(
        each for each in watched.graph.value_info if each.name in names and each.name not in present
    )
    session = session_of(watched.SerializeToString())
    given = [each.name for each in session.get_inputs()]
    return dict(zip(names, session.run(list(names), only(inputs, given)), strict=True))


def _difference(name: str, operator: str, wanted: np.ndarray, found: np.ndarray) -> NodeDifference:
    a, b = wanted.astype(np.float64), found.astype(np.float64)
    if a.shape != b.shape:
        return NodeDifference(name, operator, float("inf"), float("inf"))
    if not a.size:
        return NodeDifference(name, operator, 0.0, 0.0)
    # equal infinities and NaN at the same place are no difference
    with np.errstate(invalid="ignore"):
        error = np.where((a == b) | (np.isnan(a) & np.isnan(b)), 0.0, np.abs(a - b))
    largest = float(np.nan_to_num(error, nan=np.inf, posinf=np.inf).max())
    scale = float(np.nan_to_num(np.abs(a), nan=0.0, posinf=0.0).max())
    return NodeDifference(name, operator, largest, largest / scale if scale else (0.0 if largest == 0 else largest))
