"""A slimmed policy as a sealed ONNX file with its golden inputs, before and after quantisation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.compress.sparsity import with_factors
from foreact.deploy_edge.compress.steps import Made
from foreact.deploy_edge.compress.workbench import Workbench
from foreact.deploy_edge.export.chunks import input_names, onnx_policy, policy_hash
from foreact.deploy_edge.export.source import longest_delay, stage_table
from foreact.deploy_edge.export.trace import example_inputs, trace
from foreact.deploy_edge.model_file import describe, load_sealed, properties, sealed_bytes
from foreact.deploy_edge.observations import only
from foreact.deploy_edge.runtime.engine import LONGEST_DELAY_KEY
from foreact.deploy_edge.runtime.golden import GOLDEN_KEY, golden_bytes, golden_digest, parse_golden, require_golden
from foreact.deploy_edge.runtime.signature import ACTION

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Sealed", "exported", "seal", "source_model"]

PRECISION, SPARSITY = "foreact.precision", "foreact.sparsity"
OURS = "foreact."
GOLDEN = 12  # observations
LOOSEST = 0.1  # of an action's range: what a golden file may allow at most


@dataclass(frozen=True)
class Sealed:
    """A file and its golden inputs, ready to be written.

    Attributes:
        content: Of the .onnx file.
        golden: Of the golden file; None for a control that no robot may run.
    """

    content: bytes
    golden: bytes | None


def source_model(bench: Workbench) -> tuple[ModelProto, dict[str, str]]:
    """The fp32 model that was given, and its metadata."""
    model, _ = load_sealed(bench.config.model)
    return model, {key: value for key, value in properties(model).items() if key.startswith(OURS)}


def exported(made: Made, bench: Workbench) -> tuple[ModelProto, dict[str, str]]:
    """A slimmed policy traced like the original, and its metadata."""
    policy = made.policy
    opset = int(properties(bench.model).get("foreact.opset", "18"))
    module = policy if made.factors is None else with_factors(policy, made.factors)
    model = trace(module, example_inputs(policy.contract, input_names(policy)), [ACTION], opset).model
    extra = {
        PRECISION: "float32",
        "foreact.opset": str(opset),
        "foreact.stages": stage_table(policy),
        LONGEST_DELAY_KEY: str(longest_delay(policy)),
        "foreact.recipe": bench.config.recipe.name,
    }
    if bench.config.recipe.sparsity is not None:
        extra[SPARSITY] = json.dumps({"pattern": "2:4", "layers": made.figures.get("layers", [])})
    return model, describe(policy.contract, policy_hash(policy), extra)


def seal(
    model: ModelProto, described: dict[str, str], reference: Sequence[np.ndarray], bench: Workbench, *, golden: bool
) -> Sealed:
    """Put metadata and golden inputs to a model.

    Args:
        model: Changed in place.
        described: Its metadata.
        reference: What the policy that it was made from answers to the held-out observations, (H, A) each.
        bench: The observations.
        golden: Whether it gets golden inputs; without them `foreact run` refuses the file.

    Raises:
        GoldenError: The model does not answer its golden inputs as the policy does.
    """
    if not golden:
        return Sealed(sealed_bytes(model, {k: v for k, v in described.items() if k != GOLDEN_KEY}), None)
    names = [each.name for each in model.graph.input]
    chosen = sorted({int(index) for index in np.linspace(0, len(reference) - 1, GOLDEN)})
    gate = bench.gate
    content = golden_bytes(
        [only(bench.held_out[index], names) for index in chosen],
        [reference[index] for index in chosen],
        gate.min_cosine,
        LOOSEST if gate.max_range_fraction is None else gate.max_range_fraction,
    )
    sealed = sealed_bytes(model, {**described, GOLDEN_KEY: golden_digest(content)})
    where = f"{bench.config.out} in onnxruntime"
    require_golden(onnx_policy(sealed), parse_golden(content, bench.contract, where), bench.contract, where)
    return Sealed(sealed, content)
