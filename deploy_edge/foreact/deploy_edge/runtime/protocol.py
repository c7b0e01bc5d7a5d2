"""What every inference engine offers: a graph loaded, warmed up, run into arrays that exist, counted, closed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np

__all__ = ["Runtime", "RuntimeFailure", "RuntimeMissing", "RuntimeStats", "TensorFormat"]


class RuntimeFailure(RuntimeError):
    """An engine could not load a model or run it; the text says which engine and why."""


class RuntimeMissing(RuntimeFailure):
    """The package of an engine, or the device it needs, is not on this machine; the text says what to install."""


@dataclass(frozen=True)
class TensorFormat:
    """What one input or output of a graph is.

    Attributes:
        dtype: numpy name, such as `uint8` or `float32`.
        shape: Every extent, the batch of 1 included; no extent is dynamic.
    """

    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class RuntimeStats:
    """What an engine did since it was loaded.

    Attributes:
        load_s: Time from the file to the loaded graph [s].
        inferences: Finished inferences, warm-up included.
        failures: Inferences that ended in an error.
        last_ms: Wall time of the last inference [ms].
        notes: What the engine wants known: its version, a graph capture that failed, a cache that was used.
    """

    load_s: float
    inferences: int
    failures: int
    last_ms: float
    notes: tuple[str, ...] = ()


class Runtime(Protocol):
    """One graph in one engine. Each module of an engine has `load(path, ...) -> Runtime`.

    Attributes:
        name: `onnxruntime`, `openvino`, `tensorrt`, `tensorrt-rtx`, `torch` or `executorch`.
        version: Of the engine's package.
        inputs: Format of each input, in the graph's order.
        outputs: Format of each output, in the graph's order.
        metadata: Properties that the model carries, such as its contract.
    """

    name: str
    version: str
    inputs: Mapping[str, TensorFormat]
    outputs: Mapping[str, TensorFormat]
    metadata: Mapping[str, str]

    def warmup(self, rounds: int = 3) -> None:
        """Run on zeros, so that the first observation is no slower than the others.

        Raises:
            RuntimeFailure: The engine failed.
        """
        ...

    def infer(self, inputs: Mapping[str, np.ndarray], outputs: Mapping[str, np.ndarray]) -> None:
        """Run once; results are written into arrays that exist.

        Args:
            inputs: One C-contiguous array of the right format for each input.
            outputs: One writable C-contiguous array of the right format for each output.

        Raises:
            ValueError: An array is missing or has another dtype, shape or layout.
            RuntimeFailure: The engine failed; what `outputs` holds then means nothing.
        """
        ...

    def stats(self) -> RuntimeStats:
        """What was done so far."""
        ...

    def close(self) -> None:
        """Free the engine; a closed one refuses to infer with `RuntimeFailure`. Closing twice is no error."""
        ...
