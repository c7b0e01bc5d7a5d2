"""OpenVINO on the CPU, from the same ONNX file."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foreact.deploy_edge.runtime.checked_file import CheckedFile, check_file
from foreact.deploy_edge.runtime.graph_runtime import GraphRuntime, Kept
from foreact.deploy_edge.runtime.protocol import RuntimeFailure, RuntimeMissing

__all__ = ["OpenVinoRuntime", "load"]


def settings(threads: int) -> dict[str, str]:
    """What OpenVINO is told; without the two hints it may compute in bfloat16 and round activations by itself.

    Args:
        threads: Threads of one inference.
    """
    return {
        "INFERENCE_NUM_THREADS": str(threads),
        "NUM_STREAMS": "1",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
        "ENABLE_CPU_PINNING": "NO",
    }


class OpenVinoRuntime(GraphRuntime):
    """A graph in OpenVINO.

    Args:
        model: A model that was looked over.
        threads: Threads of one inference.

    Raises:
        RuntimeMissing: OpenVINO is not installed.
        RuntimeFailure: It cannot load the model, or does not keep to the precision that it was told.
    """

    def __init__(self, model: CheckedFile, threads: int = 1) -> None:
        openvino, started, options = _package(), time.perf_counter(), settings(threads)
        try:
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(str(model.path)), "CPU", options)
            self._request = compiled.create_infer_request()
        except Exception as error:  # OpenVINO raises plain RuntimeErrors and classes of its own
            raise RuntimeFailure(f"OpenVINO {openvino.__version__} cannot load the model: {error}") from error
        model.require_unchanged()
        precision = compiled.get_property("INFERENCE_PRECISION_HINT").get_type_name()
        if precision != "f32":
            raise RuntimeFailure(f"OpenVINO computes in {precision}, though it was told f32")
        super().__init__(
            "openvino",
            str(openvino.__version__),
            model.outline.inputs,
            model.outline.outputs,
            model.outline.metadata,
            options,
        )
        self._openvino = openvino
        self._inputs, self._outputs = Kept(self._bind_input), Kept(self._bind_output)
        self.load_s = time.perf_counter() - started

    def _run(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        self._inputs.update(inputs)
        self._outputs.update(outputs)
        self._request.infer()

    def _bind_input(self, name: str, array: np.ndarray) -> None:
        self._request.set_tensor(name, self._openvino.Tensor(array, shared_memory=True))

    def _bind_output(self, name: str, array: np.ndarray) -> None:
        self._request.set_tensor(name, self._openvino.Tensor(array, shared_memory=True))

    def _free(self) -> None:
        del self._request


def load(path: Path, threads: int = 1, checked: CheckedFile | None = None) -> OpenVinoRuntime:
    """Load an ONNX file.

    Args:
        path: The file.
        threads: Threads of one inference.
        checked: What was found in it, if it was looked over already.

    Raises:
        EngineError: It is damaged or hostile.
        RuntimeMissing, RuntimeFailure: See `OpenVinoRuntime`.
    """
    return OpenVinoRuntime(checked or check_file(path, sealed=False), threads)


def _package() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise RuntimeMissing(f"OpenVINO is not installed ({error}); type: pip install 'foreact[openvino]'") from error
    return openvino
