"""Which sets are made, and what is refused before any work."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.worldmodels.branch_picture import clearest, draw_branches
from foreact.worldmodels.branch_sets import BranchesConfig, branches, digest
from foreact.worldmodels.branches import BranchError, Branches, BranchSpec
from foreact.worldmodels.scenes import UnknownScene


def made(apart: float = 1.0) -> Branches:
    """Three states whose things lie 0, 1 and 2 times `apart` from each other, in the first and second future."""
    spec = BranchSpec("toy", ("x", "y", "z", "u", "v"), (0, 1, 2, 4), ("a",), ("weak",), 20.0, 0, "test")
    zeros = np.zeros((3, 2, 4), np.float32)
    futures = np.zeros((3, 2, 4, 5), np.float32)
    futures[:, 1, :, 4] = apart * np.arange(3)[:, None]
    futures[:, 1, :, 0] = 100
    return Branches(
        spec, np.zeros((3, 5), np.float32), np.zeros((3, 4, 1), np.float32), futures, zeros, zeros > 0, zeros > 0,
        np.zeros((3, 2, 1), np.float32),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"scenes": ()}, "at least one"),
        ({"scenes": ("arm-reach", "arm-reach")}, "none twice"),
        ({"train": 0}, "train=0"),
        ({"test_futures": 0}, "test_futures=0"),
        ({"horizon": -1}, "horizon=-1"),
    ],
)
def test_numbers_out_of_range_are_refused(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        BranchesConfig(tmp_path, **change)


def test_an_unknown_scene_and_a_damaged_set_stop_it_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UnknownScene, match="did you mean arm-reach"):
        branches(BranchesConfig(tmp_path / "a", ("arm-lift", "arm-raech")))
    (tmp_path / "b" / "arm-lift" / "test").mkdir(parents=True)
    with pytest.raises(BranchError, match="not a set of true futures"):
        branches(BranchesConfig(tmp_path / "b", ("arm-reach", "arm-lift")))
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["arm-lift"]


def test_a_checksum_follows_every_number() -> None:
    assert digest(made()) == digest(made()) != digest(made(1.001))
    other = made()
    other.contact[2, 1, 3] = True
    assert digest(other) != digest(made())


def test_the_state_that_is_drawn_is_a_clear_one(tmp_path: Path) -> None:
    # the thing, not the hand, which differs most everywhere; the 97th of 100 states is the second of three
    assert clearest(made()) == (1, 3)
    draw_branches(tmp_path / "futures.png", [made()])
    assert (tmp_path / "futures.png").read_bytes()[:4] == b"\x89PNG"
    for path, sets in (("futures.jpg", [made()]), ("other.png", [])):
        with pytest.raises(ValueError, match=r"\.png"):
            draw_branches(tmp_path / path, sets)
    with pytest.raises(BranchError, match="no states"):
        clearest(made().part(slice(0)))
    assert len(list(tmp_path.iterdir())) == 1
