"""Video files: every video track, and the telemetry of a GoPro."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from foreact.episodes.sources.gopro import telemetry_parts
from foreact.episodes.sources.parts import Part, PartsSource, Recordings
from foreact.episodes.sources.protocol import Collection, Source, SourceError
from foreact.episodes.sources.video import VideoPool
from foreact.episodes.sources.video_index import needs_av, open_container
from foreact.episodes.sources.video_part import video_part

__all__ = ["SUFFIXES", "Film", "film", "open_collection", "video_files"]

SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".360")


def open_collection(path: Path) -> Collection:
    """Open a video file, or a folder of them with a recording for each.

    Raises:
        SourceError: There is none, or the file cannot be opened.
        ModuleNotFoundError: PyAV is not installed.
    """
    needs_av()
    files = video_files(path) if path.is_dir() else [path]
    if not files:
        raise SourceError(f"{path}: no file that ends with {', '.join(SUFFIXES)}")
    pool = VideoPool()
    if path.is_file():
        pool.index(path)  # a damaged file is told at once
    openers: dict[str, Callable[[], Source]] = {
        file.name if path.is_dir() else file.stem: functools.partial(_open, file, pool) for file in files
    }
    return Recordings(path, "video", openers, on_close=pool.close)


def video_files(folder: Path) -> list[Path]:
    """Video files that lie in a folder, by name."""
    return sorted(file for file in folder.iterdir() if file.is_file() and file.suffix.lower() in SUFFIXES)


@dataclass(frozen=True)
class Film:
    """What a video file holds.

    Attributes:
        parts: Its streams.
        metadata: What it says of itself.
        notes: What was left out, and why.
    """

    parts: tuple[Part, ...]
    metadata: dict[str, str]
    notes: tuple[str, ...]


def film(path: Path, pool: VideoPool) -> Film:
    """A video file: `camera.rgb` (`camera.rgb2`, ... of further tracks) and what a GoPro measured.

    Raises:
        SourceError: It cannot be opened, or no video track can.
    """
    with closing(open_container(path)) as container:
        said = {name: str(value) for name, value in container.metadata.items()}
        sounds = [f"{each.codec_context.name} {each.rate} Hz" for each in container.streams.audio if each.codec_context]
        cover = needs_av().stream.Disposition.attached_pic
        tracks = sum(not each.disposition & cover for each in container.streams.video)
        measured, about, more = telemetry_parts(container, path)
    notes = [f"sound is left out: {sound}" for sound in sounds]
    parts: list[Part] = []
    for track in range(max(tracks, 1)):
        try:
            parts.append(video_part("camera.rgb" if not track else f"camera.rgb{track + 1}", pool, path, track=track))
            notes += pool.index(path, track).notes
        except SourceError as error:
            if not track:
                raise
            notes.append(f"video track {track} is left out: {error}")
    return Film((*parts, *measured), {"file": path.name, **about, **said}, (*notes, *more))


def _open(path: Path, pool: VideoPool) -> Source:
    filmed = film(path, pool)
    return PartsSource(path.stem, filmed.parts, metadata=filmed.metadata, notes=filmed.notes)
