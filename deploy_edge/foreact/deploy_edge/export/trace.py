"""A torch module as an ONNX graph of one observation, all shapes fixed, its values named as torch names them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.export.chunks import input_names
from foreact.deploy_edge.observations import Inputs
from foreact.deploy_edge.runtime.signature import ACTION, input_formats, optional_formats
from foreact.deploy_edge.subsampling import picks_to_convolutions
from foreact.deploy_edge.tidy import maxima_to_pools, strip
from foreact.episodes.contract import PolicyContract

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn
    from torch.export import ExportedProgram

    from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["OPSET", "OPSETS", "Traced", "example_inputs", "onnx_model", "trace"]

OPSET = 18
OPSETS = (18, 23)  # 18 for engines as old as TensorRT 10.3; 23 has attention as one operator


@dataclass(frozen=True)
class Traced:
    """A graph and the program that it was made of.

    Attributes:
        model: The graph, without metadata.
        program: torch's own graph after decomposition; many of its values have the same name in `model`.
    """

    model: ModelProto
    program: ExportedProgram


def trace(module: nn.Module, inputs: Inputs, outputs: Sequence[str], opset: int = OPSET) -> Traced:
    """Trace a module.

    Args:
        module: In evaluation mode, on the CPU; it takes the inputs in their order.
        inputs: One example; its shapes and types become those of the graph.
        outputs: What to call the results.
        opset: Of the graph, one of `OPSETS`.

    Raises:
        ValueError: Another opset.
    """
    import torch
    from onnx import helper

    if opset not in OPSETS:
        raise ValueError(f"opset={opset}: choose from {', '.join(map(str, OPSETS))}")
    tensors = tuple(torch.from_numpy(array) for array in inputs.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch's own exporter uses what torch deprecates
        program = torch.onnx.export(
            module, tensors, dynamo=True, opset_version=opset, external_data=False, verbose=False,
            input_names=list(inputs), output_names=list(outputs),
        )  # fmt: skip
    assert program is not None and program.exported_program is not None
    model = program.model_proto
    # the exporter writes the same file version for every opset
    model.ir_version = max(model.ir_version, helper.find_min_ir_version_for(list(model.opset_import)))
    _constant_outputs(model)
    strip(model)
    maxima_to_pools(model)
    picks_to_convolutions(model)
    return Traced(model, program.exported_program)


def _constant_outputs(model: ModelProto) -> None:
    """Let a node make every output: the exporter leaves one that is constant among the weights."""
    from onnx import helper

    outputs = {each.name for each in model.graph.output}
    for constant in model.graph.initializer:
        if constant.name in outputs:
            name, constant.name = constant.name, f"{constant.name}.constant"
            model.graph.node.append(helper.make_node("Identity", [constant.name], [name], f"{name}.output"))


def onnx_model(policy: ChunkPolicy, opset: int = OPSET) -> ModelProto:
    """Trace a policy for one observation.

    Args:
        policy: In evaluation mode, on the CPU.
        opset: Of the graph, 18 or 23.

    Raises:
        ValueError: Another opset.
    """
    return trace(policy, example_inputs(policy.contract, input_names(policy)), [ACTION], opset).model


def example_inputs(contract: PolicyContract, names: Sequence[str]) -> Inputs:
    """Arrays of the right format for some inputs of a policy, each with a batch axis of 1.

    Args:
        contract: Of the policy.
        names: Which inputs, in this order.
    """
    formats = {**input_formats(contract), **optional_formats(contract)}
    # a picture that is neither black nor infinitely far, a state inside its range, a word
    values = {"uint8": 100, "uint16": 100, "float32": 0.0, "int64": 1}
    example = {name: np.full(formats[name].shape, values[formats[name].dtype], formats[name].dtype) for name in names}
    if "state" in example:
        example["state"] = np.array([contract.state.low], np.float32)
    return example
