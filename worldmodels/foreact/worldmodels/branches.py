"""True futures: states of a simulator, each continued many times under one commanded chunk.

What differs between the futures of one state is what the robot cannot see: gains, friction, masses, delays, something
that passes by. On disk a data set is a folder in Zarr 3 with one array per attribute. Shape letters: S = states,
M = futures of each, T = control steps, O = observed elements, A = action elements, H = hidden numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.staging import remove_stale, staged_folder

__all__ = ["WHOLE", "BranchError", "BranchSpec", "Branches", "read_whole"]

FORMAT = 3
HEADER = "foreact-branches"
SHAPES: Mapping[str, str] = {
    "context": "SO",
    "actions": "STA",
    "futures": "SMTO",
    "reward": "SMT",
    "success": "SMT",
    "contact": "SMT",
    "hidden": "SMH",
}
TYPES: Mapping[str, str] = {"success": "bool", "contact": "bool"}


WHOLE: Any = {"write_empty_chunks": True}
"""How arrays are written: also chunks of zeros, so that one that is missing is known to be lost."""


class BranchError(ValueError):
    """A set of true futures is not what it should be; the message says where."""


@dataclass(frozen=True)
class BranchSpec:
    """What the arrays mean, and all that is needed to make them again.

    Attributes:
        task: Name of the task.
        columns: Name of each observed element, length O.
        tracked: Numbers of the elements that futures are judged by: positions of hand and things [m].
        actions: Name of each action element, length A.
        hidden: Name of each hidden number, length H.
        rate_hz: Control steps per second.
        seed: Of states, chunks and hidden numbers.
        purpose: `train`, `calibrate` or `test`; no two share a state.
    """

    task: str
    columns: tuple[str, ...]
    tracked: tuple[int, ...]
    actions: tuple[str, ...]
    hidden: tuple[str, ...]
    rate_hz: float
    seed: int
    purpose: str


@dataclass(frozen=True)
class Branches:
    """States with their true futures.

    Attributes:
        spec: What the arrays mean.
        context: What is observed at the fork, (S, O) float32.
        actions: Commanded chunks, (S, T, A) float32.
        futures: What is observed after each step, (S, M, T, O) float32.
        reward: Of each step, (S, M, T) float32.
        success: The task is solved after a step, (S, M, T) bool.
        contact: The robot touches what it must not, (S, M, T) bool.
        hidden: What was drawn for each future, (S, M, H) float32.

    Raises:
        BranchError: A shape or a type is wrong, or a number is not finite.
    """

    spec: BranchSpec
    context: np.ndarray
    actions: np.ndarray
    futures: np.ndarray
    reward: np.ndarray
    success: np.ndarray
    contact: np.ndarray
    hidden: np.ndarray

    def __post_init__(self) -> None:
        sizes = {"O": len(self.spec.columns), "A": len(self.spec.actions), "H": len(self.spec.hidden)}
        for name, letters in SHAPES.items():
            values: np.ndarray = getattr(self, name)
            wanted = TYPES.get(name, "float32")
            if values.ndim != len(letters) or str(values.dtype) != wanted:
                raise BranchError(f"{name}: expected {wanted} {tuple(letters)}, got {values.dtype} {values.shape}")
            for letter, size in zip(letters, values.shape, strict=True):
                if sizes.setdefault(letter, size) != size:
                    raise BranchError(f"{name}: {letter} is {size}, elsewhere {sizes[letter]}")
            if not np.isfinite(values).all():
                raise BranchError(f"{name}: not every number is finite")
        if not all(0 <= column < sizes["O"] for column in self.spec.tracked):
            raise BranchError(f"tracked: {self.spec.tracked} of {sizes['O']} columns")

    def __len__(self) -> int:
        return len(self.context)

    @property
    def positions(self) -> np.ndarray:
        """The tracked elements of the futures [m], (S, M, T, D)."""
        return self.futures[..., list(self.spec.tracked)]

    def part(self, states: np.ndarray | slice, futures: slice = slice(None)) -> Branches:
        """Some states, and of each some futures."""
        chosen = {name: getattr(self, name)[states] for name in SHAPES}
        return Branches(self.spec, **{
            name: values[:, futures] if "M" in SHAPES[name] else values for name, values in chosen.items()
        })  # fmt: skip

    def save(self, path: Path) -> None:
        """Write a folder, whole or not at all.

        Raises:
            FileExistsError: `path` exists.
        """
        import zarr

        path.parent.mkdir(parents=True, exist_ok=True)
        remove_stale(path.parent)
        with staged_folder(path) as folder:
            group = zarr.create_group(str(folder), attributes={HEADER: {"format": FORMAT, **asdict(self.spec)}})
            for name in SHAPES:
                values: np.ndarray = getattr(self, name)
                chunks = (min(len(values), 64), *values.shape[1:])
                group.create_array(name, data=values, chunks=chunks, config=WHOLE)

    @classmethod
    def open(cls, path: Path) -> Branches:
        """Read a folder.

        Raises:
            BranchError: It is not a set of true futures, or damaged; the message names it.
        """
        import zarr

        try:
            group = zarr.open_group(str(path), mode="r")
            header: Any = group.attrs[HEADER]
            arrays = read_whole(dict(group.arrays()), tuple(SHAPES))
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise BranchError(f"{path} is not a set of true futures: {error}") from error
        return cls(_spec(path, header), **arrays)


def read_whole(arrays: Mapping[str, Any], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Arrays of a Zarr group that was written with `WHOLE`.

    Args:
        arrays: All of the group, by name.
        names: Which to read.

    Raises:
        KeyError: There is no such array.
        ValueError: Chunks are missing, which Zarr would read as zeros.
    """
    if lost := [name for name in names if arrays[name].nchunks_initialized < arrays[name].nchunks]:
        raise ValueError(f"parts of {', '.join(lost)} are missing; copy it whole or make it again")
    return {name: np.asarray(arrays[name][...]) for name in names}


def _spec(path: Path, header: Any) -> BranchSpec:
    names = ["format", *(each.name for each in fields(BranchSpec))]
    if not isinstance(header, dict) or sorted(header) != sorted(names) or header["format"] != FORMAT:
        raise BranchError(f"{path}: its header is not of format {FORMAT}; make it again with `foreact fork`")
    values: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in header.items()}
    del values["format"]
    return BranchSpec(**values)
