"""Truth and annotations that Aria's data sets put beside a recording: ADT's objects, boxes, body; AEA's speech.

All are on the device's clock (`gt_time_domain` in ADT's `metadata.json`). Shape letters: n = samples.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.episodes.sources import mps_streams
from foreact.episodes.sources.mps_table import Table, read_table
from foreact.episodes.sources.parts import Part, array_part
from foreact.episodes.sources.protocol import SourceError, Stream, Value

__all__ = ["parts"]

MICROSECONDS, NANOSECONDS = ("tracking_timestamp_us", 1000), ("timestamp[ns]", 1)
EVENTS = {
    "2d_bounding_box": "boxes.2d",
    "3d_bounding_box": "boxes.3d",
    "scene_objects": "objects",
}
"""Tables of which the rows of one time are one sample."""
STATIC = -1
CAMERAS = {"214-1": "rgb", "1201-1": "slam.left", "1201-2": "slam.right"}
MOST_JSON = 1 << 28


def parts(folder: Path, notes: list[str]) -> tuple[list[Part], dict[str, JSON]]:
    """What is known in the folder of a recording.

    Args:
        folder: Of the VRS file.
        notes: What was left out is added.
    """
    found: list[Part] = []
    metadata: dict[str, JSON] = {}
    for file in sorted([*folder.glob("*.csv"), *folder.glob("*.json")]):
        try:
            found += list(_read(file, metadata, notes))
        except SourceError as error:
            notes.append(f"{file.name} was left out: {error}")
    return found, metadata


def _read(file: Path, metadata: dict[str, JSON], notes: list[str]) -> Iterator[Part]:
    if file.stem in EVENTS:
        yield from _events(file, EVENTS[file.stem], metadata)
    elif file.name == "aria_trajectory.csv":
        yield from mps_streams.trajectory(_tracked(file), notes)
    elif file.name == "eyegaze.csv":
        yield from mps_streams.gaze(_tracked(file), "gaze", notes)
    elif file.name == "speech.csv":
        yield _speech(file)
    elif file.name.startswith("Skeleton_"):
        yield from _skeleton(file)
    elif file.name in ("metadata.json", "instances.json"):
        metadata[file.stem] = _json(file)


def _tracked(file: Path) -> Table:
    return read_table(file, *MICROSECONDS, mps_streams.columns_of_text(), ("utc_timestamp_ns",))


def _json(file: Path) -> Any:
    try:
        if file.stat().st_size > MOST_JSON:
            raise SourceError(f"{file.stat().st_size} bytes are too many")
        return strictjson.loads(file.read_text())
    except (OSError, UnicodeDecodeError, strictjson.StrictJsonError, RecursionError) as error:
        raise SourceError(str(error)) from error


def _events(file: Path, name: str, metadata: dict[str, JSON]) -> Iterator[Part]:
    """One stream, or one for each camera; what has no time (-1) is metadata."""
    table = read_table(file, *NANOSECONDS, ("stream_id", "object_uid"))
    cameras = np.array(table.texts("stream_id") or [""] * len(table))
    fixed = np.flatnonzero(table.stamps == STATIC)
    if len(fixed):
        metadata[f"{name}.static"] = _rows(table, fixed)
    for camera in dict.fromkeys(cameras.tolist()):
        mine = np.flatnonzero((cameras == camera) & (table.stamps != STATIC))
        if len(mine):
            full = f"{name}.{CAMERAS.get(camera, camera)}" if camera else name
            yield _grouped(table, mine, Stream(full, "event", (), "str"))


def _grouped(table: Table, rows: np.ndarray, stream: Stream) -> Part:
    stamps, first = np.unique(table.stamps[rows], return_inverse=True)
    groups = [rows[first == number] for number in range(len(stamps))]

    def read(index: int) -> Value:
        return json.dumps(_rows(table, groups[index]))

    text = f"rows of {table.path.name} of one time, names of columns with units; JSON"
    return Part(replace(stream, description=text), stamps, read)


def _rows(table: Table, rows: np.ndarray) -> list[JSON]:
    def cell(name: str, row: int) -> JSON:
        column = table.columns[name]
        value = column[row] if isinstance(column, list) else column[row].item()
        return None if value != value else value  # NaN is no JSON

    names = [name for name in table.columns if not name.startswith("timestamp")]
    return [{name: cell(name, int(row)) for name in names} for row in rows]


def _speech(file: Path) -> Part:
    table = read_table(file, "startTime_ns", 1, ("written",), ("endTime_ns",))
    words = table.texts("written")
    if not table.has("written"):
        raise SourceError("it has no column written")
    text = "recognised words, stamped by their start"
    return Part(Stream("speech", "text", (), "str", description=text), table.stamps, lambda index: words[index])


def _skeleton(file: Path) -> Iterator[Part]:
    data = _json(file)
    try:
        stamps = np.array([frame["timestamp_ns"] for frame in data["frames"]], np.int64)
        for what in ("joints", "markers"):
            points = np.array([frame[what] for frame in data["frames"]], np.float64)
            if points.ndim != 3 or points.shape[2] != 3:
                raise SourceError(f"{what} of shape {points.shape}")
            stream = Stream(f"body.{what}", "points", points.shape[1:], "float64", "m", frame="world")
            yield array_part(replace(stream, elements=("x", "y", "z"), description=file.stem), stamps, points)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise SourceError(f"no skeleton: {error}") from error
