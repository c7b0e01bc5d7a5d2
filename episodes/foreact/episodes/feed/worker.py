"""A process that reads pictures: `python -m foreact.episodes.feed.worker SOCKET MEMORY`, started by `crew`.

It is told first what there is, as JSON, then a batch's share at a time: int64 job and slot, then the pictures. It
answers each with JSON, and ends when the socket closes.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from foreact.episodes.feed.pictures import JOB, DatasetAt, OpenRecordings, read_pictures
from foreact.episodes.feed.ring import Layout, map_slots
from foreact.episodes.sources.protocol import SourceError

__all__ = ["main"]


def main(socket: int, memory: int) -> None:
    """Work until the socket closes.

    Args:
        socket: Descriptor of it.
        memory: Descriptor of the memory of the batches.
    """
    with Connection(socket) as caller:
        try:
            told = json.loads(caller.recv_bytes())
            slots = _slots(told, memory)
            recordings = OpenRecordings([_dataset(each) for each in told["datasets"]], told["most_bytes"])
            while True:
                message = np.frombuffer(caller.recv_bytes(), np.int64)
                job, slot, rows = int(message[0]), int(message[1]), message[2:].reshape(-1, len(JOB))
                answer: dict[str, Any] = {"job": job}
                try:
                    read_pictures(rows, recordings, slots[slot])
                except SourceError as error:
                    answer["error"] = str(error)
                except Exception as error:
                    answer["fault"] = f"{error!r}\n{traceback.format_exc()}"
                caller.send_bytes(json.dumps({**answer, "cpu_ns": time.process_time_ns()}).encode())
        except (EOFError, ConnectionError):
            return  # the caller is gone or has enough


def _dataset(told: dict[str, Any]) -> DatasetAt:
    return DatasetAt(told["path"], tuple(told["keys"]), tuple(told["pictures"]))


def _slots(told: dict[str, Any], memory: int) -> list[list[np.ndarray | None]]:
    """For each slot the array of each entry as pictures one after the other; None for small streams."""
    arrays = {name: (start, tuple(shape), dtype) for name, (start, shape, dtype) in told["arrays"].items()}
    slots = map_slots(memory, Layout(arrays, told["size"]), told["slots"])
    return [
        [
            slot[name].reshape(-1, *slot[name].shape[2:]) if name in told["pictures"] else None
            for name in told["entries"]
        ]
        for slot in slots
    ]


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
