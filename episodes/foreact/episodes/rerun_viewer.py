"""Rerun viewers that a replay plays into: one for browsers, served to this machine alone, or the installed one."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from urllib.parse import quote

__all__ = ["Viewer", "native_viewer", "served_viewer"]

LOOPBACK = "127.0.0.1"
START_S = 20.0


@dataclass(frozen=True)
class Viewer:
    """A viewer that runs.

    Attributes:
        address: Where to log to, for `RecordingStream.connect_grpc`.
        process: It.
    """

    address: str
    process: subprocess.Popen[str]

    @property
    def ended(self) -> bool:
        """Whether it is gone, for instance because its window was closed."""
        return self.process.poll() is not None


@contextlib.contextmanager
def served_viewer(port: int, web_port: int) -> Iterator[Viewer]:
    """A viewer for browsers, served to this machine alone by a process of its own.

    Args:
        port: Where it takes what is logged.
        web_port: Where a browser finds it.

    Yields:
        It, once it listens.

    Raises:
        RuntimeError: It did not start, for instance because a port is taken.
    """
    _free(port, web_port)
    options = ["--serve-web", "--web-viewer-port", str(web_port), "--hide-welcome-screen"]
    with _running(options, port, (port, web_port)) as viewer:
        told = f"http://{LOOPBACK}:{web_port}/?url={quote(viewer.address, safe='')}"
        print(f"watch at {told} until Ctrl-C", flush=True)
        yield viewer


@contextlib.contextmanager
def native_viewer(port: int) -> Iterator[Viewer]:
    """The installed viewer in a window of its own; it ends with the replay.

    Args:
        port: Where it takes what is logged.

    Yields:
        It, once it listens.

    Raises:
        RuntimeError: There is no display, or it did not start.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise RuntimeError(
            "view=true needs a display, and neither DISPLAY nor WAYLAND_DISPLAY is set: type web=true and open the "
            f"address it tells in a browser (over ssh: -L 9090:{LOOPBACK}:9090 -L 9876:{LOOPBACK}:9876), "
            "or out=FOLDER for a file"
        )
    _free(port)
    with _running(["--expect-data-soon", "--hide-welcome-screen"], port, (port,)) as viewer:
        yield viewer


def _free(*ports: int) -> None:
    if taken := [each for each in ports if _answers(each)]:
        raise RuntimeError(
            f"port {taken[0]} is taken: end what listens there, for example another replay, or type port= and web_port="
        )


@contextlib.contextmanager
def _running(options: list[str], port: int, waited: tuple[int, ...]) -> Iterator[Viewer]:
    """A viewer's process, from when it listens until the block ends or this process is told to end."""
    command = [sys.executable, "-m", "rerun", "--bind", LOOPBACK, "--port", str(port), *options]
    # a session of its own: Ctrl-C ends the replay first, and the replay ends the viewer
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    said: deque[str] = deque(["it said nothing"], 1)
    # read what it says, so that it never waits for somebody to
    reader = threading.Thread(target=lambda: said.extend(filter(str.strip, process.stderr or ())), daemon=True)
    reader.start()
    with _told_to_end(), contextlib.ExitStack() as stack:
        stack.callback(_end, process)
        end = time.monotonic() + START_S
        while not all(_answers(each) for each in waited):
            if process.poll() is not None or time.monotonic() > end:
                _end(process)
                reader.join(1)
                raise RuntimeError(f"the viewer did not start: {said[-1].strip()}")
            time.sleep(0.05)
        yield Viewer(f"rerun+http://{LOOPBACK}:{port}/proxy", process)


@contextlib.contextmanager
def _told_to_end() -> Iterator[None]:
    """Being terminated, or losing the terminal, leaves the block like an exception does, so that viewers end too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {each: signal.signal(each, leave) for each in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _end(viewer: subprocess.Popen[str]) -> None:
    """End the process and the one it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(viewer.pid, signal.SIGTERM)
    viewer.wait(10)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex((LOOPBACK, port)) == 0
