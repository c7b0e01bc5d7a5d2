"""CUDA through `cuda.bindings.runtime` (cuda-python): every call is checked, and errors say what was being done."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from foreact.deploy_edge.runtime.protocol import RuntimeFailure, RuntimeMissing

__all__ = ["Cuda", "CudaError", "CudaOutOfMemory", "GpuProperties", "open_cuda"]

MODULE = "cuda.bindings.runtime"
DEVICE = 0
OUT_OF_MEMORY = 2  # cudaErrorMemoryAllocation


class CudaError(RuntimeFailure):
    """A call of CUDA failed."""


class CudaOutOfMemory(CudaError):
    """There is not enough memory on the device, or not enough that can be pinned."""


@dataclass(frozen=True)
class GpuProperties:
    """What a GPU is.

    Attributes:
        name: Product name.
        capability: Compute capability, such as `8.7`.
        sm_count: Multiprocessors.
        memory_bytes: Memory; shared with the processor where `integrated`.
        integrated: Whether it shares the processor's memory, as on Jetson.
        runtime_version: CUDA version of the bindings, such as 12060.
        driver_version: Newest CUDA version that the driver knows.
    """

    name: str
    capability: str
    sm_count: int
    memory_bytes: int
    integrated: bool
    runtime_version: int
    driver_version: int


class Cuda:
    """CUDA on the first GPU.

    Args:
        module: `cuda.bindings.runtime`.
    """

    def __init__(self, module: Any) -> None:
        self._api = module

    def properties(self) -> GpuProperties:
        """What the GPU is."""
        found = self._call("look at the GPU", self._api.cudaGetDeviceProperties, DEVICE)
        name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
        major, minor = (self._attribute(f"cudaDevAttrComputeCapability{part}") for part in ("Major", "Minor"))
        return GpuProperties(
            name=name.strip("\0 "),
            capability=f"{major}.{minor}",
            sm_count=self._attribute("cudaDevAttrMultiProcessorCount"),
            memory_bytes=int(found.totalGlobalMem),
            integrated=bool(self._attribute("cudaDevAttrIntegrated")),
            runtime_version=int(self._call("read the CUDA version", self._api.cudaRuntimeGetVersion)),
            driver_version=int(self._call("read the driver's version", self._api.cudaDriverGetVersion)),
        )

    def free_bytes(self) -> int:
        """Free memory of the device [bytes]."""
        free, _ = self._call("read the free memory", self._api.cudaMemGetInfo)
        return int(free)

    def allocate(self, size: int) -> int:
        """Memory on the device; its address."""
        return int(self._call(f"allocate {size} bytes on the GPU", self._api.cudaMalloc, size))

    def free(self, address: int) -> None:
        """Give memory on the device back."""
        self._call("free memory of the GPU", self._api.cudaFree, address)

    def allocate_host(self, size: int, mapped: bool) -> tuple[int, int]:
        """Pinned memory of the processor.

        Args:
            size: How much [bytes].
            mapped: The GPU reads and writes it in place.

        Returns:
            Its address, and its address for the GPU (0 if not mapped).
        """
        flags = self._api.cudaHostAllocMapped if mapped else self._api.cudaHostAllocDefault
        host = int(self._call(f"pin {size} bytes", self._api.cudaHostAlloc, size, flags))
        seen = self._call("map pinned memory", self._api.cudaHostGetDevicePointer, host, 0) if mapped else 0
        return host, int(seen)

    def free_host(self, address: int) -> None:
        """Give pinned memory back."""
        self._call("free pinned memory", self._api.cudaFreeHost, address)

    def stream(self) -> Any:
        """A stream that does not wait for others."""
        return self._call("make a stream", self._api.cudaStreamCreateWithFlags, self._api.cudaStreamNonBlocking)

    def destroy_stream(self, stream: Any) -> None:
        """Give a stream back."""
        self._call("destroy a stream", self._api.cudaStreamDestroy, stream)

    def synchronize(self, stream: Any) -> None:
        """Wait until everything in a stream is done."""
        self._call("wait for the GPU", self._api.cudaStreamSynchronize, stream)

    def to_device(self, device: int, host: int, size: int, stream: Any) -> None:
        """Put a copy to the device into a stream."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._call("copy to the GPU", self._api.cudaMemcpyAsync, device, host, size, kind, stream)

    def to_host(self, host: int, device: int, size: int, stream: Any) -> None:
        """Put a copy from the device into a stream."""
        kind = self._api.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._call("copy from the GPU", self._api.cudaMemcpyAsync, host, device, size, kind, stream)

    def begin_capture(self, stream: Any) -> None:
        """Record what this thread puts into a stream instead of doing it."""
        mode = self._api.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        self._call("begin a graph capture", self._api.cudaStreamBeginCapture, stream, mode)

    def end_capture(self, stream: Any) -> Any:
        """The recorded graph."""
        return self._call("end a graph capture", self._api.cudaStreamEndCapture, stream)

    def instantiate(self, graph: Any) -> Any:
        """A graph that can be launched."""
        return self._call("instantiate a graph", self._api.cudaGraphInstantiate, graph, 0)

    def launch(self, executable: Any, stream: Any) -> None:
        """Put a graph into a stream."""
        self._call("launch a graph", self._api.cudaGraphLaunch, executable, stream)

    def destroy_graph(self, graph: Any) -> None:
        """Give a recorded graph back."""
        self._call("destroy a graph", self._api.cudaGraphDestroy, graph)

    def destroy_executable(self, executable: Any) -> None:
        """Give a graph that can be launched back."""
        self._call("destroy a graph", self._api.cudaGraphExecDestroy, executable)

    def _attribute(self, name: str) -> int:
        attribute = getattr(self._api.cudaDeviceAttr, name)
        return int(self._call(f"read {name}", self._api.cudaDeviceGetAttribute, attribute, DEVICE))

    def _call(self, what: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """The results of a call, without its status."""
        status, *results = function(*arguments)
        if int(status) != 0:
            kind = CudaOutOfMemory if int(status) == OUT_OF_MEMORY else CudaError
            raise kind(f"CUDA could not {what}: {getattr(status, 'name', status)}")
        return results[0] if len(results) == 1 else results


def open_cuda() -> Cuda:
    """CUDA, if this machine has a GPU that works.

    Raises:
        RuntimeMissing: cuda-python is not installed, or there is no GPU or no driver for it.
    """
    try:
        module: Any = importlib.import_module(MODULE)
    except ImportError as error:
        raise RuntimeMissing(f"CUDA needs the package cuda-python ({error}); type: pip install cuda-python") from error
    status, count = module.cudaGetDeviceCount()
    if int(status) != 0 or not count:
        reason = "no device was found" if int(status) == 0 else getattr(status, "name", status)
        raise RuntimeMissing(f"there is no NVIDIA GPU that works here ({reason}); see docs/jetson.md")
    return Cuda(module)
