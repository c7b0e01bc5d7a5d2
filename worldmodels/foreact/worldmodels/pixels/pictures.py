"""Pictures of true futures: what a camera sees at the fork and every few control steps of each future.

On disk a set is a folder: `branches` holds the states (see `foreact.worldmodels.branches`), the other arrays of a Zarr
group what was drawn of them. Shape letters: S = states, M = futures of each, P = pictured futures of each, F = pictured
moments of a future, G = frames seen before it starts, W = side [px].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.staging import remove_stale, staged_folder
from foreact.worldmodels.branches import SHAPES, WHOLE, BranchError, Branches, read_whole

__all__ = ["STREAMS", "PictureSpec", "PixelBranches", "joined"]

FORMAT = 2
HEADER = "foreact-pixel-branches"
STREAMS: Mapping[str, tuple[str, int]] = {"rgb": ("uint8", 3), "depth": ("uint16", 0), "segmentation": ("uint8", 0)}
"""Type of each kind of picture and its channels, 0 for a picture without an axis of channels."""


@dataclass(frozen=True)
class PictureSpec:
    """What was drawn.

    Attributes:
        camera: Name of the camera.
        side: Of the square pictures [px].
        every: Control steps between pictured moments of a future.
    """

    camera: str = "front"
    side: int = 64
    every: int = 4

    def __post_init__(self) -> None:
        if self.side < 16 or self.side % 16:
            raise ValueError(f"side={self.side} px is not a multiple of 16; give 32 or 64")
        if self.every < 1:
            raise ValueError(f"every={self.every} must be 1 control step or more")

    def moments(self, horizon: int) -> tuple[int, ...]:
        """After which control steps of a future there is a picture, counted from 1.

        Args:
            horizon: Control steps of a future.

        Raises:
            ValueError: They do not divide into whole intervals.
        """
        if horizon % self.every:
            raise ValueError(f"a picture every {self.every} steps does not end with the {horizon} steps of a future")
        return tuple(range(self.every, horizon + 1, self.every))


@dataclass(frozen=True)
class PixelBranches:
    """States with their true futures, and pictures of the first P of each.

    Attributes:
        spec: What was drawn.
        branches: The states.
        seen: What is seen before a future starts, earlier frame first, by kind: `rgb` (S, G, W, W, 3) uint8, `depth`
            (S, G, W, W) uint16 [mm], `segmentation` (S, G, W, W) uint8, the geom's number + 1, 0 = nothing.
        later: What is seen in the futures, by kind, (S, P, F, W, W) and so on.

    Raises:
        BranchError: A shape or a type is wrong.
    """

    spec: PictureSpec
    branches: Branches
    seen: Mapping[str, np.ndarray]
    later: Mapping[str, np.ndarray]

    def __post_init__(self) -> None:
        side, horizon = self.spec.side, self.branches.actions.shape[1]
        pictured = next(iter(self.later.values())).shape[1] if self.later else 0
        if not 1 <= pictured <= self.branches.futures.shape[1]:
            raise BranchError(f"later: {pictured} pictured futures of {self.branches.futures.shape[1]}")
        moments = len(self.spec.moments(horizon))
        for part, axes in (("seen", (2,)), ("later", (pictured, moments))):
            pictures: Mapping[str, np.ndarray] = getattr(self, part)
            if pictures.keys() != STREAMS.keys():
                raise BranchError(f"{part}: expected {', '.join(STREAMS)}, got {', '.join(pictures) or 'nothing'}")
            for name, (dtype, channels) in STREAMS.items():
                shape = (len(self.branches), *axes, side, side, *((channels,) if channels else ()))
                if pictures[name].shape != shape or str(pictures[name].dtype) != dtype:
                    found = f"{pictures[name].dtype} {pictures[name].shape}"
                    raise BranchError(f"{part}.{name}: expected {dtype} {shape}, got {found}")

    def __len__(self) -> int:
        return len(self.branches)

    @property
    def pictured(self) -> int:
        """P."""
        return self.later["rgb"].shape[1]

    @property
    def frames(self) -> int:
        """Pictures in all, a picture being what one camera sees at one moment, of all kinds."""
        return sum(int(np.prod(each["depth"].shape[:-2])) for each in (self.seen, self.later))

    def part(self, states: np.ndarray | slice) -> PixelBranches:
        """Some states."""
        chosen = [{name: values[states] for name, values in each.items()} for each in (self.seen, self.later)]
        return PixelBranches(self.spec, self.branches.part(states), *chosen)

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
            for part, pictures in (("seen", self.seen), ("later", self.later)):
                for name, values in pictures.items():
                    chunks = (min(len(values), 8), *values.shape[1:])
                    group.create_array(f"{part}.{name}", data=values, chunks=chunks, config=WHOLE)
            self.branches.save(folder / "branches")

    @classmethod
    def open(cls, path: Path) -> PixelBranches:
        """Read a folder.

        Raises:
            BranchError: It is not a set of pictured futures, or damaged; the message names it.
        """
        import zarr

        try:
            group = zarr.open_group(str(path), mode="r")
            header: Any = group.attrs[HEADER]
            parts = [[f"{part}.{name}" for name in STREAMS] for part in ("seen", "later")]
            arrays = read_whole(dict(group.arrays()), [name for names in parts for name in names])
            seen, later = ({name.partition(".")[2]: arrays[name] for name in names} for names in parts)
        except (OSError, KeyError, ValueError, RuntimeError) as error:
            raise BranchError(f"{path} is not a set of pictured futures: {error}") from error
        return cls(_spec(path, header), Branches.open(path / "branches"), seen, later)


def joined(parts: Sequence[PixelBranches]) -> PixelBranches:
    """Sets of the same kind one after the other.

    Args:
        parts: At least one; their seeds may differ, and the first one's is kept.

    Raises:
        BranchError: None, or sets of different kinds.
    """
    if not parts:
        raise BranchError("no set of pictured futures to join")
    first = parts[0]
    for each in parts[1:]:
        if each.spec != first.spec or replace(each.branches.spec, seed=first.branches.spec.seed) != first.branches.spec:
            raise BranchError(f"cannot join {each.spec}, {each.branches.spec} with {first.spec}, {first.branches.spec}")
    arrays = {name: np.concatenate([getattr(each.branches, name) for each in parts]) for name in SHAPES}
    seen, later = (
        {name: np.concatenate([getattr(each, part)[name] for each in parts]) for name in STREAMS}
        for part in ("seen", "later")
    )
    return PixelBranches(first.spec, Branches(first.branches.spec, **arrays), seen, later)


def _spec(path: Path, header: Any) -> PictureSpec:
    names = ["format", *(each.name for each in fields(PictureSpec))]
    if not isinstance(header, dict) or sorted(header) != sorted(names) or header["format"] != FORMAT:
        raise BranchError(f"{path}: its header is not of format {FORMAT}; draw it again")
    try:
        return PictureSpec(**{name: value for name, value in header.items() if name != "format"})
    except (TypeError, ValueError) as error:
        raise BranchError(f"{path}: {error}") from error
