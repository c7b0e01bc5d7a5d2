"""What every conversion of recordings shares: which recordings and streams, file names, comparison, figures."""

from __future__ import annotations

import fnmatch
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.arrays import StoreError
from foreact.episodes.sources.parts import Part, PartsSource
from foreact.episodes.sources.protocol import Collection, Source, SourceError, Value

__all__ = ["chosen", "differences", "dropped", "file_names", "require_drops", "unequal", "without"]

BATCH = 32  # samples compared at once
SMALL_BATCH = 2048  # of streams that are neither pictures nor sound
LARGE = ("image", "depth", "segmentation", "audio", "points", "bytes")


def chosen(collection: Collection, recordings: Sequence[str]) -> tuple[str, ...]:
    """Keys of the recordings that are asked for, in the order of the collection; all if none is named.

    Args:
        collection: What lies at the source.
        recordings: Keys.

    Raises:
        SourceError: It has no such recording, or none at all.
    """
    keys = collection.keys()
    if unknown := [key for key in recordings if key not in keys]:
        raise SourceError(f"{collection.path} has no recording {', '.join(unknown)}; `foreact inspect` lists them")
    if not keys:
        raise SourceError(f"{collection.path} holds no recording")
    return tuple(key for key in keys if key in recordings) if recordings else tuple(keys)


def dropped(source: Source, drop: Sequence[str]) -> tuple[str, ...]:
    """Names of the streams that fit one of the names or patterns, such as `audio*`."""
    return tuple(name for name in source.streams if any(fnmatch.fnmatch(name, each) for each in drop))


def without(source: Source, drop: Sequence[str]) -> PartsSource:
    """A recording without some of its streams; closing it closes the recording.

    Args:
        source: The recording.
        drop: Names or patterns, such as `audio*`; what fits one is not there.
    """
    left_out = dropped(source, drop)
    parts = [
        Part(
            stream,
            source.stamps(name),
            partial(source.read, name),
            partial(source.read_range, name),
            source.encoded(name),
        )
        for name, stream in source.streams.items()
        if name not in left_out
    ]
    return PartsSource(
        source.key, parts, task=source.task, metadata=source.metadata, notes=source.notes, close=source.close
    )


def require_drops(drop: Sequence[str], gone: Iterable[str], path: Path) -> None:
    """Refuse what was to be dropped and was never there: a typing error would keep what must not be kept.

    Args:
        drop: Names or patterns that were asked for.
        gone: Names of the streams that were left out, over all recordings.
        path: The source, for the message.

    Raises:
        StoreError: Names what fits no stream.
    """
    gone = list(gone)
    if idle := [each for each in drop if not fnmatch.filter(gone, each)]:
        raise StoreError(f"drop={', '.join(idle)} fits no stream of {path}; `foreact inspect` lists them")


def file_names(keys: Sequence[str]) -> dict[str, str]:
    """A file name for each key: letters, digits, `-`, `_`, `.`; a number behind those that would be the same."""
    found: dict[str, str] = {}
    taken: set[str] = set()
    for key in keys:
        plain = "".join(each if each.isascii() and (each.isalnum() or each in "-_.") else "_" for each in key)
        plain = plain.lstrip("._-") or "recording"
        name, number = plain, 2
        while name.lower() in taken:  # some file systems take upper and lower case for the same
            name, number = f"{plain}-{number}", number + 1
        taken.add(name.lower())
        found[key] = name
    return found


def differences(one: Source, other: Source, *, exact: bool = False, skip: Container[str] = ()) -> list[str]:
    """What two recordings differ in: streams, stamps, values; nothing if they are equal.

    Args:
        one: A recording.
        other: Another.
        exact: Also what is said of the recording and its streams, the order of samples, and every bit of a number;
            else samples are compared in the order of their stamps.
        skip: Streams whose samples are not compared.
    """
    if one.streams.keys() != other.streams.keys():
        return [f"streams {', '.join(sorted(one.streams.keys() ^ other.streams.keys()))} are in one only"]
    found = _said(one, other) if exact else []
    for name in one.streams:
        orders = [_order(each.stamps(name), exact) for each in (one, other)]
        if not np.array_equal(one.stamps(name)[orders[0]], other.stamps(name)[orders[1]]):
            found.append(f"stamps of {name}")
            continue
        if name in skip:
            continue
        at = unequal(one, other, name) if exact else _by_stamp(one, other, name, orders)
        if at is not None:
            found.append(f"values of {name} from sample {at}")
    return found


def _said(one: Source, other: Source) -> list[str]:
    found = [what for what in ("key", "task", "notes") if getattr(one, what) != getattr(other, what)]
    if strictjson.canonical(one.metadata) != strictjson.canonical(other.metadata):
        found.append("metadata")
    if list(one.streams) != list(other.streams):
        found.append("order of the streams")
    for name in one.streams:
        pairs: list[Mapping[str, Any]] = [asdict(each.streams[name]) for each in (one, other)]
        found += [f"{what} of {name}" for what in pairs[0] if pairs[0][what] != pairs[1][what]]
    return found


def _order(stamps: np.ndarray, exact: bool) -> np.ndarray:
    return np.arange(len(stamps)) if exact else np.argsort(stamps, kind="stable")


def _by_stamp(one: Source, other: Source, name: str, orders: list[np.ndarray]) -> int | None:
    """The first place at which values differ; None if there is none."""
    for start in range(0, len(orders[0]), BATCH):
        pairs = zip(*(order[start : start + BATCH].tolist() for order in orders), strict=True)
        if not all(_same(one.read(name, i), other.read(name, j)) for i, j in pairs):
            return start
    return None


def unequal(one: Source, other: Source, name: str) -> int | None:
    """The first sample of a stream that is not the same in every bit, in the order of the file; None if all are.

    Args:
        one: A recording.
        other: Another, with as many samples.
        name: Of the stream.

    Raises:
        SourceError: One of them cannot be read.
    """
    count = len(one.stamps(name))
    batch = BATCH if one.streams[name].kind in LARGE else SMALL_BATCH
    for start in range(0, count, batch):
        stop = min(start + batch, count)
        both = one.read_range(name, start, stop), other.read_range(name, start, stop)
        if not any(isinstance(each, list) for each in both) and _same_bits(*both):
            continue
        for index, (value, again) in enumerate(zip(*both, strict=True), start):
            if not _same_bits(value, again):
                return index
    return None


def _same(one: Value, other: Value) -> bool:
    if not isinstance(one, np.ndarray) or not isinstance(other, np.ndarray):
        return bool(one == other)
    number: Any = one.dtype.kind in "fc"
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=bool(number))


def _same_bits(one: Any, other: Any) -> bool:
    if isinstance(one, str | bytes) or isinstance(other, str | bytes):
        return bool(one == other)
    # a sample without a shape is a number
    one, other = (np.asarray(each) for each in (one, other))
    one, other = (each.astype(each.dtype.newbyteorder("="), copy=False) for each in (one, other))
    return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
