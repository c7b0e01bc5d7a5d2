"""LeRobot datasets as recordings: the real one in both versions, and one written here for what it does not have."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.sources.lerobot import open_collection
from foreact.episodes.sources.protocol import SourceError

av = pytest.importorskip("av")
pytest.importorskip("pyarrow")
V30, V21 = "g1_head_teleop_lerobot_v30", "g1_head_teleop_lerobot_v21"
LENGTHS = (221, 277, 267)
FPS = 10
CAMERA = "observation.images.top"


def plain(file: Path) -> list[np.ndarray]:
    with av.open(str(file)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def test_the_real_dataset_says_what_its_source_says(shared_data: Path) -> None:
    collection = open_collection(shared_data / V30)
    assert collection.format == "lerobot-3.0"
    assert collection.keys() == ("episode_000000", "episode_000001", "episode_000002")
    start = 0
    for key, length in zip(collection.keys(), LENGTHS, strict=True):
        with collection.open(key) as source:
            assert source.task == "Pick up the yellow bottle on the table."
            assert (source.metadata["robot_type"], source.metadata["fps"], source.notes) == (
                "Unitree_G1_Inspire",
                30,
                (),
            )
            assert list(source.streams) == ["state", "action", "camera.cam_high"]
            state, camera = source.streams["state"], source.streams["camera.cam_high"]
            assert (state.kind, state.shape, state.dtype, state.rate_hz, state.unit) == (
                "vector",
                (26,),
                "float32",
                30.0,
                "",
            )
            assert (state.elements[0], state.elements[-1]) == ("kLeftShoulderPitch", "kRightHandThumbRotation")
            assert (camera.kind, camera.shape, camera.description) == (
                "image",
                (480, 640, 3),
                "av1, a key frame every 2 frames",
            )
            for name in source.streams:
                np.testing.assert_array_equal(source.stamps(name), [round(frame * 1e9 / 30) for frame in range(length)])
        start += length
    assert start == 765
    collection.close()


def test_arrays_are_those_of_lerobots_own_class(shared_data: Path) -> None:
    datasets = pytest.importorskip("lerobot.datasets.lerobot_dataset")
    dataset = datasets.LeRobotDataset("local/g1", root=shared_data / V30, video_backend="pyav")
    collection, start = open_collection(shared_data / V30), 0
    for key, length in zip(collection.keys(), LENGTHS, strict=True):
        rows = dataset.hf_dataset.with_format("numpy")[start : start + length]
        with collection.open(key) as source:
            np.testing.assert_array_equal(source.read_range("state", 0, length), rows["observation.state"])
            np.testing.assert_array_equal(source.read_range("action", 0, length), rows["action"])
            np.testing.assert_allclose(source.stamps("action") / 1e9, rows["timestamp"], atol=1e-6)
            for frame in (0, length // 2, length - 1):
                theirs = dataset[start + frame]
                ours = source.read("camera.cam_high", frame)
                image = np.rint(theirs["observation.images.cam_high"].numpy() * 255).astype(np.uint8)
                np.testing.assert_array_equal(ours, image.transpose(1, 2, 0))
                assert theirs["task"] == source.task
        start += length


def test_both_versions_give_the_same(shared_data: Path) -> None:
    with open_collection(shared_data / V30).open("episode_000000") as new:
        collection = open_collection(shared_data / V21)
        assert (collection.format, collection.keys()) == ("lerobot-2.1", ("episode_000000",))
        with collection.open("episode_000000") as old:
            assert dict(old.streams) == dict(new.streams)
            assert (old.task, old.notes) == (new.task, ())
            for name in ("state", "action"):
                np.testing.assert_array_equal(old.read_range(name, 0, 221), new.read_range(name, 0, 221))
                np.testing.assert_array_equal(old.stamps(name), new.stamps(name))
            for start in (0, 100, 211):
                np.testing.assert_array_equal(
                    old.read_range("camera.cam_high", start, start + 10),
                    new.read_range("camera.cam_high", start, start + 10),
                )


def png(value: int) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.full((8, 12, 3), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def feature(dtype: str, *shape: int, names: object = None) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "names": names}


def write_info(path: Path, **changes: object) -> None:
    features = {
        "observation.state": feature("float32", 2, names={"motors": ["left", "right"]}),
        "action": feature("float64", 1),
        CAMERA: feature("video", 3, 48, 64, names=["channels", "height", "width"]),
        "observation.images.wrist": feature("image", 8, 12, 3, names=["height", "width", "channels"]),
        "observation.images.far": {
            **feature("video", 48, 64, 3, names=["height", "width", "channels"]),
            "info": {"video.is_depth_map": True},
        },
        "next.reward": feature("float32", 1),
        "next.done": feature("bool", 1),
        "note": feature("string", 1),
        "not.there": feature("float32", 3),
        "timestamp": feature("float32", 1),
        **{name: feature("int64", 1) for name in ("frame_index", "episode_index", "index", "task_index")},
    }
    info = {
        "codebase_version": "v3.0",
        "fps": FPS,
        "robot_type": None,
        "features": features,
        "total_episodes": 2,
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        **changes,
    }
    (path / "meta").mkdir(parents=True, exist_ok=True)
    (path / "meta" / "info.json").write_text(json.dumps(info))


def write_dataset(path: Path, *, late_s: float = 0.0, **changes: object) -> Path:
    """Two episodes of 5 and 7 rows in one table and one video; rows from the second on are late by `late_s`."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    write_info(path, **changes)
    rows, episodes = [], []
    for number, length in enumerate((5, 7)):
        start = 5 * number
        video = {"chunk_index": 0, "file_index": 0, "from_timestamp": start / FPS}
        episodes.append(
            {
                "episode_index": number,
                "length": length,
                "tasks": ["reach", "grasp"][number:],
                "data/chunk_index": 0,
                "data/file_index": 0,
                **{f"videos/{CAMERA}/{key}": value for key, value in video.items()},
            }
        )
        rows += [
            {
                "observation.state": [float(number), float(frame)],
                "action": 0.1 * frame,
                "observation.images.wrist": {"bytes": png(20 * number + frame), "path": None},
                "next.reward": 1.0,
                "next.done": frame == length - 1,
                "note": f"row {start + frame}",
                "timestamp": frame / FPS + (late_s if frame else 0.0),
                "frame_index": frame,
                "episode_index": number,
                "index": start + frame,
                "task_index": 1 if number or frame > 2 else 0,
            }
            for frame in range(length)
        ]
    table = pa.Table.from_pylist(rows)
    for name, kind in {
        "observation.state": pa.list_(pa.float32()),
        "timestamp": pa.float32(),
        "next.reward": pa.float32(),
    }.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    tasks = pa.table({"task_index": [0, 1], "task": ["reach", "grasp"]})
    for place, content in {
        "meta/episodes/chunk-000/file-000.parquet": pa.Table.from_pylist(episodes),
        "data/chunk-000/file-000.parquet": table,
        "meta/tasks.parquet": tasks,
    }.items():
        (path / place).parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(content, path / place)
    write_video(path / f"videos/{CAMERA}/chunk-000/file-000.mp4")
    return path


def write_video(path: Path, frames: int = 12) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=FPS, options={"g": "4"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for number in range(frames):
            picture = np.full((48, 64, 3), 20 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_what_the_real_one_does_not_have(tmp_path: Path) -> None:
    path = write_dataset(tmp_path)
    frames = plain(path / f"videos/{CAMERA}/chunk-000/file-000.mp4")
    collection = open_collection(path)
    with collection.open("episode_000001") as source:
        assert list(source.streams) == ["state", "action", "camera.top", "camera.wrist", "reward", "done", "note"]
        assert source.task == "grasp"
        assert source.streams["state"].elements == ("left", "right")
        np.testing.assert_array_equal(source.read("state", 3), np.array([1, 3], np.float32))
        np.testing.assert_array_equal(source.read_range("action", 0, 7), 0.1 * np.arange(7)[:, None])
        np.testing.assert_array_equal(source.read_range("camera.top", 0, 7), frames[5:12])
        np.testing.assert_array_equal(source.read("camera.top", 2), frames[7])
        assert np.all(source.read("camera.wrist", 6) == np.uint8(26))
        assert source.read("done", 6) == [True]
        assert source.read_range("note", 0, 2) == ["row 5", "row 6"]
        assert len(source.notes) == 2
        assert source.notes[0].startswith("observation.images.far is left out: depth in a video")
        assert source.notes[1].startswith("not.there is left out")
        np.testing.assert_array_equal(source.stamps("note"), np.arange(7) * 100_000_000)
    with collection.open("episode_000000") as source:
        assert (source.task, source.metadata["tasks"]) == ("reach", ["reach", "grasp"])
        assert source.read_range("task", 0, 5) == ["reach", "reach", "reach", "grasp", "grasp"]


def test_times_off_the_grid_are_those_of_the_file(tmp_path: Path) -> None:
    collection = open_collection(write_dataset(tmp_path, late_s=0.0005))
    with collection.open("episode_000000") as source:
        assert "0.000500005 s off" in source.notes[0]
        assert abs(int(source.stamps("state")[4]) - 400_500_000) < 20
        assert np.shape(source.read("camera.top", 4)) == (48, 64, 3)  # still the nearest frame
    collection = open_collection(write_dataset(tmp_path, late_s=0.02))
    with collection.open("episode_000000") as source:
        assert "no frame for 4 of 5 rows" in source.notes[1]
        source.read("camera.top", 0)
        with pytest.raises(SourceError, match="no frame for row 1"):
            source.read("camera.top", 1)


def test_lost_or_odd_videos_are_left_out_and_noted(tmp_path: Path) -> None:
    path = write_dataset(tmp_path)
    file = path / f"videos/{CAMERA}/chunk-000/file-000.mp4"
    write_video(file, 8)
    with open_collection(path).open("episode_000001") as source:
        assert any("no frame for 4 of 7 rows" in note for note in source.notes)
        source.read("camera.top", 2)
    file.unlink()
    with open_collection(path).open("episode_000001") as source:
        assert "camera.top" not in source.streams
        assert source.notes[0].startswith(f"{CAMERA} is left out")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"codebase_version": "v1.6"}, "version 'v1.6'"),
        ({"fps": 0}, "fps is 0"),
        ({"fps": "30"}, "fps is '30'"),
        ({"data_path": "../{chunk_index}/{file_index}"}, "names no file in the folder"),
        ({"data_path": "/data/{chunk_index}"}, "names no file in the folder"),
        ({"data_path": "{chunk_index.__class__}"}, "names no file in the folder"),
        ({"video_path": "{video_key:999999999}"}, "names no file in the folder"),
        ({"features": {"../up": feature("video", 1, 1, 3)}}, "leads out of the folder"),
        ({"features": {"a": {"dtype": "float32"}}}, "malformed"),
        ({"features": 3}, "features are not objects"),
        ({"total_episodes": 5}, "info.json says 5"),
    ],
)
def test_bad_metadata_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=message):
        open_collection(write_dataset(tmp_path, **changes))


def test_bad_tables_are_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    path = write_dataset(tmp_path / "a")
    file = path / "data/chunk-000/file-000.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(SourceError, match=r"file-000\.parquet"):
        open_collection(path).open("episode_000000")
    path = write_dataset(tmp_path / "b")
    file = path / "meta/episodes/chunk-000/file-000.parquet"
    rows = parquet.read_table(file).to_pylist()
    parquet.write_table(pa.Table.from_pylist([{**row, "data/file_index": "../../x"} for row in rows]), file)
    with pytest.raises(SourceError, match="not whole numbers"):
        open_collection(path).open("episode_000000")
    parquet.write_table(pa.Table.from_pylist([{**row, "length": 99} for row in rows]), file)
    with pytest.raises(SourceError, match="has 5 rows, expected 99"):
        open_collection(path).open("episode_000000")
    shutil.rmtree(path / "meta/episodes")
    with pytest.raises(SourceError, match="lists 0 episodes"):
        open_collection(path)
    (path / "meta/info.json").write_text("{")
    with pytest.raises(SourceError, match=r"info\.json"):
        open_collection(path)
