"""RLDS: episodes of robot data sets as TensorFlow Datasets writes them (Open X-Embodiment, DROID, BridgeData V2).

    FOLDER/features.json           names, shapes, types
    FOLDER/dataset_info.json       splits and how many records each shard has
    FOLDER/NAME-SPLIT.tfrecord-00000-of-00001     one tf.Example an episode

Reads are thread-safe: an episode's record is held in memory, at most as large as its shard.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

from foreact.episodes.sources.parts import Recordings
from foreact.episodes.sources.protocol import Source, SourceError
from foreact.episodes.sources.rlds_episode import open_episode
from foreact.episodes.sources.rlds_features import Leaf, read_features, read_json
from foreact.episodes.sources.tfrecord import index_records

__all__ = ["open_collection"]

DEPTH = ("", "*/", "*/*/")
SHARD = re.compile(r".*-(?P<split>[A-Za-z0-9_.]+)\.tfrecord-\d+-of-\d+")


def open_collection(path: Path) -> Recordings:
    """Open the data set in a folder, or all data sets up to two folders below it.

    Raises:
        SourceError: No shard, no features.json, or no record that can be read.
    """
    path = Path(path)
    shards = sorted(shard for depth in DEPTH for shard in path.glob(f"{depth}*.tfrecord*") if shard.is_file())
    folders = list(dict.fromkeys(shard.parent for shard in shards))
    if not shards:
        raise SourceError(f"{path}: no *.tfrecord-* in it or up to two folders below")
    openers: dict[str, Callable[[], Source]] = {}
    notes: list[str] = []
    for folder in folders:
        leaves = read_features(folder / "features.json")
        prefix = "".join(f"{part}." for part in folder.relative_to(path).parts) if len(folders) > 1 else ""
        own = [shard for shard in shards if shard.parent == folder]
        counts = _add_records(openers, notes, own, leaves, prefix)
        notes += _compare(folder / "dataset_info.json", counts)
    if not openers:
        raise SourceError(f"{path}: no record can be read: {'; '.join(notes)}")
    return Recordings(path, "rlds", openers, tuple(notes))


def _add_records(
    openers: dict[str, Callable[[], Source]], notes: list[str], shards: list[Path], leaves: list[Leaf], prefix: str
) -> dict[str, int]:
    counts: dict[str, int] = {}
    for shard in shards:
        match = SHARD.fullmatch(shard.name)
        split = match["split"] if match else shard.name.partition(".")[0]
        records, fault = index_records(shard)
        if fault:
            notes.append(f"{shard.name}: {fault}; what follows it is lost")
        for record in records:
            key = f"{prefix}{split}-{counts.get(split, 0):05d}"
            openers[key] = partial(open_episode, key, shard, record, leaves)
            counts[split] = counts.get(split, 0) + 1
        counts.setdefault(split, 0)
    return counts


def _compare(path: Path, counts: dict[str, int]) -> list[str]:
    """What dataset_info.json says and the shards do not hold."""
    try:
        splits = read_json(path)["splits"]
        said = {str(split["name"]): sum(int(length) for length in split["shardLengths"]) for split in splits}
    except SourceError as error:
        return [f"{error}: how many records there should be is not known"]
    except (KeyError, TypeError, ValueError) as error:
        return [f"{path} does not say how many records there should be: {type(error).__name__} {error}"]
    return [
        f"{path.parent}: split {split}: {count} records by {path.name}, {counts.get(split, 0)} found"
        for split, count in said.items()
        if counts.get(split, 0) != count
    ]
