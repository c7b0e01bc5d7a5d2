"""Batches in memory that processes share and that has no name, so that nothing of it can be left behind.

Shape letters: B = samples of a batch, K = samples of a stream in one window.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Layout", "Ring", "map_slots", "open_memory"]

ALIGNED = 64  # bytes
SMALLER = "give a smaller batch or prefetch"


@dataclass(frozen=True)
class Layout:
    """Where the arrays of a batch lie in a slot.

    Attributes:
        arrays: By name: first byte, shape and type.
        size: Bytes of a slot.
    """

    arrays: Mapping[str, tuple[int, tuple[int, ...], str]]
    size: int

    @classmethod
    def of(cls, arrays: Mapping[str, tuple[tuple[int, ...], str]]) -> Layout:
        """Lay arrays out one behind the other.

        Args:
            arrays: By name: shape and type.
        """
        places: dict[str, tuple[int, tuple[int, ...], str]] = {}
        end = 0
        for name, (shape, dtype) in arrays.items():
            places[name] = (end, shape, dtype)
            end += -(-math.prod(shape) * np.dtype(dtype).itemsize // ALIGNED) * ALIGNED
        return cls(places, -(-end // mmap.PAGESIZE) * mmap.PAGESIZE)


class Ring:
    """Slots for batches.

    Args:
        layout: Of each.
        slots: How many.

    Attributes:
        descriptor: Of the memory, for processes to come; open until `close`.
        slots: The arrays of each, by name.

    Raises:
        MemoryError: There is not that much memory.
    """

    def __init__(self, layout: Layout, slots: int) -> None:
        self.descriptor = open_memory(layout.size * slots)
        self.slots = map_slots(self.descriptor, layout, slots)
        for slot in self.slots:
            for array in slot.values():
                array.fill(0)  # touched now: the first touch of a page is dear

    def close(self) -> None:
        """Let go of the descriptor; the memory goes when the last array over it does."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def open_memory(size: int) -> int:
    """A descriptor of memory without a name; on systems without `memfd_create` of a file that is already deleted.

    Raises:
        MemoryError: There is not that much.
    """
    import psutil

    free = psutil.virtual_memory().available
    if size > free:  # asking for it would end a process, and not always this one
        raise MemoryError(f"batches need {size / 1e6:.0f} MB of memory, {free / 1e6:.0f} are free; {SMALLER}")
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("foreact-feed", os.MFD_CLOEXEC)
    else:
        descriptor, name = tempfile.mkstemp()
        os.unlink(name)
    try:
        os.ftruncate(descriptor, size)
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, 0, size)  # now, or a later write ends the process
    except OSError as error:
        os.close(descriptor)
        raise MemoryError(f"batches need {size / 1e6:.0f} MB of memory: {error}; {SMALLER}") from error
    return descriptor


def map_slots(descriptor: int, layout: Layout, slots: int) -> list[dict[str, np.ndarray]]:
    """The arrays of each slot, by name, over the memory of a descriptor."""
    memory = memoryview(mmap.mmap(descriptor, layout.size * slots))
    return [
        {
            name: np.frombuffer(memory, dtype, math.prod(shape), slot * layout.size + start).reshape(shape)
            for name, (start, shape, dtype) in layout.arrays.items()
        }
        for slot in range(slots)
    ]
