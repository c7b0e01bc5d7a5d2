"""Read parts of a sharded array wherever its file lies: only the chunks that hold them.

Shape letters: n = samples of the array.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from threading import Lock
from typing import Any

import numpy as np

from foreact.episodes.remote import Files
from foreact.episodes.shard_writer import shard_name
from foreact.episodes.shards import ShardError, checked, shard_index

__all__ = ["ShardReader"]

KEPT = 1 << 20  # bytes of unpacked chunks that are kept, at least one chunk
CRC = 4


class ShardReader:
    """One array. Threads may share it.

    Args:
        files: The folder that holds it.
        name: Of the array's folder in there.
        shape: (n, ...).
        dtype: Of its numbers.
        rows: Samples of an inner chunk.
        size: Of the shard's file [B].
    """

    def __init__(
        self, files: Files, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], rows: int, size: int
    ) -> None:
        self._files, self._file = files, f"{name}/{shard_name(len(shape))}"
        self.shape, self.dtype = shape, dtype
        self._rows, self._size = rows, size
        self._index: list[tuple[int, int]] | None = None
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._lock = Lock()

    def __len__(self) -> int:
        """Number of samples."""
        return self.shape[0]

    def read(self, start: int, stop: int) -> np.ndarray:
        """Samples start to stop - 1, (stop - start, ...).

        Raises:
            ShardError: A chunk is damaged.
            OSError: The file is missing or cannot be read.
        """
        out = np.empty((stop - start, *self.shape[1:]), self.dtype)
        if not out.size:
            return out
        first, last = start // self._rows, (stop - 1) // self._rows
        for number, chunk in self._chunks(first, last):
            at = number * self._rows
            low, high = max(start, at), min(stop, at + self._rows)
            out[low - start : high - start] = chunk[low - at : high - at]
        return out

    def _chunks(self, first: int, last: int) -> list[tuple[int, np.ndarray]]:
        """Chunks by their numbers; those that are lacking come by one look into the file."""
        with self._lock:
            found = {number: self._kept[number] for number in range(first, last + 1) if number in self._kept}
            wanted = [number for number in range(first, last + 1) if number not in found]
            if wanted:
                found |= self._fetch(wanted[0], wanted[-1])
            for number in range(first, last + 1):
                self._kept[number] = found[number]
                self._kept.move_to_end(number)
            most = max(1, KEPT // max(1, next(iter(found.values())).nbytes))
            while len(self._kept) > most:
                self._kept.popitem(last=False)
        return sorted(found.items())

    def _fetch(self, first: int, last: int) -> dict[int, np.ndarray]:
        if self._index is None:
            self._index = self._read_index()
        places = self._index[first : last + 1]
        start, stop = min(at for at, _ in places), max(at + size for at, size in places)
        content = self._part(start, stop)
        return {
            number: self._unpacked(checked(content, at - start, size))
            for number, (at, size) in enumerate(places, first)
        }

    def _read_index(self) -> list[tuple[int, int]]:
        count = -(-self.shape[0] // self._rows)
        length = 16 * count + CRC
        if length > self._size:
            raise ShardError(f"{self._file} of {self._size} bytes is too short for an index of {count} chunks")
        index = shard_index(self._part(self._size - length, self._size), count)
        end = self._size - length
        if any(at < 0 or size < CRC or at + size > end for at, size in index):
            raise ShardError(f"{self._file}: a chunk lies outside of the file")
        return index

    def _part(self, start: int, stop: int) -> bytes:
        found = self._files.part(self._file, start, stop)
        if len(found) != stop - start:
            raise ShardError(f"{self._file} is truncated: bytes {start} to {stop} are not there")
        return found

    def _unpacked(self, content: bytes) -> np.ndarray:
        from numcodecs.zstd import decompress

        shape = (self._rows, *self.shape[1:])
        chunk = np.empty(math.prod(shape), self.dtype.newbyteorder("<"))
        try:
            decompress(content, chunk.view(np.uint8))
        except (RuntimeError, ValueError) as error:  # zstd raises RuntimeError
            raise ShardError(f"{self._file} is damaged: {error}") from error
        return chunk.astype(self.dtype, copy=False).reshape(shape)
