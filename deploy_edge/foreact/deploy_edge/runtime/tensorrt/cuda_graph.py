"""One inference recorded as a CUDA graph: one launch instead of one for each kernel.

The graph holds the shapes and addresses of its recording, so whoever changes those asks for a new one. Instances of one
recording differ in speed (by 2 ms on Thor, as FlashRT's authors report), so a few are made and the fastest is kept.
"""

import time
from collections.abc import Callable
from typing import Any

from foreact.deploy_edge.runtime.protocol import RuntimeFailure
from foreact.deploy_edge.runtime.tensorrt.cuda_device import Cuda, CudaError

__all__ = ["GraphLauncher"]

TRIALS = 3
LAUNCHES = 5


class GraphLauncher:
    """Runs what `enqueue` puts into a stream, as a graph where that can be recorded.

    Args:
        cuda: The GPU.
        stream: The stream.
        enqueue: Puts one inference into the stream.

    Attributes:
        failures: Recordings that failed; after one, inferences are put into the stream one kernel after the other.
        captures: Recordings that succeeded.
        reason: Why the last recording failed.
    """

    def __init__(self, cuda: Cuda, stream: Any, enqueue: Callable[[], None]) -> None:
        self._cuda, self._stream, self._enqueue = cuda, stream, enqueue
        self._executable: Any = None
        self.failures, self.captures, self.reason = 0, 0, ""

    @property
    def recorded(self) -> bool:
        """Whether inferences are launched as a graph."""
        return self._executable is not None

    def capture(self) -> None:
        """Record anew; failing is counted and leaves plain inferences."""
        self.drop()
        try:
            for _ in range(TRIALS):
                self._keep_faster(self._recorded())
            self.captures += 1
        except RuntimeFailure as error:
            self.drop()
            self.failures += 1
            self.reason = str(error)

    def run(self) -> None:
        """Put one inference into the stream.

        Raises:
            RuntimeFailure: It could not be put there, not even without the graph.
        """
        if self._executable is None:
            self._enqueue()
            return
        try:
            self._cuda.launch(self._executable, self._stream)
        except CudaError as error:
            self.failures += 1
            self.reason = str(error)
            self.drop()
            self._enqueue()

    def note(self) -> str:
        """How inferences are run, for the statistics."""
        if self.failures:
            return f"CUDA graph: {self.failures} failed ({self.reason}); kernels are launched one after the other"
        return f"CUDA graph: recorded {self.captures} time(s)" if self.recorded else "CUDA graph: none"

    def drop(self) -> None:
        """Give the graph back."""
        executable, self._executable = self._executable, None
        if executable is not None:
            self._cuda.destroy_executable(executable)

    def _recorded(self) -> Any:
        self._enqueue()  # lazy work of the first run must not be part of the recording
        self._cuda.synchronize(self._stream)
        self._cuda.begin_capture(self._stream)
        try:
            self._enqueue()
        except RuntimeFailure:
            self._abandon()
            raise
        graph = self._cuda.end_capture(self._stream)
        try:
            return self._cuda.instantiate(graph)
        finally:
            self._cuda.destroy_graph(graph)

    def _abandon(self) -> None:
        """End a recording that failed, so that the stream can be used again."""
        try:
            graph = self._cuda.end_capture(self._stream)
        except CudaError:
            return  # the failure itself has ended it
        if graph is not None and int(graph):
            self._cuda.destroy_graph(graph)

    def _keep_faster(self, executable: Any) -> None:
        seconds = self._time(executable)
        if self._executable is None:
            self._executable, self._seconds = executable, seconds
        elif seconds < self._seconds:
            self._cuda.destroy_executable(self._executable)
            self._executable, self._seconds = executable, seconds
        else:
            self._cuda.destroy_executable(executable)

    def _time(self, executable: Any) -> float:
        best = float("inf")
        for _ in range(LAUNCHES):
            started = time.perf_counter()
            self._cuda.launch(executable, self._stream)
            self._cuda.synchronize(self._stream)
            best = min(best, time.perf_counter() - started)
        return best
