"""Reader of VRS recordings: Project Aria (both generations) and others.

Stamps are the time of capture on the device's clock where records have it, else the records' own times.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.episodes.sources.parts import Part, PartsSource, Recordings
from foreact.episodes.sources.protocol import Collection, Source, SourceError, Stream, Value
from foreact.episodes.sources.vrs_aria import aria_name, aria_parts, generation
from foreact.episodes.sources.vrs_audio import audio_part
from foreact.episodes.sources.vrs_camera import camera_part
from foreact.episodes.sources.vrs_file import VrsFile, check_header, open_vrs
from foreact.episodes.sources.vrs_stream import VrsStream

__all__ = ["open_collection"]

RATES = ("nominal_rate", "nominal_rate_hz", "sample_rate", "sample_rate_hz")
BARE = ("imu.", "magnetometer")
"""Fast streams of which the other fields, times of arrival, are not offered as JSON."""
TRUTH = ("depth_images.vrs", "segmentations.vrs")
"""Files of Aria Digital Twin that belong to `video.vrs` beside them."""


def open_collection(path: Path) -> Collection:
    """Open a VRS file, or a folder of them.

    A folder `mps` beside a file joins it; so do depth and segmentation of Aria Digital Twin.

    Raises:
        SourceError: There is no VRS file, or it is damaged.
        ModuleNotFoundError: A package that it needs is not installed; the message says what to type.
    """
    files = sorted(path.glob("*.vrs")) if path.is_dir() else [path]
    if not files:
        raise SourceError(f"{path}: no file ends in .vrs")
    faults: list[str] = []
    files = [file for file in files if not _fault(file, faults)]
    if not files:
        raise SourceError("; ".join(faults[:3]))
    twin = (path if path.is_dir() else path.parent) / "video.vrs" in files
    kept = [file for file in files if not (twin and path.is_dir() and file.name in TRUTH)]
    openers: dict[str, Callable[[], Source]] = {file.stem: partial(_open, file) for file in kept}
    notes = [f"{file.name} joins video" for file in files if file not in kept] + faults
    return Recordings(path, "vrs", openers, tuple(notes))


def _fault(file: Path, faults: list[str]) -> bool:
    try:
        check_header(file)
    except SourceError as error:
        faults.append(str(error))
        return True
    return False


def _open(path: Path) -> Source:
    files = [open_vrs(path)]
    try:
        if path.name == "video.vrs":
            files += [open_vrs(beside) for name in TRUTH if (beside := path.with_name(name)).is_file()]
        return _source(path, files)
    except BaseException:
        for file in files:
            file.close()
        raise


def _source(path: Path, files: list[VrsFile]) -> Source:
    notes = [f"{file.path.name}: {note}" for file in files for note in file.notes]
    parts: list[Part] = []
    for file in files:
        for kind, instance in file.streams:
            try:
                parts += _parts(file, kind, instance, notes)
            except SourceError as error:
                notes.append(f"stream {kind}-{instance} was left out: {error}")
    if not parts:
        raise SourceError(f"{path}: no stream can be read: {'; '.join(notes[:3]) or 'there is none'}")
    metadata = {"tags": dict(files[0].tags)} | _calibration(files[0], notes)
    metadata["streams"] = {
        f"{kind}-{instance}": dict(tags.user) for (kind, instance), tags in files[0].streams.items() if tags.user
    }
    if generation(next(iter(files[0].streams.values())).vrs.get("VRS_Recordable_Flavor", "")):
        from foreact.episodes.sources.mps import parts_beside

        span = (min(part.stamps.min() for part in parts), max(part.stamps.max() for part in parts))
        more, told = parts_beside(path.parent, path.stem, notes, span)
        parts, metadata = parts + more, metadata | told

    def close() -> None:
        for file in files:
            file.close()

    return PartsSource(path.stem, _distinct(parts), metadata=metadata, notes=notes, close=close)


def _distinct(parts: list[Part]) -> list[Part]:
    """Parts of one name each; the first keeps it."""
    return list({part.stream.name: part for part in reversed(parts)}.values())[::-1]


def _calibration(file: VrsFile, notes: list[str]) -> dict[str, JSON]:
    text = file.tags.get("calib_json")
    if text is None:
        return {}
    try:
        return {"calibration": strictjson.loads(text)}
    except (strictjson.StrictJsonError, RecursionError) as error:
        notes.append(f"the calibration cannot be read: {error}")
        return {}


def _parts(file: VrsFile, kind: int, instance: int, notes: list[str]) -> list[Part]:
    stream = VrsStream(file, kind, instance)
    notes += stream.notes
    if not len(stream.rows):
        notes.append(f"stream {stream.id} ({stream.name or 'no name'}) has no samples and was left out")
        return []
    shown = _shown(stream)
    blocks = {block.kind for block in stream.blocks}
    parts: list[Part] = []
    if "image" in blocks:
        parts = [camera_part(stream, shown)]
    elif "audio" in blocks:
        parts = [audio_part(stream, shown)]
    elif generation(stream.flavour):
        try:
            parts = aria_parts(stream, shown, notes)
        except SourceError as error:
            notes.append(f"{shown.name} is shown by its fields alone: {error}")
    if "data_layout" in blocks and not (parts and shown.name.startswith(BARE)):
        parts.append(_fields(stream, replace(shown, name=f"fields.{shown.name}") if parts else shown))
    elif not parts:
        about = Stream(shown.name, "bytes", (), "bytes", clock=shown.clock, description=shown.description)
        parts = [Part(about, stream.stamps, lambda index: b"".join(piece.data for piece in stream.pieces(index)))]
    if "custom" in blocks and "data_layout" in blocks:
        notes.append(f"{shown.name}: bytes beside its fields are not understood and were left out")
    return parts


def _shown(stream: VrsStream) -> Stream:
    """Name, clock and rate of a stream; the rest is for its readers to say."""
    name = aria_name(stream) or _other_name(stream)
    rates = [value for rate in RATES if isinstance(value := stream.config.get(rate), float)]
    rate = next((rate for rate in rates if math.isfinite(rate) and rate > 0), None)
    clock = "device" if stream.captured else "record"
    stamped = f"stamped by {stream.captured}" if stream.captured else "stamped by the times of the records"
    about = f"{stream.name or 'no name'} ({stream.id}), {stamped}"
    return Stream(name, "event", (), "str", clock=clock, rate_hz=rate, description=about)


def _other_name(stream: VrsStream) -> str:
    kinds = {block.kind for block in stream.blocks}
    if stream.kind in (345, 400):  # Aria Digital Twin: depth and masks of the cameras in this order
        camera = {"1": "rgb", "2": "slam.left", "3": "slam.right"}.get(stream.id.split("-")[1])
        if camera:
            return f"{'depth' if stream.kind == 345 else 'segmentation'}.{camera}"
    first = "camera" if "image" in kinds else "audio" if "audio" in kinds else "vrs"
    return f"{first}.{stream.id}"


def _fields(stream: VrsStream, shown: Stream) -> Part:
    about = f"{shown.description}; all fields of each record as JSON, what is no number is null"

    def read(index: int) -> Value:
        return json.dumps({name: _jsonable(value) for name, value in stream.fields(index).items()})

    return Part(replace(shown, description=about), stream.stamps, read)


def _jsonable(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return [_jsonable(each) for each in value]
    if isinstance(value, dict):
        return {name: _jsonable(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
