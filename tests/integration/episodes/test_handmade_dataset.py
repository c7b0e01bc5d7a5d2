"""A LeRobotDataset v3.0 written by hand here: what the real one in shared/data does not have."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.convert import ConvertConfig, convert
from foreact.episodes.store import EpisodeStore, StoreError

pytest.importorskip("av")
pytest.importorskip("pyarrow")
FPS = 10
LENGTHS = (5, 7)
ONE_KEY_FRAME = {"g": "100", "sc_threshold": "1000000000", "qscale": "2"}


def scalar(dtype: str) -> dict[str, Any]:
    return {"dtype": dtype, "shape": [1], "names": None}


def write_dataset(path: Path, **changes: object) -> Path:
    """Two episodes in one table and one video whose only key frame is the first; frame i is grey level 20 i."""
    features = {
        "observation.state": {"dtype": "float32", "shape": [2], "names": None},
        "action": {"dtype": "float32", "shape": [2], "names": {"motors": ["left", "right"]}},
        "observation.images.Top": {"dtype": "video", "shape": [3, 64, 64], "names": ["channels", "height", "width"]},
        "next.success": scalar("bool"),
        "note": {"dtype": "string", "shape": [1], "names": None},
        "timestamp": scalar("float32"),
        **{name: scalar("int64") for name in ("frame_index", "episode_index", "index", "task_index")},
    }
    info = {
        "codebase_version": "v3.0",
        "fps": FPS,
        "features": features,
        "total_episodes": len(LENGTHS),
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        **changes,
    }
    (path / "meta").mkdir(parents=True)
    (path / "meta" / "info.json").write_text(json.dumps(info))
    write_tables(path)
    write_video(path / "videos/observation.images.Top/chunk-000/file-000.mp4")
    return path


def write_tables(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as parquet

    episodes, rows = [], []
    for index, length in enumerate(LENGTHS):
        start = sum(LENGTHS[:index])
        video = {"chunk_index": 0, "file_index": 0, "from_timestamp": start / FPS}
        prefixed = {f"videos/observation.images.Top/{key}": value for key, value in video.items()}
        task = {"episode_index": index, "length": length, "tasks": [f"Task No {index}"]}
        episodes.append({**task, "data/chunk_index": 0, "data/file_index": 0, **prefixed})
        for frame in range(length):
            vectors = {"observation.state": [float(index), float(frame)], "action": [0.5 * frame, 1.0]}
            labels = {"next.success": index == 1 and frame == length - 1, "note": "x", "timestamp": frame / FPS}
            indices = {"frame_index": frame, "episode_index": index, "index": start + frame, "task_index": index}
            rows.append({**vectors, **labels, **indices})
    table = pa.Table.from_pylist(rows)
    for name, kind in {"observation.state": pa.list_(pa.float32()), "action": pa.list_(pa.float32())}.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    table = table.set_column(table.column_names.index("timestamp"), "timestamp", table["timestamp"].cast(pa.float32()))
    for folder, content in (("meta/episodes", pa.Table.from_pylist(episodes)), ("data", table)):
        (path / folder / "chunk-000").mkdir(parents=True)
        parquet.write_table(content, path / folder / "chunk-000" / "file-000.parquet")


def write_video(path: Path, frames: int = sum(LENGTHS)) -> None:
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mpeg4", rate=FPS, options=ONE_KEY_FRAME)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 20 * index, np.uint8), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def test_second_episode_starts_between_key_frames(tmp_path: Path) -> None:
    source = write_dataset(tmp_path / "dataset")
    outcome = convert(ConvertConfig(source, tmp_path / "store", "store"))
    assert outcome.figures["left_out"] == ["note"]
    assert outcome.figures["unknown"] == ["units", "frames of reference", "camera calibration", "seed"]
    store = EpisodeStore.open(tmp_path / "store")
    assert store.keys() == ["task-no-0-00000", "task-no-1-00001"]
    assert (store.contract.embodiment, store.contract.input_names[0]) == ("unknown", "camera.top.rgb")
    assert store.contract.state.elements == ("state_0", "state_1")
    assert store.contract.action.elements == ("left", "right")
    # action is 0.5 x frame, the longer episode has frames 0 ... 6
    assert (store.contract.action.low, store.contract.action.high) == ((0.0, 1.0), (3.0, 1.0))
    first, second = (store.read(key) for key in store.keys())
    assert (first.success, second.success) == (False, True)
    assert first.metadata["unknown"] == ["seed"]
    assert second.streams["state"].data[:3].tolist() == [[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]]
    assert second.streams["success"].data.tolist() == [False] * 6 + [True]
    levels = [episode.streams["camera.top.rgb"].data.mean(axis=(1, 2, 3)) for episode in (first, second)]
    np.testing.assert_allclose(np.concatenate(levels), 20.0 * np.arange(12), atol=4.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": 20}, "timestamps are off the 20.0 Hz grid"),
        ({"total_episodes": 3}, "lists 2 episodes, info.json says 3"),
        ({"features": {}}, r"lacks \['features'\]"),
        ({"features": {"action": {"dtype": "float32"}}}, "feature 'action' is malformed"),
        ({"features": {"action": {"dtype": "float32", "shape": [2]}}}, "has no 'observation.state'"),
    ],
)
def test_datasets_that_contradict_themselves(tmp_path: Path, changes: dict, message: str) -> None:
    source = write_dataset(tmp_path / "dataset", **changes)
    with pytest.raises(StoreError, match=message):
        convert(ConvertConfig(source, tmp_path / "store", "store"))
    assert not (tmp_path / "store").exists()


def test_a_video_that_is_torn_or_too_short(tmp_path: Path) -> None:
    source = write_dataset(tmp_path / "dataset")
    video = next(source.rglob("*.mp4"))
    video.write_bytes(video.read_bytes()[:500])
    with pytest.raises(StoreError, match="file-000.mp4: cannot decode"):
        convert(ConvertConfig(source, tmp_path / "store", "store"))
    write_video(video, frames=11)
    with pytest.raises(StoreError, match="episode 1: 6 frames, expected 7"):
        convert(ConvertConfig(source, tmp_path / "store", "store"))
    assert not (tmp_path / "store").exists()


def test_an_interrupted_import_goes_on(tmp_path: Path) -> None:
    source = write_dataset(tmp_path / "dataset")
    config = ConvertConfig(source, tmp_path / "store", "store")

    def stop(done: int, total: int, text: str) -> None:
        if done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(config, stop)
    partial = tmp_path / ".partial-store" / "content" / "episodes" / "task-no-0-00000"
    before = (partial / "zarr.json").stat().st_mtime_ns
    assert not config.out.exists()
    convert(config)
    store = EpisodeStore.open(config.out)
    assert (len(store), store.verify()) == (2, [])
    assert (config.out / "episodes" / "task-no-0-00000" / "zarr.json").stat().st_mtime_ns == before
