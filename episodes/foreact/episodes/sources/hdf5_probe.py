"""A first look at an HDF5 file in a process of its own: the HDF5 library can crash on damaged files, or never end.

A damaged text attribute was seen to do both. The process stays and is asked again; one file costs it milliseconds.
"""

from __future__ import annotations

import atexit
import json
import os
import select
import subprocess
import sys
from pathlib import Path
from threading import Lock

from foreact.episodes.sources.hdf5_file import Hdf5, needs_h5py
from foreact.episodes.sources.protocol import SourceError

__all__ = ["look_first", "stop"]

SECONDS = 60.0  # that a look may take
FINE = b"fine\n"


def look_first(path: Path, demo: str | None = None) -> None:
    """Walk a file's structure as its reader will, elsewhere.

    Args:
        path: Of the file.
        demo: Name of a demonstration; "" for the whole file, None for its top.

    Raises:
        SourceError: The HDF5 library crashed on it, or did not end within a minute.
        ModuleNotFoundError: h5py is not installed.
    """
    needs_h5py()
    with _lock:
        _process.ask(path, demo)


class _Process:
    """The process that looks; started on first use, and again after a crash."""

    def __init__(self) -> None:
        self._running: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def ask(self, path: Path, demo: str | None) -> None:
        running = self._started()
        assert running.stdin is not None and running.stdout is not None
        try:
            running.stdin.write(json.dumps([str(path.resolve()), demo]).encode() + b"\n")
            running.stdin.flush()
            ready = select.select([running.stdout], [], [], SECONDS)[0]
            answer = running.stdout.readline() if ready else b""
        except BrokenPipeError:
            ready, answer = [True], b""
        if answer != FINE:
            self.stop()
            what = "crashes the HDF5 library" if ready else f"keeps the HDF5 library busy for more than {SECONDS:g} s"
            raise SourceError(f"{path} {what}: it is damaged")

    def stop(self) -> None:
        if self._running is not None and self._owner == os.getpid():
            self._running.kill()
            self._running.communicate()
        self._running = None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # a forked copy must not share the pipes
            self._running, self._owner = None, os.getpid()
        if self._running is None or self._running.poll() is not None:
            command = [sys.executable, "-P", "-m", "foreact.episodes.sources.hdf5_probe"]
            self._running = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
            )
        return self._running


_lock, _process = Lock(), _Process()
stop = atexit.register(_process.stop)
"""Ends the process that looks; the next look starts another."""


def walk(path: Path, demo: str | None) -> None:
    """Touch what the readers touch when they open a recording, but no values.

    Raises:
        SourceError: The file cannot be opened.
    """
    file = Hdf5(path)
    file.groups("data")
    file.groups("")
    file.tables("")
    if demo is not None:
        group = f"data/{demo}" if demo else ""
        file.tables(group, deep=True)
        for each in ("data", group or "/"):
            file.attributes(each)
    file.close()


def main() -> None:
    """Answer requests, one JSON list [path, demo] a line, until the input ends."""
    for line in sys.stdin.buffer:
        path, demo = json.loads(line)
        try:
            walk(Path(path), demo)
        except SourceError:
            pass  # to be found again, with its message, where the file is read
        sys.stdout.buffer.write(FINE)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
