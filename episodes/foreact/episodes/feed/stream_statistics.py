"""Statistics of the streams of a dataset, worked out once: extremes, mean, deviation, quantiles.

Shape letters: N = samples of a stream in all recordings, E = elements of a sample, or channels of a picture.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.feed.cache import cache_folder, content_digest
from foreact.episodes.feed.columns import Column, read_columns
from foreact.episodes.outcome import ProgressFn, quiet
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.sources import open_collection
from foreact.episodes.sources.protocol import Collection, SourceError

__all__ = ["QUANTILES", "StreamStatistics", "measure_streams"]

QUANTILES = (0.01, 0.1, 0.5, 0.9, 0.99)
VERSION = 1
STEP = 4  # of the pixels of a picture of real numbers every so manieth in both directions


@dataclass(frozen=True)
class StreamStatistics:
    """What the values of a stream are like, each element by itself.

    Attributes:
        shape: Of one sample; channels of a picture.
        count: Values of each element that were looked at, without those that are not finite.
        not_finite: NaN and infinite values of each element, left out of all else.
        minimum: (E,), elements in C order.
        maximum: (E,).
        mean: (E,).
        std: (E,), square root of the mean squared distance from the mean.
        quantiles: Of 1, 10, 50, 90 and 99 %, each (E,), linear between samples.
        subsample: Which samples; empty for all.
    """

    shape: tuple[int, ...]
    count: tuple[int, ...]
    not_finite: tuple[int, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    quantiles: tuple[tuple[float, ...], ...]
    subsample: str


def measure_streams(
    path: Path | str,
    streams: Sequence[str] = (),
    *,
    recordings: Sequence[str] = (),
    pictures: int = 256,
    not_finite: Literal["refuse", "ignore"] = "refuse",
    cache: Path | None = None,
    progress: ProgressFn = quiet,
) -> dict[str, StreamStatistics]:
    """Statistics of streams; those of a dataset on this machine are kept, by its content, and found on later calls.

    Args:
        path: Whatever `open_collection` opens.
        streams: Which; all of the first recording that hold numbers of one shape, but segmentations, if none is named.
        recordings: Which, by key; all if none is named.
        pictures: Pictures of a stream that are looked at, evenly spaced over all recordings.
        not_finite: What to do about NaN and infinite values: refuse them, or leave them out and count them.
        cache: Where results are kept; see `cache.cache_folder`.
        progress: Told of each recording.

    Returns:
        By stream.

    Raises:
        SourceError: Damaged, or a recording lacks a stream.
        ValueError: Values that are not finite are refused, or a stream has none that is finite.
    """
    collection = open_collection(path)
    try:
        names = tuple(streams) or _numeric(collection, recordings)
        asked = {"streams": names, "recordings": list(recordings), "pictures": pictures, "not_finite": not_finite}
        place = Path(path)
        file = None
        if place.exists():  # what lies elsewhere is not read twice to know its content
            key = hashlib.sha256(
                f"{VERSION} {content_digest(place)} {strictjson.canonical(asked)}".encode()
            ).hexdigest()
            file = cache_folder("statistics", cache) / f"{key[:24]}.json"
            if file.is_file() and (found := _kept(file)) is not None:
                return found
        recorded = read_columns(collection, names, {}, recordings, progress)
        made = {}
        for name, column in recorded.columns.items():
            if column.values is None:
                made[name] = _of_pictures(collection, recorded.keys, column, pictures, progress)
            else:
                made[name] = _of_values(name, column.values, not_finite)
    finally:
        collection.close()
    if file is not None:
        write_json_atomic(file, {name: asdict(each) for name, each in made.items()})
    return made


def _numeric(collection: Collection, recordings: Sequence[str]) -> tuple[str, ...]:
    with collection.open((tuple(recordings) or collection.keys())[0]) as source:
        return tuple(
            name
            for name, stream in source.streams.items()
            if stream.kind not in ("text", "event", "bytes", "points", "segmentation") and None not in stream.shape
        )


def _kept(file: Path) -> dict[str, StreamStatistics] | None:
    """What an earlier call found; None if the file is damaged, so that it is made anew."""
    try:
        told = strictjson.loads(file.read_text(encoding="utf-8"))
        return {name: strictjson.decode(StreamStatistics, each, name) for name, each in told.items()}
    except (strictjson.StrictJsonError, UnicodeDecodeError, AttributeError):
        return None


def _of_values(name: str, values: np.ndarray, not_finite: str, subsample: str = "") -> StreamStatistics:
    """Of samples (N, ...)."""
    columns = values.reshape(len(values), -1)
    finite = np.isfinite(columns)
    lost = (~finite).sum(axis=0)
    if lost.any() and not_finite == "refuse":
        raise ValueError(
            f"stream {name}: {int(lost.sum())} values are NaN or infinite; leave them out by not_finite='ignore'"
        )
    if not finite.any(axis=0).all():
        raise ValueError(f"stream {name}: element {int(finite.any(axis=0).argmin())} has no finite value")
    rows = [_of_element(columns[finite[:, each], each].astype(np.float64)) for each in range(columns.shape[1])]
    count = tuple(int(each) for each in finite.sum(axis=0))
    return _table(values.shape[1:], count, tuple(int(each) for each in lost), rows, subsample)


def _of_element(values: np.ndarray) -> tuple[float, ...]:
    quantiles = np.quantile(values, QUANTILES)
    return (float(values.min()), float(values.max()), float(values.mean()), float(values.std()), *quantiles.tolist())


def _table(
    shape: tuple[int, ...], count: tuple[int, ...], lost: tuple[int, ...], rows: list[tuple[float, ...]], subsample: str
) -> StreamStatistics:
    low, high, mean, std, *quantiles = (tuple(column) for column in zip(*rows, strict=True))
    return StreamStatistics(shape, count, lost, low, high, mean, std, tuple(quantiles), subsample)


def _of_pictures(
    collection: Collection, keys: tuple[str, ...], column: Column, most: int, progress: ProgressFn
) -> StreamStatistics:
    """Of pictures, evenly spaced over all recordings."""
    name, total = column.stream.name, int(column.starts[-1])
    if not total:
        raise SourceError(f"{collection.path}: stream {name} holds no picture")
    picks = np.unique(np.linspace(0, total - 1, min(most, total)).astype(np.int64))
    dtype, channels = np.dtype(column.stream.dtype), (*column.stream.shape[2:], 1)[0] or 1
    whole = dtype.kind == "u" and dtype.itemsize <= 2
    counts, kept = np.zeros((channels, 1 << (8 * dtype.itemsize) if whole else 0), np.int64), list[np.ndarray]()
    for recording, key in enumerate(keys):
        inside = picks[(picks >= column.starts[recording]) & (picks < column.starts[recording + 1])]
        progress(recording, len(keys), f"look at {name}")
        if not len(inside):
            continue
        with collection.open(key) as source:
            for index in np.sort(column.places[inside]).tolist():
                picture = np.asarray(source.read(name, index)).reshape(
                    *(size or 0 for size in column.stream.shape[:2]), channels
                )
                if whole:
                    for channel in range(channels):
                        counts[channel] += np.bincount(picture[..., channel].reshape(-1), minlength=counts.shape[1])
                else:
                    kept.append(picture[::STEP, ::STEP].reshape(-1, channels))
    told = f"{len(picks)} of {total} pictures, evenly spaced"
    if not whole:
        return _of_values(name, np.concatenate(kept), "ignore", f"{told}, every {STEP}th row and column")
    rows = [_of_histogram(counts[channel]) for channel in range(channels)]
    return _table((channels,), tuple(counts.sum(axis=1).tolist()), (0,) * channels, rows, told)


def _of_histogram(counts: np.ndarray) -> tuple[float, ...]:
    """Of values 0, 1, ... of which there are so many each: the same as of the values one by one."""
    values, total = np.arange(len(counts), dtype=np.float64), int(counts.sum())
    mean = float(values @ counts / total)
    std = float(np.sqrt(np.square(values - mean) @ counts / total))
    behind = np.cumsum(counts)
    place = np.array(QUANTILES) * (total - 1)
    low, high = (np.searchsorted(behind, each, "right") for each in (np.floor(place), np.ceil(place)))
    quantiles = low + (place - np.floor(place)) * (high - low)
    there = np.flatnonzero(counts)
    return (float(there[0]), float(there[-1]), mean, std, *quantiles.tolist())
