"""Any recording to LeRobotDataset v3.0: lerobot itself reads what was written, and our reader what was recorded."""

import hashlib
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lerobot")

from foreact.episodes import convert_lerobot as module
from foreact.episodes import lerobot_part
from foreact.episodes.arrays import StoreError
from foreact.episodes.convert_lerobot import convert_lerobot
from foreact.episodes.convert_parts import differences, without
from foreact.episodes.outcome import quiet
from foreact.episodes.sources import SourceError, open_collection
from foreact.episodes.sources.parts import Part, PartsSource, Recordings, array_part
from foreact.episodes.sources.protocol import Kind, Stream

MS = 1_000_000
FRAMES = np.array([0, 33, 67, 101, 140], np.int64) * MS + 7_385_000_000_123


def stream(name: str, kind: Kind, values: Any, stamps: np.ndarray, **more: Any) -> Part:
    if kind in ("text", "event"):
        return Part(Stream(name, kind, (), "str", **more), stamps, values.__getitem__)
    first = np.asarray(values[0] if len(values) else np.zeros(values.shape[1:], values.dtype))
    dtype = "bytes" if kind == "bytes" else str(first.dtype)
    about = Stream(name, kind, more.pop("shape", first.shape), dtype, **more)
    return (
        array_part(about, stamps, values) if isinstance(values, np.ndarray) else Part(about, stamps, values.__getitem__)
    )


def recording(key: str) -> PartsSource:
    """Every kind of stream, at rates, phases and orders of their own."""
    rng = np.random.default_rng(len(key))
    force = rng.normal(size=(23, 6))
    force[3, 2], force[4, 1] = np.nan, np.inf
    fast = FRAMES[0] - 20 * MS + np.arange(23) * 8 * MS
    fast[[5, 6]] = fast[[6, 5]]  # out of order
    slow, early = FRAMES[[1, 3]] + 5, FRAMES[0] - np.arange(3, dtype=np.int64)[::-1] * MS
    blocks = [rng.integers(-99, 99, (size, 2)).astype(np.int16) for size in (4, 2, 3)]
    parts = [
        stream("camera.rgb", "image", rng.integers(0, 255, (5, 6, 8, 3), np.uint8), FRAMES, rate_hz=30.0),
        stream("camera.slam", "image", rng.integers(0, 255, (11, 4, 6), np.uint8), FRAMES[0] + np.arange(11) * 15 * MS),
        stream("depth.rgb", "depth", rng.integers(0, 65536, (2, 6, 8)).astype(np.uint16), slow, unit="mm"),
        stream("depth.far", "depth", rng.normal(size=(2, 6, 8)).astype(np.float32), slow, unit="m"),
        stream("segmentation.rgb", "segmentation", rng.integers(1 << 60, (1 << 60) + 300, (2, 6, 8), np.uint64), slow),
        stream("thermal", "image", rng.integers(0, 65536, (2, 6, 8)).astype(np.uint16), slow),
        stream("state", "vector", rng.normal(size=(2, 3)).astype(np.float32), slow, elements=("x", "y", "z"), unit="m"),
        stream("action", "vector", rng.normal(size=(23, 2)), fast, unit="rad"),
        stream("imu/left", "imu", force, fast, unit="rad/s"),
        stream("done", "vector", np.array([False, True]), slow),
        stream("count", "vector", np.array([1, (1 << 64) - 1], np.uint64), slow),
        stream("odd", "vector", np.array([1.5, 2.5, 3.5]), np.array([-1, 5, 5], np.int64)),
        stream("said", "text", ["ja", "näh \"quote\"", "你好"], early, frame="world"),
        stream("event", "event", ["{}", '{"a": 1}'], slow),
        stream("audio", "audio", blocks, FRAMES[[0, 2, 4]], shape=(None, 2)),
        stream("raw", "bytes", [b"x"], FRAMES[:1], shape=(), description="opus") if key == "one" else None,
        stream("empty", "vector", np.zeros((0, 4), np.float32), FRAMES[:0], shape=(4,)) if key != "one" else None,
    ]  # fmt: skip
    about = {"serial": key, "list": [1, None, {"a": 0.1}]}
    there = [each for each in parts if each is not None]
    return PartsSource(key, there, task=f"open door {key}", metadata=about, notes=("no map",))


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two made-up recordings."""
    collection = Recordings(tmp_path / "made", "made", {key: partial(recording, key) for key in ("one", "three")})
    monkeypatch.setattr(
        module, "open_collection", lambda path: collection if path.name == "made" else open_collection(path)
    )
    return tmp_path / "made"


def convert(source: Path, out: Path, *, drop: tuple[str, ...] = (), keys: tuple[str, ...] = (), **more: Any) -> Any:
    return convert_lerobot(source, out, keys, drop, **{"progress": quiet, **more})


def tree(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_every_kind_of_stream(made: Path, tmp_path: Path) -> None:
    figures = convert(made, tmp_path / "out", driver="camera.rgb")
    assert (figures["recordings"], figures["rows"], figures["frame_rate_hz"]) == (2, 10, 29)
    assert figures["left_out"] == ["raw: bytes that are not understood: opus"]
    assert figures["compared"].startswith("every row in lerobot")
    again = open_collection(tmp_path / "out")
    assert again.keys() == ("one", "three")
    for key in again.keys():
        with again.open(key) as written:
            assert differences(without(recording(key), ["raw"]), written, exact=True) == []
            assert written.streams["state"].elements == ("x", "y", "z")
            assert written.streams["said"].frame == "world"


def test_what_lerobot_gives(made: Path, tmp_path: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    convert(made, tmp_path / "out", verify=False, driver="camera.rgb")
    dataset: Any = LeRobotDataset("local/foreact", root=tmp_path / "out", video_backend="pyav")
    assert (dataset.num_episodes, len(dataset)) == (2, 10)
    source = recording("three")
    for row in range(5):
        item = dataset[5 + row]
        assert item["task"] == "open door three"
        assert int(item["time_ns"]) == int(item["stamps.camera.rgb"]) == FRAMES[row]
        rgb = np.round(item["observation.images.rgb"].numpy() * 255).astype(np.uint8).transpose(1, 2, 0)
        assert np.array_equal(rgb, source.read("camera.rgb", row))
    state = source.read_range("state", 0, 2)
    assert [int(dataset[5 + row]["stamps.state"]) for row in range(5)] == [
        -1, -1, FRAMES[1] + 5, FRAMES[1] + 5, FRAMES[3] + 5
    ]  # fmt: skip
    assert np.array_equal(dataset[9]["observation.state"].numpy(), state[1])
    depth = dataset[9]["observation.images.depth.rgb"].numpy()[0]
    assert np.array_equal(depth, np.asarray(source.read("depth.rgb", 1)).astype(np.float32))
    stats: Any = dataset.meta.stats
    both = [np.asarray(recording(key).read_range("state", 0, 2)) for key in ("one", "three")]
    assert np.allclose(stats["observation.state"]["min"], np.concatenate(both).min(0))  # no placeholder counts
    assert list(stats) == sorted(stats)  # an order of chance would be another in another process
    assert "stamps.state" not in stats and "streams.imu.left" not in stats


def test_a_stopped_conversion_goes_on_and_gives_the_same_bytes(made: Path, tmp_path: Path) -> None:
    convert(made, tmp_path / "whole", verify=False)
    for stage in ("write", "compare in lerobot"):

        def stops(done: int, total: int, text: str, stage: str = stage) -> None:
            if (done, text) == (1, stage):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            convert(made, tmp_path / "parts", progress=stops)
        assert not (tmp_path / "parts").exists()
    parts = tmp_path / ".partial-parts" / "parts"
    assert sorted(path.name for path in parts.iterdir()) == ["00000", "00001"]
    convert(made, tmp_path / "parts")
    assert tree(tmp_path / "whole") == tree(tmp_path / "parts")
    assert not (tmp_path / ".partial-parts").exists()


def test_a_writer_that_changes_something_is_found_out(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = lerobot_part.rows

    def wrong(*given: Any) -> Any:
        for number, row in enumerate(real(*given)):
            if number == 3:
                row["stamps.state"] = row["stamps.state"] + 1
            yield row

    monkeypatch.setattr(lerobot_part, "rows", wrong)
    with pytest.raises(StoreError, match=r"one, row 3: lerobot gives another stamps\.state than was written"):
        convert(made, tmp_path / "out", keys=("one",))
    assert not (tmp_path / "out").exists()


def test_video_says_how_far_it_is_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, None, :, None] * 3, (5, 64, 64, 3)).copy()
    parts = [stream("camera.rgb", "image", ramp, FRAMES)]
    made = Recordings(tmp_path, "made", {"one": lambda: PartsSource("one", parts)})
    monkeypatch.setattr(module, "open_collection", lambda path: made if path.name == "made" else open_collection(path))
    figures = convert(tmp_path / "made", tmp_path / "out", video=True)
    (lossy,) = figures["lossy"]
    assert lossy.startswith("camera.rgb: PSNR ") and 30 < float(lossy.split()[2]) < 80
    assert len(list((tmp_path / "out" / "videos").rglob("*.mp4"))) == 1
    with open_collection(tmp_path / "out").open("one") as again:
        assert np.array_equal(again.stamps("camera.rgb"), FRAMES)


def test_processes_give_the_same_bytes(tmp_path: Path) -> None:
    values = np.arange(20, dtype=np.float32).reshape(10, 2)
    archive = {f"{key}/{name}": values + add for key in "01" for add, name in enumerate(("actions", "observations"))}
    np.savez(tmp_path / "demos.npz", **archive)  # pyright: ignore[reportArgumentType]
    convert(tmp_path / "demos.npz", tmp_path / "one")
    convert(tmp_path / "demos.npz", tmp_path / "two", workers=2, verify=False)
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_bad_requests(made: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no recording two"):
        convert(made, tmp_path / "out", keys=("two",))
    with pytest.raises(StoreError, match="drop=radar fits no stream"):
        convert(made, tmp_path / "out", drop=("radar",))
    with pytest.raises(StoreError, match="driver=radar: there is no stream"):
        convert(made, tmp_path / "out", driver="radar")
    (tmp_path / "there").mkdir()
    with pytest.raises(StoreError, match="exists"):
        convert(made, tmp_path / "there")
    assert not list(tmp_path.glob(".partial-*"))


def test_a_damaged_description_is_an_error_that_says_what_to_do(made: Path, tmp_path: Path) -> None:
    convert(made, tmp_path / "out", verify=False, keys=("one",), drop=("camera.slam", "depth.*", "segmentation*"))
    file = tmp_path / "out" / "meta" / "foreact.json"
    said = json.loads(file.read_text())
    for change, message in (
        ({"format": 9}, "has format 9, this foreact reads 2"),
        ({"recordings": []}, "lists 0 recordings, the dataset has 1 episodes: it was changed since. Delete"),
        ({"columns": [{}]}, "missing keys"),
    ):
        file.write_text(json.dumps(said | change))
        with pytest.raises(SourceError, match=message):
            open_collection(tmp_path / "out")
    said["recordings"][0]["streams"][0]["samples"] += 1
    file.write_text(json.dumps(said))
    with pytest.raises(SourceError, match=r"5 samples, meta/foreact\.json says 6"):
        open_collection(tmp_path / "out").open("one")
    file.unlink()
    assert open_collection(tmp_path / "out").keys() == ("episode_000000",)
