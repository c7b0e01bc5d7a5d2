"""Pictures of a batch, each decoded once, in the order in which they lie in their files.

Shape letters: M = pictures asked for.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from foreact.episodes.feed.columns import sample_bytes
from foreact.episodes.sources import open_collection
from foreact.episodes.sources.protocol import Collection, Source, SourceError

__all__ = ["JOB", "DatasetAt", "OpenRecordings", "in_file_order", "read_pictures", "shares_of"]

JOB = ("dataset", "recording", "stream", "index", "entry", "place")
"""Columns of a picture that is asked for: a dataset's number, then as in `samples.REQUEST`."""

SAME_PICTURE = 4  # the first columns say which picture, the others where to put it
KEEP_ALL = ("npz",)  # formats whose recordings keep whole streams in memory while they are open
DECODER = ("foreact-recordings",)  # formats whose recordings may have a decoder each; others share a pool of eight
SMALL, LARGE = 1 << 20, 1 << 23  # bytes that an open recording without and with a decoder is taken for


@dataclass(frozen=True)
class DatasetAt:
    """What a process needs to read pictures of a dataset.

    Attributes:
        path: A path or an address.
        keys: Names of its recordings, by number.
        pictures: Names of its streams of pictures, by number.
    """

    path: str
    keys: tuple[str, ...]
    pictures: tuple[str, ...]


class OpenRecordings:
    """Recordings that are kept open, the ones used longest ago closed first. Each dataset has one pool of decoders.

    Args:
        datasets: By number.
        most_bytes: What open recordings may take, about [bytes]; one is always open.
    """

    def __init__(self, datasets: Sequence[DatasetAt], most_bytes: int) -> None:
        self._datasets, self._most = tuple(datasets), most_bytes
        self._collections: dict[int, Collection] = {}
        self._open: OrderedDict[tuple[int, int], tuple[Source, int]] = OrderedDict()
        self._bytes = 0

    def read(self, dataset: int, recording: int, stream: int, index: int) -> np.ndarray:
        """One picture.

        Raises:
            SourceError: It cannot be read; the message names the dataset, the recording and the picture.
        """
        at = self._datasets[dataset]
        try:
            value = self._source(dataset, recording).read(at.pictures[stream], index)
        except (SourceError, OSError, ValueError, KeyError, IndexError) as error:
            where = f"{at.path}: {at.keys[recording]}: {at.pictures[stream]}, sample {index}"
            raise SourceError(f"{where}: {error}") from error
        assert isinstance(value, np.ndarray)
        return value

    def close(self) -> None:
        """Close all."""
        for source, _ in self._open.values():
            source.close()
        self._open.clear()
        for collection in self._collections.values():
            collection.close()
        self._collections.clear()
        self._bytes = 0

    def _source(self, dataset: int, recording: int) -> Source:
        key = (dataset, recording)
        if key in self._open:
            self._open.move_to_end(key)
            return self._open[key][0]
        if dataset not in self._collections:
            self._collections[dataset] = open_collection(self._datasets[dataset].path)
        collection = self._collections[dataset]
        source = collection.open(self._datasets[dataset].keys[recording])
        size = LARGE if collection.format in DECODER else SMALL
        if collection.format in KEEP_ALL:
            names = self._datasets[dataset].pictures
            size += sum(len(source.stamps(name)) * sample_bytes(source.streams[name]) for name in names)
        self._open[key] = (source, size)
        self._bytes += size
        while self._bytes > self._most and len(self._open) > 1:
            _, (old, freed) = self._open.popitem(last=False)
            old.close()
            self._bytes -= freed
        return source


def in_file_order(jobs: np.ndarray) -> np.ndarray:
    """Sort int64 (M, 6) by recording and picture, so that near frames are decoded one after the other."""
    return jobs[np.lexsort((jobs[:, 3], jobs[:, 2], jobs[:, 1], jobs[:, 0]))]


def shares_of(jobs: np.ndarray, workers: int) -> list[np.ndarray]:
    """Cut sorted jobs into one run for each worker, of about as many different pictures; a picture is not cut apart."""
    if not len(jobs):
        return [jobs] * workers
    new = np.flatnonzero(np.append(True, (np.diff(jobs[:, :SAME_PICTURE], axis=0) != 0).any(axis=1)))
    ends = [len(new) * each // workers for each in range(1, workers)]
    return np.split(jobs, np.append(new, len(jobs))[ends].tolist())


def read_pictures(jobs: np.ndarray, recordings: OpenRecordings, places: Sequence[np.ndarray | None]) -> None:
    """Put pictures where they belong.

    Args:
        jobs: int64 (M, 6), sorted by `in_file_order`.
        recordings: Where they come from.
        places: By number of entry the array to write to, (B * K, ...); None for small streams.

    Raises:
        SourceError: A picture cannot be read, or is not of the shape that its stream says.
    """
    before: tuple[list[int], np.ndarray] | None = None
    for row in jobs.tolist():
        array = places[row[4]]
        assert array is not None
        target = array[row[5]]
        if before is not None and before[0] == row[:SAME_PICTURE]:
            target[...] = before[1]
            continue
        value = recordings.read(*row[:SAME_PICTURE])
        if value.shape != target.shape or value.dtype != target.dtype:
            raise SourceError(
                f"picture {row[:SAME_PICTURE]} is {value.dtype} {value.shape}, not {target.dtype} {target.shape}"
            )
        target[...] = value
        before = (row[:SAME_PICTURE], target)
