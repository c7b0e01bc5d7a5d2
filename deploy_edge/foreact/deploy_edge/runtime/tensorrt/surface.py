"""The part of TensorRT's Python API that this code uses: what 10.3 to 11.4 and TensorRT-RTX 1.7 have in common.

pyright checks the code against these protocols, and these protocols against NVIDIA's stubs (`make test-tensorrt`).
Whatever a generation lacks or has removed is not here; `api.Api.member` asks for members of enumerations by name.
Objects of TensorRT that are handed back to it are Any here.
"""

from collections.abc import Buffer, Callable, Mapping, Sequence
from typing import Any, Protocol

__all__ = [
    "Builder", "BuilderConfig", "Context", "Dims", "Engine", "Enumeration", "HostMemory", "Inspector", "Network",
    "Parser", "ParserError", "ParserRefitter", "Refitter", "Runtime", "Tensor", "TensorRt", "TimingCache", "extents",
]  # fmt: skip


class Enumeration(Protocol):
    """A class of named constants."""

    @property
    def __members__(self) -> Mapping[str, Any]:
        """Constants by name."""
        ...


class HostMemory(Buffer, Protocol):
    """Bytes that TensorRT owns."""

    @property
    def nbytes(self) -> int:
        """Size [bytes]."""
        ...


class Dims(Protocol):
    """Extents of a tensor, see `extents`."""

    def __len__(self) -> int:
        """Number of dimensions."""
        ...

    def __getitem__(self, place: int, /) -> int:
        """One extent; -1 for one that is dynamic."""
        ...


def extents(dims: Dims) -> tuple[int, ...]:
    """Extents as a tuple; what TensorRT gives is no sequence to Python."""
    return tuple(int(dims[place]) for place in range(len(dims)))


class Tensor(Protocol):
    """An input or output of a network."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def dtype(self) -> Any:
        """A member of `DataType`."""
        ...

    @property
    def shape(self) -> Dims:
        """Its extents."""
        ...


class Network(Protocol):
    """A graph that a parser has filled."""

    @property
    def num_inputs(self) -> int:
        """Number of inputs."""
        ...

    @property
    def num_outputs(self) -> int:
        """Number of outputs."""
        ...

    def get_input(self, index: int, /) -> Tensor:
        """One input."""
        ...

    def get_output(self, index: int, /) -> Tensor:
        """One output."""
        ...


class ParserError(Protocol):
    """Why the parser refused a node."""

    def desc(self) -> str:
        """What was wrong."""
        ...

    def node_name(self) -> str:
        """Name of the node."""
        ...

    def node_operator(self) -> str:
        """Operator of the node."""
        ...

    def file(self) -> str:
        """Where the parser was; the name of a graph's input, if that is what it refused."""
        ...


class Parser(Protocol):
    """Reads ONNX into a network."""

    @property
    def num_errors(self) -> int:
        """How many errors the last parse had."""
        ...

    def parse(self, model: Buffer, /) -> bool:
        """Read a serialised model; False if it was refused."""
        ...

    def get_error(self, index: int, /) -> ParserError:
        """One error."""
        ...


class TimingCache(Protocol):
    """Measured times of kernels."""

    def serialize(self) -> HostMemory | None:
        """Its bytes."""
        ...


class BuilderConfig(Protocol):
    """How an engine is built."""

    builder_optimization_level: int
    profiling_verbosity: Any
    progress_monitor: Any

    def set_memory_pool_limit(self, pool: Any, pool_size: int, /) -> None:
        """Bound a memory pool [bytes]."""
        ...

    def set_flag(self, flag: Any, /) -> None:
        """Switch a member of `BuilderFlag` on."""
        ...

    def clear_flag(self, flag: Any, /) -> None:
        """Switch a member of `BuilderFlag` off."""
        ...

    def create_timing_cache(self, serialized_timing_cache: Buffer, /) -> TimingCache | None:
        """A cache from bytes; empty bytes make a new one."""
        ...

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool, /) -> bool:
        """Use a cache; False if it is not this machine's."""
        ...

    def get_timing_cache(self) -> TimingCache | None:
        """The cache in use."""
        ...


class Builder(Protocol):
    """Makes engines."""

    def create_network(self, flags: int = 0, /) -> Network | None:
        """An empty network; `flags` has one bit for each member of `NetworkDefinitionCreationFlag`."""
        ...

    def create_builder_config(self) -> BuilderConfig | None:
        """The default configuration."""
        ...

    def build_serialized_network(self, network: Any, config: Any, /) -> HostMemory | None:
        """A plan, or None; the logger knows why."""
        ...


class Context(Protocol):
    """An engine with its scratch memory."""

    profiler: Any
    enqueue_emits_profile: bool

    def set_tensor_address(self, name: str, memory: int, /) -> bool:
        """Where an input or output lies on the device."""
        ...

    def execute_async_v3(self, stream_handle: int, /) -> bool:
        """Put one inference into a CUDA stream."""
        ...

    def report_to_profiler(self) -> bool:
        """Give the times of the last inference to the profiler."""
        ...


class Inspector(Protocol):
    """Tells what an engine is made of."""

    def get_engine_information(self, format: Any, /) -> str:
        """All layers, in a format of `LayerInformationFormat`."""
        ...


class Engine(Protocol):
    """A plan that was loaded."""

    @property
    def num_io_tensors(self) -> int:
        """Number of inputs and outputs."""
        ...

    def get_tensor_name(self, index: int, /) -> str:
        """Name of one."""
        ...

    def get_tensor_mode(self, name: str, /) -> Any:
        """A member of `TensorIOMode`."""
        ...

    def get_tensor_dtype(self, name: str, /) -> Any:
        """A member of `DataType`."""
        ...

    def get_tensor_shape(self, name: str, /) -> Dims:
        """Its extents."""
        ...

    def create_execution_context(self) -> Context | None:
        """Memory to run in; None if there is not enough."""
        ...

    def create_engine_inspector(self) -> Inspector | None:
        """What tells of its layers."""
        ...


class Runtime(Protocol):
    """Loads plans."""

    def deserialize_cuda_engine(self, serialized_engine: Buffer, /) -> Engine | None:
        """The engine of a plan, or None; the logger knows why."""
        ...


class Refitter(Protocol):
    """Gives an engine other weights."""

    def get_missing_weights(self) -> Sequence[str]:
        """Weights that are still to be given."""
        ...

    def refit_cuda_engine(self) -> bool:
        """Put the weights into the engine."""
        ...


class ParserRefitter(Protocol):
    """Reads the weights of an ONNX model into a refitter."""

    @property
    def num_errors(self) -> int:
        """How many errors there were."""
        ...

    def refit_from_bytes(self, model: Buffer, /) -> bool:
        """Read them; False if the model is not the engine's."""
        ...

    def get_error(self, index: int, /) -> ParserError:
        """One error."""
        ...


class TensorRt(Protocol):
    """The module `tensorrt`, or `tensorrt_rtx`."""

    @property
    def __version__(self) -> str:
        """Full version, such as 10.13.0.35."""
        ...

    @property
    def Builder(self) -> Callable[[Any], Builder]:  # noqa: N802
        """`Builder(logger)`."""
        ...

    @property
    def OnnxParser(self) -> Callable[[Any, Any], Parser]:  # noqa: N802
        """`OnnxParser(network, logger)`."""
        ...

    @property
    def Runtime(self) -> Callable[[Any], Runtime]:  # noqa: N802
        """`Runtime(logger)`."""
        ...

    @property
    def Refitter(self) -> Callable[[Any, Any], Refitter]:  # noqa: N802
        """`Refitter(engine, logger)`."""
        ...

    @property
    def OnnxParserRefitter(self) -> Callable[[Any, Any], ParserRefitter]:  # noqa: N802
        """`OnnxParserRefitter(refitter, logger)`."""
        ...

    @property
    def ILogger(self) -> type[Any]:  # noqa: N802
        """Base class of loggers."""
        ...

    @property
    def IProgressMonitor(self) -> type[Any]:  # noqa: N802
        """Base class of what watches a build."""
        ...

    @property
    def IProfiler(self) -> type[Any]:  # noqa: N802
        """Base class of what takes times of layers."""
        ...

    @property
    def BuilderFlag(self) -> Enumeration:  # noqa: N802
        """Switches of a build."""
        ...

    @property
    def DataType(self) -> Enumeration:  # noqa: N802
        """Types of elements."""
        ...

    @property
    def LayerInformationFormat(self) -> Enumeration:  # noqa: N802
        """Formats of the inspector."""
        ...

    @property
    def MemoryPoolType(self) -> Enumeration:  # noqa: N802
        """Pools that can be bounded."""
        ...

    @property
    def ProfilingVerbosity(self) -> Enumeration:  # noqa: N802
        """How much of its layers an engine remembers."""
        ...

    @property
    def TensorIOMode(self) -> Enumeration:  # noqa: N802
        """Input or output."""
        ...
