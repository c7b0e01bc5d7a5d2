"""A `tensorrt` without a GPU that has what each generation has, lacks what it lacks, and fails as it fails.

Sources: the stubs of 10.13.0.35, TensorRT-RTX 1.7.1 as it is installed here, NVIDIA's release notes and the lists of
what 11 removed. Objects refuse attributes that their generation does not have, as the binding's objects do.
A model is JSON: {"inputs": {name: [type, shape]}, "outputs": {...}, "weight": number}, or ONNX whose constant `weight`
is that number; the engine computes output = weight * (sum of all inputs).
"""

import ctypes
import enum
import json
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

NUMPY = {"FLOAT": "float32", "INT32": "int32", "UINT8": "uint8", "INT64": "int64", "INT8": "int8"}
WEAK = ("FP16", "INT8", "BF16", "FP8", "INT4", "OBEY_PRECISION_CONSTRAINTS", "PREFER_PRECISION_CONSTRAINTS")
FLAGS = ("TF32", "REFIT", "SPARSE_WEIGHTS", "STRIP_PLAN", "REFIT_IDENTICAL", "VERSION_COMPATIBLE", "STRICT_NANS")


@dataclass(frozen=True)
class Generation:
    """What one version of TensorRT has.

    Attributes:
        version: Full version.
        builder_flags: Members of `BuilderFlag`.
        creation_flags: Members of `NetworkDefinitionCreationFlag`; none means there is no such class.
        config: Further attributes of a builder configuration.
        builder: Further attributes of a builder.
        rtx: Whether it is TensorRT-RTX.
        always_strong: Whether every network is strongly typed.
        inspector: How the inspector writes formats.
    """

    version: str
    builder_flags: tuple[str, ...]
    creation_flags: tuple[str, ...]
    config: tuple[str, ...] = ()
    builder: tuple[str, ...] = ()
    rtx: bool = False
    always_strong: bool = False
    inspector: str = "together"


OLD_CONFIG = ("int8_calibrator", "algorithm_selector", "quantization_flags")
OLD_BUILDER = ("platform_has_fast_fp16", "platform_has_fast_int8")
GENERATIONS = {
    "10.3": Generation("10.3.0.26", WEAK + FLAGS, ("EXPLICIT_BATCH", "STRONGLY_TYPED"), OLD_CONFIG, OLD_BUILDER),
    "10.13": Generation(
        "10.13.3.9", WEAK + FLAGS, ("EXPLICIT_BATCH", "STRONGLY_TYPED"),
        (*OLD_CONFIG, "max_num_tactics", "tiling_optimization_level"), OLD_BUILDER,
    ),
    "10.16": Generation(
        "10.16.2.10", WEAK + FLAGS, ("EXPLICIT_BATCH", "STRONGLY_TYPED"),
        (*OLD_CONFIG, "max_num_tactics", "tiling_optimization_level"), OLD_BUILDER,
    ),
    "11.4": Generation(
        "11.4.1.5", FLAGS, ("STRONGLY_TYPED",), ("max_num_tactics", "tiling_optimization_level"), (),
        always_strong=True, inspector="apart",
    ),
    "rtx": Generation("1.7.1.116", FLAGS, ("STRONGLY_TYPED",), (), (), rtx=True, always_strong=True),
}  # fmt: skip


@dataclass
class Faults:
    """What goes wrong.

    Attributes:
        build: `none`, `memory`, `memory-error`, `runtime-error`, `wrong` (another weight), or empty.
        deserialise: The runtime gives None.
        context: The engine gives no context.
        address: A tensor whose address is refused.
        enqueue: Enqueuing fails while the stream is captured.
        refuse_cache: Times that a timing cache is refused.
        steps: Steps that the build reports.
        missing_weights: What a refit lacks.
        other_ports: The plan is loaded as one of other outputs.
    """

    build: str = ""
    deserialise: bool = False
    context: bool = False
    address: str = ""
    enqueue: bool = False
    refuse_cache: int = 0
    steps: int = 3
    missing_weights: tuple[str, ...] = ()
    other_ports: bool = False
    seen: dict[str, Any] = field(default_factory=dict)


class Severity(enum.IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class Strict:
    """An object that refuses attributes that it was not given."""

    def __init__(self, **known: Any) -> None:
        self.__dict__.update(known)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no attribute {name}")
        self.__dict__[name] = value


class Memory(bytes):
    @property
    def nbytes(self) -> int:
        return len(self)


class Base:
    """Base class of callbacks: using one whose constructor was not called is an error, as in the binding."""

    ready = False

    def __init__(self) -> None:
        self.ready = True


def module(generation: Generation, faults: Faults, cuda: Any) -> ModuleType:
    """What `import tensorrt` gives.

    Args:
        generation: Which version.
        faults: What goes wrong; `seen` is filled with what was asked for.
        cuda: The device that engines run on.
    """
    fake: Any = ModuleType("tensorrt")
    fake.__version__ = generation.version
    fake.BuilderFlag = _enumeration("BuilderFlag", generation.builder_flags)
    if generation.creation_flags:
        fake.NetworkDefinitionCreationFlag = _enumeration("NetworkDefinitionCreationFlag", generation.creation_flags)
    fake.DataType = _enumeration("DataType", tuple(NUMPY))
    fake.MemoryPoolType = _enumeration("MemoryPoolType", ("WORKSPACE", "TACTIC_DRAM"))
    fake.ProfilingVerbosity = _enumeration("ProfilingVerbosity", ("LAYER_NAMES_ONLY", "NONE", "DETAILED"))
    fake.LayerInformationFormat = _enumeration("LayerInformationFormat", ("ONELINE", "JSON"))
    fake.TensorIOMode = _enumeration("TensorIOMode", ("NONE", "INPUT", "OUTPUT"))
    if generation.rtx:
        fake.ComputeCapability = _enumeration("ComputeCapability", ("SM86", "SM89", "SM120"))
    fake.ILogger = type("ILogger", (Base,), {"Severity": Severity})
    fake.IProgressMonitor, fake.IProfiler = type("IProgressMonitor", (Base,), {}), type("IProfiler", (Base,), {})
    world = _World(fake, generation, faults, cuda)
    fake.Builder = lambda logger: _builder(world, logger)
    fake.OnnxParser = lambda network, logger: _Parser(network)
    fake.Runtime = lambda logger: _Runtime(world, logger)
    fake.Refitter = lambda engine, logger: _Refitter(world, engine)
    fake.OnnxParserRefitter = lambda refitter, logger: _ParserRefitter(refitter)
    return fake


@dataclass
class _World:
    module: Any
    generation: Generation
    faults: Faults
    cuda: Any


def _enumeration(name: str, members: tuple[str, ...]) -> Any:
    return enum.IntEnum(name, {member: place for place, member in enumerate(members)})


def _builder(world: _World, logger: Any) -> Any:
    assert logger.ready

    def create_network(flags: int = 0) -> Any:
        bit = {name: 1 << place for place, name in enumerate(world.generation.creation_flags)}["STRONGLY_TYPED"]
        strong = world.generation.always_strong or bool(flags & bit)
        world.faults.seen["strongly_typed"] = strong
        return _Network(world)

    def build(network: "_Network", config: Any) -> Any:
        return _build(world, logger, network, config)

    known = dict.fromkeys(world.generation.builder, False)
    return Strict(
        create_network=create_network,
        create_builder_config=lambda: _config(world, logger),
        build_serialized_network=build,
        **known,
    )


def _config(world: _World, logger: Any) -> Any:
    seen = world.faults.seen
    seen.update(pools={}, flags={"TF32"}, compute={})

    def set_cache(cache: Any, ignore_mismatch: bool) -> bool:
        assert ignore_mismatch is False, "caches of other devices are dangerous"
        if world.faults.refuse_cache:
            world.faults.refuse_cache -= 1
            logger.log(Severity.WARNING, "timing cache: header mismatch")
            return False
        seen["cache"] = cache.content
        config.__dict__["cache"] = cache
        return True

    def serialise() -> Memory:
        return Memory(f"timings of {world.generation.version}".encode())

    def set_flag(flag: Any) -> None:
        seen["flags"].add(world.module.BuilderFlag(flag).name)

    known = dict.fromkeys(world.generation.config)
    if world.generation.rtx:
        known |= {"num_compute_capabilities": 0}
        known["set_compute_capability"] = lambda member, place: seen["compute"].update({place: member.name}) or True
    config = Strict(
        builder_optimization_level=3, profiling_verbosity=None, progress_monitor=None, cache=None,
        set_memory_pool_limit=lambda pool, size: seen["pools"].update({pool.name: size}),
        set_flag=set_flag,
        clear_flag=lambda flag: seen["flags"].discard(flag.name),
        create_timing_cache=lambda content: Strict(content=bytes(content), serialize=serialise),
        set_timing_cache=set_cache,
        get_timing_cache=lambda: config.__dict__["cache"],
        **known,
    )  # fmt: skip
    return config


def _build(world: _World, logger: Any, network: "_Network", config: Any) -> Any:
    faults, seen = world.faults, world.faults.seen
    seen["level"], seen["verbosity"] = config.builder_optimization_level, config.profiling_verbosity
    watch = config.progress_monitor
    assert watch.ready
    watch.phase_start("Building engine", None, faults.steps)
    for step in range(faults.steps):
        watch.phase_start("inner", "Building engine", 1)
        watch.phase_finish("inner")
        try:
            go_on = watch.step_complete("Building engine", step)
        except BaseException as error:
            raise SystemError("an exception crossed TensorRT's frames: the real one ends the process") from error
        if not go_on:
            logger.log(Severity.ERROR, "Build canceled by user")
            return None
    watch.phase_finish("Building engine")
    if faults.build == "none":
        logger.log(Severity.ERROR, "Error Code 10: could not find any implementation for node gemm")
        return None
    if faults.build == "memory":
        logger.log(Severity.ERROR, "Error Code 2: OutOfMemory (Requested size was 8388608 bytes)")
        return None
    if faults.build == "memory-error":
        raise MemoryError
    if faults.build == "runtime-error":
        raise RuntimeError("vector::_M_default_append")
    strip = "STRIP_PLAN" in seen["flags"]
    plan = {**network.model, "version": world.generation.version, "refit": "REFIT" in seen["flags"]}
    plan["weight"] = None if strip else plan["weight"] * (1.5 if faults.build == "wrong" else 1)
    return Memory(json.dumps(plan).encode())


class _Network:
    def __init__(self, world: _World) -> None:
        self.world = world
        self.model: dict[str, Any] = {"inputs": {}, "outputs": {}}

    @property
    def num_inputs(self) -> int:
        return len(self.model["inputs"])

    @property
    def num_outputs(self) -> int:
        return len(self.model["outputs"])

    def get_input(self, index: int) -> Any:
        return self._tensor("inputs", index)

    def get_output(self, index: int) -> Any:
        return self._tensor("outputs", index)

    def _tensor(self, side: str, index: int) -> Any:
        name, (kind, shape) = list(self.model[side].items())[index]
        return Strict(name=name, dtype=self.world.module.DataType[kind], shape=shape)


class _Parser:
    def __init__(self, network: _Network) -> None:
        self.network, self.errors = network, []

    @property
    def num_errors(self) -> int:
        return len(self.errors)

    def get_error(self, index: int) -> Any:
        return self.errors[index]

    def parse(self, model: bytes) -> bool:
        found = json.loads(bytes(model)) if bytes(model[:1]) == b"{" else from_onnx(bytes(model))
        self.errors = [
            Strict(desc=lambda: "bad type", node_name=lambda name=name: name, node_operator=lambda: "Sinh", file=str)
            for name in found.get("refused", ())
        ]
        self.network.model = found
        return not self.errors


def from_onnx(content: bytes) -> dict[str, Any]:
    """What the fake needs of an ONNX model."""
    import onnx

    graph, names = onnx.load_model_from_string(content).graph, {name: kind for kind, name in NUMPY.items()}
    sides = ({}, {})
    for side, values in zip(sides, (graph.input, graph.output), strict=True):
        for value in values:
            kind = value.type.tensor_type
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type).name
            side[value.name] = [names[dtype], [each.dim_value for each in kind.shape.dim]]
    (weight,) = [onnx.numpy_helper.to_array(each) for each in graph.initializer if each.name == "weight"]
    return {"inputs": sides[0], "outputs": sides[1], "weight": float(weight)}


class _Runtime:
    def __init__(self, world: _World, logger: Any) -> None:
        assert logger.ready
        self.world, self.logger = world, logger

    def deserialize_cuda_engine(self, plan: bytes) -> Any:
        seen = self.world.faults.seen
        seen["deserialised"] = seen.get("deserialised", 0) + 1
        if self.world.faults.deserialise:
            self.logger.log(Severity.ERROR, "Version tag does not match")
            return None
        return _Engine(self.world, self.logger, json.loads(bytes(plan)))


class _Engine:
    def __init__(self, world: _World, logger: Any, model: dict[str, Any]) -> None:
        self.world, self.logger, self.model = world, logger, model
        outputs = {"other": ["FLOAT", [1]]} if world.faults.other_ports else model["outputs"]
        self.ports = {**model["inputs"], **outputs}

    @property
    def num_io_tensors(self) -> int:
        return len(self.ports)

    def get_tensor_name(self, index: int) -> str:
        return list(self.ports)[index]

    def get_tensor_mode(self, name: str) -> Any:
        return self.world.module.TensorIOMode["INPUT" if name in self.model["inputs"] else "OUTPUT"]

    def get_tensor_dtype(self, name: str) -> Any:
        return self.world.module.DataType[self.ports[name][0]]

    def get_tensor_shape(self, name: str) -> list[int]:
        return self.ports[name][1]

    def create_execution_context(self) -> Any:
        if self.world.faults.context:
            self.logger.log(Severity.ERROR, "out of memory")
            return None
        return _Context(self)

    def create_engine_inspector(self) -> Any:
        apart = self.world.generation.inspector == "apart"
        port = {"Format": "Row major", "DataType": "FP32"} if apart else {"Format/Datatype": "Row major FP32"}
        layers = [{"Name": "gemm", "LayerType": "gemm", "Inputs": [port], "Outputs": [port]}, "move"]
        return Strict(get_engine_information=lambda form: json.dumps({"Layers": layers}))


class _Context:
    def __init__(self, engine: _Engine) -> None:
        self.engine, self.addresses = engine, {}
        self.profiler, self.enqueue_emits_profile = None, True

    def set_tensor_address(self, name: str, memory: int) -> bool:
        self.addresses[name] = memory
        return name != self.engine.world.faults.address

    def execute_async_v3(self, stream_handle: int) -> bool:
        world = self.engine.world
        if world.cuda.recording is not None and world.faults.enqueue:
            world.cuda.invalid = True
            self.engine.logger.log(Severity.ERROR, "operation not permitted when stream is capturing")
            return False
        world.cuda.submit(self._compute)
        return True

    def report_to_profiler(self) -> bool:
        assert self.profiler is not None and self.profiler.ready and not self.enqueue_emits_profile
        self.profiler.report_layer_time("gemm", 0.3)
        self.profiler.report_layer_time("move", 0.1)
        return True

    def _compute(self) -> None:
        model = self.engine.model
        total = sum(self._array(name).astype(np.float64).sum() for name in model["inputs"])
        for name in model["outputs"]:
            self._array(name)[...] = model["weight"] * total

    def _array(self, name: str) -> np.ndarray:
        kind, shape = self.engine.ports[name]
        size = int(np.prod(shape)) * np.dtype(NUMPY[kind]).itemsize
        raw = (ctypes.c_uint8 * size).from_address(self.addresses[name])
        return np.frombuffer(raw, NUMPY[kind]).reshape(shape)


class _Refitter:
    def __init__(self, world: _World, engine: _Engine) -> None:
        assert engine.model["refit"], "the engine was not built to be refitted"
        self.world, self.engine, self.weight = world, engine, None

    def get_missing_weights(self) -> list[str]:
        return list(self.world.faults.missing_weights)

    def refit_cuda_engine(self) -> bool:
        self.engine.model["weight"] = self.weight
        return True


class _ParserRefitter:
    num_errors = 0

    def __init__(self, refitter: _Refitter) -> None:
        self.refitter = refitter

    def refit_from_bytes(self, model: bytes) -> bool:
        self.refitter.weight = json.loads(bytes(model))["weight"]
        return True

    def get_error(self, index: int) -> Any:
        raise IndexError(index)
