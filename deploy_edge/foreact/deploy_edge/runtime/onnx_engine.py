"""onnxruntime on the CPU, the default engine."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foreact.deploy_edge.runtime.checked_file import CheckedFile, check_file
from foreact.deploy_edge.runtime.graph_runtime import GraphRuntime, Kept
from foreact.deploy_edge.runtime.protocol import RuntimeFailure, RuntimeMissing

__all__ = ["OnnxRuntime", "load", "onnx_session"]

QUIET = 3  # only errors are printed


class OnnxRuntime(GraphRuntime):
    """A graph in onnxruntime.

    Args:
        model: A model that was looked over.
        threads: Threads of one inference.
        optimisation: Name of a member of `GraphOptimizationLevel` without its prefix.

    Raises:
        RuntimeMissing: onnxruntime is not installed.
        RuntimeFailure: It cannot load the model.
    """

    def __init__(self, model: CheckedFile, threads: int = 1, optimisation: str = "ENABLE_ALL") -> None:
        onnxruntime = _package()
        started = time.perf_counter()
        level = getattr(onnxruntime.GraphOptimizationLevel, f"ORT_{optimisation}")
        self._session = onnx_session(str(model.path), threads, graph_optimization_level=level)
        model.require_unchanged()
        self._binding = self._session.io_binding()
        options = {
            "intra_op_num_threads": str(threads), "inter_op_num_threads": "1", "execution_mode": "ORT_SEQUENTIAL",
            "graph_optimization_level": f"ORT_{optimisation}", "providers": ",".join(self._session.get_providers()),
        }  # fmt: skip
        super().__init__(
            "onnxruntime",
            str(onnxruntime.__version__),
            model.outline.inputs,
            model.outline.outputs,
            model.outline.metadata,
            options,
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


def load(path: Path, threads: int = 1, checked: CheckedFile | None = None) -> OnnxRuntime:
    """Load an ONNX file.

    Args:
        path: The file.
        threads: Threads of one inference.
        checked: What was found in it, if it was looked over already.

    Raises:
        EngineError: It is damaged or hostile.
        RuntimeMissing, RuntimeFailure: See `OnnxRuntime`.
    """
    return OnnxRuntime(checked or check_file(path, sealed=False), threads)


def onnx_session(model: bytes | str, threads: int = 1, **options: Any) -> Any:
    """An onnxruntime session on the CPU.

    Args:
        model: Its bytes or its path.
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
        return onnxruntime.InferenceSession(model, settings, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own that share no public base
        raise RuntimeFailure(f"onnxruntime cannot load the model: {error}") from error


def _package() -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeMissing(f"onnxruntime is not installed ({error}); type: pip install 'foreact[edge]'") from error
    return onnxruntime
