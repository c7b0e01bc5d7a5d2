"""A plan on the GPU: compared with this machine first, then loaded, with its memory and its CUDA graph made once."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foreact.deploy_edge.runtime.graph_runtime import GraphRuntime
from foreact.deploy_edge.runtime.protocol import RuntimeFailure, RuntimeStats
from foreact.deploy_edge.runtime.tensorrt.api import Api, load_api
from foreact.deploy_edge.runtime.tensorrt.buffers import Buffers
from foreact.deploy_edge.runtime.tensorrt.build import engine_dtype, refused_nodes
from foreact.deploy_edge.runtime.tensorrt.callbacks import LogLines
from foreact.deploy_edge.runtime.tensorrt.cuda_device import Cuda, open_cuda
from foreact.deploy_edge.runtime.tensorrt.cuda_graph import GraphLauncher
from foreact.deploy_edge.runtime.tensorrt.fingerprint import read_fingerprint
from foreact.deploy_edge.runtime.tensorrt.layer_times import Layer, time_layers
from foreact.deploy_edge.runtime.tensorrt.sidecar import EngineRefused, Sidecar, graph_path, read_plan, sha256
from foreact.deploy_edge.runtime.tensorrt.surface import Context, Engine, extents

__all__ = ["TensorRtRuntime", "load"]


class TensorRtRuntime(GraphRuntime):
    """One plan, see `foreact.deploy_edge.runtime.protocol.Runtime`.

    Args:
        plan: The plan; `read_plan` has compared it with its sidecar.
        sidecar: Of this plan.
        api: TensorRT, of the sidecar's version.
        cuda: The GPU, of the sidecar's kind.
        weights: The graph that a plan without weights takes them from.
        graph: Whether to record a CUDA graph.

    Raises:
        EngineRefused: TensorRT does not take the plan, or the plan's inputs and outputs are not the sidecar's.
        RuntimeFailure: There is not enough memory for it.
    """

    def __init__(
        self, plan: bytes, sidecar: Sidecar, api: Api, cuda: Cuda, weights: bytes | None = None, graph: bool = True
    ) -> None:
        started = time.perf_counter()
        inputs, outputs = ({port.name: port.format for port in ports} for ports in (sidecar.inputs, sidecar.outputs))
        options = {"builder": sidecar.builder_sha256[:12], "cuda_graph": str(graph).lower()}
        super().__init__(api.flavour, api.version, inputs, outputs, sidecar.metadata, options)
        self._api, self._cuda, self._sidecar, self._graph = api, cuda, sidecar, graph
        self._log = LogLines(api)
        self._stream: Any = None
        self._buffers: Buffers | None = None
        self._launcher: GraphLauncher | None = None
        try:
            self._open(plan, weights)
        except BaseException:
            self.close()
            raise
        self.load_s = time.perf_counter() - started

    def warmup(self, rounds: int = 3) -> None:
        """Run on zeros, and record the CUDA graph after the first run."""
        super().warmup(1)
        if self._graph and self._launcher is not None and not self._launcher.recorded:
            self._launcher.capture()
        super().warmup(max(0, rounds - 1))

    def refit(self, graph: bytes) -> None:
        """Take the weights out of a graph, and record the CUDA graph anew.

        Args:
            graph: The serialised graph that the plan was built from.

        Raises:
            EngineRefused: It is another graph, or TensorRT does not take its weights.
        """
        found, wanted = sha256(graph), self._sidecar.graph_sha256
        if found != wanted:
            raise EngineRefused(f"refit: the graph's sha256 is {found[:16]}, the plan was built from {wanted[:16]}")
        refitter = self._api.module.Refitter(self._engine, self._log.logger)
        parser = self._api.module.OnnxParserRefitter(refitter, self._log.logger)
        if not parser.refit_from_bytes(graph):
            rows = refused_nodes([parser.get_error(index) for index in range(parser.num_errors)])
            raise EngineRefused(f"{self.name} {self.version} cannot take the weights: {rows or self._log.text()}")
        missing = list(refitter.get_missing_weights())
        if missing or not refitter.refit_cuda_engine():
            lacking = f"missing: {', '.join(missing[:8])}" if missing else self._log.text()
            raise EngineRefused(f"{self.name} {self.version} did not refit the engine: {lacking}")
        self.notes = (*self.notes, "weights taken from the graph")
        if self._launcher is not None and self._launcher.recorded:
            self._launcher.capture()

    def layers(self, rounds: int = 20) -> list[Layer]:
        """The engine's layers with their mean times; kernels are launched one after the other for this.

        Args:
            rounds: Inferences, on what the inputs hold.
        """
        if self._launcher is None:
            raise RuntimeFailure(f"{self.name} was closed; load the model again")
        return time_layers(self._engine, self._context, self._api, self._run_plainly, rounds)

    def stats(self) -> RuntimeStats:
        """What was done so far; the notes say how often a CUDA graph failed."""
        stats = super().stats()
        graph = () if self._launcher is None else (self._launcher.note(),)
        notes = (*stats.notes, *graph)
        return RuntimeStats(stats.load_s, stats.inferences, stats.failures, stats.last_ms, notes)

    def _run(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        assert self._buffers is not None and self._launcher is not None
        self._buffers.write(inputs)
        self._launcher.run()
        self._cuda.synchronize(self._stream)
        self._buffers.read(outputs)

    def _free(self) -> None:
        launcher, self._launcher = self._launcher, None
        if launcher is not None:
            launcher.drop()
        # the context before its engine, the engine before the runtime that made it
        for name in ("_context", "_engine", "_runtime"):
            if hasattr(self, name):
                delattr(self, name)
        buffers, self._buffers = self._buffers, None
        if buffers is not None:
            buffers.close()
        stream, self._stream = self._stream, None
        if stream is not None:
            self._cuda.destroy_stream(stream)

    def _open(self, plan: bytes, weights: bytes | None) -> None:
        gpu = self._cuda.properties()
        self.notes = tuple(self._sidecar.fingerprint.remarks(read_fingerprint(self._api, gpu)))
        self._runtime = self._api.module.Runtime(self._log.logger)
        engine = self._runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise EngineRefused(f"{self.name} {self.version} does not load the plan: {self._log.text()}")
        self._engine: Engine = engine
        self._require_ports(engine)
        if self._sidecar.builder.strip:
            if weights is None:
                raise EngineRefused("this plan has no weights; give the graph that it was built from")
            self.refit(weights)
        context = engine.create_execution_context()
        if context is None:
            raise RuntimeFailure(f"{self.name}: not enough memory to run the engine: {self._log.text()}")
        self._context: Context = context
        self._stream = self._cuda.stream()
        self._buffers = Buffers(self._cuda, self._sidecar.inputs, self._sidecar.outputs, gpu.integrated)
        for name, address in self._buffers.addresses.items():
            if not context.set_tensor_address(name, address):
                raise EngineRefused(f"{self.name}: the engine does not take an address for {name}: {self._log.text()}")
        self._launcher = GraphLauncher(self._cuda, self._stream, self._enqueue)

    def _enqueue(self) -> None:
        """Put one inference on what the inputs hold into the stream, kernel after kernel."""
        assert self._buffers is not None
        self._buffers.enqueue_inputs(self._stream)
        if not self._context.execute_async_v3(int(self._stream)):
            raise RuntimeFailure(f"{self.name} {self.version} did not run: {self._log.text()}")
        self._buffers.enqueue_outputs(self._stream)

    def _run_plainly(self) -> None:
        self._enqueue()
        self._cuda.synchronize(self._stream)

    def _require_ports(self, engine: Engine) -> None:
        """Refuse an engine whose inputs and outputs are not those of the sidecar."""
        modes = {"INPUT": self._sidecar.inputs, "OUTPUT": self._sidecar.outputs}
        wanted = {port.name: (mode, port.engine_dtype, port.shape) for mode, ports in modes.items() for port in ports}
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        found = {
            name: (
                str(engine.get_tensor_mode(name).name),
                engine_dtype(engine.get_tensor_dtype(name), name),
                extents(engine.get_tensor_shape(name)),
            )
            for name in names
        }
        if found != wanted:
            differing = sorted(name for name in {*found, *wanted} if found.get(name) != wanted.get(name))
            rows = "; ".join(f"{name}: expected {wanted.get(name)}, got {found.get(name)}" for name in differing)
            raise EngineRefused(f"{self.name}: the plan is not that of its sidecar: {rows}")


def load(path: Path, onnx_sha256: str | None = None, graph: bool = True) -> TensorRtRuntime:
    """Load a plan, after its hash, its machine and its model were compared.

    Args:
        path: A plan that `foreact export to=tensorrt` wrote, with its sidecar.
        onnx_sha256: Hash of the model file that it must have been built from; None if any will do.
        graph: Whether inferences are launched as a CUDA graph.

    Raises:
        EngineRefused: The plan is damaged, altered, of another model, TensorRT or GPU; TensorRT never saw it.
        RuntimeMissing: TensorRT or a GPU is missing.
        RuntimeFailure: The GPU has not enough memory.
    """
    plan, sidecar = read_plan(path)
    again = f"build it again: foreact export to={sidecar.fingerprint.flavour} model=MODEL.onnx out={path}"
    if onnx_sha256 is not None and onnx_sha256 != sidecar.onnx_sha256:
        raise EngineRefused(
            f"{path} was built from another model: its sha256 is {sidecar.onnx_sha256[:16]}, expected "
            f"{onnx_sha256[:16]}; it was not loaded; {again}"
        )
    api = load_api(sidecar.fingerprint.flavour)
    cuda = open_cuda()
    here = read_fingerprint(api, cuda.properties())
    refusals = sidecar.fingerprint.refusals(here, sidecar.builder.compute)
    if refusals:
        raise EngineRefused(f"{path} is not for this machine: {'; '.join(refusals)}; it was not loaded; {again}")
    weights = _weights(path, sidecar) if sidecar.builder.strip else None
    return TensorRtRuntime(plan, sidecar, api, cuda, weights, graph)


def _weights(path: Path, sidecar: Sidecar) -> bytes:
    try:
        return graph_path(path).read_bytes()
    except FileNotFoundError:
        raise EngineRefused(
            f"{path} has no weights, and {graph_path(path)}, which it takes them from, is missing "
            f"(sha256 {sidecar.graph_sha256[:16]})"
        ) from None
