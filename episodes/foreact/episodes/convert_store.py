"""`foreact convert to=store` of recordings: a store of recordings, each opened again and compared before it counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from foreact.episodes import staging
from foreact.episodes.convert_parts import file_names
from foreact.episodes.convert_work import Asked, begun, convert_each, figures, require_all_dropped
from foreact.episodes.outcome import JSON, ProgressFn
from foreact.episodes.recording_header import RecordingHeader
from foreact.episodes.recording_store import finish_store
from foreact.episodes.recording_writer import write_recording
from foreact.episodes.remote import LocalFiles
from foreact.episodes.sources import Source

__all__ = ["convert_store"]


def convert_store(asked: Asked, out: Path, recordings: Sequence[str], progress: ProgressFn) -> dict[str, JSON]:
    """Write recordings into a new store; stopped at any point, the same call goes on and gives the same bytes.

    Args:
        asked: The source, and what is asked of each recording.
        out: A folder that does not exist; it appears when all is written and compared.
        recordings: Which, by key; all if none is named.
        progress: Told of each recording.

    Raises:
        StoreError: `out` exists, a pattern fits nothing, or what was written is not what was read.
        SourceError: The source is damaged, or has no such recording.
    """
    with begun(asked, out, "store", recordings) as (collection, keys, folder):
        episodes = folder.content / "episodes"
        episodes.mkdir(parents=True, exist_ok=True)
        staging.remove_stale(episodes)
        names = file_names(keys)
        found = convert_each(asked, collection, {key: episodes / names[key] for key in keys}, _write, progress)
        require_all_dropped(asked, found, folder)
        finish_store(folder.content, names, collection.format, collection.notes)
    size = sum(path.stat().st_size for path in folder.content.rglob("*") if path.is_file())
    folder.finish()
    forms = sorted({each.form for key in keys for each in _header(out / "episodes" / names[key]).streams})
    return {**figures(found, size, verify=asked.verify), "forms": forms}


def _write(source: Source, target: Path, verify: bool) -> Mapping[str, str]:
    if target.exists():  # it appeared when it was whole and compared
        header = _header(target)
    else:
        with staging.staged_folder(target) as folder:
            header = write_recording(source, folder, verify=verify)
    return {each.stream.name: each.reencoded for each in header.streams if each.reencoded}


def _header(folder: Path) -> RecordingHeader:
    return RecordingHeader.read(LocalFiles(folder.parent), folder.name)
