"""NumPy archives: the real door demonstrations and hand joints, archives written here, and damage."""

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.sources import Source, SourceError, open_collection


def all_of(source: Source, stream: str) -> np.ndarray:
    return np.asarray(source.read_range(stream, 0, len(source.stamps(stream))))


def test_the_door_demonstrations_are_what_their_page_says(shared_data: Path) -> None:
    file = shared_data / "dapg_door_human" / "door_demos.npz"
    collection = open_collection(file)
    assert collection.keys() == tuple(f"{i:02d}" for i in range(25))
    with np.load(file, allow_pickle=False) as archive:
        lengths = []
        for key in collection.keys():
            source = collection.open(key)
            lengths.append(len(source.stamps("action")))
            for name, column in (("action", "actions"), ("observations", "observations"), ("reward", "rewards")):
                assert np.array_equal(all_of(source, name), archive[f"{key}/{column}"])
                assert np.array_equal(source.stamps(name), np.arange(lengths[-1]))
            start = archive[f"{key}/init_state_dict/qpos"]
            assert source.metadata["init_state_dict/qpos"] == start.tolist() and start.shape == (30,)
    assert (sum(lengths), min(lengths), max(lengths)) == (6729, 223, 300)
    stream = collection.open("00").streams["action"]
    assert (stream.shape, stream.dtype, stream.clock, stream.rate_hz, stream.unit) == (
        (28,),
        "float32",
        "step",
        None,
        "",
    )


def test_the_hand_joints_are_what_their_page_says(shared_data: Path) -> None:
    collection = open_collection(shared_data / "human_hand_retarget")
    assert any("human_hand_video.mp4" in note for note in collection.notes)
    source = collection.open("human_joint_right")
    stream = source.streams["hand.right.landmarks"]
    assert (stream.kind, stream.shape, stream.unit, stream.clock, stream.rate_hz) == (
        "hand",
        (21, 3),
        "m",
        "episode",
        30.0,
    )
    joints = all_of(source, stream.name)
    assert joints.shape == (621, 21, 3) and joints.dtype == np.float32
    assert (round(float(joints.min()), 2), round(float(joints.max()), 2)) == (-0.07, 0.21)
    assert np.abs(joints[:, 0]).max() < 1e-6, "centred on the wrist"
    stamps = source.stamps(stream.name)
    assert stamps[:3].tolist() == [0, 33_333_333, 66_666_667] and stamps[-1] == 20_666_666_667


def test_any_table_opens(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    np.savez_compressed(
        tmp_path / "x.npz", qpos=np.arange(10.0).reshape(5, 2), top_rgb=frames, other=np.zeros(400), name="a"
    )
    source = open_collection(tmp_path / "x.npz").open("x")
    assert np.array_equal(all_of(source, "camera.top"), frames)
    assert source.streams["qpos"].dtype == "float64" and source.metadata == {"name": "a"}
    assert any(note.startswith("other is left out") for note in source.notes)


def test_a_fortran_array_reads_as_numpy_reads_it(tmp_path: Path) -> None:
    values = np.asfortranarray(np.arange(12.0).reshape(4, 3))
    np.savez(tmp_path / "x.npz", actions=values)
    assert np.array_equal(all_of(open_collection(tmp_path / "x.npz").open("x"), "action"), values)


def test_python_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", actions=np.array([{"a": 1}, None], dtype=object))
    with pytest.raises(SourceError, match="Python objects"):
        open_collection(tmp_path / "x.npz").open("x")


def test_a_header_that_asks_for_more_than_there_is_takes_no_memory(tmp_path: Path) -> None:
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f8", "fortran_order": False, "shape": (1 << 40, 28)})
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("actions.npy", header.getvalue() + bytes(64))
    with pytest.raises(SourceError, match="it has 64 bytes"):
        open_collection(tmp_path / "x.npz").open("x")


def test_the_rate_must_be_one(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", actions=np.zeros((3, 2)), fps=np.nan)
    source = open_collection(tmp_path / "x.npz").open("x")
    assert source.streams["action"].rate_hz is None and any("no rate" in note for note in source.notes)


def test_damage_is_an_error_or_harmless(
    tmp_path: Path, damage: Callable[..., bytes], read_everything: Callable[..., int]
) -> None:
    file = tmp_path / "x.npz"
    rng = np.random.default_rng(0)
    arrays = {"0/actions": rng.random((6, 3)), "0/obs": rng.random((6, 5)), "1/actions": rng.random((4, 3))}
    np.savez_compressed(file, allow_pickle=False, **arrays)
    whole, errors = file.read_bytes(), 0
    for seed in range(600):
        file.write_bytes(damage(whole, seed))
        try:
            collection = open_collection(file)
            read_everything(collection)
        except SourceError:
            errors += 1
            continue
        for key in collection.keys():  # every array of an archive has a checksum: what is read is what was written
            for name, stream in collection.open(key).streams.items():
                values = all_of(collection.open(key), name)
                assert any(np.array_equal(values, array) for array in arrays.values()), (seed, key, stream)
    assert errors > 300, errors
