"""Zarr recordings, written here with zarr and imagecodecs: UMI, Diffusion Policy, EgoVerse; and damage."""

import io
import json
import re
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.sources import Source, SourceError, open_collection
from foreact.episodes.sources.zarr_buffer import open_collection as open_zarr

zarr = pytest.importorskip("zarr")
pictures = pytest.importorskip("imagecodecs.numcodecs")
numcodecs = pytest.importorskip("numcodecs")
Image = pytest.importorskip("PIL.Image")
RNG = np.random.default_rng(0)
ENDS = [2, 6]
FRAMES = RNG.integers(1, 256, (6, 32, 24, 3), np.uint8)
PLACES, TURNS = RNG.random((6, 3), np.float32), RNG.uniform(-3, 3, (6, 3)).astype(np.float32)


def all_of(source: Source, stream: str) -> np.ndarray:
    return np.asarray(source.read_range(stream, 0, len(source.stamps(stream))))


def filled(group: Any, name: str, values: np.ndarray, compressor: Any = None, rows: int | None = None) -> None:
    chunks = (rows or len(values), *values.shape[1:])
    array = group.create_array(name, shape=values.shape, dtype=values.dtype, chunks=chunks, compressors=compressor)
    array[:] = values


def umi(path: Path) -> Path:
    pictures.register_codecs({"imagecodecs_jpegxl"}, verbose=False)
    store = zarr.storage.ZipStore(path, mode="w")
    group = zarr.group(store=store, zarr_format=2)
    filled(group, "data/camera0_rgb", FRAMES, pictures.Jpegxl(level=99, numthreads=1), rows=1)
    filled(group, "data/robot0_eef_pos", PLACES, numcodecs.Blosc())
    filled(group, "data/robot0_eef_rot_axis_angle", TURNS, numcodecs.Blosc())
    filled(group, "data/robot0_gripper_width", RNG.random((6, 1), np.float32), numcodecs.Blosc())
    filled(group, "meta/episode_ends", np.array(ENDS))
    store.close()
    return path


def diffusion_policy(path: Path) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=2)
    filled(group, "data/img", FRAMES.astype(np.float32), numcodecs.Blosc(cname="zstd"), rows=1)
    filled(group, "data/state", PLACES.astype(np.float64), numcodecs.Zstd(), rows=4)
    filled(group, "data/action", TURNS, None, rows=4)
    filled(group, "meta/episode_ends", np.array(ENDS))
    return path


def egoverse(path: Path, *, frames: int = 5, padding: int = 3) -> Path:
    """`frames` frames, each array padded with zeros behind them; the second frame lost the left hand."""
    from zarr.core.dtype import VariableLengthBytes

    length = frames + padding
    group = zarr.open_group(path, mode="w", zarr_format=3)
    about = {"total_frames": frames, "fps": 30, "embodiment": "human_bimanual", "task_name": "fold"}
    group.attrs.update({**about, "task_description": "fold the shirt", "features": {}})
    blobs = group.create_array(
        "images.front_1", shape=(length,), dtype=VariableLengthBytes(), chunks=(1,), shards=(length,)
    )
    blobs[:] = np.array([jpeg(frame) for frame in FRAMES[:frames]] + [b""] * padding, dtype=object)
    poses = np.zeros((length, 7))
    poses[:frames] = [[i, 0, 0, 1, 0, 0, 0] for i in range(frames)]
    points = np.zeros((length, 63))
    points[:frames] = np.arange(63) / 100
    points[1] = 1e9
    stamps = np.zeros(length, np.int64)
    stamps[:frames] = 1_736_651_249_664_000_123 + np.arange(frames) * 33_366_700
    for name, values in {"obs_head_pose": poses, "left.obs_wrist_pose": poses, "left.obs_keypoints": points}.items():
        filled(group, name, values)
    filled(group, "obs_rgb_timestamps_ns", stamps)
    filled(group, "right.obs_gripper", np.ones((length, 1)))
    spans = [{"text": "grasp it", "start_idx": 0, "end_idx": 2}, {"text": "fold it", "start_idx": 2, "end_idx": frames}]
    notes = group.create_array("annotations", shape=(2,), dtype=VariableLengthBytes(), chunks=(2,))
    notes[:] = np.array([json.dumps(span).encode() for span in spans], dtype=object)
    return path


def jpeg(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning", "ignore::UserWarning")


def test_umi(tmp_path: Path) -> None:
    collection = open_collection(umi(tmp_path / "dataset.zarr.zip"))
    assert (collection.format, collection.keys()) == ("zarr-buffer", ("episode-00000", "episode-00001"))
    source = collection.open("episode-00001")
    assert np.array_equal(all_of(source, "camera.camera0"), FRAMES[2:]), "level 99 is lossless"
    assert (source.streams["camera.camera0"].kind, source.streams["camera.camera0"].shape) == ("image", (32, 24, 3))
    assert np.array_equal(all_of(source, "robot0_eef_pos"), PLACES[2:])
    assert [source.streams[f"robot0_{name}"].unit for name in ("eef_pos", "eef_rot_axis_angle", "gripper_width")] == [
        "m",
        "rad",
        "m",
    ]
    rotations = pytest.importorskip("scipy.spatial.transform").Rotation
    poses = all_of(source, "pose.robot0_eef")
    assert np.array_equal(poses[:, :3], PLACES[2:].astype(np.float64))
    expected = rotations.from_rotvec(TURNS[2:].astype(np.float64)).as_matrix()
    assert np.abs(rotations.from_quat(poses[:, [4, 5, 6, 3]]).as_matrix() - expected).max() < 1e-12
    assert (
        source.stamps("pose.robot0_eef").tolist() == [0, 1, 2, 3] and source.streams["robot0_eef_pos"].clock == "step"
    )
    collection.close()


def test_without_imagecodecs_the_message_says_what_to_type(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = umi(tmp_path / "dataset.zarr.zip")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'foreact\[data\]'"):
        open_collection(file)


def test_diffusion_policy(tmp_path: Path) -> None:
    source = open_collection(diffusion_policy(tmp_path / "pusht.zarr")).open("episode-00000")
    image = source.streams["camera.img"]
    assert (image.kind, image.dtype, image.description) == ("image", "uint8", "stored as float, 0 to 255")
    assert np.array_equal(all_of(source, "camera.img"), FRAMES[:2])
    assert np.array_equal(all_of(source, "state"), PLACES[:2].astype(np.float64))
    assert np.array_equal(all_of(source, "action"), TURNS[:2])


def test_egoverse(tmp_path: Path) -> None:
    name = "2026-01-12-03-47-29-664000"
    egoverse(tmp_path / f"{name}.zarr")
    collection = open_zarr(tmp_path)
    assert (collection.format, collection.keys()) == ("egoverse", (name,))
    source = collection.open(name)
    assert source.task == "fold the shirt"
    assert {len(source.stamps(stream)) for stream in source.streams if stream != "annotations"} == {5}
    stamps = source.stamps("camera.front_1")
    assert stamps[0] == 1_736_651_249_664_000_123 and set(np.diff(stamps)) == {33_366_700}
    assert (source.streams["pose.head"].clock, source.streams["pose.head"].rate_hz) == ("utc", 30.0)
    expected = [np.asarray(Image.open(io.BytesIO(jpeg(frame)))) for frame in FRAMES[:5]]
    assert np.array_equal(all_of(source, "camera.front_1"), expected)
    landmarks = all_of(source, "hand.left.landmarks")
    assert landmarks.shape == (5, 21, 3) and np.isnan(landmarks[1]).all()
    assert np.array_equal(landmarks[0].ravel(), np.arange(63) / 100)
    assert all_of(source, "hand.left.wrist")[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert source.streams["hand.left.wrist"].frame == "world"
    assert source.stamps("annotations").tolist() == [stamps[0], stamps[2]]
    assert json.loads(str(source.read("annotations", 1)))["text"] == "fold it"
    assert any("the last 3 of 8 rows are padding" in note for note in source.notes)


def test_a_buffer_of_format_3_opens_too(tmp_path: Path) -> None:
    group = zarr.open_group(tmp_path / "x.zarr", mode="w", zarr_format=3)
    filled(group, "data/action", TURNS, "auto")
    filled(group, "meta/episode_ends", np.array(ENDS), "auto")
    assert np.array_equal(all_of(open_collection(tmp_path / "x.zarr").open("episode-00001"), "action"), TURNS[2:])


def test_a_lost_chunk_is_told_and_a_lost_picture_is_an_error(tmp_path: Path) -> None:
    path = diffusion_policy(tmp_path / "x.zarr")
    (path / "data" / "img" / "1.0.0.0").unlink()
    (path / "data" / "action" / "1.0").unlink()
    source = open_collection(path).open("episode-00000")
    assert any(note.startswith("action: 1 of 2 chunks") for note in source.notes)
    assert np.array_equal(np.asarray(source.read("camera.img", 0)), FRAMES[0])
    with pytest.raises(SourceError, match="have no file"):
        source.read("camera.img", 1)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("data/state/.zarray", {"compressor": {"id": "pick" + "le"}}, "state is left out.*which is not read"),
        ("data/state/.zarray", {"filters": [{"id": "json2"}]}, "state is left out.*which is not read"),
        ("data/state/.zarray", {"dtype": "|O"}, "state is left out.*values of"),
        ("data/state/.zarray", {"chunks": [1 << 40, 3]}, "state is left out.*in chunks of"),
        ("data/state/.zarray", {"shape": [5, 3]}, "5 rows, the episodes end at 6"),
        ("meta/episode_ends/.zarray", {"shape": [1 << 40]}, "not a whole list"),
        ("meta/episode_ends/.zarray", {"dtype": "<f8"}, "not a whole list"),
        ("meta/episode_ends/.zarray", {"shape": "x"}, "sizes of"),
    ],
)
def test_metadata_that_could_harm_is_refused(tmp_path: Path, name: str, change: dict[str, Any], message: str) -> None:
    path = diffusion_policy(tmp_path / "x.zarr")
    about = json.loads((path / name).read_text())
    (path / name).write_text(json.dumps({**about, **change}))
    if name.startswith("meta"):
        with pytest.raises(SourceError, match=message):
            open_collection(path)
    else:
        notes = open_collection(path).notes
        assert any(re.search(message, note) for note in notes), notes


def test_a_bomb_in_a_zip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = umi(tmp_path / "x.zarr.zip")
    monkeypatch.setattr("foreact.episodes.sources.zarr_files.MAX_CHUNK", 1 << 20)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data/bomb/0", bytes((1 << 20) + 1))
    with pytest.raises(SourceError, match="data/bomb/0 says it has more than"):
        open_collection(file)


def test_damage_of_a_zip_is_an_error_or_harmless(
    tmp_path: Path, damage_in_a_process: Callable[..., dict[str, int]]
) -> None:
    file = umi(tmp_path / "x.zarr.zip")
    counts = damage_in_a_process(file, file, 0, 200)
    assert counts["error"] > 100 and sum(counts.values()) == 200, counts


@pytest.mark.parametrize("make", [diffusion_policy, egoverse])
def test_damage_of_a_folder_is_an_error_or_harmless(
    tmp_path: Path, make: Callable[[Path], Path], damage: Callable[..., bytes], read_everything: Callable[..., int]
) -> None:
    path = make(tmp_path / "x.zarr")
    files = sorted(each for each in path.rglob("*") if each.is_file())
    whole = {file: file.read_bytes() for file in files}
    errors = 0
    for seed in range(200):
        file = files[seed % len(files)]
        file.write_bytes(damage(whole[file], seed // len(files) + 6 * (seed % len(files))))
        try:
            read_everything(open_zarr(path))
        except SourceError:
            errors += 1
        file.write_bytes(whole[file])
    assert errors > 20, errors


def test_a_folder_of_nothing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="neither meta/episode_ends nor zarr.json"):
        open_zarr(tmp_path)
    shutil.copytree(egoverse(tmp_path / "a.zarr"), tmp_path / "b.zarr")
    (tmp_path / "b.zarr" / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(SourceError, match="total_frames is None"):
        open_zarr(tmp_path).open("b")
