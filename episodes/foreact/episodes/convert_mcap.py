"""`foreact convert to=mcap`: recordings as MCAP, a file each, opened again and compared before they count."""

from __future__ import annotations

import fnmatch
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.arrays import StoreError
from foreact.episodes.outcome import JSON, ProgressFn
from foreact.episodes.partial import PartialFolder
from foreact.episodes.sources import Source, SourceError, Value, open_collection
from foreact.episodes.sources.mcap_writer import write_mcap
from foreact.episodes.sources.parts import Part, PartsSource

__all__ = ["convert_mcap", "differences", "without"]

BATCH = 32  # samples compared at once


def without(source: Source, drop: Sequence[str]) -> PartsSource:
    """A recording without some of its streams; closing it closes the recording.

    Args:
        source: The recording.
        drop: Names or patterns, such as `audio*`; what fits one is not there.
    """
    parts = [
        Part(stream, source.stamps(name), partial(source.read, name), partial(source.read_range, name))
        for name, stream in source.streams.items()
        if not any(fnmatch.fnmatch(name, each) for each in drop)
    ]
    return PartsSource(
        source.key, parts, task=source.task, metadata=source.metadata, notes=source.notes, close=source.close
    )


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
    keys = tuple(recordings) or collection.keys()
    if unknown := [key for key in keys if key not in collection.keys()]:
        raise SourceError(f"{source} has no recording {', '.join(unknown)}")
    asked: dict[str, JSON] = {"source": str(source.resolve()), "to": "mcap", "drop": list(drop)}
    folder = PartialFolder(out, {**asked, "recordings": list(keys)})
    folder.content.mkdir(exist_ok=True)
    counts, dropped = {"streams": 0, "samples": 0}, set[str]()
    for done, key in enumerate(keys):
        progress(done, len(keys), "write and compare")
        whole = collection.open(key)
        with without(whole, drop) as chosen:
            file = folder.content / f"{_file_name(key)}.mcap"
            if not file.exists():  # it appears when it is whole
                write_mcap(chosen, file)
            _require_equal(chosen, file)
            dropped |= whole.streams.keys() - chosen.streams.keys()
            counts["streams"] += len(chosen.streams)
            counts["samples"] += sum(len(chosen.stamps(name)) for name in chosen.streams)
    collection.close()
    if idle := [each for each in drop if not fnmatch.filter(dropped, each)]:
        raise StoreError(f"drop={', '.join(idle)} fits no stream of {source}; `foreact inspect` lists them")
    size = sum(path.stat().st_size for path in folder.content.iterdir())
    folder.finish()
    progress(len(keys), len(keys), "write and compare")
    return {
        "recordings": len(keys), **counts, "megabytes": round(size / 1e6, 3), "dropped": sorted(dropped),
        "compared": "every sample and stamp, after opening the files again",
    }  # fmt: skip


def _file_name(key: str) -> str:
    name = "".join(each if each.isalnum() or each in "-_." else "_" for each in key).lstrip(".")
    return name or "recording"


def _require_equal(source: Source, file: Path) -> None:
    again = open_collection(file)
    with again.open(again.keys()[0]) as written:
        found = differences(source, written)
    again.close()
    if found:
        raise StoreError(f"{file} is not what was read: {'; '.join(found[:5])}")


def differences(one: Source, other: Source) -> list[str]:
    """What two recordings differ in: streams, stamps, values; nothing if they are equal.

    Args:
        one: A recording.
        other: Another.
    """
    if one.streams.keys() != other.streams.keys():
        return [f"streams {', '.join(sorted(one.streams.keys() ^ other.streams.keys()))} are in one only"]
    found = []
    for name in one.streams:
        if not np.array_equal(np.sort(one.stamps(name)), np.sort(other.stamps(name))):
            found.append(f"stamps of {name}")
            continue
        orders = [np.argsort(each.stamps(name), kind="stable") for each in (one, other)]
        for start in range(0, len(orders[0]), BATCH):
            pairs = zip(*(order[start : start + BATCH].tolist() for order in orders), strict=True)
            if not all(_same(one.read(name, i), other.read(name, j)) for i, j in pairs):
                found.append(f"values of {name} from sample {start}")
                break
    return found


def _same(one: Value, other: Value) -> bool:
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return bool(one == other)
    number: Any = one.dtype.kind in "fc"
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=bool(number))
