"""A TensorRT plan found by the ONNX file that it was built from."""

from pathlib import Path

from foreact.deploy_edge.runtime.checked_file import CheckedFile, check_file
from foreact.deploy_edge.runtime.protocol import Runtime, RuntimeFailure, RuntimeMissing

__all__ = ["load_tensorrt", "load_tensorrt_rtx", "plan_path"]


def plan_path(model: Path, engine: str) -> Path:
    """Where the plan of a model lies: `policy.onnx` has `policy.tensorrt.plan` and `policy.tensorrt-rtx.plan`."""
    return model.with_suffix(f".{engine}.plan")


def load_tensorrt(path: Path, threads: int = 1, checked: CheckedFile | None = None) -> Runtime:
    """Load the plan that TensorRT built from this model; `threads` means nothing to a GPU.

    Args:
        path: The .onnx file, or the plan itself.
        threads: Not used.
        checked: The .onnx file, if it was looked over already.

    Raises:
        RuntimeMissing: There is no such plan, TensorRT or GPU.
        RuntimeFailure: The plan is of another model, engine or machine, or damaged.
    """
    return _load("tensorrt", path, checked)


def load_tensorrt_rtx(path: Path, threads: int = 1, checked: CheckedFile | None = None) -> Runtime:
    """Load the plan that TensorRT-RTX built from this model, see `load_tensorrt`."""
    return _load("tensorrt-rtx", path, checked)


def _load(engine: str, path: Path, checked: CheckedFile | None) -> Runtime:
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
        runtime = load(plan, (checked or check_file(path)).sha256)
    if runtime.name != engine:
        runtime.close()
        raise RuntimeFailure(f"{path}: this plan is {runtime.name}'s, not {engine}'s")
    return runtime
