"""`foreact convert to=mcap`: recordings as MCAP, a file each, opened again and compared before they count."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from foreact.episodes.arrays import StoreError
from foreact.episodes.convert_parts import differences, file_names
from foreact.episodes.convert_work import Asked, begun, convert_each, figures, require_all_dropped
from foreact.episodes.outcome import JSON, ProgressFn
from foreact.episodes.sources import Source, open_collection
from foreact.episodes.sources.mcap_writer import write_mcap

__all__ = ["convert_mcap"]


def convert_mcap(asked: Asked, out: Path, recordings: Sequence[str], progress: ProgressFn) -> dict[str, JSON]:
    """Write recordings as `out/KEY.mcap`; stopped half-way, the same call goes on.

    Args:
        asked: The source, and what is asked of each recording.
        out: A folder that does not exist; it appears when all is written and compared.
        recordings: Which, by key; all if none is named.
        progress: Told of each recording.

    Raises:
        StoreError: `out` exists, a pattern fits nothing, or what was written is not what was read.
        SourceError: The source is damaged, or has no such recording.
    """
    with begun(asked, out, "mcap", recordings) as (collection, keys, folder):
        folder.content.mkdir(exist_ok=True)
        names = file_names(keys)
        targets = {key: folder.content / f"{names[key]}.mcap" for key in keys}
        found = convert_each(asked, collection, targets, _write, progress)
        require_all_dropped(asked, found, folder)
    size = sum(path.stat().st_size for path in folder.content.iterdir())
    folder.finish()
    return figures(found, size, verify=asked.verify)


def _write(source: Source, target: Path, verify: bool) -> Mapping[str, str]:
    if not target.exists():  # it appears when it is whole
        write_mcap(source, target)
    if verify:
        _require_equal(source, target)
    return {}


def _require_equal(source: Source, file: Path) -> None:
    again = open_collection(file)
    with again.open(again.keys()[0]) as written:
        found = differences(source, written)
    again.close()
    if found:
        raise StoreError(f"{file} is not what was read: {'; '.join(found[:5])}")
