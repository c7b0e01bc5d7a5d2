"""Project Aria's streams inside VRS: their names, and numbers with units and frames instead of fields.

Names of streams: `StreamIdLabelMapper.cpp` of github.com/facebookresearch/projectaria_tools; left and right IMU have
changed places between the generations. Shape letters: n = samples.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from foreact.episodes.sources.parts import Part, array_part
from foreact.episodes.sources.protocol import SourceError, Stream
from foreact.episodes.sources.vrs_stream import VrsStream

__all__ = ["GENERATIONS", "HAND_ORDER", "LANDMARKS", "POSE", "aria_name", "aria_parts", "generation"]

GENERATIONS = {"device/aria": 1, "device/oatmeal": 2}
"""Generation by the flavour of a stream."""
SHARED = {
    **{"214-1": "camera.rgb", "1203-1": "magnetometer", "247-1": "barometer", "231-1": "audio"},
    **{"281-1": "gps", "281-2": "gps.app", "282-1": "wifi", "283-1": "bluetooth"},
    **{"285-1": "clock.utc", "285-2": "clock.timecode"},
}
NAMES = {
    1: SHARED
    | {"1201-1": "camera.slam.left", "1201-2": "camera.slam.right", "211-1": "camera.eye"}
    | {"1202-1": "imu.right", "1202-2": "imu.left"},
    2: SHARED
    | {"1201-1": "camera.slam.front.left", "1201-2": "camera.slam.front.right"}
    | {"1201-3": "camera.slam.side.left", "1201-4": "camera.slam.side.right"}
    | {"211-1": "camera.eye.left", "211-2": "camera.eye.right", "1202-1": "imu.left", "1202-2": "imu.right"}
    | {"246-1": "temperature", "248-1": "ppg", "500-1": "light", "373-1": "gaze"},
}
POSES = {"/hand": "hand", "/vio": "pose.vio", "/vio_high_frequency": "pose.vio.high_frequency"}
"""Pose streams have changing numbers; their flavour ends so."""
FINGERS = ("index", "middle", "ring", "pinky")
LANDMARKS = (
    *("thumb tip", *(f"{finger} tip" for finger in FINGERS), "wrist", "thumb intermediate", "thumb distal"),
    *(f"{finger} {joint}" for finger in FINGERS for joint in ("proximal", "intermediate", "distal")),
    "palm centre",
)
"""Aria's order of landmarks."""
HAND_ORDER = "Aria's order: " + ", ".join(LANDMARKS)
RAW = "as measured, without calibration; the frame's name is the calibration's"
POSE: dict[str, Any] = {
    "dtype": "float64",
    "unit": "m,m,m,1,1,1,1",
    "elements": ("x", "y", "z", "qw", "qx", "qy", "qz"),
}
GPS = ("latitude", "longitude", "altitude", "accuracy")


def generation(flavour: str) -> int:
    """1 or 2; 0 for what is not an Aria's."""
    return next((number for start, number in GENERATIONS.items() if (flavour + "/").startswith(start + "/")), 0)


def aria_name(stream: VrsStream) -> str:
    """Name of an Aria's stream; empty if it is not an Aria's or not known."""
    end = next((name for end, name in POSES.items() if stream.flavour.endswith(end)), "")
    return end or NAMES.get(generation(stream.flavour), {}).get(stream.id, "")


def aria_parts(stream: VrsStream, shown: Stream, notes: list[str]) -> list[Part]:
    """Parts of an Aria's stream without pictures or sound; none where its fields are not the expected ones.

    Args:
        stream: Where the fields are.
        shown: Name, clock and rate.
        notes: What was odd is added.

    Raises:
        SourceError: Records are damaged.
    """
    first = shown.name.split(".")[0]
    makers: dict[str, Callable[[VrsStream, Stream, list[str]], Iterable[Part]]] = {
        **{"imu": _imu, "magnetometer": _magnetometer, "barometer": _barometer, "clock": _clock, "gps": _gps},
        **{"hand": _hands, "gaze": _gaze, "ppg": _ppg, "temperature": _temperature, "light": _light},
    }
    makers |= {"pose": _vio_high_frequency if shown.name.endswith("high_frequency") else _vio}
    return list(makers[first](stream, shown, notes)) if first in makers else []


def _columns(stream: VrsStream, *names: str) -> list[np.ndarray]:
    if not stream.has(*names):
        raise SourceError(f"its records have no {', '.join(names)}")
    return [column.astype(np.float64) for column in stream.columns(*names)]


def _imu(stream: VrsStream, shown: Stream, notes: list[str]) -> Iterable[Part]:
    gyro, accel = _columns(stream, "gyroscope", "accelerometer")
    for name, values in (("gyroscope", gyro), ("accelerometer", accel)):
        _blank(stream, f"{name}_valid", values, notes)
    about = replace(shown, kind="imu", shape=(6,), dtype="float64", unit="rad/s,rad/s,rad/s,m/s^2,m/s^2,m/s^2")
    about = replace(about, elements=tuple(f"{kind}.{axis}" for kind in ("gyro", "accel") for axis in "xyz"))
    about = replace(about, frame=shown.name.replace(".", "-"), description=f"{shown.description}; {RAW}")
    yield array_part(about, stream.stamps, np.hstack([gyro, accel]))
    if stream.has("temperature_deg_c") and np.isfinite(values := _columns(stream, "temperature_deg_c")[0]).any():
        about = replace(
            shown, name=f"{shown.name}.temperature", kind="vector", shape=(1,), dtype="float64", unit="degC"
        )
        yield array_part(replace(about, elements=("temperature",)), stream.stamps, values[:, None])


def _magnetometer(stream: VrsStream, shown: Stream, notes: list[str]) -> Iterable[Part]:
    (field,) = _columns(stream, "magnetometer")
    _blank(stream, "magnetometer_valid", field, notes)
    about = replace(shown, kind="vector", shape=(3,), dtype="float64", elements=("x", "y", "z"))
    about = replace(about, unit="uT" if generation(stream.flavour) == 1 else "T", frame="mag0")
    yield array_part(about, stream.stamps, field)


def _barometer(stream: VrsStream, shown: Stream, notes: list[str]) -> Iterable[Part]:
    values = np.stack(_columns(stream, "pressure", "temperature"), axis=1)
    about = replace(shown, kind="vector", shape=(2,), dtype="float64", unit="Pa,degC")
    yield array_part(replace(about, elements=("pressure", "temperature")), stream.stamps, values)


def _clock(stream: VrsStream, shown: Stream, notes: list[str]) -> Iterable[Part]:
    if not stream.has("real_timestamp_ns"):
        raise SourceError("its records have no real_timestamp_ns")
    about = replace(shown, kind="vector", shape=(1,), dtype="int64", unit="ns", elements=("time",))
    about = replace(about, description=f"{shown.description}; the other clock's time at this time of the device's")
    yield array_part(about, stream.stamps, stream.columns("real_timestamp_ns")[0].astype(np.int64)[:, None])


def _gps(stream: VrsStream, shown: Stream, notes: list[str]) -> Iterable[Part]:
    values = np.stack(_columns(stream, *GPS), axis=1)
    about = replace(shown, kind="vector", shape=(4,), dtype="float64", unit="deg,deg,m,m", elements=GPS)
    yield array_part(about, stream.stamps, values)


def _ppg(stream: VrsStream, shown: Stream, notes: list[str]) -> Iterable[Part]:
    values = np.stack(_columns(stream, "value", "led_current_ma", "integration_time_us"), axis=1)
    about = replace(shown, kind="vector", shape=(3,), dtype="float64", unit=",mA,us")
    yield array_part(replace(about, elements=("value", "led_current", "integration_time")), stream.stamps, values)


def _temperature(stream: VrsStream, shown: Stream, notes: list[str]) -> Iterable[Part]:
    (values,) = _columns(stream, "temperature_celsius")
    about = replace(shown, kind="vector", shape=(1,), dtype="float64", unit="degC", elements=("temperature",))
    about = replace(about, description=f"{shown.description}; of several sensors, `fields.temperature` names each")
    yield array_part(about, stream.stamps, values[:, None])


def _light(stream: VrsStream, shown: Stream, notes: list[str]) -> Iterable[Part]:
    names = tuple(f"{colour}_channel_normalized" for colour in ("red", "green", "blue", "uv", "ir", "clear"))
    values = np.stack(_columns(stream, *names, "cct", "lux"), axis=1)
    about = replace(
        shown, kind="vector", shape=(8,), dtype="float64", unit=",,,,,,K,lx", elements=(*names, "cct", "lux")
    )
    yield array_part(about, stream.stamps, values)


def _vio_high_frequency(stream: VrsStream, shown: Stream, notes: list[str]) -> Iterable[Part]:
    place, turn = _columns(stream, "txyz_odometry_device", "qxyzw_odometry_device")
    about = replace(shown, kind="pose", shape=(7,), frame="odometry", child="device", **POSE)
    yield array_part(about, stream.stamps, _pose(place, turn, shown.name, notes))


def _vio(stream: VrsStream, shown: Stream, notes: list[str]) -> Iterable[Part]:
    place, turn = _columns(stream, "txyz_odometry_bodyimu", "qxyzw_odometry_bodyimu")
    about = replace(shown, kind="pose", shape=(7,), frame="odometry", child="body imu", **POSE)
    about = replace(about, description=f"{shown.description}; the device in the body imu is in `fields.pose.vio`")
    yield array_part(about, stream.stamps, _pose(place, turn, shown.name, notes))


def _hands(stream: VrsStream, shown: Stream, notes: list[str]) -> Iterable[Part]:
    for side in ("left", "right"):
        prefix = f"{side}_hand"
        names = ("hand_landmarks_3d_device_meter_xyz", "wrist_translation_meter_xyz", "wrist_rotation_xyzw")
        landmarks, place, turn, sure = _columns(stream, *(f"{prefix}/{name}" for name in (*names, "hand_confidence")))
        for values in (landmarks, place, turn):
            _blank(stream, f"{prefix}/hand_valid", values, notes)
        about = replace(shown, name=f"hand.{side}.landmarks", kind="hand", shape=(21, 3), dtype="float32", unit="m")
        about = replace(about, frame="device", elements=LANDMARKS, description=f"{shown.description}; {HAND_ORDER}")
        yield array_part(about, stream.stamps, landmarks.astype(np.float32))
        about = replace(shown, name=f"hand.{side}.wrist", kind="pose", shape=(7,), frame="device", **POSE)
        pose = _pose(place, turn, f"hand.{side}.wrist", notes)
        yield array_part(replace(about, child=f"{side} wrist"), stream.stamps, pose)
        about = replace(shown, name=f"hand.{side}.confidence", kind="vector", shape=(1,), dtype="float64")
        yield array_part(replace(about, elements=("confidence",)), stream.stamps, sure[:, None])


def _gaze(stream: VrsStream, shown: Stream, notes: list[str]) -> Iterable[Part]:
    combined = ("gaze_direction_combined_in_device_normalized_xyz", "gaze_origin_combined_in_device_meter_xyz")
    toward, origin, point = _columns(stream, *combined, "spatial_gaze_point_in_device_meter_xyz")
    for name, values in (
        ("gaze_direction_combined_in_device_valid", toward),
        ("gaze_origin_combined_in_device_valid", origin),
        ("spatial_gaze_point_valid", point),
    ):
        _blank(stream, name, values, notes)
    depth = np.linalg.norm(point - origin, axis=1)
    about = replace(shown, kind="gaze", shape=(4,), dtype="float64", unit=",,,m", frame="device")
    about = replace(about, elements=("direction.x", "direction.y", "direction.z", "depth"))
    text = "unit direction, and depth as distance from the origin to the point looked at"
    about = replace(about, description=f"{shown.description}; {text}; yaw and pitch need the central pupil frame")
    yield array_part(about, stream.stamps, np.column_stack([toward, depth]))
    about = replace(shown, name=f"{shown.name}.origin", kind="vector", shape=(3,), dtype="float64", unit="m")
    yield array_part(replace(about, frame="device", elements=("x", "y", "z")), stream.stamps, origin)


def _blank(stream: VrsStream, flag: str, values: np.ndarray, notes: list[str]) -> None:
    """What the file calls invalid becomes NaN."""
    if stream.has(flag) and (bad := ~stream.columns(flag)[0].astype(bool)).any():
        values[bad] = np.nan
        notes.append(f"{stream.id}: {int(bad.sum())} of {len(bad)} samples are not {flag}; their values are NaN")


def _pose(place: np.ndarray, turn_xyzw: np.ndarray, name: str, notes: list[str]) -> np.ndarray:
    """Position and unit quaternion wxyz, float64 (n, 7)."""
    turn = turn_xyzw[:, [3, 0, 1, 2]]
    w, x, y, z = (turn * turn).T
    # |q|^2 added in the order of Aria's tools, so that both agree to the last bit
    length = np.sqrt((x + y) + (z + w))[:, None]
    if (odd := ~(np.abs(length - 1) < 1e-3) & np.isfinite(length)).any():
        worst = np.nanmax(np.abs(length - 1))
        notes.append(
            f"{name}: {int(odd.sum())} of {len(turn)} quaternions were off length 1 by up to {worst:.2g}; made unit"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.hstack([place, turn / length])
