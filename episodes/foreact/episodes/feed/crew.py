"""The processes that read pictures for a feed: started without inheriting anything, gone when their caller is."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import weakref
from collections.abc import Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from foreact.episodes.feed.pictures import DatasetAt, shares_of
from foreact.episodes.feed.ring import Layout, Ring
from foreact.episodes.sources.protocol import SourceError

__all__ = ["Crew"]

PATIENCE_S = 10.0  # for a process to end after it was told


class Crew:
    """Worker processes.

    Each has a session of its own, so that Ctrl-C reaches the caller alone, and ends when its socket closes, which it
    does with the caller, however that ends.

    Args:
        count: How many, above 0.
        ring: Where batches lie.
        layout: Of a batch.
        entries: Names of what a batch holds, by number.
        pictures: Which of them are pictures.
        datasets: By number.
        most_bytes: What recordings that a worker keeps open may take, about [bytes].

    Attributes:
        cpu_ns: CPU time of each process when it last answered [ns].
    """

    def __init__(
        self,
        count: int,
        ring: Ring,
        layout: Layout,
        entries: Sequence[str],
        pictures: Sequence[str],
        datasets: Sequence[DatasetAt],
        most_bytes: int,
    ) -> None:
        told = {
            "datasets": [asdict(each) for each in datasets],
            "arrays": dict(layout.arrays),
            "size": layout.size,
            "slots": len(ring.slots),
            "entries": list(entries),
            "pictures": list(pictures),
            "most_bytes": most_bytes,
        }
        self._processes: list[subprocess.Popen[bytes]] = []
        self._callers: list[Connection] = []
        self._end = weakref.finalize(self, _end, self._processes, self._callers)
        self._waiting: dict[int, set[int]] = {}
        self.cpu_ns = [0] * count
        try:
            for _ in range(count):
                self._start(ring.descriptor)
            for caller in self._callers:
                caller.send_bytes(json.dumps(told).encode())
        except BaseException:
            self.close()
            raise

    @property
    def processes(self) -> tuple[int, ...]:
        """Their process numbers."""
        return tuple(process.pid for process in self._processes)

    def submit(self, job: int, slot: int, pictures: np.ndarray) -> None:
        """Have pictures read into a slot.

        Args:
            job: Number of the batch.
            slot: Number of the slot.
            pictures: int64 (M, 6), sorted by `in_file_order`.

        Raises:
            RuntimeError: A process is gone.
        """
        self._waiting[job] = set()
        for number, share in enumerate(shares_of(pictures, len(self._callers))):
            if not len(share):
                continue
            head = np.array([job, slot], np.int64)
            try:
                self._callers[number].send_bytes(np.concatenate([head, share.reshape(-1)]).tobytes())
            except OSError:
                raise self._dead(number) from None
            self._waiting[job].add(number)

    def wait(self, job: int) -> None:
        """Until all pictures of a batch are there.

        Raises:
            SourceError: One could not be read.
            RuntimeError: A process is gone, or has a fault.
        """
        while self._waiting[job]:
            busy = {caller: number for number, caller in enumerate(self._callers)}
            for ready in wait(list(busy)):
                assert isinstance(ready, Connection)
                self._take(busy[ready])
        del self._waiting[job]

    def close(self) -> None:
        """End them."""
        self._end()

    def _start(self, memory: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-P", "-m", "foreact.episodes.feed.worker", str(theirs.fileno()), str(memory)]
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), memory),
                env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                start_new_session=True,
            )
        self._processes.append(process)
        self._callers.append(Connection(ours.detach()))

    def _take(self, number: int) -> None:
        try:
            answer: dict[str, Any] = json.loads(self._callers[number].recv_bytes())
        except (EOFError, OSError):
            raise self._dead(number) from None
        self.cpu_ns[number] = answer["cpu_ns"]
        if "error" in answer:
            raise SourceError(answer["error"])
        if "fault" in answer:
            raise RuntimeError(f"worker {number} of the feed: {answer['fault']}")
        self._waiting[answer["job"]].discard(number)

    def _dead(self, number: int) -> RuntimeError:
        code = self._processes[number].wait(PATIENCE_S)
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        return RuntimeError(
            f"worker {number} of the feed {how} while it read pictures; with workers=0 they are read in this process"
        )


def _end(processes: list[subprocess.Popen[bytes]], callers: list[Connection]) -> None:
    for caller in callers:
        caller.close()
    for process in processes:
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
