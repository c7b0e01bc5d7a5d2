"""Bytes of a VRS file: files read as one, and compressed payloads.

Shape letters: n = places.
"""

from __future__ import annotations

import mmap
import os
from collections.abc import Sequence

import numpy as np

from foreact.episodes.sources.protocol import SourceError

__all__ = ["Chunks", "inflate", "inflate_start"]

MOST_BYTES = 1 << 30
"""A record that claims to be larger is refused."""
NONE, LZ4, ZSTD = 0, 1, 2
BLOCK = 1 << 16
"""Places gathered at once."""


class Chunks:
    """Files read as one after another. Reading is thread-safe.

    Args:
        files: Descriptors, in order; they are closed with it.

    Attributes:
        size: Of all together [bytes].
    """

    def __init__(self, files: Sequence[int]) -> None:
        self._files = list(files)
        sizes = [os.fstat(file).st_size for file in self._files]
        self._starts = np.concatenate([[0], np.cumsum(sizes, dtype=np.int64)])
        self.size = int(self._starts[-1])

    def read(self, start: int, length: int) -> bytes:
        """Bytes from a place on.

        Raises:
            SourceError: The files end before, or more than 1 GiB is asked for.
        """
        if not 0 <= length <= MOST_BYTES or start < 0 or start + length > self.size:
            raise SourceError(f"{length} bytes at byte {start} go beyond the {self.size} bytes of the file")
        pieces: list[bytes] = []
        while length:
            chunk = int(np.searchsorted(self._starts, start, side="right")) - 1
            want = min(length, int(self._starts[chunk + 1]) - start)
            piece = os.pread(self._files[chunk], want, start - int(self._starts[chunk]))
            if not piece:
                raise SourceError("the file became shorter while it was read")
            pieces.append(piece)
            start, length = start + len(piece), length - len(piece)
        return b"".join(pieces)

    def gather(self, offsets: np.ndarray, width: int) -> np.ndarray:
        """The same number of bytes at many places, uint8 (n, width).

        Raises:
            SourceError: A place lies outside.
        """
        out = np.empty((len(offsets), width), np.uint8)
        if len(offsets) and (offsets.min() < 0 or offsets.max() + width > self.size):
            raise SourceError(f"{width} bytes at byte {offsets.max()} go beyond the {self.size} bytes of the file")
        of = np.searchsorted(self._starts, offsets, side="right") - 1
        whole = offsets + width <= self._starts[of + 1]
        for chunk, file in enumerate(self._files):
            mine = np.flatnonzero(whole & (of == chunk))
            if not len(mine):
                continue
            with mmap.mmap(file, 0, prot=mmap.PROT_READ) as mapped:
                _pick(mapped, offsets[mine] - self._starts[chunk], mine, out)
        for index in np.flatnonzero(~whole):
            out[index] = np.frombuffer(self.read(int(offsets[index]), width), np.uint8)
        return out

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.pop())


def _pick(mapped: mmap.mmap, places: np.ndarray, rows: np.ndarray, out: np.ndarray) -> None:
    data = np.frombuffer(mapped, np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(data, out.shape[1])
    for start in range(0, len(rows), BLOCK):
        part = slice(start, start + BLOCK)
        out[rows[part]] = windows[places[part]]
    del data, windows  # the map cannot be closed while an array looks at it


def inflate(data: bytes, compression: int, size: int) -> bytes:
    """Bytes of a record as they were before compression.

    Args:
        data: As they lie in the file.
        compression: 0 none, 1 LZ4, 2 Zstandard.
        size: How many they were.

    Raises:
        SourceError: They are damaged, or not as many.
        ModuleNotFoundError: The package that inflates is not installed.
    """
    if compression == NONE:
        return data
    if size > MOST_BYTES:
        raise SourceError(f"it claims {size} bytes")
    if compression == ZSTD:
        plain = _zstd(data, size)
    elif compression == LZ4:
        plain = _lz4(data, size)
    else:
        raise SourceError(f"compression {compression} is unknown")
    if len(plain) != size:
        raise SourceError(f"it inflates to {len(plain)} bytes, should be {size}")
    return plain


def _zstd(data: bytes, size: int) -> bytes:
    try:
        import zstandard
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("this VRS file is compressed: pip install 'foreact[data]'") from error
    try:
        claimed = zstandard.frame_content_size(data)
        if claimed not in (-1, size):
            raise SourceError(f"its frame claims {claimed} bytes, its header {size}")
        return zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
    except zstandard.ZstdError as error:
        raise SourceError(f"it cannot be inflated: {error}") from error


def _lz4(data: bytes, size: int) -> bytes:
    try:
        import lz4.frame
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("this VRS file is compressed: pip install 'foreact[data]'") from error
    if size > 256 * len(data):  # LZ4 cannot pack tighter
        raise SourceError(f"{len(data)} bytes of LZ4 cannot hold {size}")
    try:
        inflater = lz4.frame.LZ4FrameDecompressor()
        return inflater.decompress(data, max_length=size)
    except (RuntimeError, EOFError) as error:
        raise SourceError(f"it cannot be inflated: {error}") from error


def inflate_start(data: bytes, compression: int, width: int) -> bytes:
    """First bytes of a record, of which `data` may be only the beginning.

    Raises:
        SourceError: They are damaged or too few.
    """
    if compression == NONE:
        plain = data[:width]
    elif compression == ZSTD:
        import zstandard

        try:
            plain = zstandard.ZstdDecompressor().stream_reader(data).read(width)
        except zstandard.ZstdError as error:
            raise SourceError(f"it cannot be inflated: {error}") from error
    elif compression == LZ4:
        import lz4.frame

        try:
            plain = lz4.frame.LZ4FrameDecompressor().decompress(data, max_length=width)
        except (RuntimeError, EOFError) as error:
            raise SourceError(f"it cannot be inflated: {error}") from error
    else:
        raise SourceError(f"compression {compression} is unknown")
    if len(plain) < width:
        raise SourceError(f"{len(plain)} bytes, {width} are needed")
    return plain
