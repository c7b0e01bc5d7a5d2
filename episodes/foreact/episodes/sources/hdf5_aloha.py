"""Episodes in HDF5 as ALOHA and ACT write them: action, observations/{qpos,qvel,effort,images/*}, one file each.

Shape letters: n = steps, L = bytes of the longest picture.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from foreact.episodes.sources.encoded import Stills
from foreact.episodes.sources.hdf5_file import Hdf5
from foreact.episodes.sources.parts import Part, PartsSource
from foreact.episodes.sources.protocol import SourceError, Stream
from foreact.episodes.sources.steps import Column, Steps, column_part, distinct, numbered
from foreact.episodes.sources.stills import decode_still, still_size

__all__ = ["open_aloha"]

IMAGES = "observations/images/"
NOTE = (
    "pictures are JPEG rows padded with zeros, decoded as the standard says; some recorders encode RGB as if it were "
    "BGR: where red and blue look swapped, they did"
)


def open_aloha(key: str, file: Hdf5) -> PartsSource:
    """Open one episode.

    Raises:
        SourceError: It has no actions that can be read, or a picture that is none.
    """
    tables = {name: table for name, table in file.tables("", deep=True).items() if table.ndim}
    if "action" not in tables:
        raise SourceError(f"{file.path} has no actions that can be read. {'; '.join(file.notes)}")
    count, steps = len(tables["action"]), numbered()
    parts: list[tuple[str, Part]] = []
    notes = [*steps.notes, *file.notes]
    for name, table in tables.items():
        if name == "compress_len":
            continue
        if len(table) != count:
            notes.append(f"{name} is left out: {len(table)} steps where the actions have {count}")
            continue
        column = Column(f"{file.path}: {name}", table, 0, count)
        if name.startswith(IMAGES) and table.ndim == 2 and table.dtype == np.uint8 and count:
            parts.append((name, _compressed(column, name, steps)))
        else:
            about: dict[str, Any] = {"name": "state", "kind": "vector"} if name == "observations/qpos" else {}
            parts.append((name, column_part(column, name, steps, **about)))
    if any(part.stream.description == NOTE for _, part in parts):
        notes.append(NOTE)
    return PartsSource(key, distinct(parts), metadata=file.attributes("/"), notes=notes, close=file.close)


def _compressed(column: Column, name: str, steps: Steps) -> Part:
    def packed(index: int) -> bytes:
        return column.read_range(index, index + 1).tobytes().rstrip(b"\0")

    def read(index: int) -> np.ndarray:
        picture = decode_still(packed(index), f"{column.where}: step {index}")
        if picture.shape != shape:
            raise SourceError(f"{column.where}: step {index} is {picture.shape}, the first is {shape}")
        return picture

    shape = (*still_size(packed(0), column.where), 3)
    camera = f"camera.{name.removeprefix(IMAGES).replace('/', '.')}"
    stream = Stream(camera, "image", shape, "uint8", clock=steps.clock, description=NOTE)
    return Part(stream, steps.stamps(column.count), read, encoded=Stills(packed))
