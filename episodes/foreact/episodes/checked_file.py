"""A file of a store for a reader that seeks: fetched block by block, each held to its checksum.

Shape letters: b = blocks of the file.
"""

from __future__ import annotations

import io
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any, override

import numpy as np

from foreact.episodes.remote import Files
from foreact.episodes.shards import ShardError

__all__ = ["BLOCK", "CheckedFile", "block_checksums"]

BLOCK = 1 << 18  # bytes
KEPT = 16  # blocks


def block_checksums(path: Path) -> np.ndarray:
    """crc32c of each block of a file, uint32 (b,)."""
    import google_crc32c

    found: list[int] = []
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            found.append(google_crc32c.value(block))
    return np.array(found, np.uint32)


class CheckedFile(io.RawIOBase):
    """One file, open for reading.

    Args:
        files: The store.
        file: Its name there.
        size: What it must have [B].
        checksums: uint32 (b,), see `block_checksums`.

    Attributes:
        broken: Why a block could not be had; empty while all could. Who reads through a library asks for it, as
            libraries go on behind a fault.

    Raises:
        ShardError: So many checksums are not of a file of that size.
    """

    def __init__(self, files: Files, file: str, size: int, checksums: np.ndarray) -> None:
        if len(checksums) != -(-size // BLOCK):
            raise ShardError(f"{file}: {len(checksums)} checksums for {size} bytes")
        self.name = f"{files.name}/{file}"
        self._files, self._file, self._size, self._checksums = files, file, size, checksums
        self._at, self.broken = 0, ""
        self._kept: OrderedDict[int, bytes] = OrderedDict()

    @override
    def readable(self) -> bool:
        return True

    @override
    def seekable(self) -> bool:
        return True

    @override
    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = max(0, offset + (0, self._at, self._size)[whence])
        return self._at

    @override
    def tell(self) -> int:
        return self._at

    @override
    def readinto(self, buffer: Any) -> int:
        if self._at >= self._size:
            return 0
        number, inside = divmod(self._at, BLOCK)
        piece = self._block(number)[inside : inside + len(buffer)]
        buffer[: len(piece)] = piece
        self._at += len(piece)
        return len(piece)

    def _block(self, number: int) -> bytes:
        if number not in self._kept:
            try:
                self._kept[number] = self._fetch(number)
            except (OSError, ShardError) as error:
                self.broken = str(error)
                raise
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]

    def _fetch(self, number: int) -> bytes:
        import google_crc32c

        block = self._files.part(self._file, number * BLOCK, min(self._size, (number + 1) * BLOCK))
        if google_crc32c.value(block) != int(self._checksums[number]):
            raise ShardError(f"{self.name}: the checksum of the block at byte {number * BLOCK} does not match")
        return block
