"""A plan and the JSON beside it, published together; nothing of a plan is trusted before its sidecar was compared.

A plan is executable code, so its sha256 is checked before TensorRT sees it. The sidecar finds damage and mistakes;
whoever can replace both files can run code here, and only a signature of both would show that.
"""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from foreact.deploy_edge.runtime.protocol import RuntimeFailure, TensorFormat
from foreact.deploy_edge.runtime.tensorrt.fingerprint import Fingerprint
from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.episodes.runfolder import jsonable, write_bytes_atomic, write_json_atomic

__all__ = [
    "SCHEMA",
    "BuildConfig",
    "EngineRefused",
    "Port",
    "Sidecar",
    "graph_path",
    "publish",
    "read_plan",
    "sha256",
    "sidecar_path",
]

SCHEMA = 1


class EngineRefused(RuntimeFailure):
    """A plan that must not be loaded here: damaged, altered, of another machine, or of another model."""


@dataclass(frozen=True)
class BuildConfig:
    """How an engine is built.

    Attributes:
        level: Builder optimisation level, 0 to 5: higher searches longer.
        workspace_mb: Most scratch memory that kernels may ask for [MB].
        workspace_fraction: Most of the free memory that they may ask for.
        sparse: Use 2:4 sparse kernels where weights are 2:4 sparse.
        tf32: Let float32 products be rounded to TF32, as TensorRT does by itself.
        refit: Weights can be replaced later.
        strip: Leave the weights out; they come from the ONNX when the plan is loaded.
        detailed: The plan remembers its layers, for the table of layers.
        compute: Compute capabilities to build for by name, such as `8.6`: TensorRT-RTX only.
        timeout_s: Longest build [s].

    Raises:
        ValueError: A value is out of range.
    """

    level: int = 3
    workspace_mb: int = 1024
    workspace_fraction: float = 0.25
    sparse: bool = False
    tf32: bool = True
    refit: bool = False
    strip: bool = False
    detailed: bool = True
    compute: tuple[str, ...] = ()
    timeout_s: float = 1800.0

    def __post_init__(self) -> None:
        if not 0 <= self.level <= 5:
            raise ValueError(f"level={self.level} is out of range; give 0 (fast build) to 5 (fast engine)")
        if self.workspace_mb < 1 or not 0 < self.workspace_fraction <= 1:
            raise ValueError(
                f"workspace_mb={self.workspace_mb} must be 1 or more and workspace_fraction="
                f"{self.workspace_fraction} more than 0 and at most 1"
            )
        if not 0 < self.timeout_s <= 86400:
            raise ValueError(f"timeout_s={self.timeout_s} is out of range; give more than 0 and at most 86400")

    @property
    def hash(self) -> str:
        """sha256 of what shapes the plan: all but the time allowed for it."""
        values = {name: value for name, value in self.__dict__.items() if name != "timeout_s"}
        return sha256(strictjson.canonical(jsonable(values)).encode())


@dataclass(frozen=True)
class Port:
    """One input or output.

    Attributes:
        name: Its name.
        dtype: numpy name of what callers give or get, as the ONNX says.
        engine_dtype: numpy name of what the engine takes: wider where TensorRT lacks a type.
        shape: Every extent.
    """

    name: str
    dtype: str
    engine_dtype: str
    shape: tuple[int, ...]

    @property
    def format(self) -> TensorFormat:
        """What callers give or get."""
        return TensorFormat(self.dtype, self.shape)


@dataclass(frozen=True)
class Sidecar:
    """What stands beside a plan.

    Attributes:
        schema: Version of this format.
        foreact: Our version.
        fingerprint: Where it was built.
        builder: How it was built.
        builder_sha256: Hash of that.
        onnx: Name of the model that it was built from.
        onnx_sha256: Hash of that file, untouched.
        graph_sha256: Hash of the graph that the parser was given.
        changes: What was rewritten in between, see `deploy_edge.tensorrt_graph`.
        metadata: Properties that the model carries.
        inputs: Inputs, in the graph's order.
        outputs: Outputs, in the graph's order.
        plan_sha256: Hash of the plan.
        plan_bytes: Size of the plan.
        build_s: Time of the build [s].
        built_utc: When it ended.
        notes: What the builder wants known.
        parity: The comparison with onnxruntime, or why there was none.
    """

    schema: int
    foreact: str
    fingerprint: Fingerprint
    builder: BuildConfig
    builder_sha256: str
    onnx: str
    onnx_sha256: str
    graph_sha256: str
    changes: tuple[str, ...]
    metadata: dict[str, str]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    plan_sha256: str
    plan_bytes: int
    build_s: float
    built_utc: str
    notes: tuple[str, ...]
    parity: dict[str, JSON]


def sha256(content: bytes) -> str:
    """Digest as text."""
    return hashlib.sha256(content).hexdigest()


def sidecar_path(plan: Path) -> Path:
    """Where the sidecar of a plan is."""
    return plan.with_name(f"{plan.name}.json")


def graph_path(plan: Path) -> Path:
    """Where the graph of a plan without weights is."""
    return plan.with_name(f"{plan.name}.onnx")


def publish(plan: Path, content: bytes, sidecar: Sidecar, graph: bytes | None = None) -> None:
    """Write a plan and its sidecar; what was there before stays beside them as `NAME.previous`.

    A crash in between leaves a plan that its sidecar does not fit, which `read_plan` refuses.

    Args:
        plan: Where to.
        content: The plan.
        sidecar: Of this plan.
        graph: The graph that its weights come from, for a plan without weights.

    Raises:
        OSError: The folder cannot be written.
    """
    for path in (plan, sidecar_path(plan), graph_path(plan)):
        _keep_previous(path)
    if graph is not None:
        write_bytes_atomic(graph_path(plan), graph)
    write_bytes_atomic(plan, content)
    write_json_atomic(sidecar_path(plan), sidecar)
    if graph is None:
        graph_path(plan).unlink(missing_ok=True)


def read_plan(plan: Path) -> tuple[bytes, Sidecar]:
    """Read a plan that its sidecar vouches for.

    Raises:
        EngineRefused: One of the two is missing, damaged, or does not fit the other.
    """
    again = f"build it again: foreact export to=tensorrt model=MODEL.onnx out={plan}"
    try:
        content, text = plan.read_bytes(), sidecar_path(plan).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise EngineRefused(f"no plan with a sidecar at {plan} ({error.filename} is missing); {again}") from None
    except UnicodeDecodeError:
        raise EngineRefused(f"{sidecar_path(plan)} is no JSON; {again}") from None
    try:
        sidecar = strictjson.decode(Sidecar, strictjson.loads(text), sidecar_path(plan).name)
    except ValueError as error:
        raise EngineRefused(f"{sidecar_path(plan)} is damaged: {error}; {again}") from error
    if sidecar.schema != SCHEMA:
        raise EngineRefused(f"{sidecar_path(plan)} has schema {sidecar.schema}, expected {SCHEMA}; {again}")
    found = sha256(content)
    if found != sidecar.plan_sha256:
        raise EngineRefused(
            f"{plan} is truncated or altered: its sha256 is {found[:16]}, its sidecar says "
            f"{sidecar.plan_sha256[:16]}; it was not loaded; {again}"
        )
    return content, sidecar


def _keep_previous(path: Path) -> None:
    """A second name for what is there, so that the first one never names nothing."""
    previous = path.with_name(f"{path.name}.previous")
    if not path.exists():
        previous.unlink(missing_ok=True)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.previous")
    temporary.unlink(missing_ok=True)
    try:
        os.link(path, temporary)
    except OSError:  # a file system without links
        shutil.copy2(path, temporary)
    os.replace(temporary, previous)
