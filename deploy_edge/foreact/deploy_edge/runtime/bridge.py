"""Robot and control process share one file in memory: fixed numpy arrays behind sequence locks, nothing is unpickled.

    header   magic, robot's contract as JSON
    status   robot -> control, every control step: where the robot is, whether it is done
    frame    robot -> control, at the cameras' rate: images and the state at the same instant
    command  control -> robot: one action, numbered by its control step

A block's writer makes its counter odd, writes, and makes it even; a reader takes a copy and keeps it only if the
counter was even and did not move. A crc32 of the block catches what a machine that reorders writes could still tear.
Shape letters: S state elements, A action elements, H and W image height and width.
"""

import mmap
import os
import time
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foreact.episodes.contract import CAMERA_DTYPES, PolicyContract

__all__ = ["RESET", "SHUTDOWN", "Block", "Bridge", "BridgeError", "free_place"]

MAGIC = b"foreact1"
HEADER = 64 * 1024
RESET = -1  # step of a command that asks for a new episode
SHUTDOWN = -2

type Fields = dict[str, tuple[str, tuple[int, ...]]]


class BridgeError(RuntimeError):
    """The shared file is missing, of another kind, or its writer died while writing."""


class Block:
    """One record with one writer and any number of readers.

    Args:
        memory: Bytes of the shared file.
        start: Where the block begins, a multiple of 64.
        fields: Name to numpy dtype name and shape.
    """

    def __init__(self, memory: memoryview, start: int, fields: Fields) -> None:
        self._lock = np.frombuffer(memory, np.uint64, 2, start)  # counter, crc32
        self._arrays: dict[str, np.ndarray] = {}
        place = start + 64
        for name, (dtype, shape) in fields.items():
            count = int(np.prod(shape))
            self._arrays[name] = np.frombuffer(memory, dtype, count, place).reshape(shape)
            place += _padded(count * np.dtype(dtype).itemsize)
        self._payload = memory[start + 64 : place]
        self.end = place

    @property
    def version(self) -> int:
        """Grows with every write; 0 before the first."""
        return int(self._lock[0])

    def write(self, values: Mapping[str, np.ndarray | int]) -> None:
        """Replace the record; every field must be given."""
        self._lock[0] += np.uint64(1)
        for name, array in self._arrays.items():
            array[...] = values[name]
        self._lock[1] = zlib.crc32(self._payload)
        self._lock[0] += np.uint64(1)

    def read(self, patience_s: float = 2.0) -> dict[str, np.ndarray] | None:
        """A copy of the last whole record; None before the first.

        Args:
            patience_s: How long to wait for a writer that is in the middle of a record [s].

        Raises:
            BridgeError: The record stays half written: its writer has died.
        """
        deadline = time.monotonic() + patience_s
        while self.version:
            copy = self.peek()
            if copy is not None:
                return copy
            if time.monotonic() > deadline:
                raise BridgeError("a record in shared memory stays half written: the process that writes it has died")
            time.sleep(0.00005)
        return None

    def peek(self) -> dict[str, np.ndarray] | None:
        """A copy of the last record without waiting; None if there is none or it is being written just now."""
        before = self.version
        if before == 0 or before % 2:
            return None
        copy = {name: array.copy() for name, array in self._arrays.items()}
        return copy if self._lock[1] == zlib.crc32(self._payload) and self.version == before else None


class Bridge:
    """The shared file of one robot; the robot creates it, the control process opens it."""

    def __init__(self, path: Path, descriptor: int, contract: PolicyContract) -> None:
        self.path, self.contract = path, contract
        memory = memoryview(mmap.mmap(descriptor, 0))
        self.status = Block(memory, HEADER, _status_fields(contract))
        self.frame = Block(memory, self.status.end, _frame_fields(contract))
        self.command = Block(memory, self.frame.end, _command_fields(contract))

    @classmethod
    def create(cls, path: Path, contract: PolicyContract) -> "Bridge":
        """Make the file; it appears under its name when it is ready.

        Args:
            path: See `free_place`.
            contract: What the robot gives and takes.

        Raises:
            BridgeError: The contract does not fit the header.
        """
        text = contract.to_json().encode()
        if len(text) > HEADER - 16:
            raise BridgeError(f"the robot's contract takes {len(text)} bytes, the header holds {HEADER - 16}")
        temporary = path.with_suffix(".new")
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.truncate(descriptor, _size(contract))
            os.pwrite(descriptor, MAGIC + len(text).to_bytes(8, "little") + text, 0)
            bridge = cls(path, descriptor, contract)
            os.rename(temporary, path)
        finally:
            os.close(descriptor)
        return bridge

    @classmethod
    def open(cls, path: Path, timeout_s: float = 60.0) -> "Bridge":
        """Open the file of a robot, waiting for it to appear.

        Raises:
            BridgeError: No robot appears in time, or the file is something else.
            ContractError: Its contract cannot be read.
        """
        deadline = time.monotonic() + timeout_s
        while not path.exists():
            if time.monotonic() > deadline:
                raise BridgeError(f"no robot appeared at {path} within {timeout_s:g} s")
            time.sleep(0.005)
        descriptor = os.open(path, os.O_RDWR)
        try:
            start = os.pread(descriptor, 16, 0)
            if start[:8] != MAGIC:
                raise BridgeError(f"{path} is not the shared memory of a robot")
            text = os.pread(descriptor, int.from_bytes(start[8:], "little"), 16)
            contract = PolicyContract.from_json(text.decode("utf-8", errors="replace"))
            if os.fstat(descriptor).st_size != _size(contract):
                raise BridgeError(f"{path} has {os.fstat(descriptor).st_size} bytes, expected {_size(contract)}")
            return cls(path, descriptor, contract)
        finally:
            os.close(descriptor)


def free_place(folder: Path) -> Path:
    """Where a bridge may live: memory-backed if the system has such a folder, else the one given.

    Args:
        folder: A private folder of this run; its name tells runs apart.
    """
    shared = Path("/dev/shm")
    return (shared if shared.is_dir() and os.access(shared, os.W_OK) else folder) / f"{folder.name}.bridge"


def _status_fields(contract: PolicyContract) -> Fields:
    numbers: Fields = {name: ("int64", (1,)) for name in ("episode", "step", "time_ns", "done", "success")}
    return {**numbers, "state": ("float32", contract.state.shape)}


def _frame_fields(contract: PolicyContract) -> Fields:
    fields: Fields = {name: ("int64", (1,)) for name in ("episode", "step", "time_ns")}
    fields["state"] = ("float32", contract.state.shape)
    for camera in contract.cameras:
        for stream in camera.streams:
            fields[f"camera.{camera.name}.{stream}"] = (CAMERA_DTYPES[stream].name, camera.stream_shape(stream))
    return fields


def _command_fields(contract: PolicyContract) -> Fields:
    numbers: Fields = {name: ("int64", (1,)) for name in ("episode", "step", "time_ns")}
    return {**numbers, "action": ("float32", contract.action.shape)}


def _size(contract: PolicyContract) -> int:
    size = HEADER
    for fields in (_status_fields(contract), _frame_fields(contract), _command_fields(contract)):
        size += 64 + sum(_padded(int(np.prod(shape)) * np.dtype(dtype).itemsize) for dtype, shape in fields.values())
    return size


def _padded(size: int) -> int:
    return -(-size // 64) * 64
