"""Two processes that are started together, watched, and ended together."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["ProcessFailure", "interruptible", "module_process", "read_report", "wait_for"]

POLL_S = 0.05
GRACE_S = 20.0  # a process that was asked to stop gets so long to write its report


class ProcessFailure(RuntimeError):
    """A process of a run ended with an error."""


def module_process(module: str, settings: Path, log: Path) -> subprocess.Popen[bytes]:
    """Start `python -m module settings`, its output going to a log file.

    Args:
        module: What to run.
        settings: JSON file, its only argument.
        log: Where standard output and error go.
    """
    with log.open("wb") as output:
        # -P: modules come from the installation, not from the folder the command was typed in. A group of its own
        # keeps Ctrl-C from reaching the child before its parent has decided what to do.
        command = [sys.executable, "-P", "-m", module, str(settings)]
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, process_group=0, env=_environment()
        )


def wait_for(
    main: subprocess.Popen[bytes], other: subprocess.Popen[bytes], watch: Callable[[], None], timeout_s: float
) -> None:
    """Wait until the main process ends; if the other ends before it, or time is up, end both.

    Args:
        main: The process whose end is the end of the run.
        other: The process it needs.
        watch: Called about 20 times a second.
        timeout_s: Longest wait [s].

    Raises:
        ProcessFailure: Time is up.
    """
    deadline = time.monotonic() + timeout_s
    try:
        while main.poll() is None:
            watch()
            if other.poll() is not None and other.returncode != 0:
                break
            if time.monotonic() > deadline:
                raise ProcessFailure(f"the run did not end within {timeout_s:.0f} s and was stopped")
            time.sleep(POLL_S)
    finally:
        for process in (main, other):
            _end(process)


def read_report(path: Path, log: Path) -> dict[str, Any]:
    """The JSON report that a process wrote.

    Raises:
        ProcessFailure: It wrote none, or one that says what went wrong.
    """
    if not path.exists():
        text = log.read_text(encoding="utf-8", errors="replace").strip().splitlines() if log.exists() else []
        raise ProcessFailure(f"a process ended without a report; {log} ends with: {text[-1] if text else 'nothing'}")
    report = json.loads(path.read_text(encoding="utf-8"))
    if "error" in report:
        raise ProcessFailure(f"{report['error']}")
    return report


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that its processes are ended too."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not in the main thread: there are no signals to listen for
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _end(process: subprocess.Popen[bytes]) -> None:
    for ask in (process.terminate, process.kill):
        if process.poll() is None:
            try:
                # the first wait is for a process that is just about to end by itself
                process.wait(0.5 if ask is process.terminate else GRACE_S)
            except subprocess.TimeoutExpired:
                ask()
    process.wait()


def _environment() -> dict[str, str]:
    # one thread each: two thread pools on two cores would make the loop wait for the renderer
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
