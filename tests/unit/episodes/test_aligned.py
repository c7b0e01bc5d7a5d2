"""Sets of aligned pictures: whole on disk, gone on with, refused where damaged."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.aligned import BLOCK, KINDS, AlignedError, AlignedPictures, AlignedWriter

CLASSES = ("nothing", "thing")


def block(number: int) -> dict[str, np.ndarray]:
    random = np.random.default_rng(number)
    return {
        kind: random.integers(0, 200, (BLOCK, 8, 8, *([3] if kind == "rgb" else []))).astype(dtype)
        for kind, dtype in KINDS.items()
    }


def begun(path: Path) -> AlignedWriter:
    return AlignedWriter(path, 2 * BLOCK, 8, CLASSES, {"seed": 0})


@pytest.fixture
def made(tmp_path: Path) -> Path:
    writer = begun(tmp_path / "set")
    writer.write(block(0))
    writer.write(block(1))
    return tmp_path / "set"


def test_what_was_written_is_read(made: Path) -> None:
    found = AlignedPictures.open(made)
    assert (len(found), found.side, found.classes) == (2 * BLOCK, 8, CLASSES)
    some = np.array([BLOCK + 3, 5])
    for kind in KINDS:
        np.testing.assert_array_equal(found.read(kind, slice(BLOCK, None)), block(1)[kind])
        np.testing.assert_array_equal(found.read(kind, some), [block(1)[kind][3], block(0)[kind][5]])
    with pytest.raises(AlignedError, match="it has rgb, depth"):
        found.read("sound")


def test_a_set_that_is_begun_is_gone_on_with_and_not_read(tmp_path: Path) -> None:
    begun(tmp_path / "set").write(block(0))
    with pytest.raises(AlignedError, match="1 of 2 blocks"):
        AlignedPictures.open(tmp_path / "set")
    again = begun(tmp_path / "set")
    assert again.done == 1
    again.write(block(1))
    np.testing.assert_array_equal(AlignedPictures.open(tmp_path / "set").read("rgb")[BLOCK:], block(1)["rgb"])
    with pytest.raises(AlignedError, match="finished"):
        again.write(block(2))


def test_what_does_not_fit_is_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(AlignedError, match="another set .its about"):
        AlignedWriter(made, 2 * BLOCK, 8, CLASSES, {"seed": 1})
    with pytest.raises(AlignedError, match="a multiple of 64"):
        AlignedWriter(tmp_path / "new", 10, 8, CLASSES, {})
    writer = begun(tmp_path / "new")
    with pytest.raises(AlignedError, match="depth: expected uint16"):
        writer.write(block(0) | {"depth": block(0)["rgb"]})
    with pytest.raises(AlignedError, match="got nothing"):
        writer.write({name: values for name, values in block(0).items() if name != "classes"})
    assert writer.done == 0


def test_damage_is_told(made: Path, tmp_path: Path) -> None:
    with pytest.raises(AlignedError, match="is not a set"):
        AlignedPictures.open(tmp_path / "none")
    for part, says in (("rgb", "has no rgb"), ("depth/c/1/0/0", "parts of depth are missing")):
        copy = tmp_path / part.replace("/", "-")
        shutil.copytree(made, copy)
        target = copy / part
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        with pytest.raises(AlignedError, match=says):
            AlignedPictures.open(copy)
    header = made / "scenes.json"
    header.write_text(header.read_text()[:-20])
    with pytest.raises(AlignedError, match="not valid JSON"):
        AlignedPictures.open(made)
