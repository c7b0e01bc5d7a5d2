"""What engines have in common: arrays checked before a run, runs counted and timed, a clean end."""

import abc
import time
from collections.abc import Callable, Mapping

import numpy as np

from foreact.deploy_edge.runtime.protocol import RuntimeFailure, RuntimeStats, TensorFormat

__all__ = ["GraphRuntime", "Kept", "check_arrays"]


class GraphRuntime(abc.ABC):
    """A graph in one engine, see `protocol.Runtime`.

    Args:
        name: Of the engine.
        version: Of its package.
        inputs: Format of each input, in the graph's order.
        outputs: Format of each output.
        metadata: The model's properties.
        options: Settings that the engine was loaded with, every one that can change a result or its speed.
    """

    def __init__(
        self,
        name: str,
        version: str,
        inputs: Mapping[str, TensorFormat],
        outputs: Mapping[str, TensorFormat],
        metadata: Mapping[str, str],
        options: Mapping[str, str],
    ) -> None:
        self.name, self.version = name, version
        self.inputs, self.outputs, self.metadata, self.options = inputs, outputs, metadata, options
        self.notes: tuple[str, ...] = ()
        self.load_s = 0.0
        self._inferences = self._failures = 0
        self._last_ms = 0.0
        self._closed = False

    @abc.abstractmethod
    def _run(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Compute, writing into the outputs; arrays were checked."""

    @abc.abstractmethod
    def _free(self) -> None:
        """Let the engine go."""

    def warmup(self, rounds: int = 3) -> None:
        """Run on zeros, so that the first observation is no slower than the others."""
        inputs, outputs = (
            {name: np.zeros(each.shape, each.dtype) for name, each in formats.items()}
            for formats in (self.inputs, self.outputs)
        )
        for _ in range(rounds):
            self.infer(inputs, outputs)

    def infer(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Run once; results are written into arrays that exist.

        Raises:
            ValueError: An array is missing or has another dtype, shape or layout.
            RuntimeFailure: The engine failed, or was closed.
        """
        if self._closed:
            raise RuntimeFailure(f"{self.name} was closed; load the model again")
        check_arrays(self.inputs, inputs, f"{self.name}: input")
        check_arrays(self.outputs, outputs, f"{self.name}: output", writable=True)
        started = time.perf_counter()
        try:
            self._run(inputs, outputs)
        except RuntimeFailure:
            self._failures += 1
            raise
        except Exception as error:  # engines raise classes of their own that share no public base
            self._failures += 1
            raise RuntimeFailure(f"{self.name} {self.version} failed: {error}") from error
        self._inferences += 1
        self._last_ms = (time.perf_counter() - started) * 1e3

    def stats(self) -> RuntimeStats:
        """What was done so far; the options are in the notes."""
        options = tuple(f"{name}={value}" for name, value in self.options.items())
        return RuntimeStats(self.load_s, self._inferences, self._failures, self._last_ms, (*options, *self.notes))

    def close(self) -> None:
        """Free the engine; closing twice is no error."""
        if not self._closed:
            self._closed = True
            self._free()


def check_arrays(
    formats: Mapping[str, TensorFormat], arrays: Mapping[str, np.ndarray], where: str, *, writable: bool = False
) -> None:
    """Refuse arrays that are not exactly what a graph takes.

    Args:
        formats: Wanted, by name.
        arrays: Given.
        where: Engine and direction, for the message.
        writable: Whether the engine writes into them.

    Raises:
        ValueError: One is missing or too many, or has another dtype, shape or layout.
    """
    if arrays.keys() != formats.keys():
        raise ValueError(f"{where}: expected {list(formats)}, got {list(arrays)}")
    for name, wanted in formats.items():
        array = arrays[name]
        if array.dtype.name != wanted.dtype or array.shape != wanted.shape:
            raise ValueError(
                f"{where} {name}: expected {wanted.dtype} {wanted.shape}, got {array.dtype.name} {array.shape}"
            )
        if not array.flags.c_contiguous or (writable and not array.flags.writeable):
            raise ValueError(f"{where} {name}: the array must be C-contiguous{' and writable' if writable else ''}")


class Kept:
    """Remembers which arrays an engine was told of, so that the same ones need not be told again.

    The arrays are held, because the engine holds only their addresses.

    Args:
        tell: Called with a name and an array that is new for it.
    """

    def __init__(self, tell: Callable[[str, np.ndarray], None]) -> None:
        self._tell = tell
        self._arrays: dict[str, np.ndarray] = {}

    def update(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Tell the engine of arrays that are not those of the last call."""
        for name, array in arrays.items():
            if self._arrays.get(name) is not array:
                self._tell(name, array)
                self._arrays[name] = array
