"""A policy as an ExecuTorch program whose layers run in XNNPACK."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.deploy_edge.runtime.protocol import RuntimeMissing

if TYPE_CHECKING:
    from torch import Tensor
    from torch.export import ExportedProgram

__all__ = ["INSTALL", "Lowered", "lower", "part", "pte_policy", "require_executorch", "widened"]

INSTALL = "pip install --no-deps executorch==1.2.0 torchao==0.18.0 tabulate ruamel.yaml"
# Moves and bookkeeping: no arithmetic, so nothing is lost where they stay outside XNNPACK.
MOVES = ("getitem", "aten_view_copy", "aten_unsqueeze_copy", "aten_alias_copy", "aten_expand_copy")
LAYERS = ("aten_convolution", "aten_linear", "aten_addmm", "aten_mm", "aten_bmm")


@dataclass(frozen=True)
class Lowered:
    """An ExecuTorch program, and how much of it XNNPACK runs.

    Attributes:
        content: The .pte file.
        subgraphs: Parts handed to XNNPACK.
        delegated: How often each operator is inside them.
        others: How often each operator is outside, run by portable kernels; moves are left out.
    """

    content: bytes
    subgraphs: int
    delegated: Mapping[str, int]
    others: Mapping[str, int]

    @property
    def delegated_fraction(self) -> float:
        """Part of the operators that XNNPACK runs; moves are not counted."""
        inside, outside = sum(self.delegated.values()), sum(self.others.values())
        return inside / max(inside + outside, 1)

    @property
    def delegated_layers_fraction(self) -> float:
        """Part of the convolutions and matrix products that XNNPACK runs: nearly all of the arithmetic."""
        inside, outside = (
            sum(count for name, count in counts.items() if name.startswith(LAYERS))
            for counts in (self.delegated, self.others)
        )
        return inside / max(inside + outside, 1)


def part(name: str) -> Any:
    """A module of ExecuTorch or of what it needs; both live in an environment of their own."""
    return importlib.import_module(name)


def require_executorch() -> None:
    """Refuse to begin without ExecuTorch.

    Raises:
        RuntimeMissing: It, or what it needs, is not installed; the text says what to type.
    """
    try:
        part("executorch.exir")
        part("torchao")
    except ImportError as error:
        raise RuntimeMissing(
            f"ExecuTorch cannot be used here ({error}); in an environment of its own with foreact[train,edge], "
            f"type: {INSTALL}"
        ) from error
    if shutil.which("flatc") is None and "FLATC_EXECUTABLE" not in os.environ:
        beside = Path(sys.executable).with_name("flatc")
        if not beside.exists():
            raise RuntimeMissing("ExecuTorch needs its program flatc on the PATH; activate the environment it is in")
        os.environ["FLATC_EXECUTABLE"] = str(beside)  # the environment was not activated


def lower(program: ExportedProgram) -> Lowered:
    """Hand what XNNPACK can run to it and make a file of the whole.

    Args:
        program: From torch.export.
    """
    xnnpack = part("executorch.backends.xnnpack.partition.xnnpack_partitioner").XnnpackPartitioner
    partitioners = [xnnpack()]
    if any("choose_qparams" in str(node.target) for node in program.graph.nodes):
        # layers whose inputs are rounded as they come go first and one by one: together they make cycles
        precision = part("executorch.backends.xnnpack.partition.config.xnnpack_config").ConfigPrecisionType
        partitioners.insert(0, xnnpack(config_precisions=precision.DYNAMIC_QUANT, per_op_mode=True))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own code uses what torch deprecates
        edge = part("executorch.exir").to_edge_transform_and_lower(program, partitioner=partitioners)
        subgraphs, delegated, others = _delegation(edge.exported_program().graph_module)
        content = bytes(edge.to_executorch().buffer)
    return Lowered(content, subgraphs, delegated, others)


def pte_policy(content: bytes, names: Sequence[str]) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """A .pte file as a function of the policy's inputs, run by ExecuTorch on this machine; it returns (H, A).

    Args:
        content: The file.
        names: The policy's inputs in order.
    """
    program = part("executorch.runtime").Runtime.get().load_program(content)
    method = program.load_method("forward")
    assert method is not None

    def chunk(inputs: Mapping[str, np.ndarray], alive: object = program) -> np.ndarray:
        # the method reads memory of the program, which must live as long
        return method.execute(widened(inputs, names))[0].numpy()[0].copy()

    return chunk


def widened(inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> tuple[Tensor, ...]:
    """Inputs in order as the program takes them: its kernels have no uint16, so depth is int32 there.

    Args:
        inputs: Arrays with a batch axis of 1.
        names: Which, in order.
    """
    import torch

    arrays = [inputs[name] for name in names]
    return tuple(torch.from_numpy(each.astype(np.int32) if each.dtype == np.uint16 else each) for each in arrays)


def _delegation(module: Any) -> tuple[int, dict[str, int], dict[str, int]]:
    inside: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    subgraphs = 0
    for node in module.graph.nodes:
        if node.op == "get_attr" and node.name.startswith("lowered_module_"):
            subgraphs += 1
            inner = getattr(module, node.name).original_module.graph.nodes
            inside.update(_operator(each.name) for each in inner if each.op == "call_function")
        elif node.op == "call_function" and not node.name.startswith("executorch_call_delegate"):
            outside[_operator(node.name)] += 1
    arithmetic = {name: count for name, count in outside.items() if not name.startswith(MOVES)}
    moves_left_out = {name: count for name, count in inside.items() if not name.startswith(MOVES)}
    return subgraphs, moves_left_out, arithmetic


def _operator(name: str) -> str:
    """`aten_add_tensor_3` is the operator `aten_add_tensor`."""
    stem, _, number = name.rpartition("_")
    return stem if number.isdigit() else name
