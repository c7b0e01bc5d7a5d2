"""onnxruntime on the CPU, the default engine."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foreact.deploy_edge.runtime.graph_runtime import GraphRuntime, Kept
from foreact.deploy_edge.runtime.model_guard import ModelOutline, inspect_model
from foreact.deploy_edge.runtime.protocol import RuntimeFailure, RuntimeMissing

__all__ = ["OnnxRuntime", "load", "onnx_session"]

QUIET = 3  # only errors are printed


class OnnxRuntime(GraphRuntime):
    """A graph in onnxruntime.

    Args:
        content: Bytes of a model.
        outline: What the guard found in it.
        threads: Threads of one inference.
        optimisation: Name of a member of `GraphOptimizationLevel` without its prefix.

    Raises:
        RuntimeMissing: onnxruntime is not installed.
        RuntimeFailure: It cannot load the model.
    """

    def __init__(
        self, content: bytes, outline: ModelOutline, threads: int = 1, optimisation: str = "ENABLE_ALL"
    ) -> None:
        onnxruntime = _package()
        started = time.perf_counter()
        level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{optimisation}")
        self._session = onnx_session(content, threads, graph_optimization_level=level)
        self._binding = self._session.io_binding()
        options = {
            "intra_op_num_threads": str(threads), "inter_op_num_threads": "1", "execution_mode": "ORT_SEQUENTIAL",
            "graph_optimization_level": f"ORT_{optimisation}", "providers": ",".join(self._session.get_providers()),
        }  # fmt: skip
        super().__init__(
            "onnxruntime", str(onnxruntime.__version__), outline.inputs, outline.outputs, outline.metadata, options
        )
        self._inputs, self._outputs = Kept(self._bind_input), Kept(self._bind_output)
        self.load_s = time.perf_counter() - started

    def _run(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        self._inputs.update(inputs)
        self._outputs.update(outputs)
        self._session.run_with_iobinding(self._binding)

    def _bind_input(self, name: str, array: np.ndarray) -> None:
        self._binding.bind_input(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def _bind_output(self, name: str, array: np.ndarray) -> None:
        self._binding.bind_output(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)

    def _free(self) -> None:
        del self._binding, self._session


def load(path: Path, threads: int = 1, content: bytes | None = None) -> OnnxRuntime:
    """Load an ONNX file.

    Args:
        path: The file.
        threads: Threads of one inference.
        content: Its bytes, if they were read and checked already.

    Raises:
        ModelRefused: The guard refuses it.
        RuntimeMissing, RuntimeFailure: See `OnnxRuntime`.
    """
    held = path.read_bytes() if content is None else content
    return OnnxRuntime(held, inspect_model(held, str(path)), threads)


def onnx_session(content: bytes, threads: int = 1, **options: Any) -> Any:
    """An onnxruntime session on the CPU.

    Args:
        content: Bytes of a model.
        threads: Threads of one inference.
        options: Further attributes of `SessionOptions`.

    Raises:
        RuntimeMissing: onnxruntime is not installed.
        RuntimeFailure: It cannot load the model.
    """
    onnxruntime = _package()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    settings.inter_op_num_threads = 1
    settings.log_severity_level = QUIET
    for name, value in options.items():
        setattr(settings, name, value)
    try:
        return onnxruntime.InferenceSession(content, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that share no public base
        raise RuntimeFailure(f"onnxruntime cannot load the model: {error}") from error


def _package() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeMissing(f"onnxruntime is not installed ({error}); type: pip install 'foreact[edge]'") from error
    return onnxruntime
