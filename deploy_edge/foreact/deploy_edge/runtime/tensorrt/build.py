"""ONNX to a plan: strongly typed, precision from the Q/DQ nodes alone, every failure with TensorRT's own words."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foreact.deploy_edge.runtime.protocol import RuntimeFailure, RuntimeMissing
from foreact.deploy_edge.runtime.tensorrt.api import Api
from foreact.deploy_edge.runtime.tensorrt.callbacks import BuildWatch, LogLines
from foreact.deploy_edge.runtime.tensorrt.fingerprint import Fingerprint
from foreact.deploy_edge.runtime.tensorrt.sidecar import BuildConfig
from foreact.deploy_edge.runtime.tensorrt.surface import Builder, BuilderConfig, Network, ParserError, extents
from foreact.deploy_edge.runtime.tensorrt.timing import read_timings, write_timings

__all__ = [
    "BuildFailed", "BuildOutOfMemory", "BuildTimeout", "Built", "ParseFailed", "build_plan", "engine_dtype",
    "refused_nodes", "workspace_bytes",
]  # fmt: skip

SMALLEST_WORKSPACE = 32 << 20
ENGINE_TYPES = {
    "FLOAT": "float32", "HALF": "float16", "INT8": "int8", "INT32": "int32", "INT64": "int64", "UINT8": "uint8",
    "BOOL": "bool",
}  # fmt: skip


class BuildFailed(RuntimeFailure):
    """TensorRT did not build an engine; the text holds what it logged."""


class ParseFailed(BuildFailed):
    """The parser refused the model; the text names every node it refused."""


class BuildOutOfMemory(BuildFailed):
    """There was not enough memory to build the engine."""


class BuildTimeout(BuildFailed):
    """The build took longer than it was allowed to."""


@dataclass(frozen=True)
class Built:
    """An engine that was built.

    Attributes:
        plan: Its bytes.
        ports: numpy name of the type and the shape of each input, then of each output.
        inputs: How many of them are inputs.
        build_s: Time of the build [s].
        notes: What is to be known of it.
    """

    plan: bytes
    ports: tuple[tuple[str, str, tuple[int, ...]], ...]
    inputs: int
    build_s: float
    notes: tuple[str, ...]


def build_plan(
    graph: bytes,
    config: BuildConfig,
    api: Api,
    here: Fingerprint,
    free_bytes: int | None,
    timings: Path | None = None,
    tell: Callable[[int, int], None] = lambda done, total: None,
) -> Built:
    """Build an engine.

    Args:
        graph: Serialised ONNX of static shapes, as `deploy_edge.tensorrt_graph` makes it.
        config: How.
        api: TensorRT.
        here: Fingerprint of this machine.
        free_bytes: Free memory, the smaller of the processor's and the GPU's; None if unknown.
        timings: Timing cache to read and write; None for none.
        tell: Called with finished and all steps.

    Raises:
        ParseFailed, BuildOutOfMemory, BuildTimeout, BuildFailed: What went wrong, with TensorRT's words.
        ApiMissing: The configuration asks for what this version does not have.
        RuntimeMissing: There is no GPU, and none was named to build for.
    """
    _check_target(config, api, here)
    log = LogLines(api)
    try:
        builder = api.module.Builder(log.logger)
        if (settings := builder.create_builder_config()) is None:
            raise BuildFailed(f"{api.flavour} {api.version} could not make a builder: {log.text()}")
        network = _parsed(graph, builder, api, log)
        notes = _configure(settings, config, api, free_bytes)
        cache_notes = _use_timings(settings, api, here, timings, log)
        watch = BuildWatch(api, config.timeout_s, tell)
        settings.progress_monitor = watch.monitor
        started = time.monotonic()
        plan = builder.build_serialized_network(network, settings)
        seconds = time.monotonic() - started
        _require_built(plan, watch, log, api, config)
        assert plan is not None
        cache_notes += _keep_timings(settings, here, timings, api)
        ports = _ports(network, api)
        return Built(bytes(plan), ports, network.num_inputs, round(seconds, 3), (*notes, *cache_notes, *log.warnings))
    except MemoryError as error:
        raise BuildOutOfMemory(_memory_text(config, log, api)) from error
    except (RuntimeError, TypeError) as error:  # pybind raises these for null objects and refused arguments
        if isinstance(error, RuntimeFailure):
            raise
        raise BuildFailed(f"{api.flavour} {api.version}: {error}; {log.text()}") from error


def workspace_bytes(config: BuildConfig, free_bytes: int | None) -> int:
    """min(cap, fraction of the free memory) [bytes]."""
    cap = config.workspace_mb << 20
    if free_bytes is None:
        return cap
    return max(min(cap, int(config.workspace_fraction * free_bytes)), min(cap, SMALLEST_WORKSPACE))


def engine_dtype(dtype: Any, where: str) -> str:
    """Name in numpy of a member of `DataType`.

    Raises:
        BuildFailed: numpy has no such type.
    """
    name = str(dtype.name)
    if name not in ENGINE_TYPES:
        raise BuildFailed(f"{where} has the type {name}, which cannot be handed over from numpy")
    return ENGINE_TYPES[name]


def _check_target(config: BuildConfig, api: Api, here: Fingerprint) -> None:
    if config.compute and not api.rtx:
        raise BuildFailed(
            f"compute={list(config.compute)}: {api.flavour} builds for the GPU at hand; leave it out, "
            "or type to=tensorrt-rtx"
        )
    if not config.compute and here.gpu is None:
        hint = "name GPUs to build for, such as compute=[86,89]" if api.rtx else "build on the robot's computer"
        raise RuntimeMissing(f"{api.flavour} {api.version}: there is no NVIDIA GPU here; {hint}")
    if here.gpu is None and (config.refit or config.strip):
        raise RuntimeMissing(
            f"{api.flavour} {api.version}: refit and strip need the GPU that the plan is for, and there is none here"
        )


def _parsed(graph: bytes, builder: Builder, api: Api, log: LogLines) -> Network:
    network = builder.create_network(api.creation_flags())
    if network is None:
        raise BuildFailed(f"{api.flavour} {api.version} could not make a network: {log.text()}")
    parser = api.module.OnnxParser(network, log.logger)
    if not parser.parse(graph):
        rows = refused_nodes([parser.get_error(index) for index in range(parser.num_errors)])
        raise ParseFailed(f"{api.flavour} {api.version} cannot read the model: {rows or log.text()}")
    if not network.num_inputs or not network.num_outputs:
        raise ParseFailed(f"{api.flavour} {api.version} read a model without inputs or outputs")
    for port in (network.get_input(index) for index in range(network.num_inputs)):
        if any(extent < 1 for extent in extents(port.shape)):
            raise ParseFailed(f"input {port.name} has the shape {extents(port.shape)}; export with static shapes")
    return network


def refused_nodes(errors: list[ParserError]) -> str:
    """Every node that the parser refused, with its reason, in one line."""
    rows = []
    for error in errors:
        where = " ".join(part for part in (error.node_operator(), error.node_name()) if part)
        rows.append(f"{where or error.file() or 'model'}: {' '.join(error.desc().split())}")
    return "; ".join(rows)


def _configure(settings: BuilderConfig, config: BuildConfig, api: Api, free_bytes: int | None) -> list[str]:
    workspace = workspace_bytes(config, free_bytes)
    settings.set_memory_pool_limit(api.member("MemoryPoolType", "WORKSPACE"), workspace)
    settings.builder_optimization_level = config.level
    verbosity = "DETAILED" if config.detailed else "LAYER_NAMES_ONLY"
    settings.profiling_verbosity = api.member("ProfilingVerbosity", verbosity)
    wanted = {"SPARSE_WEIGHTS": config.sparse, "REFIT": config.refit, "STRIP_PLAN": config.strip, "TF32": config.tf32}
    for name, on in wanted.items():
        if on:
            settings.set_flag(api.member("BuilderFlag", name))
        elif name in api.members("BuilderFlag"):
            settings.clear_flag(api.member("BuilderFlag", name))
    _name_targets(settings, config, api)
    return [f"workspace at most {workspace >> 20} MB"]


def _name_targets(settings: Any, config: BuildConfig, api: Api) -> None:
    """Only TensorRT-RTX builds for GPUs that are not here."""
    if not config.compute:
        return
    members = [api.member("ComputeCapability", f"SM{each.replace('.', '')}") for each in config.compute]
    settings.num_compute_capabilities = len(members)
    for index, member in enumerate(members):
        if not settings.set_compute_capability(member, index):
            raise BuildFailed(f"{api.flavour} {api.version} does not build for {config.compute[index]}")


def _use_timings(settings: BuilderConfig, api: Api, here: Fingerprint, path: Path | None, log: LogLines) -> list[str]:
    if path is None:
        return []
    if api.rtx:
        return ["no timing cache: TensorRT-RTX chooses kernels when it loads the plan"]
    timings, note = read_timings(path, here.timing_key())
    notes = [note]
    cache = settings.create_timing_cache(timings)
    if cache is not None and settings.set_timing_cache(cache, False):
        return notes
    notes.append(f"timing cache refused and rebuilt: TensorRT says {log.text()}")
    fresh = settings.create_timing_cache(b"")
    if fresh is None or not settings.set_timing_cache(fresh, False):
        notes.append("built without a timing cache: TensorRT refuses a new one too")
    return notes


def _keep_timings(settings: BuilderConfig, here: Fingerprint, path: Path | None, api: Api) -> list[str]:
    if path is None or api.rtx:
        return []
    cache = settings.get_timing_cache()
    timings = None if cache is None else cache.serialize()
    if timings is None:
        return ["the timing cache could not be kept: TensorRT gave none back"]
    write_timings(path, here.timing_key(), bytes(timings))
    return []


def _require_built(plan: Any, watch: BuildWatch, log: LogLines, api: Api, config: BuildConfig) -> None:
    if watch.interrupt is not None:
        raise watch.interrupt
    if watch.timed_out and plan is None:
        raise BuildTimeout(f"the build was stopped after {config.timeout_s:g} s; give it more with timeout_s=SECONDS")
    if plan is not None and plan.nbytes:
        return
    if log.out_of_memory:
        raise BuildOutOfMemory(_memory_text(config, log, api))
    hint = ""
    if not api.rtx and api.numbers < (10, 12):
        hint = " (strongly typed networks are complete from TensorRT 10.12 on)"
    raise BuildFailed(f"{api.flavour} {api.version} built no engine{hint}: {log.text()}")


def _memory_text(config: BuildConfig, log: LogLines, api: Api) -> str:
    return (
        f"{api.flavour} {api.version} ran out of memory: {log.text()}; close other programs, or give it less: "
        f"workspace_mb={max(1, config.workspace_mb // 2)} level={max(0, config.level - 1)}"
    )


def _ports(network: Network, api: Api) -> tuple[tuple[str, str, tuple[int, ...]], ...]:
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    tensors += [network.get_output(index) for index in range(network.num_outputs)]
    return tuple((each.name, engine_dtype(each.dtype, each.name), extents(each.shape)) for each in tensors)
