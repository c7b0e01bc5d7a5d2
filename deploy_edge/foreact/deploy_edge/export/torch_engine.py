"""A trained policy run eagerly by torch: what other engines are compared with, behind the same protocol."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.export.chunks import policy_hash
from foreact.deploy_edge.model_file import describe
from foreact.deploy_edge.runtime.checked_file import CheckedFile
from foreact.deploy_edge.runtime.engine import LONGEST_DELAY_KEY
from foreact.deploy_edge.runtime.graph_runtime import GraphRuntime
from foreact.deploy_edge.runtime.protocol import RuntimeFailure, TensorFormat
from foreact.deploy_edge.runtime.signature import ACTION, chunk_format, input_formats, optional_formats

if TYPE_CHECKING:
    from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["TorchRuntime", "formats_of", "load"]


class TorchRuntime(GraphRuntime):
    """A policy in torch, on the CPU.

    Args:
        policy: In evaluation mode.
        threads: Threads of one inference; torch has one number for the whole process.
    """

    def __init__(self, policy: ChunkPolicy, threads: int = 1) -> None:
        import torch

        torch.set_num_threads(threads)
        self._policy, self._torch = policy, torch
        contract = policy.contract
        extra = {LONGEST_DELAY_KEY: str(policy.prefix)}
        super().__init__(
            "torch", str(torch.__version__), formats_of(policy), {ACTION: chunk_format(contract)},
            describe(contract, policy_hash(policy), extra), {"threads": str(threads), "mode": "eager"},
        )  # fmt: skip

    def _run(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        tensors = [self._torch.from_numpy(inputs[name]) for name in self._policy.input_names]
        with self._torch.no_grad():
            np.copyto(outputs[ACTION], self._policy(*tensors).numpy())

    def _free(self) -> None:
        del self._policy


def load(path: Path, threads: int = 1, checked: CheckedFile | None = None) -> TorchRuntime:
    """Load a trained policy.

    Args:
        path: Its folder, or the run folder of its training.
        threads: Threads of one inference.
        checked: Not used: it is of an .onnx file.

    Raises:
        CheckpointError: There is none, or it is damaged.
        RuntimeFailure: The path is a file, such as an .onnx: torch runs the policy it was exported from.
    """
    from foreact.vla.checkpoint import load_policy

    if path.is_file():
        raise RuntimeFailure(f"torch runs trained policies, {path} is a file; give the folder of the policy")
    started = time.perf_counter()
    runtime = TorchRuntime(load_policy(path), threads)
    runtime.load_s = time.perf_counter() - started
    return runtime


def formats_of(policy: ChunkPolicy) -> dict[str, TensorFormat]:
    """Format of each of a policy's inputs, in order."""
    known = {**optional_formats(policy.contract), **input_formats(policy.contract)}
    return {name: known[name] for name in policy.input_names}
