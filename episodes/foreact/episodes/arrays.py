"""The files of one episode: one sharded Zarr 3 array per stream and clock, and a group header with a manifest.

    EPISODE/zarr.json             group; attributes: labels, streams, and bytes + crc32 of every other file
    EPISODE/STREAM/zarr.json      array metadata
    EPISODE/STREAM/c.0...         the one shard: inner chunks of `FRAMES` images, zstd then crc32c each
    EPISODE/clock.N/...           int64 [ns], shared by the streams that tick together

Nothing in these files depends on when or where they were written: equal episodes give equal bytes.
"""

import dataclasses
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import shards, strictjson
from foreact.episodes.episode import Episode, EpisodeHeader, StreamHeader, shared_clocks

HEADER = "zarr.json"
FRAMES = 16  # images per inner chunk
ROWS = 65536  # samples per inner chunk of vectors and scalars
ZSTD_LEVEL = 3


class StoreError(ValueError):
    """An episode store, or an episode in it, that is missing, damaged, foreign or newer; the message says where."""


def write_group(folder: Path, attributes: dict[str, Any], name: str = HEADER) -> None:
    """Write the Zarr 3 group metadata of a folder, in one atomic step, as `zarr.json` or another name."""
    text = json.dumps({"attributes": attributes, "node_type": "group", "zarr_format": 3}, indent=1, sort_keys=True)
    temporary = folder / f".tmp-{name}-{os.getpid()}"
    temporary.write_text(text + "\n", encoding="utf-8")
    os.replace(temporary, folder / name)


def read_group(folder: Path) -> dict[str, Any]:
    """Attributes of a Zarr 3 group.

    Raises:
        StoreError: no group, or its metadata cannot be parsed.
    """
    path = folder / HEADER
    try:
        content = strictjson.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise StoreError(f"{path} is missing") from None
    except (strictjson.StrictJsonError, UnicodeDecodeError) as error:
        raise StoreError(f"{path} is truncated or damaged: {error}") from error
    if not isinstance(content, dict) or content.get("zarr_format") != 3 or content.get("node_type") != "group":
        raise StoreError(f"{path} is not the metadata of a Zarr 3 group")
    return content.get("attributes", {})


def write_episode(folder: Path, episode: Episode) -> None:
    """Write a checked episode into an empty folder, header last."""
    clock_of, clocks = shared_clocks(episode.streams)
    for name, stream in episode.streams.items():
        _write_array(folder, name, stream.data)
    for name, time_ns in clocks.items():
        _write_array(folder, name, time_ns)
    header = EpisodeHeader(
        task=episode.task,
        instruction=episode.instruction,
        seed=episode.seed,
        success=episode.success,
        metadata=dict(episode.metadata),
        streams={
            name: StreamHeader(str(s.data.dtype), s.data.shape, s.unit, float(s.rate_hz), clock_of[name])
            for name, s in episode.streams.items()
        },
        files={name: _size_and_crc32(folder / name) for name in episode_files(folder)},
    )
    content = dataclasses.asdict(header)
    write_group(folder, {"episode": content, "checksum": _checksum(content)})


def read_header(folder: Path) -> EpisodeHeader:
    """Read what `write_episode` wrote about an episode.

    Raises:
        StoreError: missing, truncated or altered.
    """
    return header_of(read_group(folder), str(folder / HEADER))


def header_of(attributes: dict[str, Any], where: str) -> EpisodeHeader:
    """The header of an episode from the attributes of its group.

    Raises:
        StoreError: altered, or of something else.
    """
    if set(attributes) != {"episode", "checksum"}:
        raise StoreError(f"{where} is not the header of an episode; it holds {sorted(attributes)}")
    if attributes["checksum"] != _checksum(attributes["episode"]):
        raise StoreError(f"{where} was altered: its checksum does not match")
    try:
        return strictjson.decode(EpisodeHeader, attributes["episode"], "episode")
    except strictjson.StrictJsonError as error:
        raise StoreError(f"{where}: {error}") from error


def check_sizes(folder: Path, header: EpisodeHeader, array: str) -> None:
    """Compare the files of one array with the manifest: cheap, done at every read.

    Raises:
        StoreError: a file is missing or has another size.
    """
    prefix = f"{array}/"
    for name, (size, _) in header.files.items():
        if name.startswith(prefix):
            _check_size(folder / name, size)


def check_files(folder: Path, header: EpisodeHeader) -> list[str]:
    """Compare every file with the manifest, byte for byte (crc32); return the problems."""
    problems = [
        f"{folder / name} does not belong to the episode" for name in episode_files(folder) if name not in header.files
    ]
    for name, (size, crc32) in header.files.items():
        try:
            _check_size(folder / name, size)
        except StoreError as error:
            problems.append(str(error))
            continue
        if _size_and_crc32(folder / name)[1] != crc32:
            problems.append(f"{folder / name} was altered: its checksum does not match")
    return problems


def read_array(folder: Path, name: str) -> np.ndarray:
    """Read one whole array of an episode.

    Raises:
        StoreError: missing, truncated or damaged.
    """
    try:
        return shards.read_sharded(folder / name)
    except (OSError, ValueError, RuntimeError) as error:  # zstd raises RuntimeError
        raise StoreError(f"{folder / name} is damaged: {error}") from error


def episode_files(folder: Path) -> list[str]:
    """Relative paths of all files of an episode but its header, sorted."""
    paths = (path for path in folder.rglob("*") if path.is_file() and path != folder / HEADER)
    return sorted(path.relative_to(folder).as_posix() for path in paths)


def _write_array(folder: Path, name: str, data: np.ndarray) -> None:
    import zarr
    from zarr.codecs import Crc32cCodec, ZstdCodec

    chunk = min(len(data), FRAMES if data.ndim >= 3 else ROWS)
    array = zarr.create_array(
        str(folder),
        name=name,
        shape=data.shape,
        dtype=data.dtype,
        chunks=(chunk, *data.shape[1:]),
        shards=(-(-len(data) // chunk) * chunk, *data.shape[1:]),
        compressors=[ZstdCodec(level=ZSTD_LEVEL), Crc32cCodec()],
        chunk_key_encoding={"name": "default", "separator": "."},
        # Without this an all-zero image would not be stored at all, and a lost file would read as zeros.
        config={"write_empty_chunks": True},
    )
    array[:] = data


def _checksum(content: dict[str, Any]) -> int:
    return zlib.crc32(strictjson.canonical(content).encode())


def _check_size(path: Path, size: int) -> None:
    try:
        found = path.stat().st_size
    except FileNotFoundError:
        raise StoreError(f"{path} is missing") from None
    if found != size:
        raise StoreError(f"{path} is truncated or altered: expected {size} bytes, found {found}")


def _size_and_crc32(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    return len(content), zlib.crc32(content)
