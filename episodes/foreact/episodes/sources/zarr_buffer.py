"""Zarr recordings: replay buffers (UMI, Diffusion Policy) and EgoVerse's episodes.

    NAME.zarr or NAME.zarr.zip: data/* with all episodes one after the other, meta/episode_ends   (replay buffer)
    TIME.zarr: arrays of one episode, attribute total_frames                                      (EgoVerse)

Reads are thread-safe. Shape letters: n = steps of an episode.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, override

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.episodes.sources.parts import NEVER, Part, PartsSource, Recordings
from foreact.episodes.sources.protocol import Source, SourceError, Stream
from foreact.episodes.sources.rigid import poses_of_axis_angles
from foreact.episodes.sources.steps import Column, Steps, column_part, distinct, numbered
from foreact.episodes.sources.zarr_egoverse import open_egoverse
from foreact.episodes.sources.zarr_files import ZarrFiles, ZarrTable

__all__ = ["open_collection"]

ENDS = "meta/episode_ends"
MAX_EPISODES = 1_000_000
# What UMI's own definition says of its arrays (github.com/real-stanford/universal_manipulation_interface).
UNITS = (
    (re.compile(r"robot\d+_eef_pos"), "m"),
    (re.compile(r"robot\d+_eef_rot_axis_angle"), "rad"),
    (re.compile(r"robot\d+_gripper_width"), "m"),
    (re.compile(r"robot\d+_demo_(start|end)_pose"), "m,m,m,rad,rad,rad"),
)
POSE = re.compile(r"(robot\d+_eef)_pos")


@dataclass
class _Buffer(Recordings):
    """Recordings that share open files."""

    let_go: Callable[[], None] = field(default=NEVER)

    @override
    def close(self) -> None:
        self.let_go()


def open_collection(path: Path) -> Recordings:
    """Open a replay buffer, an EgoVerse episode, or a folder of either's folders.

    Raises:
        SourceError: None of these, or damaged.
        ModuleNotFoundError: Its pictures need a package that is not installed.
    """
    path = Path(path)
    if path.is_file() or (path / "meta").is_dir():
        return _open_buffer(path)
    if (path / "zarr.json").is_file():
        return Recordings(path, "egoverse", {path.stem: partial(open_egoverse, path.stem, path)})
    folders = sorted(each.parent for each in path.glob("*/zarr.json"))
    if not folders:
        raise SourceError(f"{path}: neither {ENDS} nor zarr.json in it or one folder below")
    return Recordings(path, "egoverse", {each.stem: partial(open_egoverse, each.stem, each) for each in folders})


def _open_buffer(path: Path) -> Recordings:
    files = ZarrFiles(path)
    try:
        ends = _ends(files)
        tables: dict[str, ZarrTable] = {}
        notes: list[str] = []
        for name in files.arrays("data"):
            try:
                tables[name] = files.table(f"data/{name}")
            except SourceError as error:
                notes.append(f"{name} is left out: {error}")
        short = [name for name, table in tables.items() if table.count < ends[-1] or table.blobs]
        for name in short:
            notes.append(f"{name} is left out: {tables.pop(name).count} rows, the episodes end at {ends[-1]}")
        if not tables:
            raise SourceError(f"{path}: nothing in data/ can be read. {'; '.join(notes)}")
        metadata = files.attributes()
    except BaseException:
        files.close()
        raise
    starts = [0, *ends[:-1]]
    openers: dict[str, Callable[[], Source]] = {
        f"episode-{number:05d}": partial(_open_episode, f"episode-{number:05d}", path, tables, start, end, metadata)
        for number, (start, end) in enumerate(zip(starts, ends, strict=True))
    }
    return _Buffer(path, "zarr-buffer", openers, tuple(notes), files.close)


def _ends(files: ZarrFiles) -> list[int]:
    """Where episodes end, rising."""
    table = files.table(ENDS)
    if table.rows.ndim != 1 or table.rows.dtype.kind not in "iu" or table.count > MAX_EPISODES or table.absent:
        raise SourceError(f"{files.path}: {ENDS} is not a whole list of row numbers")
    try:
        ends = [int(end) for end in table.rows[:]]
    except Exception as error:  # codecs raise what they like
        raise SourceError(f"{files.path}: {ENDS} cannot be read: {error}") from error
    if not ends or any(end <= start for start, end in zip([0, *ends[:-1]], ends, strict=True)):
        raise SourceError(f"{files.path}: {ENDS} does not rise from more than 0: {ends[:8]}")
    return ends


def _open_episode(
    key: str, path: Path, tables: dict[str, ZarrTable], start: int, end: int, metadata: dict[str, JSON]
) -> PartsSource:
    steps = numbered()
    notes = list(steps.notes)
    parts: list[tuple[str, Part]] = []
    for name, table in tables.items():
        column = Column(f"{path}: data/{name}", table.rows, start, end - start)
        parts.append((name, _part(name, column, table, steps)))
        if table.absent:
            notes.append(f"{name}: {table.absent} of {table.chunks} chunks have no file and read as the fill value")
    parts += [(part.stream.name, part) for part in _poses(path, tables, start, end, steps)]
    return PartsSource(key, distinct(parts), metadata=metadata, notes=notes)


def _part(name: str, column: Column, table: ZarrTable, steps: Steps) -> Part:
    rows = column.rows
    floats = rows.ndim == 4 and rows.shape[3] == 3 and rows.dtype.kind == "f" and min(rows.shape[1:3]) >= 8
    if floats or (rows.ndim == 4 and rows.shape[3] == 3 and rows.dtype == np.uint8):
        change = partial(_pictures, lost=table.absent > 0)
        column = Column(column.where, rows, column.start, column.count, change)
        about: dict[str, Any] = {"kind": "image", "dtype": "uint8"}
        return column_part(column, name, steps, **about, description="stored as float, 0 to 255" if floats else "")
    unit = next((unit for pattern, unit in UNITS if pattern.fullmatch(name)), "")
    return column_part(column, name, steps, unit=unit)


def _pictures(rows: np.ndarray, where: str, *, lost: bool) -> np.ndarray:
    """Pictures as uint8, exactly; one of a lost chunk is all of one value."""
    pictures = rows.astype(np.uint8) if np.isfinite(rows).all() and rows.min(initial=0) >= 0 else rows
    if not np.array_equal(pictures, rows) or pictures.dtype != np.uint8:
        raise SourceError(f"{where}: pictures that are not whole numbers from 0 to 255")
    flat = pictures.reshape(len(pictures), -1)
    if lost and len(flat) and (flat == flat[:, :1]).all(axis=1).any():
        raise SourceError(f"{where}: a picture of one colour, and chunks of this array have no file")
    return pictures


def _poses(path: Path, tables: dict[str, ZarrTable], start: int, end: int, steps: Steps) -> list[Part]:
    """Poses from position and axis-angle, where there are both."""
    parts = []
    for name, table in tables.items():
        match = POSE.fullmatch(name)
        turn = tables.get(f"{match[1]}_rot_axis_angle") if match else None
        if match is None or turn is None or table.rows.shape[1:] != (3,) or turn.rows.shape[1:] != (3,):
            continue
        place = Column(f"{path}: data/{name}", table.rows, start, end - start)
        angle = Column(f"{path}: data/{match[1]}_rot_axis_angle", turn.rows, start, end - start)
        stream = Stream(
            f"pose.{match[1]}",
            "pose",
            (7,),
            "float64",
            "m,m,m,1,1,1,1",
            steps.clock,
            child=match[1],
            description=f"made of {name} and {match[1]}_rot_axis_angle",
        )
        parts.append(_posed(stream, place, angle, steps))
    return parts


def _posed(stream: Stream, place: Column, angle: Column, steps: Steps) -> Part:
    places, angles = place.reader(), angle.reader()

    def rows(start: int, stop: int) -> np.ndarray:
        return poses_of_axis_angles(places(start, stop), angles(start, stop))

    return Part(stream, steps.stamps(place.count), lambda index: rows(index, index + 1)[0], rows)
