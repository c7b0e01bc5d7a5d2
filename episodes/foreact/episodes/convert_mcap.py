"""`foreact convert to=mcap`: recordings as MCAP, a file each, opened again and compared before they count."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from foreact.episodes.arrays import StoreError
from foreact.episodes.convert_parts import chosen, differences, file_names, require_drops, without
from foreact.episodes.outcome import JSON, ProgressFn
from foreact.episodes.partial import PartialFolder
from foreact.episodes.sources import Source, open_collection
from foreact.episodes.sources.mcap_writer import write_mcap

__all__ = ["convert_mcap"]


def convert_mcap(
    source: Path, out: Path, recordings: Sequence[str], drop: Sequence[str], progress: ProgressFn
) -> dict[str, JSON]:
    """Write recordings as `out/KEY.mcap`; stopped half-way, the same call goes on.

    Args:
        source: Of any format that `foreact.episodes.sources` knows.
        out: A folder that does not exist; it appears when all is written and compared.
        recordings: Which, by key; all if none is named.
        drop: Names or patterns of streams to leave out.
        progress: Told of each recording.

    Raises:
        StoreError: `out` exists, a pattern fits nothing, or what was written is not what was read.
        SourceError: The source is damaged, or has no such recording.
    """
    collection = open_collection(source)
    keys = chosen(collection, recordings)
    asked: dict[str, JSON] = {"source": str(source.resolve()), "to": "mcap", "drop": list(drop)}
    folder = PartialFolder(out, {**asked, "recordings": list(keys)})
    folder.content.mkdir(exist_ok=True)
    counts, gone, names = {"streams": 0, "samples": 0}, set[str](), file_names(keys)
    for done, key in enumerate(keys):
        progress(done, len(keys), "write and compare")
        whole = collection.open(key)
        with without(whole, drop) as kept:
            file = folder.content / f"{names[key]}.mcap"
            if not file.exists():  # it appears when it is whole
                write_mcap(kept, file)
            _require_equal(kept, file)
            gone |= whole.streams.keys() - kept.streams.keys()
            counts["streams"] += len(kept.streams)
            counts["samples"] += sum(len(kept.stamps(name)) for name in kept.streams)
    collection.close()
    require_drops(drop, gone, source)
    size = sum(path.stat().st_size for path in folder.content.iterdir())
    folder.finish()
    progress(len(keys), len(keys), "write and compare")
    return {
        "recordings": len(keys), **counts, "megabytes": round(size / 1e6, 3), "dropped": sorted(gone),
        "compared": "every sample and stamp, after opening the files again",
    }  # fmt: skip


def _require_equal(source: Source, file: Path) -> None:
    again = open_collection(file)
    with again.open(again.keys()[0]) as written:
        found = differences(source, written)
    again.close()
    if found:
        raise StoreError(f"{file} is not what was read: {'; '.join(found[:5])}")
