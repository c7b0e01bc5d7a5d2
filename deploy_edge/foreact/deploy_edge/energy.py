"""Attention as sharp and residual branches as strong as before rounding.

Source: QuantVLA, arXiv 2602.20309: attention temperature matching and output head balancing. Both are factors near 1
that are measured on calibration observations and folded into constants, so they cost no time.
Shape letters: N observations, K heads.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.calibration import watched
from foreact.deploy_edge.layers import Layer
from foreact.deploy_edge.observations import Inputs, only
from foreact.deploy_edge.runtime.engine import session_of
from foreact.deploy_edge.tidy import constants, replace_nodes, tensor_shapes

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["Branch", "attention_logits", "energy_factors", "match_temperatures", "residual_branches"]

FARTHEST = 0.4  # factors stay within 1 +- this
DEADBAND = 0.03  # |log factor| that is left alone: noise of the calibration


@dataclass(frozen=True)
class Branch:
    """A residual branch: the layer it ends with.

    Attributes:
        weight: Initialiser of its weights.
        biases: Initialisers that are added to its result before the residual sum.
        result: What is added to the residual stream.
    """

    weight: str
    biases: tuple[str, ...]
    result: str


def attention_logits(model: "ModelProto") -> dict[str, int]:
    """What goes into each softmax that has heads, (1, K, ..), and the number of heads."""
    shapes = tensor_shapes(model)
    found = [node.input[0] for node in model.graph.node if node.op_type == "Softmax"]
    return {name: shapes[name][1] for name in found if len(shapes.get(name, ())) in (3, 4)}


def residual_branches(model: "ModelProto", layers: Sequence[Layer]) -> list[Branch]:
    """Layers whose result is added to another computed tensor and read by nothing else."""
    known = set(constants(model.graph))
    uses = [name for node in model.graph.node for name in node.input].count
    branches: list[Branch] = []
    for layer in layers:
        # the sum that adds a MatMul's bias is met on the way
        result, biases = layer.result, () if layer.bias is None or layer.operator == "MatMul" else (layer.bias,)
        while (total := _only_sum(model, result)) is not None:
            other = next(name for name in total.input if name != result)
            if other not in known:
                if uses(layer.weight) == 1 and all(uses(name) == 1 for name in biases):
                    branches.append(Branch(layer.weight, biases, result))
                break
            result, biases = total.output[0], (*biases, other)
    return branches


def energy_factors(
    original: "ModelProto",
    rounded: "ModelProto",
    observations: Sequence[Inputs],
    heads: Mapping[str, int],
    branches: Sequence[Branch],
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Factors that restore what rounding did to the spread of attention and to the strength of branches.

    Args:
        original: Before rounding.
        rounded: After.
        observations: Model inputs.
        heads: From `attention_logits`.
        branches: From `residual_branches`.

    Returns:
        For each softmax input the factor of each head (K,), and for each weight tensor its factor; 1 where the
        difference is too small to mean anything.
    """
    names = [*heads, *(branch.result for branch in branches)]
    teacher, student = (_energies(model, names, observations, heads) for model in (original, rounded))
    # alpha = std(L_teacher) / std(L_rounded),  beta = rms(Z_teacher) / rms(Z_rounded)
    factors = {name: _bounded(teacher[name] / np.maximum(student[name], 1e-12)) for name in names}
    return {name: factors[name] for name in heads}, {each.weight: float(factors[each.result][0]) for each in branches}


def match_temperatures(model: "ModelProto", factors: Mapping[str, np.ndarray]) -> int:
    """Multiply the logits of each head by its factor; return how many heads were changed.

    Args:
        model: Changed in place. Where a constant already multiplies the logits, the factors go into it.
        factors: From `energy_factors`.
    """
    from onnx import helper, numpy_helper

    values, shapes = constants(model.graph), tensor_shapes(model)
    changed = 0
    for name, alpha in factors.items():
        if (alpha == 1).all():
            continue
        changed += int((alpha != 1).sum())
        column = alpha.reshape(-1, *(1,) * (len(shapes[name]) - 2)).astype(np.float32)
        producer = next((node for node in model.graph.node if name in node.output), None)
        place = _constant_place(producer, values)
        label = f"{name}.temperature"
        if producer is not None and place is not None:
            column = (values[producer.input[place]] * column).astype(np.float32)
            producer.input[place] = label
        else:
            _multiply_before_softmax(model, name, helper.make_node("Mul", [name, label], [f"{name}.matched"], label))
        model.graph.initializer.append(numpy_helper.from_array(column, label))
    return changed


def _only_sum(model: "ModelProto", name: str) -> "NodeProto | None":
    """The Add that alone reads a tensor."""
    readers = [node for node in model.graph.node if name in node.input]
    alone = len(readers) == 1 and readers[0].op_type == "Add" and readers[0].input[0] != readers[0].input[1]
    return readers[0] if alone else None


def _energies(
    model: "ModelProto", names: Sequence[str], observations: Sequence[Inputs], heads: Mapping[str, int]
) -> dict[str, np.ndarray]:
    """Standard deviation of each head's logits, root mean square of each branch; root mean over the observations."""
    session = session_of(watched(model, names))
    inputs = [each.name for each in session.get_inputs()]
    total = {name: np.zeros(heads.get(name, 1)) for name in names}
    for each in observations if names else ():
        for name, seen in zip(names, session.run(list(names), only(each, inputs)), strict=True):
            flat = seen.astype(np.float64).reshape(heads.get(name, 1), -1)
            total[name] += flat.var(1) if name in heads else (flat**2).mean(1)
    return {name: np.sqrt(value / len(observations)) for name, value in total.items()}


def _bounded(factors: np.ndarray) -> np.ndarray:
    kept = np.clip(np.nan_to_num(factors, nan=1.0), 1 - FARTHEST, 1 + FARTHEST)
    return np.where(np.abs(np.log(kept)) < DEADBAND, 1.0, kept)


def _constant_place(producer: "NodeProto | None", values: Mapping[str, np.ndarray]) -> int | None:
    if producer is None or producer.op_type != "Mul":
        return None
    return next((place for place, name in enumerate(producer.input) if name in values), None)


def _multiply_before_softmax(model: "ModelProto", name: str, product: "NodeProto") -> None:
    nodes = list(model.graph.node)
    place = next(index for index, node in enumerate(nodes) if node.op_type == "Softmax" and node.input[0] == name)
    nodes[place].input[0] = product.output[0]
    nodes.insert(place, product)
    replace_nodes(model.graph, nodes)
