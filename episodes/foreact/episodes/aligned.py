"""Pictures of scenes in several kinds that show the same: colours, depth, segments and what each pixel is.

On disk a set is a folder with a Zarr 3 array per kind, filled block by block; what was finished survives a kill. Shape
letters: N = scenes, n = scenes of a block, H and W = image height and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.staging import remove_stale, staged_folder

__all__ = ["BLOCK", "KINDS", "AlignedError", "AlignedPictures", "AlignedWriter"]

FORMAT = 1
BLOCK = 64  # scenes of a block: what is drawn, written and read at once
KINDS: Mapping[str, str] = {"rgb": "uint8", "depth": "uint16", "segmentation": "uint8", "classes": "uint8"}
"""Kinds of pictures and their types: depth [mm], 0 = nothing hit; numbers of segments mean nothing."""
HEADER = "scenes.json"
WHOLE: Any = {"write_empty_chunks": True}  # so that a chunk that is missing is known to be lost


class AlignedError(ValueError):
    """A set of aligned pictures is not what it should be; the message names it."""


@dataclass(frozen=True)
class _Header:
    blocks: int
    side: int
    classes: tuple[str, ...]
    about: dict[str, JSON]
    done: int = 0
    format: int = FORMAT


@dataclass(frozen=True)
class AlignedPictures:
    """A finished set.

    Attributes:
        path: Its folder.
        classes: Name of each number of the kind `classes`.
        about: What it was made of, as it was asked for.
        arrays: Zarr arrays by kind: rgb (N, H, W, 3), others (N, H, W).
    """

    path: Path
    classes: tuple[str, ...]
    about: Mapping[str, JSON]
    arrays: Mapping[str, Any] = field(repr=False)

    def __len__(self) -> int:
        return self.arrays["rgb"].shape[0]

    @property
    def side(self) -> int:
        """Height and width of all pictures [px]."""
        return self.arrays["rgb"].shape[1]

    def read(self, kind: str, scenes: slice | np.ndarray = slice(None)) -> np.ndarray:
        """Pictures of some scenes, by a slice or by numbers.

        Raises:
            AlignedError: No such kind.
        """
        if kind not in self.arrays:
            raise AlignedError(f"{self.path} has no {kind!r}; it has {', '.join(self.arrays)}")
        values = self.arrays[kind]
        return np.asarray(values[scenes] if isinstance(scenes, slice) else values.oindex[scenes])

    @classmethod
    def open(cls, path: Path) -> AlignedPictures:
        """Open a finished set.

        Raises:
            AlignedError: It is none, damaged, or not finished.
        """
        header = _read(path)
        if header.done < header.blocks:
            made = f"{header.done} of {header.blocks} blocks"
            raise AlignedError(f"{path} is not finished ({made}); type the line that makes it once more")
        arrays = {kind: _array(path, kind, header) for kind in KINDS}
        if lost := [kind for kind, each in arrays.items() if each.nchunks_initialized < each.nchunks]:
            raise AlignedError(f"{path}: parts of {', '.join(lost)} are missing; copy it whole or make it again")
        return cls(path, header.classes, header.about, arrays)


class AlignedWriter:
    """Fills a set block by block.

    Args:
        path: Folder; one that was begun for the same is gone on with.
        scenes: N, a multiple of `BLOCK`.
        side: H = W [px].
        classes: Name of each number of the kind `classes`.
        about: What it is made of; a set made of something else is refused.

    Raises:
        AlignedError: The folder holds something else, or N is no such multiple.
    """

    def __init__(self, path: Path, scenes: int, side: int, classes: tuple[str, ...], about: Mapping[str, JSON]) -> None:
        if scenes < BLOCK or scenes % BLOCK:
            raise AlignedError(f"{scenes} scenes: give a multiple of {BLOCK}")
        self.path, wanted = path, _Header(scenes // BLOCK, side, classes, dict(about))
        if not path.exists():
            _make(path, wanted)
        self._header = _read(path)
        if replace(self._header, done=0) != wanted:
            names = ("blocks", "side", "classes", "about")
            other = [name for name in names if getattr(self._header, name) != getattr(wanted, name)]
            raise AlignedError(f"{path} holds another set (its {', '.join(other)} differ); choose another out")

    @property
    def done(self) -> int:
        """Blocks that are finished."""
        return self._header.done

    def write(self, pictures: Mapping[str, np.ndarray]) -> None:
        """Write the next block.

        Args:
            pictures: Of `BLOCK` scenes, by kind.

        Raises:
            AlignedError: The set is finished; or a kind is missing, or of another size or type.
        """
        if self.done == self._header.blocks:
            raise AlignedError(f"{self.path} is finished")
        for kind, dtype in KINDS.items():
            wanted, values = (BLOCK, *_shape(kind, self._header)[1:]), pictures.get(kind)
            if values is None or values.shape != wanted or str(values.dtype) != dtype:
                got = "nothing" if values is None else f"{values.dtype} {values.shape}"
                raise AlignedError(f"{kind}: expected {dtype} {wanted}, got {got}")
        part = slice(self.done * BLOCK, (self.done + 1) * BLOCK)
        for kind in KINDS:
            _array(self.path, kind, self._header, "r+")[part] = pictures[kind]
        self._header = replace(self._header, done=self.done + 1)
        write_json_atomic(self.path / HEADER, self._header)


def _make(path: Path, header: _Header) -> None:
    import zarr

    path.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(path.parent)
    with staged_folder(path) as folder:
        for kind, dtype in KINDS.items():
            shape = _shape(kind, header)
            chunks = (BLOCK, *shape[1:])
            zarr.create_array(str(folder / kind), shape=shape, chunks=chunks, dtype=dtype, config=WHOLE)
        write_json_atomic(folder / HEADER, header)


def _shape(kind: str, header: _Header) -> tuple[int, ...]:
    return (header.blocks * BLOCK, header.side, header.side, *([3] if kind == "rgb" else []))


def _read(path: Path) -> _Header:
    try:
        header = strictjson.decode(_Header, strictjson.loads((path / HEADER).read_text()), HEADER)
    except (OSError, ValueError) as error:
        raise AlignedError(f"{path} is not a set of aligned pictures: {error}") from error
    if header.format != FORMAT:
        raise AlignedError(f"{path} is of format {header.format}, not {FORMAT}; make it again")
    return header


def _array(path: Path, kind: str, header: _Header, mode: Any = "r") -> Any:
    import zarr

    try:
        found = zarr.open_array(str(path / kind), mode=mode, config=WHOLE)
    except (OSError, KeyError, ValueError, RuntimeError) as error:
        raise AlignedError(f"{path} has no {kind}, or a damaged one: {error}") from error
    if found.shape != _shape(kind, header) or str(found.dtype) != KINDS[kind]:
        raise AlignedError(f"{path}: {kind} is {found.dtype} {found.shape}, not {KINDS[kind]} {_shape(kind, header)}")
    return found
