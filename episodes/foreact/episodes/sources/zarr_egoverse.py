"""EgoVerse episodes: one Zarr group each, everything on the clock of the front camera.

Source: github.com/GaTech-RL2/EgoVerse, CONTRIBUTING_DATA.md, sections 6 to 8. The attribute `total_frames` is the
length; arrays may be padded behind it. 1e9 in a pose or landmark means that nothing was tracked there.
Shape letters: n = frames.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.episodes.sources.encoded import Stills
from foreact.episodes.sources.parts import Part, PartsSource, array_part
from foreact.episodes.sources.protocol import Kind, SourceError, Stream
from foreact.episodes.sources.steps import MAX_STEPS, Column, Steps, column_part, distinct, numbered, timed
from foreact.episodes.sources.stills import decode_still, still_size
from foreact.episodes.sources.zarr_files import ZarrFiles, ZarrTable

__all__ = ["open_egoverse"]

STAMPS, NOTES = "obs_rgb_timestamps_ns", "annotations"
UNTRACKED = 1e8  # from here on: the format writes 1e9
POSE_UNIT = "m,m,m,1,1,1,1"
GRIPPER = "0 is closed, 1 is open"


def open_egoverse(key: str, path: Path) -> PartsSource:
    """Open one episode.

    Raises:
        SourceError: It does not say its length, or an array that is needed is damaged.
    """
    files = ZarrFiles(path)
    attributes = files.attributes()
    count = attributes.get("total_frames")
    if type(count) is not int or not 0 < count <= MAX_STEPS:
        raise SourceError(f"{path}: total_frames is {count!r}: not an EgoVerse episode")
    notes: list[str] = []
    tables = _tables(files, count, notes)
    steps, stamps = _clock(path, tables, attributes, count, notes)
    parts: list[tuple[str, Part]] = []
    for name, table in tables.items():
        column = Column(f"{path}: {name}", table.rows, 0, count)
        if name == NOTES:
            parts += [(name, part) for part in _annotations(path, table, stamps, steps, notes)]
        elif name != STAMPS:
            part = _pictures(name, column, steps) if table.blobs else _numbers(name, column, steps, attributes)
            parts.append((name, Part(part.stream, stamps, part.read, part.read_range, part.encoded)))
    task = next((attributes[name] for name in ("task_description", "task_name") if attributes.get(name)), "")
    metadata = {name: value for name, value in attributes.items() if name != "features"}
    return PartsSource(key, distinct(parts), task=str(task), metadata=metadata, notes=notes, close=files.close)


def _tables(files: ZarrFiles, count: int, notes: list[str]) -> dict[str, ZarrTable]:
    found: dict[str, ZarrTable] = {}
    for name in files.arrays():
        try:
            table = files.table(name)
        except SourceError as error:
            notes.append(f"{name} is left out: {error}")
            continue
        if name != NOTES and table.count < count:
            notes.append(f"{name} is left out: {table.count} rows, total_frames is {count}")
            continue
        if name != NOTES and table.count > count:
            notes.append(f"{name}: the last {table.count - count} of {table.count} rows are padding")
        if table.absent:
            notes.append(
                f"{name}: {table.absent} of {table.chunks} chunk files are not there and read as the fill value"
            )
        found[name] = table
    return found


def _clock(
    path: Path, tables: dict[str, ZarrTable], attributes: dict[str, JSON], count: int, notes: list[str]
) -> tuple[Steps, np.ndarray]:
    table = tables.get(STAMPS)
    if table is None or table.rows.dtype != np.int64 or table.rows.ndim != 1 or table.absent:
        notes.append(f"{STAMPS} is not there as int64")
        steps = timed(attributes["fps"], "fps") if "fps" in attributes else numbered()
        notes += steps.notes
        return steps, steps.stamps(count)
    stamps = Column(f"{path}: {STAMPS}", table.rows, 0, count).read_range(0, count)
    fps = timed(attributes.get("fps"), "fps").rate_hz
    return Steps("utc", fps, ()), stamps


def _pictures(name: str, column: Column, steps: Steps) -> Part:
    where = column.where
    shape = (*still_size(_blob(column, 0), where), 3)

    def read(index: int) -> np.ndarray:
        picture = decode_still(_blob(column, index), f"{where}: frame {index}")
        if picture.shape != shape:
            raise SourceError(f"{where}: frame {index} is {picture.shape}, the first is {shape}")
        return picture

    camera = f"camera.{name.removeprefix('images.')}"
    stream = Stream(camera, "image", shape, "uint8", clock=steps.clock, rate_hz=steps.rate_hz)
    return Part(stream, np.zeros(0, np.int64), read, encoded=Stills(lambda index: _blob(column, index)))


def _blob(column: Column, index: int) -> bytes:
    blob = column.read_range(index, index + 1)[0]
    value = blob.item() if isinstance(blob, np.ndarray | np.generic) else blob
    if not isinstance(value, bytes):
        raise SourceError(f"{column.where}: frame {index} is not a byte string")
    return value


def _numbers(name: str, column: Column, steps: Steps, attributes: dict[str, JSON]) -> Part:
    """A numeric array under the name and kind that it has in other formats."""
    side, _, what = name.partition(".")
    human = str(attributes.get("embodiment", "")).startswith("human")
    about: dict[str, Any] = {}
    shape = column.rows.shape[1:]
    if shape == (7,) and what in ("obs_wrist_pose", "obs_ee_pose", "cmd_ee_pose"):
        shown = f"hand.{side}.wrist" if what == "obs_wrist_pose" else f"pose.{side}.{what.removesuffix('_pose')}"
        frame = "world" if human or what == "obs_wrist_pose" else "robot base"
        about = _about(shown, "pose", POSE_UNIT, frame, child=f"{side} {what.removesuffix('_pose')}")
    elif shape == (7,) and name == "obs_head_pose":
        about = _about("pose.head", "pose", POSE_UNIT, "world", child="head camera")
    elif shape == (63,) and what == "obs_keypoints":
        about = {**_about(f"hand.{side}.landmarks", "hand", "m", "world"), "shape": (21, 3)}
    elif shape == (3,) and name == "obs_eye_gaze":
        about = _about("gaze", "gaze", "1", "world")
    elif what.endswith("gripper"):
        about = {"unit": "1", "description": GRIPPER}
    if about.get("kind") in ("pose", "hand"):
        size = about.get("shape", shape)
        column = Column(column.where, column.rows, 0, column.count, lambda rows, _: _tracked(rows, size))
    return column_part(column, name, steps, **about)


def _about(name: str, kind: Kind, unit: str, frame: str, child: str = "") -> dict[str, Any]:
    return {"name": name, "kind": kind, "unit": unit, "frame": frame, "child": child}


def _tracked(rows: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    lost = (np.abs(rows) >= UNTRACKED).any(axis=1)
    found = rows.astype(rows.dtype if rows.dtype.kind == "f" else np.float64)
    found[lost] = np.nan
    return found.reshape(len(rows), *shape)


def _annotations(path: Path, table: ZarrTable, stamps: np.ndarray, steps: Steps, notes: list[str]) -> list[Part]:
    """What is done from frame to frame, as events at the first frame of each."""
    try:
        texts = [_text(text) for text in np.asarray(table.rows[:MAX_STEPS]).ravel()] if table.blobs else []
        spans = [strictjson.loads(text) for text in texts]
        starts = np.array([span["start_idx"] for span in spans], np.int64)
    except Exception as error:  # bytes and JSON of others
        notes.append(f"{path.name}: {NOTES} cannot be read: {error}")
        return []
    if not len(starts):
        return []
    if starts.min() < 0 or starts.max() >= len(stamps):
        notes.append(f"{NOTES} is left out: it starts at frame {starts.max()} of {len(stamps)}")
        return []
    events = np.array([json.dumps(span, ensure_ascii=False) for span in spans], dtype=object)
    stream = Stream("annotations", "event", (), "str", clock=steps.clock, description="stamped by its first frame")
    part = array_part(stream, stamps[starts], events)
    return [Part(stream, part.stamps, lambda index: str(events[index]), lambda start, stop: list(events[start:stop]))]


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
