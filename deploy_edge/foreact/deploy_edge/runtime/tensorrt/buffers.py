"""Memory of an engine's inputs and outputs: pinned on the processor's side, allocated once, at addresses that stay."""

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from foreact.deploy_edge.runtime.tensorrt.cuda_device import Cuda, CudaError
from foreact.deploy_edge.runtime.tensorrt.sidecar import Port

__all__ = ["Buffers"]


class Buffers:
    """Arrays for every input and output of an engine.

    Where processor and GPU share one memory, as on Jetson, the GPU works on the pinned arrays in place and nothing is
    copied.

    Args:
        cuda: The GPU.
        inputs: What the engine takes.
        outputs: What it gives.
        integrated: Whether processor and GPU share their memory.

    Raises:
        CudaOutOfMemory: There is not enough memory; what was allocated before is given back.
    """

    def __init__(self, cuda: Cuda, inputs: Sequence[Port], outputs: Sequence[Port], integrated: bool) -> None:
        self._cuda, self._inputs, self._outputs, self._shared = cuda, inputs, outputs, integrated
        self._arrays: dict[str, np.ndarray] = {}
        self._hosts: dict[str, int] = {}
        self.addresses: dict[str, int] = {}
        try:
            for port in (*inputs, *outputs):
                self._allocate(port)
        except CudaError:
            self.close()
            raise

    def write(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Put a caller's arrays into the engine's inputs, widened where the engine's type is wider."""
        for port in self._inputs:
            np.copyto(self._arrays[port.name], arrays[port.name], casting="safe")

    def read(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Put the engine's outputs into a caller's arrays."""
        for port in self._outputs:
            np.copyto(arrays[port.name], self._arrays[port.name], casting="same_kind")

    def enqueue_inputs(self, stream: Any) -> None:
        """Put the copies to the GPU into a stream."""
        for port in () if self._shared else self._inputs:
            name = port.name
            self._cuda.to_device(self.addresses[name], self._hosts[name], self._arrays[name].nbytes, stream)

    def enqueue_outputs(self, stream: Any) -> None:
        """Put the copies from the GPU into a stream."""
        for port in () if self._shared else self._outputs:
            name = port.name
            self._cuda.to_host(self._hosts[name], self.addresses[name], self._arrays[name].nbytes, stream)

    def close(self) -> None:
        """Give the memory back; the arrays must not be touched any more."""
        self._arrays.clear()
        while self._hosts:
            name, host = self._hosts.popitem()
            address = self.addresses.pop(name, 0)
            if address and not self._shared:
                self._cuda.free(address)
            self._cuda.free_host(host)

    def _allocate(self, port: Port) -> None:
        dtype = np.dtype(port.engine_dtype)
        size = int(np.prod(port.shape)) * dtype.itemsize
        host, seen = self._cuda.allocate_host(size, self._shared)
        self._hosts[port.name] = host
        raw = (ctypes.c_uint8 * size).from_address(host)
        self._arrays[port.name] = np.frombuffer(raw, dtype).reshape(port.shape)
        self._arrays[port.name][...] = 0
        self.addresses[port.name] = seen if self._shared else self._cuda.allocate(size)
