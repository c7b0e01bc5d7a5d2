"""Names of inference engines and where their code is; an engine is imported when it is asked for."""

import difflib
import importlib
from pathlib import Path

from foreact.deploy_edge.runtime.checked_file import CheckedFile
from foreact.deploy_edge.runtime.protocol import Runtime

__all__ = ["ENGINES", "open_runtime", "require_engine"]

ENGINES: dict[str, str] = {
    "onnxruntime": "foreact.deploy_edge.runtime.onnx_engine:load",
    "openvino": "foreact.deploy_edge.runtime.openvino_engine:load",
    "tensorrt": "foreact.deploy_edge.runtime.tensorrt_plan:load_tensorrt",
    "tensorrt-rtx": "foreact.deploy_edge.runtime.tensorrt_plan:load_tensorrt_rtx",
    "torch": "foreact.deploy_edge.export.torch_engine:load",
    "executorch": "foreact.deploy_edge.export.executorch_engine:load",
}


def open_runtime(name: str, path: Path, threads: int = 1, checked: CheckedFile | None = None) -> Runtime:
    """Load a model in the engine of this name and in no other.

    Args:
        name: A key of `ENGINES`.
        path: The model: an .onnx file; for torch the folder of a policy, for executorch a .pte file.
        threads: Threads of one inference.
        checked: The .onnx file, if it was looked over already.

    Raises:
        ValueError: There is no such engine.
        RuntimeMissing: Its package or its device is not here; the text says what to install.
        RuntimeFailure, EngineError: It cannot load the model.
    """
    module, _, function = ENGINES[require_engine(name)].partition(":")
    return getattr(importlib.import_module(module), function)(path, threads, checked)


def require_engine(name: str) -> str:
    """Refuse a name that no engine has.

    Raises:
        ValueError: With near matches.
    """
    if name not in ENGINES:
        near = difflib.get_close_matches(name, ENGINES, n=2) or sorted(ENGINES)
        raise ValueError(f"engine={name}: there is no such engine; did you mean {' or '.join(near)}?")
    return name
