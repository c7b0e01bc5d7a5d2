"""The direct reader must agree with Zarr, which wrote the files, and refuse what it does not know."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.codecs import GzipCodec

from foreact.episodes import arrays, shards
from foreact.episodes.shards import ShardError, read_sharded
from foreact.episodes.store import Episode, EpisodeStore


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int16", "uint16", "int64", "float32", "float64"])
@pytest.mark.parametrize("shape", [(1,), (5,), (1, 3), (16, 2, 3), (17, 2, 3), (40, 4, 5, 3)])
def test_reads_what_zarr_writes(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    data = np.random.default_rng(0).integers(0, 2 if dtype == "bool" else 100, shape).astype(dtype)
    arrays._write_array(tmp_path, "x", data)
    found = read_sharded(tmp_path / "x")
    np.testing.assert_array_equal(found, data)
    assert found.dtype == data.dtype and found.dtype.isnative
    np.testing.assert_array_equal(zarr.open_array(str(tmp_path / "x"), mode="r")[:], data)


def test_any_zarr_reader_opens_a_store(store: EpisodeStore, make_episode: Callable[..., Episode]) -> None:
    episode = make_episode(37)
    store.write("a-0", episode)
    root: Any = zarr.open_group(str(store.path), mode="r")
    assert root.attrs["foreact"]["contract_hash"] == store.contract.hash
    group = root["episodes/a-0"]
    assert sorted(group.array_keys()) == sorted([*episode.streams, "clock.0", "clock.1"])
    for name, stream in episode.streams.items():
        np.testing.assert_array_equal(group[name][:], stream.data)
    np.testing.assert_array_equal(group["clock.0"][:], episode.streams["state"].time_ns)


def test_other_layouts_are_refused(tmp_path: Path) -> None:
    data = np.zeros((8, 2), np.float32)
    kwargs: dict[str, Any] = {"store": str(tmp_path), "shape": data.shape, "dtype": data.dtype}
    zarr.create_array(name="gzip", chunks=(4, 2), shards=(8, 2), compressors=[GzipCodec()], **kwargs)
    zarr.create_array(name="plain", chunks=(4, 2), **kwargs)
    with pytest.raises(ShardError, match="another layout"):
        read_sharded(tmp_path / "gzip")
    with pytest.raises(ShardError, match="not the metadata of a sharded array"):
        read_sharded(tmp_path / "plain")


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m["codecs"][0]["configuration"].update(index_location="start"),
        lambda m: m["codecs"][0]["configuration"].update(chunk_shape=[8, 1]),
        lambda m: m["chunk_grid"]["configuration"].update(chunk_shape=[4, 2]),
        lambda m: m["chunk_key_encoding"]["configuration"].update(separator="/"),
        lambda m: m.update(data_type="string"),
        lambda m: m.pop("shape"),
    ],
)
def test_altered_metadata_is_refused(tmp_path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    arrays._write_array(tmp_path, "x", np.ones((8, 2), np.float32))
    path = tmp_path / "x" / "zarr.json"
    metadata = json.loads(path.read_text())
    change(metadata)
    path.write_text(json.dumps(metadata))
    with pytest.raises(ShardError):
        read_sharded(tmp_path / "x")


@pytest.mark.parametrize(("start", "size"), [(-1, 8), (0, 3), (0, 11), (9, 4)])
def test_chunks_outside_the_shard(start: int, size: int) -> None:
    with pytest.raises(ShardError, match="of a shard of 10"):
        shards.checked(b"0123456789", start, size)


def test_checksum_by_hand() -> None:
    # the check value of CRC-32C is crc32c("123456789") = 0xe3069283
    shard = b"123456789" + (0xE3069283).to_bytes(4, "little")
    assert shards.checked(shard, 0, 13) == b"123456789"
    with pytest.raises(ShardError, match="does not match"):
        shards.checked(shard[:-1] + b"\x00", 0, 13)
