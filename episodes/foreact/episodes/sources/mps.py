"""Reader of the outputs of Aria's machine perception services (MPS)."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON
from foreact.episodes.sources import aria_truth, mps_streams
from foreact.episodes.sources.mps_table import Table, read_table
from foreact.episodes.sources.parts import Part, PartsSource, Recordings
from foreact.episodes.sources.protocol import Collection, Source, SourceError, Stream, Value

__all__ = ["open_collection", "parts_beside"]

FOLDERS = ("trajectory", "slam", "eye_gaze", "eye_gaze_vergence", "hand_tracking")
GAZE = {
    "eyegaze": "gaze",
    "general_eye_gaze": "gaze.general",
    "generalized_eye_gaze": "gaze.general",
    "personalized_eye_gaze": "gaze.personalized",
    "generalized_gaze": "gaze.vergence",
}
"""Names of streams by the names of files; several are of one schema, each of its time."""
UNREAD = ("semidense_points", "semidense_observations", "global_points")
TIME = re.compile(rb'"tracking_timestamp_us"\s*:\s*(-?\d{1,15})\b')
MOST_LINE, MOST_LINES = 1 << 22, 1 << 24
VERSION = re.compile(r"(.*?)(_v\d+)?$")


def open_collection(path: Path) -> Collection:
    """Open a folder of MPS outputs, such as `mps` with `slam`, `eye_gaze`, `hand_tracking`.

    Raises:
        SourceError: Nothing in it can be read.
    """

    def source() -> Source:
        notes: list[str] = []
        parts, metadata = _parts(path, notes)
        if not parts:
            raise SourceError(f"{path}: nothing of MPS can be read: {'; '.join(notes[:3]) or 'no file is known'}")
        return PartsSource(path.name, parts, metadata=metadata, notes=notes)

    if not any((path / name).is_dir() for name in FOLDERS):
        raise SourceError(f"{path}: none of the folders {', '.join(FOLDERS)} is there")
    return Recordings(path, "mps", {path.name: source})


def parts_beside(
    folder: Path, stem: str, notes: list[str], span: tuple[int, int]
) -> tuple[list[Part], dict[str, JSON]]:
    """What lies beside a VRS file: MPS outputs and truth, on the same device clock.

    Args:
        folder: Where the file lies.
        stem: Its name without the ending.
        notes: What was left out is added.
        span: First and last stamp of the file [ns]; what lies wholly outside is noted.
    """
    parts, metadata = aria_truth.parts(folder, notes)
    for each in (folder / "mps", folder / f"mps_{stem}_vrs"):
        if each.is_dir():
            more, told = _parts(each, notes)
            parts, metadata = parts + more, metadata | told
    known = {part.stream.name: part for part in reversed(parts)}
    for name, part in known.items():
        if len(part.stamps) and (part.stamps.max() < span[0] or part.stamps.min() > span[1]):
            notes.append(f"{name}: none of its stamps lies within the recording")
    return list(known.values())[::-1], metadata


def _parts(folder: Path, notes: list[str]) -> tuple[list[Part], dict[str, JSON]]:
    parts: list[Part] = []
    metadata: dict[str, JSON] = {}
    for name in FOLDERS:
        for file in sorted((folder / name).glob("*")):
            try:
                parts += _read(file, name, notes)
                if file.name == "summary.json":
                    metadata[f"mps.{name}"] = _summary(file)
            except SourceError as error:
                notes.append(f"{name}/{file.name} was left out: {error}")
    return list({part.stream.name: part for part in reversed(parts)}.values())[::-1], metadata


def _read(file: Path, folder: str, notes: list[str]) -> Iterable[Part]:
    if file.name.startswith(UNREAD):
        notes.append(f"{folder}/{file.name} was left out: a map, no stream")
        return []
    if file.name == "online_calibration.jsonl":
        return [calibration(file)]
    if file.suffix != ".csv":
        return []
    if file.stem in GAZE:
        return list(mps_streams.gaze(_table(file), GAZE[file.stem], notes))
    kinds: dict[str, Callable[[Table, str, list[str]], Iterable[Part]]] = {
        "closed_loop_trajectory": lambda table, _, told: mps_streams.trajectory(table, told),
        "open_loop_trajectory": lambda table, _, told: mps_streams.trajectory(table, told),
        "hand_tracking_results": mps_streams.hands,
        "wrist_and_palm_poses": mps_streams.wrists_and_palms,
    }
    match = VERSION.fullmatch(file.stem)
    kind = match[1] if match else file.stem
    if kind not in kinds:
        notes.append(f"{folder}/{file.name} was left out: such a file is not known")
        return []
    return list(kinds[kind](_table(file), _suffix(file, kind), notes))


def _suffix(file: Path, kind: str) -> str:
    """The newest version has the plain names, the others end in theirs."""
    beside = sorted(each.stem for each in file.parent.glob(f"{kind}*.csv") if VERSION.fullmatch(each.stem))
    return "" if file.stem == beside[-1] else (file.stem[len(kind) :] or "_v1").replace("_", ".")


def _table(file: Path) -> Table:
    return read_table(file, "tracking_timestamp_us", 1000, mps_streams.columns_of_text(), ("utc_timestamp_ns",))


def _summary(file: Path) -> JSON:
    try:
        return strictjson.loads(file.read_text())
    except (OSError, UnicodeDecodeError, strictjson.StrictJsonError, RecursionError) as error:
        raise SourceError(str(error)) from error


def calibration(file: Path) -> Part:
    """Calibration over time, one JSON object a line, read when asked for.

    Raises:
        SourceError: A line has no time.
    """
    places, times = [], []
    try:
        with file.open("rb") as lines:
            at = 0
            while line := lines.readline(MOST_LINE):
                match = TIME.search(line)
                if match is None or len(places) >= MOST_LINES:
                    raise SourceError(f"{file}: line {len(places) + 1} has no tracking_timestamp_us")
                places.append((at, len(line)))
                times.append(int(match[1]) * 1000)
                at += len(line)
    except OSError as error:
        raise SourceError(f"{file}: cannot be read: {error}") from error
    stamps = np.array(times, np.int64)

    def read(index: int) -> Value:
        start, length = places[index]
        with file.open("rb") as again:
            again.seek(start)
            data = again.read(length)
        try:
            value = strictjson.loads(data.decode())
        except (UnicodeDecodeError, strictjson.StrictJsonError, RecursionError) as error:
            raise SourceError(f"{file}: line {index + 1} is damaged: {error}") from error
        if not isinstance(value, dict) or value.get("tracking_timestamp_us") != stamps[index] // 1000:
            raise SourceError(f"{file}: line {index + 1} is not of the time it should be of")
        return data.decode().strip()

    text = "online calibration of cameras and IMUs as JSON, stamped by tracking_timestamp_us"
    return Part(Stream("calibration.online", "event", (), "str", description=text), stamps, read)
