"""Write a sharded Zarr 3 array sample by sample, in the layout that `shards` describes.

Zarr's own writer holds a shard in memory whole; here a chunk is the most that is held. The bytes are those that
Zarr's writer gives. Shape letters: k = samples of one call.
"""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from foreact.episodes import shards

__all__ = ["CHUNK", "DTYPES", "ShardWriter", "rows_of", "shard_name"]

CHUNK = 1 << 18  # bytes of an inner chunk, before it is packed
MOST_ROWS = 65536  # samples of an inner chunk
ZSTD_LEVEL = 3
DTYPES = (
    "bool",
    *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)),
    "float16",
    "float32",
    "float64",
)


def rows_of(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Samples of an inner chunk: as many as fit into `CHUNK` bytes, at least one."""
    return min(MOST_ROWS, max(1, CHUNK // max(1, dtype.itemsize * math.prod(shape))))


def shard_name(ndim: int) -> str:
    """File of the one shard of an array with so many axes."""
    return ".".join(["c", *["0"] * ndim])


class ShardWriter:
    """An array that grows along its first axis until it is finished.

    Args:
        folder: Of the array; must not exist.
        dtype: One of `DTYPES`.
        shape: Of one sample.

    Raises:
        ValueError: A type that Zarr lacks.
    """

    def __init__(self, folder: Path, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        if dtype.name not in DTYPES:
            raise ValueError(f"numbers of type {dtype} cannot be stored; known are {', '.join(DTYPES)}")
        folder.mkdir(parents=True)
        self._folder, self._dtype, self._shape = folder, dtype.newbyteorder("<"), shape
        self.rows, self.count = rows_of(dtype, shape), 0
        self._held = np.zeros((self.rows, *shape), self._dtype)
        self._filled = 0
        self._index: list[int] = []
        self._at = 0
        self._file: BinaryIO | None = None

    def append(self, samples: np.ndarray) -> None:
        """Add samples, (k, *shape)."""
        start = 0
        while start < len(samples):
            taken = min(len(samples) - start, self.rows - self._filled)
            self._held[self._filled : self._filled + taken] = samples[start : start + taken]
            start, self._filled = start + taken, self._filled + taken
            if self._filled == self.rows:
                self._flush()
        self.count += len(samples)

    def finish(self) -> None:
        """Write what is held, the index and the metadata."""
        if self._filled:
            self._held[self._filled :] = 0  # the last chunk is stored whole, padded beyond the end of the array
            self._flush()
        if self._file is not None:
            index = struct.pack(f"<{len(self._index)}Q", *self._index)
            self._file.write(_with_crc(index))
            self._file.close()
        text = json.dumps(self._metadata(), indent=2)
        (self._folder / shards.METADATA).write_text(text, encoding="utf-8")

    def close(self) -> None:
        """Let go of the file, also of an unfinished array."""
        if self._file is not None:
            self._file.close()

    def _flush(self) -> None:
        from numcodecs.zstd import compress

        self._filled = 0
        if not self._held.size:
            return  # samples without elements: nothing to store
        if self._file is None:
            self._file = (self._folder / shard_name(1 + len(self._shape))).open("xb")
        chunk = _with_crc(compress(self._held.reshape(-1).view(np.uint8), ZSTD_LEVEL))
        self._file.write(chunk)
        self._index += [self._at, len(chunk)]
        self._at += len(chunk)

    def _metadata(self) -> dict[str, Any]:
        chunks = max(1, -(-self.count // self.rows))
        sample = [max(1, size) for size in self._shape]  # Zarr has no chunks of size 0
        ends = {"endian": "little"}
        crc = {"name": "crc32c"}
        bytes_codec = {"name": "bytes"} if self._dtype.itemsize == 1 else {"name": "bytes", "configuration": ends}
        inner = [bytes_codec, {"name": "zstd", "configuration": {"level": ZSTD_LEVEL, "checksum": False}}, crc]
        sharding = {
            "chunk_shape": [self.rows, *sample],
            "codecs": inner,
            "index_codecs": [{"name": "bytes", "configuration": ends}, crc],
            "index_location": "end",
        }
        return {
            "shape": [self.count, *self._shape],
            "data_type": self._dtype.name,
            "chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [chunks * self.rows, *sample]}},
            "chunk_key_encoding": {"name": "default", "configuration": {"separator": "."}},
            "fill_value": np.zeros((), self._dtype).item(),
            "codecs": [{"name": "sharding_indexed", "configuration": sharding}],
            "attributes": {},
            "zarr_format": 3,
            "node_type": "array",
            "storage_transformers": [],
        }


def _with_crc(content: bytes) -> bytes:
    import google_crc32c

    return content + google_crc32c.value(content).to_bytes(4, "little")
