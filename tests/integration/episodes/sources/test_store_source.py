"""Our own store as recordings: against what was written, and damage."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.contract import CameraSpec, FeatureSpec, LanguageSpec, PolicyContract
from foreact.episodes.sources import SourceError, open_collection
from foreact.episodes.store import Episode, EpisodeStore, Stream

UNITS = ("m", "1")


def feature(name: str) -> FeatureSpec:
    return FeatureSpec(name, "float32", ("x", "gripper"), UNITS, "base", (-1.0,) * 2, (1.0,) * 2, "none")


@pytest.fixture
def episode() -> Episode:
    rng = np.random.default_rng(0)
    control, frames = np.arange(6, dtype=np.int64) * 12_500_000, np.arange(3, dtype=np.int64) * 25_000_000
    vector = Stream(rng.uniform(-1, 1, (6, 2)).astype(np.float32), control, "m,1", 80.0)
    rgb = Stream(rng.integers(0, 256, (3, 4, 6, 3), np.uint8), frames, "1", 40.0)
    depth = Stream(rng.integers(0, 5000, (3, 4, 6), np.uint16), frames, "mm", 40.0)
    streams = {"state": vector, "action": vector, "camera.front.rgb": rgb, "camera.front.depth": depth}
    return Episode(streams, "reach-v3", "reach the ball", 7, True, {"layout": 3})


@pytest.fixture
def store(tmp_path: Path, episode: Episode) -> Path:
    camera = CameraSpec(
        "front", 6, 4, ("rgb", "depth"), 5.0, 5.0, 3.0, 2.0, "world", (0.0, 0.0, 1.0), (1.0, 0.0, 0.0, 0.0)
    )
    contract = PolicyContract(1, "arm", 80.0, 4, feature("state"), feature("action"), (camera,), LanguageSpec(), None)
    EpisodeStore.create(tmp_path / "s", contract).write("reach-v3-00000", episode)
    return tmp_path / "s"


def test_what_is_read_is_what_was_written(store: Path, episode: Episode) -> None:
    collection = open_collection(store)
    assert (collection.format, collection.keys()) == ("foreact", ("reach-v3-00000",))
    names = {
        "state": "state",
        "action": "action",
        "camera.front.rgb": "camera.front",
        "camera.front.depth": "depth.front",
    }
    with collection.open("reach-v3-00000") as source:
        assert source.task == "reach the ball"
        assert source.metadata == {"layout": 3, "task": "reach-v3", "seed": 7, "success": True}
        assert set(source.streams) == set(names.values())
        for written, shown in names.items():
            stream, about = episode.streams[written], source.streams[shown]
            assert np.array_equal(source.stamps(shown), stream.time_ns)
            assert np.array_equal(np.asarray(source.read_range(shown, 0, len(stream.data))), stream.data)
            assert np.array_equal(np.asarray(source.read(shown, 2)), stream.data[2])
            assert (about.unit, about.rate_hz, about.shape) == (stream.unit, stream.rate_hz, stream.data.shape[1:])
        assert (source.streams["state"].elements, source.streams["state"].frame) == (("x", "gripper"), "base")
        assert [source.streams[name].kind for name in ("camera.front", "depth.front")] == ["image", "depth"]


def test_a_store_in_a_bucket_gives_the_same(store: Path, episode: Episode) -> None:
    files = pytest.importorskip("fsspec").filesystem("memory")
    files.put(str(store), "/bucket/episodes", recursive=True)
    try:
        collection = open_collection("memory://bucket/episodes")
        assert collection.keys() == ("reach-v3-00000",)
        with collection.open("reach-v3-00000") as source:
            assert np.array_equal(source.stamps("action"), episode.streams["action"].time_ns)
            assert np.array_equal(
                np.asarray(source.read("camera.front", 1)), episode.streams["camera.front.rgb"].data[1]
            )
    finally:
        files.rm("/bucket", recursive=True)


def test_a_folder_that_is_no_store_is_named(tmp_path: Path) -> None:
    (tmp_path / "episodes").mkdir()
    (tmp_path / "zarr.json").write_text("{}")
    with pytest.raises(SourceError, match=r"zarr.json"):
        open_collection(tmp_path)


def test_damage_is_an_error_or_harmless(
    store: Path, episode: Episode, damage: Callable[..., bytes], read_everything: Callable[..., int]
) -> None:
    files = sorted(file for file in store.rglob("*") if file.is_file())
    whole = {file: file.read_bytes() for file in files}
    errors = 0
    for seed in range(500):
        file = files[seed % len(files)]
        file.write_bytes(damage(whole[file], seed // len(files)))
        try:
            collection = open_collection(store)
            if read_everything(collection):
                source = collection.open("reach-v3-00000")
                assert np.array_equal(source.stamps("action"), episode.streams["action"].time_ns)
                values = np.asarray(source.read_range("camera.front", 0, 3))
                assert np.array_equal(values, episode.streams["camera.front.rgb"].data)
        except SourceError:
            errors += 1
        file.write_bytes(whole[file])
    assert errors > 200, errors
