"""Sets of true futures: what fits together, and what is refused."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.worldmodels.branches import SHAPES, BranchError, Branches, BranchSpec

SPEC = BranchSpec("task", ("x", "y", "z"), (0, 2), ("push",), ("gain",), 20.0, 7, "train")


def branches(states: int = 3) -> Branches:
    rng = np.random.default_rng(0)

    def numbers(*shape: int) -> np.ndarray:
        return rng.normal(size=shape).astype(np.float32)

    never = np.zeros((states, 2, 4), bool)
    return Branches(
        SPEC, numbers(states, 3), numbers(states, 4, 1), numbers(states, 2, 4, 3), numbers(states, 2, 4), never, never,
        numbers(states, 2, 1),
    )  # fmt: skip


def test_a_set_comes_back_as_it_was(tmp_path: Path) -> None:
    made = branches(70)  # more than one chunk on disk
    made.save(tmp_path / "set")
    again = Branches.open(tmp_path / "set")
    assert again.spec == SPEC
    assert len(again) == 70
    for name in SHAPES:
        np.testing.assert_array_equal(getattr(again, name), getattr(made, name))
    with pytest.raises(FileExistsError):
        made.save(tmp_path / "set")


def test_parts_and_positions() -> None:
    made = branches()
    some = made.part(np.array([2, 0]), slice(1))
    assert (some.futures.shape, some.actions.shape) == ((2, 1, 4, 3), (2, 4, 1))
    np.testing.assert_array_equal(some.positions, made.futures[[2, 0], :1][..., [0, 2]])


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"context": np.zeros((3, 3))}, r"context: expected float32 \('S', 'O'\), got float64 \(3, 3\)"),
        ({"context": np.zeros((3, 2), np.float32)}, "context: O is 2, elsewhere 3"),
        ({"actions": np.zeros((2, 4, 1), np.float32)}, "actions: S is 2, elsewhere 3"),
        ({"reward": np.full((3, 2, 4), np.nan, np.float32)}, "reward: not every number is finite"),
        ({"success": np.zeros((3, 2, 4), np.float32)}, "success: expected bool"),
        ({"spec": replace(SPEC, tracked=(0, 3))}, "tracked"),
    ],
)
def test_what_does_not_fit_together_is_refused(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(BranchError, match=match):
        replace(branches(), **changes)


def test_a_damaged_or_foreign_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BranchError, match="is not a set of true futures"):
        Branches.open(tmp_path / "none")
    branches().save(tmp_path / "set")
    header = tmp_path / "set" / "zarr.json"
    text = header.read_text()
    header.write_text(text.replace('"format": 3', '"format": 1'))
    with pytest.raises(BranchError, match="make it again with `foreact fork`"):
        Branches.open(tmp_path / "set")
    header.write_text(text[: len(text) // 2])
    with pytest.raises(BranchError, match="is not a set of true futures"):
        Branches.open(tmp_path / "set")


@pytest.mark.parametrize("name", ["contact", "futures"])
def test_a_part_that_is_missing_is_not_read_as_zeros(tmp_path: Path, name: str) -> None:
    branches().save(tmp_path / "set")
    parts = [file for file in (tmp_path / "set" / name).rglob("*") if file.is_file() and file.name != "zarr.json"]
    parts[0].unlink()
    with pytest.raises(BranchError, match=f"is not a set of true futures: parts of {name} are missing"):
        Branches.open(tmp_path / "set")
