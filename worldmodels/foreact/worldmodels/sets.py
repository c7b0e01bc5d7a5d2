"""Sets of true futures for training and evaluation: found on disk, opened, and held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foreact.worldmodels.branches import BranchError, Branches
from foreact.worldmodels.models.signature import Signature

__all__ = ["load_sets"]

MARK = "zarr.json"


def load_sets(path: Path, purposes: Sequence[str] = ("train",)) -> list[Branches]:
    """Open a set, or every set of a folder in the order of their names.

    Args:
        path: One set, or a folder with sets of one task.
        purposes: What the sets may be for.

    Raises:
        BranchError: Nothing is there, or a set is damaged, empty, or for another purpose.
        SignatureError: The sets are of different tasks or sizes.
    """
    sets = [Branches.open(each) for each in _folders(path)]
    first = Signature.of(sets[0])
    for folder, branches in zip(_folders(path), sets, strict=True):
        if branches.spec.purpose not in purposes:
            raise BranchError(f"{folder} is for {branches.spec.purpose!r}, expected {' or '.join(purposes)}")
        if not len(branches) or not branches.futures.shape[1]:
            raise BranchError(f"{folder} holds no states")
        first.require(Signature.of(branches), str(folder))
        if branches.futures.shape[1] != sets[0].futures.shape[1]:
            counts = (branches.futures.shape[1], sets[0].futures.shape[1])
            raise BranchError(f"{folder} has {counts[0]} futures of each state, the first set {counts[1]}")
    return sets


def _folders(path: Path) -> list[Path]:
    if (path / MARK).is_file():
        return [path]
    if not path.is_dir():
        raise BranchError(f"data={path}: there is no such folder; give one that `foreact fork` made")
    found = sorted(each for each in path.iterdir() if (each / MARK).is_file())
    if not found:
        raise BranchError(f"data={path}: there are no sets of true futures in it")
    return found
