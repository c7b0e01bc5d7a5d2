import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from foreact.worldmodels.branches import BranchError
from foreact.worldmodels.pixels.pictures import PictureSpec, PixelBranches, joined

MakeSet = Callable[..., PixelBranches]


def same(one: PixelBranches, other: PixelBranches) -> bool:
    parts = [(one.seen, other.seen), (one.later, other.later)]
    return one.spec == other.spec and all(np.array_equal(a[name], b[name]) for a, b in parts for name in a)


def test_a_set_comes_back_as_it_was(make_set: MakeSet, tmp_path: Path) -> None:
    data = make_set()
    data.save(tmp_path / "set")
    back = PixelBranches.open(tmp_path / "set")
    assert same(data, back)
    assert np.array_equal(back.branches.futures, data.branches.futures)
    assert (len(back), back.pictured, back.frames) == (6, 3, 6 * (2 + 3 * 2))
    with pytest.raises(FileExistsError):
        data.save(tmp_path / "set")


def test_parts_join_to_the_whole(make_set: MakeSet) -> None:
    data = make_set()
    assert same(joined([data.part(slice(0, 2)), data.part(slice(2, 6))]), data)
    with pytest.raises(BranchError, match="cannot join"):
        joined([data, make_set(purpose="test")])
    with pytest.raises(BranchError, match="no set"):
        joined([])


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("rgb", np.zeros((6, 2, 16, 16, 3), np.float32), "seen.rgb: expected uint8"),
        ("depth", np.zeros((6, 2, 16, 8), np.uint16), "seen.depth"),
        ("segmentation", np.zeros((5, 2, 16, 16), np.uint8), "seen.segmentation"),
    ],
)
def test_wrong_pictures_are_named(make_set: MakeSet, name: str, values: np.ndarray, message: str) -> None:
    data = make_set()
    with pytest.raises(BranchError, match=message):
        replace(data, seen={**data.seen, name: values})


def test_kinds_and_futures_must_be_there(make_set: MakeSet) -> None:
    data = make_set()
    with pytest.raises(BranchError, match="expected rgb, depth, segmentation"):
        replace(data, seen={"rgb": data.seen["rgb"]})
    with pytest.raises(BranchError, match="0 pictured futures"):
        replace(data, later={})


def test_damaged_folders_are_named(make_set: MakeSet, tmp_path: Path) -> None:
    with pytest.raises(BranchError, match="not a set of pictured futures"):
        PixelBranches.open(tmp_path / "nothing")
    make_set().save(tmp_path / "set")
    file = tmp_path / "set" / "zarr.json"
    content = json.loads(file.read_text())
    content["attributes"]["foreact-pixel-branches"]["format"] = 99
    file.write_text(json.dumps(content))
    with pytest.raises(BranchError, match="format 2"):
        PixelBranches.open(tmp_path / "set")
    file.write_text("{")
    with pytest.raises(BranchError, match="not a set of pictured futures"):
        PixelBranches.open(tmp_path / "set")


def test_moments_lie_at_the_end_of_whole_intervals() -> None:
    assert PictureSpec(every=4).moments(16) == (4, 8, 12, 16)
    with pytest.raises(ValueError, match="every 5 steps"):
        PictureSpec(every=5).moments(16)
    with pytest.raises(ValueError, match="multiple of 16"):
        PictureSpec(side=20)
    with pytest.raises(ValueError, match="every=0"):
        PictureSpec(every=0)
