"""A TensorRT plan found by the ONNX file that it was built from."""

import hashlib
from pathlib import Path

from foreact.deploy_edge.runtime.protocol import Runtime, RuntimeFailure, RuntimeMissing

__all__ = ["load_tensorrt", "load_tensorrt_rtx", "plan_path"]


def plan_path(model: Path, engine: str) -> Path:
    """Where the plan of a model lies: `policy.onnx` has `policy.tensorrt.plan` and `policy.tensorrt-rtx.plan`."""
    return model.with_suffix(f".{engine}.plan")


def load_tensorrt(path: Path, threads: int = 1, content: bytes | None = None) -> Runtime:
    """Load the plan that TensorRT built from this model; `threads` means nothing to a GPU.

    Args:
        path: The .onnx file, or the plan itself.
        threads: Not used.
        content: Bytes of the .onnx file, if they were read already.

    Raises:
        RuntimeMissing: There is no such plan, TensorRT or GPU.
        RuntimeFailure: The plan is of another model, engine or machine, or damaged.
    """
    return _load("tensorrt", path, content)


def load_tensorrt_rtx(path: Path, threads: int = 1, content: bytes | None = None) -> Runtime:
    """Load the plan that TensorRT-RTX built from this model, see `load_tensorrt`."""
    return _load("tensorrt-rtx", path, content)


def _load(engine: str, path: Path, content: bytes | None) -> Runtime:
    from foreact.deploy_edge.runtime.tensorrt.runner import load

    if path.suffix != ".onnx":
        runtime = load(path)
    else:
        plan = plan_path(path, engine)
        if not plan.exists():
            raise RuntimeMissing(
                f"{engine} has no plan of {path} at {plan}; build it on this machine: "
                f"foreact export to={engine} model={path} out={plan}"
            )
        runtime = load(plan, hashlib.sha256(path.read_bytes() if content is None else content).hexdigest())
    if runtime.name != engine:
        runtime.close()
        raise RuntimeFailure(f"{path}: this plan is {runtime.name}'s, not {engine}'s")
    return runtime
