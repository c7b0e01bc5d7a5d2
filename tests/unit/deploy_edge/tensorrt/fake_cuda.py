"""A `cuda.bindings.runtime` without a GPU: device memory is memory of this process, streams do their work at once.

While a stream is being captured, work is recorded instead of done, as on the real device.
"""

import ctypes
import enum
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any


class Status(enum.IntEnum):
    cudaSuccess = 0  # noqa: N815
    cudaErrorMemoryAllocation = 2  # noqa: N815
    cudaErrorStreamCaptureUnsupported = 900  # noqa: N815
    cudaErrorStreamCaptureInvalidated = 901  # noqa: N815
    cudaErrorLaunchFailure = 719  # noqa: N815


class FakeCuda:
    """The state of one device.

    Args:
        name: Product name.
        capability: Major and minor.
        memory: Bytes that can be allocated.
        integrated: Whether it shares the processor's memory.
        fail_capture: Beginning a capture fails.
        fail_launches: Launching a graph fails from this launch on; None for never.
    """

    def __init__(
        self,
        name: str = "Orin",
        capability: tuple[int, int] = (8, 7),
        memory: int = 1 << 30,
        integrated: bool = False,
        fail_capture: bool = False,
        fail_launches: int | None = None,
    ) -> None:
        self.name, self.capability, self.memory, self.integrated = name, capability, memory, integrated
        self.fail_capture, self.fail_launches = fail_capture, fail_launches
        self.live: dict[int, Any] = {}
        self.copies = self.launches = self.streams = self.graphs = 0
        self.recording: list[Callable[[], None]] | None = None
        self.invalid = False

    def submit(self, work: Callable[[], None]) -> None:
        """Do work, or record it."""
        if self.recording is not None:
            self.recording.append(work)
        else:
            work()

    def module(self) -> ModuleType:
        """What `import cuda.bindings.runtime` gives."""
        module: Any = ModuleType("cuda.bindings.runtime")
        module.cudaHostAllocMapped, module.cudaHostAllocDefault, module.cudaStreamNonBlocking = 2, 0, 1
        module.cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
        module.cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
        attributes = {
            "cudaDevAttrComputeCapabilityMajor": self.capability[0],
            "cudaDevAttrComputeCapabilityMinor": self.capability[1],
            "cudaDevAttrMultiProcessorCount": 8,
            "cudaDevAttrIntegrated": int(self.integrated),
        }
        module.cudaDeviceAttr = SimpleNamespace(**{name: name for name in attributes})
        ok = Status.cudaSuccess
        properties = SimpleNamespace(name=self.name.encode() + b"\0\0", totalGlobalMem=self.memory)
        module.cudaGetDeviceCount = lambda: (ok, 1)
        module.cudaGetDeviceProperties = lambda device: (ok, properties)
        module.cudaDeviceGetAttribute = lambda attribute, device: (ok, attributes[attribute])
        module.cudaRuntimeGetVersion = lambda: (ok, 12060)
        module.cudaDriverGetVersion = lambda: (ok, 12060)
        module.cudaMemGetInfo = lambda: (ok, self.memory, self.memory)
        module.cudaMalloc = self._allocate
        module.cudaFree = self._free
        module.cudaHostAlloc = lambda size, flags: self._allocate(size)
        module.cudaFreeHost = self._free
        module.cudaHostGetDevicePointer = lambda host, flags: (ok, host)
        module.cudaStreamCreateWithFlags = self._stream
        module.cudaStreamDestroy = self._destroy_stream
        module.cudaStreamSynchronize = lambda stream: (Status.cudaSuccess,)
        module.cudaMemcpyAsync = self._copy
        module.cudaStreamBeginCapture = self._begin
        module.cudaStreamEndCapture = self._end
        module.cudaGraphInstantiate = self._instantiate
        module.cudaGraphLaunch = self._launch
        module.cudaGraphDestroy = lambda graph: (ok,)
        module.cudaGraphExecDestroy = self._destroy_graph
        return module

    def _allocate(self, size: int) -> tuple[Any, ...]:
        if size > self.memory:
            return (Status.cudaErrorMemoryAllocation, 0)
        self.memory -= size
        block = ctypes.create_string_buffer(size)
        self.live[ctypes.addressof(block)] = block
        return (Status.cudaSuccess, ctypes.addressof(block))

    def _free(self, address: int) -> tuple[Any, ...]:
        self.memory += len(self.live.pop(address))
        return (Status.cudaSuccess,)

    def _stream(self, flags: int) -> tuple[Any, ...]:
        self.streams += 1
        return (Status.cudaSuccess, 7)

    def _destroy_stream(self, stream: Any) -> tuple[Any, ...]:
        self.streams -= 1
        return (Status.cudaSuccess,)

    def _copy(self, target: int, source: int, size: int, kind: int, stream: Any) -> tuple[Any, ...]:
        self.copies += 1

        def move() -> None:
            ctypes.memmove(target, source, size)

        self.submit(move)
        return (Status.cudaSuccess,)

    def _begin(self, stream: Any, mode: Any) -> tuple[Any, ...]:
        if self.fail_capture:
            return (Status.cudaErrorStreamCaptureUnsupported,)
        assert self.recording is None, "the stream is being captured already"
        self.recording, self.invalid = [], False
        return (Status.cudaSuccess,)

    def _end(self, stream: Any) -> tuple[Any, ...]:
        recorded, self.recording = self.recording, None
        if recorded is None or self.invalid:
            return (Status.cudaErrorStreamCaptureInvalidated, None)
        return (Status.cudaSuccess, Graph(recorded))

    def _instantiate(self, graph: "Graph", flags: int) -> tuple[Any, ...]:
        self.graphs += 1
        return (Status.cudaSuccess, graph)

    def _launch(self, graph: "Graph", stream: Any) -> tuple[Any, ...]:
        self.launches += 1
        if self.fail_launches is not None and self.launches >= self.fail_launches:
            return (Status.cudaErrorLaunchFailure,)
        for work in graph.work:
            work()
        return (Status.cudaSuccess,)

    def _destroy_graph(self, graph: "Graph") -> tuple[Any, ...]:
        self.graphs -= 1
        return (Status.cudaSuccess,)


class Graph:
    """Recorded work."""

    def __init__(self, work: list[Callable[[], None]]) -> None:
        self.work = work

    def __int__(self) -> int:
        return 1
