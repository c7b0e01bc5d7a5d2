"""The telemetry track of a GoPro video as streams."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.episodes.sources.gpmf import Payload, Sensor, merge_payloads, parse_payload
from foreact.episodes.sources.parts import Part, array_part
from foreact.episodes.sources.protocol import Kind, SourceError, Stream
from foreact.episodes.sources.video_index import needs_av, ticks_to_ns

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["telemetry_parts"]

HANDLER = "GoPro MET"  # what the track is called in the file
NAMES: dict[str, tuple[str, Kind, tuple[str, ...]]] = {
    "ACCL": ("imu.accelerometer", "imu", ()),
    "GYRO": ("imu.gyroscope", "imu", ()),
    "MAGN": ("magnetometer.camera", "vector", ()),
    "GPS5": ("gps", "vector", ("latitude", "longitude", "altitude", "speed_2d", "speed_3d")),
    "GPS9": (
        "gps",
        "vector",
        ("latitude", "longitude", "altitude", "speed_2d", "speed_3d", "days", "seconds", "dop", "fix"),
    ),
    "CORI": ("CORI", "vector", ("w", "x", "y", "z")),
    "IORI": ("IORI", "vector", ("w", "x", "y", "z")),
}


def telemetry_parts(container: InputContainer, path: Path) -> tuple[list[Part], dict[str, str], list[str]]:
    """Streams of the telemetry track, the device it names, and notes; all empty if the video has none.

    Args:
        container: The video, open and not yet read.
        path: Where it lies, for messages.

    Raises:
        SourceError: Its times are none.
    """
    payloads, starts, durations, notes = _payloads(container, path)
    if not payloads:
        return [], {}, notes
    sensors, more = merge_payloads(payloads, starts, durations)
    parts = [_part(key, sensor, stamps) for key, (sensor, stamps) in sensors.items() if len(stamps)]
    if {"GPS5", "GPS9"} <= sensors.keys():
        parts = [part for part in parts if part.stream.description.split(":")[0] != "GPS5"]
        more.append("GPS5 is left out: GPS9 says the same and more")
    parts += _gps_status(payloads, starts)
    lost = [sensor for payload in payloads for sensor in payload.sensors if sensor.about.get("GPSF") == "0"]
    if lost:
        more.append(f"GPS had no lock in {len(lost)} of {len(payloads)} payloads: what it says there is a guess")
    return parts, {"camera": payloads[0].device}, notes + more


def _payloads(container: InputContainer, path: Path) -> tuple[list[Payload], list[int], list[int], list[str]]:
    tracks = [stream for stream in container.streams if HANDLER in stream.metadata.get("handler_name", "")]
    if not tracks:
        return [], [], [], []
    payloads: list[Payload] = []
    times: list[tuple[int, int]] = []
    notes: list[str] = []
    try:
        for number, packet in enumerate(container.demux(tracks[0])):
            if packet.size and packet.pts is not None and not packet.is_corrupt:
                try:
                    payloads.append(parse_payload(bytes(packet)))
                except SourceError as error:
                    notes.append(f"payload {number} is left out: {error}")
                    continue
                times.append((packet.pts, packet.duration or 0))
    except (OSError, ValueError, needs_av().FFmpegError) as error:
        notes.append(f"telemetry ends early: {error}")
    base = tracks[0].time_base
    if base is None:
        raise SourceError(f"{path}: the telemetry track has no time base")
    try:
        starts = ticks_to_ns([start for start, _ in times], base).tolist()
        durations = ticks_to_ns([duration for _, duration in times], base).tolist()
    except OverflowError:
        raise SourceError(f"{path}: times of telemetry are outside of what 64 bits hold") from None
    return payloads, starts, durations, notes


def _part(key: str, sensor: Sensor, stamps: np.ndarray) -> Part:
    name, kind, elements = NAMES.get(sensor.key, (sensor.key, "vector", ()))
    if "." in key and key != sensor.key:
        name += key[len(sensor.key) :]
    width = sensor.values.shape[1]
    told = "".join(f"; {tell} {value}" for tell, value in sensor.about.items() if tell in ("ORIN", "ORIO", "MTRX"))
    applied = " (not applied)" if told else ""
    stream = Stream(
        name,
        kind,
        (width,),
        str(sensor.values.dtype),
        unit=sensor.unit,
        clock="video",
        elements=elements if len(elements) == width else (),
        description=f"{sensor.key}: {sensor.name}{told}{applied}; stamps are spread evenly over each payload",
    )
    return array_part(stream, stamps, sensor.values)


def _gps_status(payloads: Sequence[Payload], starts: Sequence[int]) -> list[Part]:
    """What the camera says of its satellites, once for each payload."""
    found = [
        (start, {key: sensor.about[key] for key in ("GPSF", "GPSP", "GPSU") if key in sensor.about})
        for payload, start in zip(payloads, starts, strict=True)
        for sensor in payload.sensors
        if sensor.key == "GPS5"
    ]
    texts = [json.dumps(status) for _, status in found]
    if not texts:
        return []
    stream = Stream(
        "gps.status",
        "event",
        (),
        "str",
        clock="video",
        description="GPSF: 0 no lock, 2 or 3 dimensions; GPSP: dilution of precision x 100; GPSU: UTC",
    )
    stamps = np.array([start for start, _ in found], np.int64)
    return [Part(stream, stamps, texts.__getitem__, lambda start, stop: [*texts[start:stop]])]
