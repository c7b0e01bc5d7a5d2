"""Robots in archives: unpacked once and whole, never outside of their folder; which of their models is meant."""

import io
import tarfile
from pathlib import Path

import pytest

from foreact.sim.robot_archive import model_file, unpacked

MODEL = b"<mujoco/>"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FOREACT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def packed(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:xz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def test_an_archive_is_unpacked_once_and_another_of_the_same_name_beside_it(tmp_path: Path) -> None:
    archive = packed(tmp_path / "arm.tar.xz", {"arm/arm.xml": MODEL, "arm/assets/base.obj": b"v"})
    folder = unpacked(archive)
    assert folder.name == "arm" and (folder / "assets/base.obj").read_bytes() == b"v"
    (folder / "mark").touch()
    assert (unpacked(archive) / "mark").exists()  # not unpacked again
    other = unpacked(packed(archive, {"arm/arm.xml": MODEL + b" "}))
    assert other != folder and not (other / "mark").exists()


def test_a_folder_is_a_robot_already(tmp_path: Path) -> None:
    assert unpacked(tmp_path) == tmp_path


def test_what_is_no_whole_archive_is_refused_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    archive = packed(tmp_path / "arm.tar.xz", {"arm/arm.xml": bytes(range(256)) * 99})
    archive.write_bytes(archive.read_bytes()[:-40])
    empty = tmp_path / "empty.tar"
    empty.touch()
    for path in (archive, empty):
        with pytest.raises(ValueError, match="no tar archive, or a damaged one"):
            unpacked(path)
    with pytest.raises(ValueError, match="no MJCF"):
        unpacked(packed(tmp_path / "notes.tar.xz", {"notes.txt": b"hello"}))
    with pytest.raises(FileNotFoundError):
        unpacked(tmp_path / "nothing.tar.xz")
    assert not any((cache / "robots").iterdir())


def test_members_outside_of_the_folder_are_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "evil.tar.xz", {"arm/arm.xml": MODEL, "../../../evil.xml": MODEL})
    with pytest.raises(ValueError, match="may not be unpacked"):
        unpacked(archive)
    assert not any(tmp_path.rglob("evil.xml"))


def test_the_model_is_the_only_one_the_one_of_the_scene_or_the_one_named(tmp_path: Path) -> None:
    (tmp_path / "arm.xml").write_bytes(MODEL)
    assert model_file(tmp_path).stem == "arm"
    (tmp_path / "arm_fast.xml").write_bytes(MODEL)
    with pytest.raises(ValueError, match="say which of arm, arm_fast"):
        model_file(tmp_path)
    (tmp_path / "scene.xml").write_text('<mujoco model="s"><include file="arm.xml"/></mujoco>', encoding="utf-8")
    assert model_file(tmp_path).stem == "arm"
    assert model_file(tmp_path, "scene.xml").stem == model_file(tmp_path, "scene").stem == "scene"
    with pytest.raises(ValueError, match="no model 'leg'; it has arm, arm_fast, scene"):
        model_file(tmp_path, "leg")
