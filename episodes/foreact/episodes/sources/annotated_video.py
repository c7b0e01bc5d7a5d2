"""Videos with what people said of them: EPIC-KITCHENS-100, Ego4D, HD-EPIC.

Streams beside the video: `narration` (text, when it was spoken), `segments`, `summaries`, `activities`, `sounds`
(events: JSON with start_ns, stop_ns and what the annotation says).
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from foreact.episodes.sources.annotations import Annotations, read_json, read_table, seconds_to_ns
from foreact.episodes.sources.parts import PartsSource, Recordings
from foreact.episodes.sources.protocol import Collection, Source, SourceError
from foreact.episodes.sources.video import VideoPool
from foreact.episodes.sources.video_files import SUFFIXES, film
from foreact.episodes.sources.video_index import needs_av

__all__ = ["open_collection"]

MOST_FILES = 500_000  # looked at under one folder
EGO4D_ABOUT = ("scenarios", "device", "video_source", "duration_sec", "split_av", "has_imu", "has_gaze")


def open_collection(path: Path) -> Collection:
    """Open a data set's folder: a recording for each video that lies somewhere under it.

    Raises:
        SourceError: Damaged, or no video lies there.
        ModuleNotFoundError: PyAV is not installed.
    """
    needs_av()
    if (path / "ego4d.json").is_file():
        name, read = "ego4d", _ego4d
    elif (path / "narrations-and-action-segments").is_dir():
        name, read = "hd-epic", _hd_epic
    else:
        name, read = "epic-kitchens-100", _epic
    said = read(path)
    files = _videos(path)
    known = {video: file for video, file in files.items() if video in said.streams or video in said.about}
    absent = len((said.streams.keys() | said.about.keys()) - known.keys())
    if absent:
        said.notes.append(f"{absent} annotated videos do not lie here")
    if not files:
        raise SourceError(f"{path}: no video ({', '.join(SUFFIXES)}) lies under it")
    pool = VideoPool()
    openers: dict[str, Callable[[], Source]] = {
        video: functools.partial(_open, video, files[video], said, pool) for video in sorted(files)
    }
    return Recordings(path, name, openers, notes=tuple(said.notes), on_close=pool.close)


def _videos(path: Path) -> dict[str, Path]:
    """Videos under a folder by name; `_mp4...` behind HD-EPIC's names is no part of them."""
    found = (file for file in itertools.islice(path.rglob("*"), MOST_FILES) if file.suffix.lower() in SUFFIXES)
    return {file.stem.partition("_mp4")[0]: file for file in sorted(found, reverse=True) if file.is_file()}


def _open(video: str, file: Path, said: Annotations, pool: VideoPool) -> Source:
    filmed = film(file, pool)
    parts = [*filmed.parts, *said.parts(video)]
    notes = [*filmed.notes]
    if video not in said.streams:
        notes.append("nobody annotated this video")
    metadata = {**filmed.metadata, **said.about.get(video, {})}
    return PartsSource(video, parts, task=said.tasks.get(video, ""), metadata=metadata, notes=notes)


def _epic(path: Path) -> Annotations:
    """Source: README of epic-kitchens-100-annotations, tables of columns."""
    said = Annotations()
    files = [file for file in sorted(path.glob("EPIC_*.csv")) if not file.stem.endswith("_classes")]
    for file in files:
        if "retrieval" in file.stem or "UDA" in file.stem or "video_info" in file.stem:
            continue
        rows = read_table(file, ("video_id", "start_timestamp", "stop_timestamp"))
        said.rows(file, rows, functools.partial(_epic_row, said))
    if not said.streams:
        raise SourceError(f"{path}: its tables EPIC_*.csv hold no segments")
    return said


def _epic_row(said: Annotations, row: dict[str, str]) -> None:
    video = row.pop("video_id")
    start, stop = seconds_to_ns(row.pop("start_timestamp")), seconds_to_ns(row.pop("stop_timestamp"))
    text, spoken = row.get("narration"), row.pop("narration_timestamp", None)
    if text:
        said.add(video, "narration", start if spoken is None else seconds_to_ns(spoken), text)
    said.stretch(video, "segments", start, stop, row)


def _ego4d(path: Path) -> Annotations:
    """Source: Ego4D's documentation of its manifest and of narration.json."""
    said = Annotations()
    videos = read_json(path / "ego4d.json").get("videos")
    if not isinstance(videos, list):
        raise SourceError(f"{path / 'ego4d.json'} lists no videos")
    for each in videos:
        if isinstance(each, dict) and isinstance(each.get("video_uid"), str):
            said.about[each["video_uid"]] = {key: each[key] for key in EGO4D_ABOUT if key in each}
    places = [path / place for place in ("annotations/narration.json", "narration.json")]
    file = next((place for place in places if place.is_file()), None)
    if file is None:
        said.notes.append(f"{places[0]} is not there: no narrations")
        return said
    content = read_json(file)
    for video, passes in (content["videos"] if isinstance(content.get("videos"), dict) else content).items():
        if isinstance(passes, dict):
            for number in (1, 2):
                _ego4d_pass(said, file, video, number, passes.get(f"narration_pass_{number}"))
    return said


def _ego4d_pass(said: Annotations, file: Path, video: str, number: int, content: Any) -> None:
    if not isinstance(content, dict):
        return

    def narration(row: dict[str, Any]) -> None:
        text = row["narration_text"]
        if not isinstance(text, str):
            raise ValueError("narration_text is no text")
        said.add(video, f"narration.pass_{number}", seconds_to_ns(row["timestamp_sec"]), text)

    def summary(row: dict[str, Any]) -> None:
        start, stop = seconds_to_ns(row["start_sec"]), seconds_to_ns(row["end_sec"])
        said.stretch(video, f"summaries.pass_{number}", start, stop, {"summary": str(row["summary_text"])})

    for key, take in (("narrations", narration), ("summaries", summary)):
        rows = content.get(key)
        if isinstance(rows, list):
            said.rows(file, rows, take)


def _hd_epic(path: Path) -> Annotations:
    """Source: README of hd-epic-annotations, tables of columns."""
    said = Annotations()
    folder = path / "narrations-and-action-segments"
    table = folder / "HD_EPIC_Narrations.csv"
    if table.is_file():
        rows = read_table(table, ("video_id", "narration", "start_timestamp", "end_timestamp"))
        said.rows(table, rows, functools.partial(_hd_epic_row, said))
    elif (folder / "HD_EPIC_Narrations.pkl").exists():
        said.notes.append(
            "HD_EPIC_Narrations.pkl is left out, as loading it would run what is in it; if you trust it, save it once: "
            "python -c \"import pandas; pandas.read_pickle('HD_EPIC_Narrations.pkl').to_csv('HD_EPIC_Narrations.csv')\""
        )
    for file in sorted(path.glob("high-level/activities/*_recipe_timestamps.csv")):
        rows = read_table(file, ("video_id", "high_level_activity_label", "start_time", "end_time"))
        said.rows(file, rows, functools.partial(_activity_row, said))
    for file in sorted([*path.glob("audio-annotations/HD*EPIC*ounds.csv")]):
        rows = read_table(file, ("video_id", "start_timestamp", "stop_timestamp", "class"))
        said.rows(file, rows, functools.partial(_sound_row, said))
    return said


def _hd_epic_row(said: Annotations, row: dict[str, str]) -> None:
    video = row.pop("video_id")
    start, stop = seconds_to_ns(row.pop("start_timestamp")), seconds_to_ns(row.pop("end_timestamp"))
    spoken = row.pop("narration_timestamp", "")
    said.add(video, "narration", seconds_to_ns(spoken) if spoken else start, row["narration"])
    row.pop("", None)  # the number of the row, which pandas writes
    said.stretch(video, "segments", start, stop, row)


def _activity_row(said: Annotations, row: dict[str, str]) -> None:
    start, stop = seconds_to_ns(row["start_time"]), row["end_time"]
    told = {"activity": row["high_level_activity_label"], "recipe": row.get("recipe_id", "")}
    said.stretch(row["video_id"], "activities", start, None if stop == "end" else seconds_to_ns(stop), told)


def _sound_row(said: Annotations, row: dict[str, str]) -> None:
    start, stop = seconds_to_ns(row["start_timestamp"]), seconds_to_ns(row["stop_timestamp"])
    said.stretch(row["video_id"], "sounds", start, stop, {"class": row["class"]})
