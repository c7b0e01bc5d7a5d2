"""DexCap: the real frame, recordings made of it, and damage."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.sources import SourceError, open_collection
from foreact.episodes.sources.dexcap import open_collection as open_dexcap

Image = pytest.importorskip("PIL.Image")


@pytest.fixture
def frame(shared_data: Path) -> Path:
    return shared_data / "dexcap_frame"


@pytest.fixture
def recording(frame: Path, tmp_path: Path) -> Path:
    """Frames 2, 10 and 11, with small pictures; frame 10 has lost its depth."""
    for number in (2, 10, 11):
        folder = tmp_path / "demo" / f"frame_{number}"
        folder.mkdir(parents=True)
        for text in frame.glob("*.txt"):
            shutil.copyfile(text, folder / text.name)
        pixels = np.random.default_rng(number).integers(0, 256, (16, 24, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "color_image.jpg")
        if number != 10:
            Image.fromarray(np.full((16, 24), 1000 * number, np.uint16)).save(folder / "depth_image.png")
    return tmp_path / "demo"


def test_the_real_frame_is_what_its_page_says(frame: Path) -> None:
    source = open_collection(frame).open("dexcap_frame")
    colour, depth = np.asarray(source.read("camera.rgb", 0)), np.asarray(source.read("depth.rgb", 0))
    assert (colour.shape, colour.dtype) == ((720, 1280, 3), np.uint8)
    assert (depth.shape, depth.dtype) == ((720, 1280), np.uint16)
    with Image.open(frame / "depth_image.png") as picture:
        assert np.array_equal(depth, np.asarray(picture))
    for side in ("left", "right"):
        joints = np.loadtxt(frame / f"{side}_hand_joint.txt")
        assert np.array_equal(source.read(f"hand.{side}.landmarks", 0), joints)
        palm = np.linalg.norm(joints[9] - joints[0])
        assert 0.05 < palm < 0.15, "metres: wrist to middle knuckle"
        assert np.array_equal(
            source.read(f"hand.{side}.rotations", 0), np.loadtxt(frame / f"{side}_hand_joint_ori.txt")
        )
    assert {name: len(source.stamps(name)) for name in source.streams} == dict.fromkeys(source.streams, 1)
    assert any("how long one is" in note for note in source.notes)


@pytest.mark.parametrize(("child", "name"), [("chest", "pose"), ("left_wrist", "pose_2"), ("right_wrist", "pose_3")])
def test_poses_are_the_matrices(frame: Path, child: str, name: str) -> None:
    rotations = pytest.importorskip("scipy.spatial.transform").Rotation
    source = open_collection(frame).open("dexcap_frame")
    pose = np.asarray(source.read(f"pose.{child}", 0))
    matrix = np.loadtxt(frame / f"{name}.txt")
    assert np.array_equal(pose[:3], matrix[:3, 3])
    assert np.abs(rotations.from_quat(pose[[4, 5, 6, 3]]).as_matrix() - matrix[:3, :3]).max() < 1e-6
    assert pose[3] >= 0 and source.streams[f"pose.{child}"].child == child


def test_frames_are_stamped_by_their_numbers(recording: Path) -> None:
    source = open_collection(recording).open("demo")
    assert source.stamps("camera.rgb").tolist() == [2, 10, 11]
    assert source.stamps("depth.rgb").tolist() == [2, 11]
    assert np.asarray(source.read("depth.rgb", 1)).flat[0] == 11_000
    assert "depth_image.png is missing in 1 of 3 frames" in source.notes
    assert open_dexcap(recording.parent).keys() == ("demo",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pose.txt", "1 2 3", "expected finite numbers"),
        ("pose.txt", "2 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1", "not a rigid motion"),
        ("pose.txt", "nan " * 16, "expected finite numbers"),
        ("left_hand_joint.txt", "a b c", "not a table"),
        ("left_hand_joint.txt", "0 " * 40_000, "larger than"),
        ("color_image.jpg", "", "not a JPEG or PNG"),
    ],
)
def test_bad_files_are_named(recording: Path, name: str, content: str, message: str) -> None:
    (recording / "frame_2" / name).write_text(content)
    with pytest.raises(SourceError, match=f"frame_2/{name}.*{message}"):
        source = open_collection(recording).open("demo")
        for stream in source.streams:
            source.read(stream, 0)


def test_nothing_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no frame_N"):
        open_dexcap(tmp_path)


def test_damage_is_an_error_or_harmless(
    recording: Path, damage: Callable[..., bytes], read_everything: Callable[..., int]
) -> None:
    files = sorted((recording / "frame_2").iterdir())
    whole = {file: file.read_bytes() for file in files}
    errors = 0
    for seed in range(540):
        file = files[seed % len(files)]
        file.write_bytes(damage(whole[file], seed // len(files)))
        try:
            read_everything(open_collection(recording / "frame_2"))
        except SourceError as error:
            assert file.name in str(error), "the message names the file"
            errors += 1
        file.write_bytes(whole[file])
    assert errors > 150, errors
