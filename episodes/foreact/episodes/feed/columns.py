"""Streams of many recordings laid end to end: their times, where each sample lies in its file, and small values.

Shape letters: N = samples of a stream in all recordings, R = recordings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foreact.episodes.outcome import ProgressFn, quiet
from foreact.episodes.sources.protocol import Collection, Source, SourceError, Stream

__all__ = ["HEAVY", "Column", "Recorded", "read_columns", "sample_bytes"]

HEAVY = ("image", "depth", "segmentation")  # read when they are asked for; all else is kept in memory
SAME = ("kind", "shape", "dtype", "elements", "unit")  # what one stream has in common in all recordings


@dataclass(frozen=True)
class Column:
    """One stream of all recordings, the samples of each in order of time.

    Attributes:
        stream: What it is.
        times: For each recording, int64 [ns], ascending.
        starts: Row of the first sample of each recording, int64 (R + 1,).
        places: Number of each sample in its file, int32 (N,).
        values: (N, ...); None for streams that are read when they are asked for.
    """

    stream: Stream
    times: tuple[np.ndarray, ...]
    starts: np.ndarray
    places: np.ndarray
    values: np.ndarray | None


@dataclass(frozen=True)
class Recorded:
    """The streams of a collection that windows are made of.

    Attributes:
        keys: Names of the recordings.
        tasks: What was to be done in each.
        columns: By name of the stream.
    """

    keys: tuple[str, ...]
    tasks: tuple[str, ...]
    columns: dict[str, Column]


def read_columns(
    collection: Collection,
    names: Sequence[str],
    offsets_ns: Mapping[str, int],
    recordings: Sequence[str] = (),
    progress: ProgressFn = quiet,
) -> Recorded:
    """Read streams whole, but of pictures only the times.

    Args:
        collection: Where from.
        names: Of the streams.
        offsets_ns: Added to the stamps of streams [ns].
        recordings: Which, by key; all if none is named.
        progress: Told of each recording.

    Raises:
        SourceError: A recording lacks a stream, has it otherwise than the first, or is damaged.
        ValueError: A recording that is asked for is not there, or a stream has no samples of one shape.
    """
    keys = collection.keys()
    if unknown := [key for key in recordings if key not in keys]:
        raise ValueError(f"{collection.path} has no recording {', '.join(unknown)}; it has {', '.join(keys[:5])}, ...")
    chosen = tuple(recordings) or keys
    if not chosen:
        raise SourceError(f"{collection.path} holds no recording")
    parts: dict[str, list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]] = {name: [] for name in names}
    streams: dict[str, Stream] = {}
    tasks = []
    for done, key in enumerate(chosen):
        progress(done, len(chosen), "read streams")
        with collection.open(key) as source:
            tasks.append(source.task)
            for name, found in parts.items():
                where = f"{collection.path}: {key}"
                if name not in streams:
                    streams[name] = _stream(source, name, where)
                _require_same(streams[name], source.streams.get(name), where)
                found.append(_read(source, name, offsets_ns.get(name, 0), where))
    progress(len(chosen), len(chosen), "read streams")
    columns = {name: _joined(streams[name], found) for name, found in parts.items()}
    return Recorded(chosen, tuple(tasks), columns)


def _stream(source: Source, name: str, where: str) -> Stream:
    if name not in source.streams:
        raise SourceError(f"{where} has no stream {name!r}; it has {', '.join(source.streams)}")
    stream = source.streams[name]
    if stream.kind in ("text", "event", "bytes", "points") or None in stream.shape:
        shape = "x".join("?" if size is None else str(size) for size in stream.shape) or "one value"
        raise ValueError(f"{where}: stream {name} ({stream.kind}, {shape}) has no numbers of one shape to batch")
    return stream


def _require_same(first: Stream, stream: Stream | None, where: str) -> None:
    if stream is None:
        raise SourceError(f"{where} has no stream {first.name!r}, which others have; name the recordings to use")
    for what in SAME:
        here, there = getattr(stream, what), getattr(first, what)
        if here != there:
            raise SourceError(f"{where}: {what} of stream {first.name} is {here!r}, in the first recording {there!r}")


def _read(source: Source, name: str, offset_ns: int, where: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    stamps, stream = source.stamps(name), source.streams[name]
    order = np.argsort(stamps, kind="stable")
    if stream.kind in HEAVY:
        return stamps[order] + offset_ns, order, None
    values = np.asarray(source.read_range(name, 0, len(stamps)))
    shape = (len(stamps), *(size or 0 for size in stream.shape))
    if values.dtype.kind not in "biuf" or (len(stamps) and values.shape != shape):
        raise SourceError(f"{where}: stream {name} is {values.dtype} {values.shape}, numbers {shape} were expected")
    return stamps[order] + offset_ns, order, values.reshape(shape)[order].astype(stream.dtype, copy=False)


def _joined(stream: Stream, parts: list[tuple[np.ndarray, np.ndarray, np.ndarray | None]]) -> Column:
    times = tuple(part[0] for part in parts)
    values = [part[2] for part in parts if part[2] is not None]
    return Column(
        stream=stream,
        times=times,
        starts=np.cumsum([0, *(len(each) for each in times)]),
        places=np.concatenate([part[1] for part in parts]).astype(np.int32),
        values=np.ascontiguousarray(np.concatenate(values)) if values else None,
    )


def sample_bytes(stream: Stream) -> int:
    """Bytes of one sample of fixed shape."""
    return math.prod(size or 1 for size in stream.shape) * np.dtype(stream.dtype).itemsize
