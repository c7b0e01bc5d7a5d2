"""Outputs of Aria's machine perception services as streams: trajectories, gaze, hands.

Columns: the data formats in the documentation of Project Aria's MPS. Shape letters: n = rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from foreact.episodes.sources.mps_table import Table
from foreact.episodes.sources.parts import Part, array_part
from foreact.episodes.sources.protocol import SourceError, Stream
from foreact.episodes.sources.vrs_aria import HAND_ORDER, LANDMARKS, POSE

__all__ = ["gaze", "hands", "trajectory", "wrists_and_palms"]

TRACKED = "stamped by tracking_timestamp_us"
VECTOR = Stream("", "vector", (3,), "float64", elements=("x", "y", "z"))


def _xyz(text: str) -> tuple[str, ...]:
    return tuple(text.replace("?", axis) for axis in "xyz")


def trajectory(table: Table, notes: list[str]) -> Iterator[Part]:
    """Closed loop (device in `world`) or open loop (device in `odometry`), by the columns.

    Raises:
        SourceError: Columns are missing.
    """
    frame = "world" if table.has("tx_world_device") else "odometry"
    name = "pose.trajectory" if frame == "world" else "pose.odometry"
    loop = "closed" if frame == "world" else "open"
    about = Stream(name, "pose", (7,), frame=frame, child="device", description=f"{loop} loop, {TRACKED}", **POSE)
    yield _poses(table, about, f"{frame}_device", notes)
    speed = "device_linear_velocity_?_device" if frame == "world" else "device_linear_velocity_?_odometry"
    turning = next((text for text in ("angular_velocity_?_device",) if table.has(*_xyz(text))), "")
    for key, text, unit, seen in (
        ("velocity", speed, "m/s", "device" if frame == "world" else frame),
        ("turning", turning, "rad/s", "device"),
        ("gravity", f"gravity_?_{frame}", "m/s^2", frame),
    ):
        if text and table.has(*_xyz(text)):
            stream = replace(VECTOR, name=f"{name}.{key}", unit=unit, frame=seen, description=TRACKED)
            yield array_part(stream, table.stamps, table.numbers(*_xyz(text)))
    if table.has("quality_score"):
        stream = replace(VECTOR, name=f"{name}.quality", shape=(1,), elements=("quality_score",), description=TRACKED)
        yield array_part(stream, table.stamps, table.numbers("quality_score"))
    yield from _utc(table, name)
    if table.has("geo_available") and (table.numbers("geo_available") > 0).any():
        yield _poses(table, replace(about, name=f"{name}.ecef", frame="ecef"), "ecef_device", notes)
    _graphs(table, name, notes)


def _utc(table: Table, name: str) -> Iterator[Part]:
    times = np.asarray(table.columns.get("utc_timestamp_ns", np.full(len(table), -1)), np.int64)
    if (times >= 0).any():
        text = f"{TRACKED}; UTC at that time, -1 where unknown"
        stream = Stream(f"{name}.utc", "vector", (1,), "int64", "ns", elements=("utc",), description=text)
        yield array_part(stream, table.stamps, times[:, None])


def _graphs(table: Table, name: str, notes: list[str]) -> None:
    if len(graphs := set(table.texts("graph_uid"))) > 1:
        notes.append(f"{name}: its poses lie in {len(graphs)} worlds (graph_uid) that have no common frame")


def _poses(table: Table, about: Stream, frames: str, notes: list[str]) -> Part:
    names = [f"{axis}_{frames}" for axis in ("tx", "ty", "tz", "qw", "qx", "qy", "qz")]
    values = table.numbers(*names)
    length = np.linalg.norm(values[:, 3:], axis=1)
    if (odd := int((~(np.abs(length - 1) < 1e-3)).sum())) and np.isfinite(length).any():
        notes.append(f"{about.name}: {odd} of {len(values)} quaternions are not of length 1")
    return array_part(about, table.stamps, values)


def gaze(table: Table, name: str, notes: list[str]) -> Iterator[Part]:
    """Gaze in the central pupil frame, of both eyes together and of each where the table has them.

    Raises:
        SourceError: It has neither.
    """
    found = False
    if table.has("yaw_rads_cpf", "pitch_rads_cpf"):
        found = True
        depth = table.numbers("depth_m")[:, 0] if table.has("depth_m") else np.full(len(table), np.nan)
        if len(table) and np.isnan(depth).all():
            notes.append(f"{name}: the depth is not known")
        yield _eye(table, name, np.column_stack([table.numbers("yaw_rads_cpf", "pitch_rads_cpf"), depth]))
        bounds = ("yaw_low_rads_cpf", "yaw_high_rads_cpf", "pitch_low_rads_cpf", "pitch_high_rads_cpf")
        if table.has(*bounds):
            stream = replace(VECTOR, name=f"{name}.interval", shape=(4,), unit="rad", frame="cpf", elements=bounds)
            yield array_part(replace(stream, description=TRACKED), table.stamps, table.numbers(*bounds))
    for side in ("left", "right"):
        pitch = f"{side}_pitch_rads_cpf" if table.has(f"{side}_pitch_rads_cpf") else "pitch_rads_cpf"
        if not table.has(f"{side}_yaw_rads_cpf", pitch):
            continue
        found = True
        angles = table.numbers(f"{side}_yaw_rads_cpf", pitch)
        yield _eye(table, f"{name}.{side}", np.column_stack([angles, np.full(len(table), np.nan)]))
        if table.has(*(origin := _xyz(f"t?_{side}_eye_cpf"))):
            stream = replace(VECTOR, name=f"{name}.{side}.origin", unit="m", frame="cpf", description=TRACKED)
            yield array_part(stream, table.stamps, table.numbers(*origin))
    if not found:
        raise SourceError(f"{table.path}: it has no gaze")
    if table.has("depth_m") and not table.has("yaw_rads_cpf"):
        stream = replace(VECTOR, name=f"{name}.depth", shape=(1,), unit="m", elements=("depth",))
        yield array_part(replace(stream, frame="cpf", description=TRACKED), table.stamps, table.numbers("depth_m"))


def _eye(table: Table, name: str, values: np.ndarray) -> Part:
    stream = Stream(name, "gaze", (3,), "float64", "rad,rad,m", elements=("yaw", "pitch", "depth"), frame="cpf")
    text = f"{TRACKED}; in the central pupil frame, NaN where the depth is not known"
    return array_part(replace(stream, description=text), table.stamps, values)


def hands(table: Table, suffix: str, notes: list[str]) -> Iterator[Part]:
    """Landmarks, wrist and confidence of both hands.

    Raises:
        SourceError: Columns are missing.
    """
    for side in ("left", "right"):
        sure = table.numbers(f"{side}_tracking_confidence")
        lost = sure[:, 0] < 0
        names = [name for mark in range(21) for name in _xyz(f"t?_{side}_landmark_{mark}_device")]
        marks = _unseen(table.numbers(*names), lost).reshape(-1, 21, 3)
        stream = Stream(f"hand.{side}.landmarks{suffix}", "hand", (21, 3), "float64", "m", elements=LANDMARKS)
        text = f"{TRACKED}; {HAND_ORDER}; NaN where the hand is not seen"
        yield array_part(replace(stream, frame="device", description=text), table.stamps, marks)
        names = [f"{axis}_{side}_device_wrist" for axis in ("tx", "ty", "tz", "qw", "qx", "qy", "qz")]
        about = Stream(f"hand.{side}.wrist{suffix}", "pose", (7,), frame="device", child=f"{side} wrist", **POSE)
        text = f"{TRACKED}; NaN where the hand is not seen"
        yield array_part(replace(about, description=text), table.stamps, _unseen(table.numbers(*names), lost))
        yield _confidence(table, f"hand.{side}.confidence{suffix}", sure)
        yield from _normals(table, side, suffix, lost)
        if lost.any():
            notes.append(f"hand.{side}.landmarks{suffix}: not seen in {int(lost.sum())} of {len(lost)} samples")


def wrists_and_palms(table: Table, suffix: str, notes: list[str]) -> Iterator[Part]:
    """Positions of wrists and palms.

    Raises:
        SourceError: Columns are missing.
    """
    both = _both_lost(table)
    if both.any():
        notes.append(f"{table.path.name}: {int(both.sum())} rows without any hand have their cells in other columns")
    for side in ("left", "right"):
        sure = table.numbers(f"{side}_tracking_confidence")
        sure[both] = -1.0
        lost = sure[:, 0] < 0
        for what in ("wrist", "palm"):
            values = _unseen(table.numbers(*_xyz(f"t?_{side}_{what}_device")), lost)
            name = f"hand.{side}.{what}.position{suffix}"
            stream = replace(VECTOR, name=name, unit="m", frame="device", description=f"{TRACKED}; NaN where not seen")
            yield array_part(stream, table.stamps, values)
        yield _confidence(table, f"hand.{side}.wrist_and_palm.confidence{suffix}", sure)
        yield from _normals(table, side, f".wrist_and_palm{suffix}", lost)


def _both_lost(table: Table) -> np.ndarray:
    """Rows of the second version that say -1, 12 zeros, -1, 12 zeros, whatever the header."""
    names = [name for name in table.columns if name != "tracking_timestamp_us"]
    if len(names) != 26:
        return np.zeros(len(table), bool)
    row = np.zeros(26)
    row[[0, 13]] = -1
    return (table.numbers(*names) == row).all(axis=1)


def _normals(table: Table, side: str, suffix: str, lost: np.ndarray) -> Iterator[Part]:
    for what in ("palm", "wrist"):
        names = _xyz(f"n?_{side}_{what}_device")
        if table.has(*names):
            stream = replace(VECTOR, name=f"hand.{side}.{what}.normal{suffix}", frame="device", description=TRACKED)
            yield array_part(stream, table.stamps, _unseen(table.numbers(*names), lost))


def _confidence(table: Table, name: str, sure: np.ndarray) -> Part:
    text = f"{TRACKED}; -1 where the hand is not seen"
    stream = replace(VECTOR, name=name, shape=(1,), elements=("confidence",), description=text)
    return array_part(stream, table.stamps, sure)


def _unseen(values: np.ndarray, lost: np.ndarray) -> np.ndarray:
    values[lost] = np.nan
    return values


def columns_of_text() -> Sequence[str]:
    """Columns that are no numbers."""
    return ("graph_uid", "session_uid")
