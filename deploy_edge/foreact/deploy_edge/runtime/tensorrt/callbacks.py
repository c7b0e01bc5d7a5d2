"""What TensorRT calls back while it works: a logger, a clock that stops a build, a profiler.

Their base classes exist only once TensorRT is imported, so the classes are made when they are needed.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from foreact.deploy_edge.runtime.tensorrt.api import Api

__all__ = ["BuildWatch", "LayerTimes", "LogLines"]

KEPT = 40  # lines of each kind
MEMORY_SIGNS = ("outofmemory", "out of memory", "cudaerrormemoryallocation", "insufficient memory")


class LogLines:
    """A logger that keeps the last errors and warnings.

    Args:
        api: TensorRT.

    Attributes:
        logger: What TensorRT takes.
        errors: Last errors, oldest first.
        warnings: Last warnings.
    """

    def __init__(self, api: Api) -> None:
        self.errors: deque[str] = deque(maxlen=KEPT)
        self.warnings: deque[str] = deque(maxlen=KEPT)
        severities = api.module.ILogger.Severity.__members__
        self._lines = {int(severities[name]): self.errors for name in ("INTERNAL_ERROR", "ERROR")}
        self._lines[int(severities["WARNING"])] = self.warnings
        self.logger = _instance(api.module.ILogger, log=self._log)

    @property
    def out_of_memory(self) -> bool:
        """Whether an error speaks of missing memory."""
        said = " ".join(self.errors).lower()
        return any(sign in said for sign in MEMORY_SIGNS)

    def text(self) -> str:
        """The errors, or the warnings if there are none, in one line."""
        lines = list(self.errors) or list(self.warnings) or ["TensorRT logged nothing"]
        return " | ".join(lines[-4:])

    def _log(self, _self: object, severity: Any, message: str) -> None:
        lines = self._lines.get(int(severity))
        if lines is not None:
            lines.append(" ".join(message.split()))


class BuildWatch:
    """Tells how far a build is, and stops it after a time or when the user asks for it.

    Args:
        api: TensorRT.
        timeout_s: Longest build [s].
        tell: Called with finished and all steps of the outermost phase.

    Attributes:
        monitor: What TensorRT takes.
        timed_out: Whether the time was up.
        interrupt: What was raised inside TensorRT's call, to be raised again outside of it.
    """

    def __init__(self, api: Api, timeout_s: float, tell: Callable[[int, int], None]) -> None:
        self._deadline, self._tell = time.monotonic() + timeout_s, tell
        self._outer, self._steps = "", 0
        self.timed_out = False
        self.interrupt: BaseException | None = None
        self.monitor = _instance(
            api.module.IProgressMonitor,
            phase_start=self._start, step_complete=self._step, phase_finish=self._finish,
        )  # fmt: skip

    def _start(self, _self: object, name: str, parent: str | None, steps: int) -> None:
        if not parent:
            self._outer, self._steps = name, steps

    def _step(self, _self: object, name: str, step: int) -> bool:
        # an exception must not cross TensorRT's frames, so Ctrl-C waits here until the call has returned
        try:
            if name == self._outer:
                self._tell(min(step + 1, self._steps), self._steps)
            self.timed_out = self.timed_out or time.monotonic() > self._deadline
        except BaseException as error:
            self.interrupt = error
        return not self.timed_out and self.interrupt is None

    def _finish(self, _self: object, name: str) -> None:
        pass


class LayerTimes:
    """A profiler that adds up the times of layers.

    Args:
        api: TensorRT.

    Attributes:
        profiler: What TensorRT takes.
        milliseconds: Times of each layer, in the order of inferences [ms].
    """

    def __init__(self, api: Api) -> None:
        self.milliseconds: dict[str, list[float]] = {}
        self.profiler = _instance(api.module.IProfiler, report_layer_time=self._report)

    def _report(self, _self: object, layer: str, milliseconds: float) -> None:
        self.milliseconds.setdefault(layer, []).append(milliseconds)


def _instance(base: type[Any], **methods: Callable[..., Any]) -> Any:
    """An object of a class derived from `base`; the binding wants its own constructor called."""

    def bound(method: Callable[..., Any]) -> Callable[..., Any]:
        return lambda self, *arguments: method(self, *arguments)

    body: dict[str, Any] = {name: bound(method) for name, method in methods.items()}
    body["__init__"] = lambda self: base.__init__(self)
    return type(f"Foreact{base.__name__}", (base,), body)()
