"""Read the sharded arrays of `arrays` without Zarr's event loop.

Zarr hands each chunk through three threads, which on a busy machine costs ten times the decoding. The arrays here have
one known layout, so a shard is decoded in the calling thread: a shard file holds its inner chunks, each zstd then
crc32c, and at the end an index of (offset, size) per chunk, little-endian uint64, with a crc32c of its own
(Zarr 3 specification, "sharding_indexed").
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import strictjson

METADATA = "zarr.json"
_CHECKSUM = 4  # bytes of a crc32c


class ShardError(ValueError):
    """An array that is damaged, or not of the one layout that is read here."""


@dataclass(frozen=True)
class Layout:
    """Shape of the array, its dtype on disk, and samples per inner chunk."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    rows: int


def read_sharded(folder: Path) -> np.ndarray:
    """Read an array that lies in one shard, with inner chunks along its first axis.

    Args:
        folder: of the array: zarr.json and one shard.

    Returns:
        The array, in native byte order.

    Raises:
        ShardError: another layout, a checksum that does not match, or a chunk of the wrong size.
        OSError: a file is missing.
    """
    layout = parse_layout((folder / METADATA).read_text(encoding="utf-8"))
    path = folder / ".".join(["c", *("0" for _ in layout.shape)])
    shard = path.read_bytes()
    out = np.empty(layout.shape, layout.dtype)
    for number, (start, size) in enumerate(shard_index(shard, -(-layout.shape[0] // layout.rows))):
        first = number * layout.rows
        _decode(checked(shard, start, size), out[first : first + layout.rows], layout)
    return out.astype(layout.dtype.newbyteorder("="), copy=False)


def parse_layout(text: str) -> Layout:
    """Layout of an array by its metadata.

    Raises:
        ShardError: another layout than is read here.
        StrictJsonError: no JSON.
    """
    metadata = strictjson.loads(text)
    try:
        (codec,) = metadata["codecs"]
        sharding = codec["configuration"]
        names = [[item["name"] for item in sharding[key]] for key in ("codecs", "index_codecs")]
        chunk = tuple(sharding["chunk_shape"])
        shape = tuple(metadata["shape"])
        known = (
            codec["name"] == "sharding_indexed"
            and sharding["index_location"] == "end"
            and names == [["bytes", "zstd", "crc32c"], ["bytes", "crc32c"]]
            and metadata["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "."}}
            and metadata["chunk_grid"]["configuration"]["chunk_shape"][0] >= shape[0]
            and chunk[1:] == shape[1:]
        )
        dtype = np.dtype(metadata["data_type"]).newbyteorder("<")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ShardError(f"{METADATA} is not the metadata of a sharded array: {error!r}") from error
    if not known:
        raise ShardError(f"{METADATA} describes another layout than foreact writes")
    return Layout(shape, dtype, chunk[0])


def shard_index(shard: bytes, chunks: int) -> list[tuple[int, int]]:
    """(offset, size) [B] of each inner chunk.

    Args:
        shard: bytes at whose end the index lies.
        chunks: number of inner chunks.

    Raises:
        ShardError: the index is damaged.
    """
    length = 16 * chunks
    entries = struct.unpack(f"<{2 * chunks}Q", checked(shard, len(shard) - length - _CHECKSUM, length + _CHECKSUM))
    return list(zip(entries[::2], entries[1::2], strict=True))


def checked(shard: bytes, start: int, size: int) -> bytes:
    """Bytes [start, start + size) without the crc32c at their end, which must match.

    Raises:
        ShardError: it does not, or they lie elsewhere.
    """
    import google_crc32c

    if start < 0 or size < _CHECKSUM or start + size > len(shard):
        raise ShardError(f"a chunk lies at {start} + {size} bytes of a shard of {len(shard)}")
    content = shard[start : start + size - _CHECKSUM]
    stored = int.from_bytes(shard[start + size - _CHECKSUM : start + size], "little")
    if google_crc32c.value(content) != stored:
        raise ShardError(f"the checksum of the chunk at byte {start} does not match")
    return content


def _decode(content: bytes, out: np.ndarray, layout: Layout) -> None:
    from numcodecs.zstd import decompress

    if len(out) == layout.rows:
        decompress(content, out)
        return
    # The last chunk is stored whole, padded beyond the end of the array.
    chunk = np.empty((layout.rows, *layout.shape[1:]), layout.dtype)
    decompress(content, chunk)
    out[...] = chunk[: len(out)]
