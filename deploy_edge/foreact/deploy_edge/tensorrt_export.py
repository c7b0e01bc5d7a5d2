"""`foreact export to=tensorrt` or `to=tensorrt-rtx`: an exported policy as a plan for this GPU, or for named ones.

The plan is written only after the golden inputs of the model came out right: through the graph that TensorRT was given,
by onnxruntime, and through the engine itself where its GPU is here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foreact.deploy_edge.model_file import load_sealed, properties, require_writable
from foreact.deploy_edge.runtime.golden import (
    GOLDEN_KEY,
    Golden,
    Inputs,
    chunk_function,
    read_golden,
    require_golden,
)
from foreact.deploy_edge.runtime.protocol import RuntimeMissing
from foreact.deploy_edge.runtime.tensorrt.api import load_api
from foreact.deploy_edge.runtime.tensorrt.build import Built
from foreact.deploy_edge.runtime.tensorrt.build_process import build_apart
from foreact.deploy_edge.runtime.tensorrt.cuda_device import Cuda, open_cuda
from foreact.deploy_edge.runtime.tensorrt.fingerprint import free_memory_bytes, read_fingerprint
from foreact.deploy_edge.runtime.tensorrt.runner import TensorRtRuntime
from foreact.deploy_edge.runtime.tensorrt.sidecar import SCHEMA, BuildConfig, Port, Sidecar, publish, sha256
from foreact.deploy_edge.tensorrt_graph import TensorRtGraph, for_tensorrt
from foreact.episodes.contract import PolicyContract
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet

if TYPE_CHECKING:
    pass

__all__ = ["TensorRtExportConfig", "export_tensorrt"]

LAYER_ROUNDS = 50
ROUNDS = 200


@dataclass(frozen=True)
class TensorRtExportConfig:
    """What to build a plan from, for which GPU, and how.

    Attributes:
        model: A file written by `foreact export` or `foreact compress`; it is not changed.
        out: The .plan file to write; its sidecar goes beside it, and what was there stays as `NAME.previous`.
        to: Which TensorRT builds and runs it; `tensorrt` is what a Jetson has.
        compute: Compute capabilities to build for without having such a GPU, as in [86,89]: tensorrt-rtx only.
        level: Builder optimisation level, 0 to 5.
        workspace_mb: Most scratch memory of kernels [MB].
        workspace_fraction: Most of the free memory that they may ask for.
        sparse: Use kernels for 2:4 sparse weights.
        tf32: Let float32 products be rounded to TF32.
        refit: Weights can be replaced later.
        strip: Leave the weights out of the plan; they are taken from the graph beside it.
        timing_cache: Measured kernels of earlier builds, used and extended; by default beside `out`.
        timeout_s: Longest build [s].

    Raises:
        ValueError: A value is out of range.
    """

    model: Path
    out: Path
    to: Literal["tensorrt", "tensorrt-rtx"] = "tensorrt"
    compute: tuple[int, ...] = ()
    level: int = 3
    workspace_mb: int = 1024
    workspace_fraction: float = 0.25
    sparse: bool = False
    tf32: bool = True
    refit: bool = False
    strip: bool = False
    timing_cache: Path | None = None
    timeout_s: float = 1800.0

    def __post_init__(self) -> None:
        if self.out.suffix != ".plan":
            raise ValueError(f"out={self.out} must end in .plan")
        if any(each < 50 for each in self.compute):
            raise ValueError(f"compute={list(self.compute)}: give compute capabilities without the dot, as in [86,89]")
        _ = self.builder

    @property
    def builder(self) -> BuildConfig:
        """What of this shapes the plan."""
        compute = tuple(f"{each // 10}.{each % 10}" for each in self.compute)
        return BuildConfig(
            self.level, self.workspace_mb, self.workspace_fraction, self.sparse, self.tf32, self.refit or self.strip,
            self.strip, True, compute, self.timeout_s,
        )  # fmt: skip


def export_tensorrt(config: TensorRtExportConfig, progress: ProgressFn = quiet) -> Outcome:
    """Build a plan and publish it with its sidecar, if it passes the parity gate.

    Args:
        config: What and where to.
        progress: Told of each step.

    Raises:
        EngineError, GoldenError: The model or its golden inputs are missing or damaged, or the engine's chunks differ.
        NotForTensorRt: The graph has what TensorRT cannot compute.
        RuntimeMissing: TensorRT is missing, or the GPU that it would build for.
        RuntimeFailure: The build failed; nothing is written.
    """
    require_writable(config.out)
    job = _Job(config)
    built = job.build(progress)
    parity = job.parity(built)
    sidecar = job.sidecar(built, parity)
    strip = job.graph.content if config.strip else None
    publish(config.out, built.plan, sidecar, strip)
    figures = _figures(sidecar)
    return Outcome(config.out, figures, ("figure", "value"), _rows(sidecar))


class _Job:
    def __init__(self, config: TensorRtExportConfig) -> None:
        self._config = config
        self._model, self._contract = load_sealed(config.model)
        self._metadata = properties(self._model)
        self._golden = read_golden(config.model, self._contract, self._metadata.get(GOLDEN_KEY))
        self.graph = for_tensorrt(self._model)
        self._graph_parity = _graph_parity(self.graph, self._golden, self._contract, config.model)
        self._api = load_api(config.to)
        self._cuda, self._no_gpu = _cuda_or_reason()
        self._here = read_fingerprint(self._api, self._cuda.properties() if self._cuda else None)

    def build(self, progress: ProgressFn) -> Built:
        free = [free_memory_bytes(), self._cuda.free_bytes() if self._cuda else None]
        known = [each for each in free if each is not None]
        timings = self._config.timing_cache or self._config.out.with_suffix(".timing")
        return build_apart(
            self.graph.content, self._config.builder, self._here, min(known) if known else None, timings,
            lambda done, total: progress(done, total, "build"),
        )  # fmt: skip

    def parity(self, built: Built) -> dict[str, JSON]:
        """The gate on the engine itself, where it can run; and its times and layers."""
        figures: dict[str, JSON] = {"graph": self._graph_parity}
        runs_here = not self._config.compute or self._here.capability in self._config.builder.compute
        if self._cuda is None or not runs_here:
            reason = self._no_gpu if self._cuda is None else f"this GPU is {self._here.gpu} ({self._here.capability})"
            return {**figures, "engine": f"not run here: {reason}; it is checked where it runs"}
        weights = self.graph.content if self._config.strip else None
        runtime = TensorRtRuntime(built.plan, self.sidecar(built, {}), self._api, self._cuda, weights)
        try:
            runtime.warmup()
            result = require_golden(chunk_function(runtime), self._golden, self._contract, f"{self._config.to} engine")
            return {
                **figures,
                "engine": result.figures(),
                "latency_ms": _latency(runtime, self._golden.inputs[0]),
                "layers": [dict(each.__dict__) for each in runtime.layers(LAYER_ROUNDS)],
                "notes": list(runtime.stats().notes),
            }
        finally:
            runtime.close()

    def sidecar(self, built: Built, parity: dict[str, JSON]) -> Sidecar:
        builder = self._config.builder
        types = {name: dtype for name, dtype, _ in built.ports}
        ports = [
            tuple(Port(name, dtype, types.get(name, dtype), shape) for name, (dtype, shape) in formats.items())
            for formats in (self.graph.inputs, self.graph.outputs)
        ]
        return Sidecar(
            schema=SCHEMA, foreact=metadata.version("foreact"), fingerprint=self._here, builder=builder,
            builder_sha256=builder.hash, onnx=self._config.model.name,
            onnx_sha256=sha256(self._config.model.read_bytes()),
            graph_sha256=sha256(self.graph.content), changes=self.graph.changes, metadata=self._metadata,
            inputs=ports[0], outputs=ports[1], plan_sha256=sha256(built.plan), plan_bytes=len(built.plan),
            build_s=built.build_s, built_utc=datetime.now(UTC).isoformat(timespec="seconds"), notes=built.notes,
            parity=parity,
        )  # fmt: skip


def _graph_parity(graph: TensorRtGraph, golden: Golden, contract: PolicyContract, model: Path) -> dict[str, JSON]:
    """The graph that TensorRT is given, run by onnxruntime on the golden inputs."""
    from foreact.deploy_edge.runtime.engine import session_of

    session = session_of(graph.content)
    taken = {"tensor(int32)": np.int32}
    wider = {each.name: taken[each.type] for each in session.get_inputs() if each.type in taken}

    def chunk(inputs: Inputs) -> np.ndarray:
        ready = {name: inputs[name].astype(wider.get(name, inputs[name].dtype)) for name in graph.inputs}
        return session.run(None, ready)[0][0]

    return require_golden(chunk, golden, contract, f"{model}, rewritten for TensorRT, in onnxruntime").figures()


def _cuda_or_reason() -> tuple[Cuda | None, str]:
    try:
        return open_cuda(), ""
    except RuntimeMissing as error:
        return None, str(error)


def _latency(runtime: TensorRtRuntime, inputs: Inputs) -> dict[str, JSON]:
    """Wall time of one inference with its copies [ms]."""
    ready = {name: np.ascontiguousarray(inputs[name]) for name in runtime.inputs}
    outputs = {name: np.empty(each.shape, each.dtype) for name, each in runtime.outputs.items()}
    times: list[float] = []
    for _ in range(ROUNDS):
        runtime.infer(ready, outputs)
        times.append(runtime.stats().last_ms)
    return {f"p{point}": round(float(np.percentile(times, point)), 4) for point in (50, 99)}


def _figures(sidecar: Sidecar) -> dict[str, Any]:
    return {
        "flavour": sidecar.fingerprint.flavour,
        "trt_version": sidecar.fingerprint.trt_version,
        "gpu": sidecar.fingerprint.gpu,
        "compute": list(sidecar.builder.compute),
        "plan_bytes": sidecar.plan_bytes,
        "build_s": sidecar.build_s,
        "plan_sha256": sidecar.plan_sha256,
        "onnx_sha256": sidecar.onnx_sha256,
        "changes": list(sidecar.changes),
        "notes": list(sidecar.notes),
        "parity": sidecar.parity,
    }


def _rows(sidecar: Sidecar) -> tuple[tuple[str, ...], ...]:
    fingerprint = sidecar.fingerprint
    engine: Any = sidecar.parity["engine"]
    target = ", ".join(sidecar.builder.compute) or f"{fingerprint.gpu} ({fingerprint.capability})"
    ran = engine.partition(":")[0] if isinstance(engine, str) else f"smallest cosine {engine['min_cosine']}"
    times: Any = sidecar.parity.get("latency_ms")
    return (
        ("built by", f"{fingerprint.flavour} {fingerprint.trt_version} in {sidecar.build_s:.1f} s"),
        ("for", target),
        ("plan", f"{sidecar.plan_bytes / 1e6:.2f} MB, sha256 {sidecar.plan_sha256[:16]}"),
        ("rewritten for TensorRT", f"{len(sidecar.changes)} changes, listed in the sidecar"),
        ("engine on the golden inputs", ran),
        *((("one inference", f"p50 {times['p50']} ms, p99 {times['p99']} ms"),) if times else ()),
        *(("note", note) for note in sidecar.notes),
    )
