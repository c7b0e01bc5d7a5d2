"""How long one inference takes: torch eager and compiled, onnxruntime and OpenVINO, in turn, one thread each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.deploy_edge.latency import Latency, interleaved

if TYPE_CHECKING:
    from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["time_inference"]

type Inputs = Mapping[str, np.ndarray]


def time_inference(
    policy: ChunkPolicy, models: Mapping[str, Path], inputs: dict[str, np.ndarray], rounds: int
) -> tuple[dict[str, Latency], dict[str, str]]:
    """Time every way there is of asking a policy once.

    Args:
        policy: The trained policy, on the CPU.
        models: Exported models by name.
        inputs: One observation, each array with a batch axis of 1.
        rounds: Timed rounds; each runs every way once.

    Returns:
        Times by name (`torch`, `torch_compile`, `onnxruntime NAME`, `openvino NAME`), and why others were not run.
    """
    from foreact.deploy_edge.export import torch_policy

    eager = torch_policy(policy)
    calls: dict[str, Callable[[], object]] = {"torch": lambda: eager(inputs)}
    missing: dict[str, str] = {}
    try:
        calls["torch_compile"] = _compiled(policy, inputs)
    except Exception as error:  # inductor raises whatever its compiler does
        missing["torch_compile"] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    for engine in ("onnxruntime", "openvino"):
        for name, path in models.items():
            try:
                calls[f"{engine} {name}"] = _engine(engine, path, inputs)
            except RuntimeError as error:
                missing[f"{engine} {name}"] = str(error)
    return interleaved(calls, rounds), missing


def _compiled(policy: ChunkPolicy, inputs: Inputs) -> Callable[[], object]:
    import torch

    compiled = torch.compile(policy)
    tensors = [torch.from_numpy(inputs[name]) for name in policy.input_names]

    @torch.no_grad()
    def call() -> Any:
        return compiled(*tensors)

    call()
    return call


def _engine(engine: str, path: Path, inputs: Inputs) -> Callable[[], object]:
    from foreact.deploy_edge.runtime.engines import open_runtime

    runtime = open_runtime(engine, path, threads=1)
    given = {name: np.ascontiguousarray(inputs[name]) for name in runtime.inputs}
    results = {name: np.empty(each.shape, each.dtype) for name, each in runtime.outputs.items()}
    runtime.warmup()
    return lambda: runtime.infer(given, results)
