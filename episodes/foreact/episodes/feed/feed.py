"""Shuffled training batches from recordings, read ahead by worker processes, resumed exactly where they stopped.

Shape letters: B = samples of a batch, K = samples of a stream in one window.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np

from foreact.episodes.feed.crew import Crew
from foreact.episodes.feed.mixture import Draws
from foreact.episodes.feed.order import Order
from foreact.episodes.feed.pictures import DatasetAt, OpenRecordings, in_file_order, read_pictures
from foreact.episodes.feed.proxy import Proxies, proxied
from foreact.episodes.feed.ring import Layout, Ring
from foreact.episodes.feed.samples import Samples
from foreact.episodes.feed.windows import Windows
from foreact.episodes.outcome import JSON, ProgressFn, quiet
from foreact.episodes.remote import address
from foreact.episodes.sources import open_collection

__all__ = ["Batch", "Dataset", "Feed", "FeedConfig"]

VERSION = 1
VALID = "valid."


@dataclass(frozen=True)
class Dataset:
    """One dataset of a feed.

    Attributes:
        path: Whatever `open_collection` opens: a path, or an address of a store.
        windows: What a sample is.
        recordings: Which, by key; all if none is named.
        weight: Its part of the mixture, in proportion to the others'; None for its number of samples.
    """

    path: Path | str
    windows: Windows
    recordings: tuple[str, ...] = ()
    weight: float | None = None


@dataclass(frozen=True)
class FeedConfig:
    """How batches are made.

    Attributes:
        batch: B.
        workers: Processes that read pictures; 0 reads them in the calling one.
        prefetch: Batches that are being read while the caller has one.
        seed: Of the order.
        shuffle: False draws samples in order.
        together: Recordings whose samples are shuffled among each other; None for all. See `Order`.
        samples: The feed ends after so many draws of all shards; None for never. The last batch may be smaller; with
            several shards it is left out instead.
        shard: Which of how many callers this is, from 0: each gets its own batches of one order.
        keep_bytes: What recordings that a process keeps open may take, about [bytes].
        proxy: Encode videos with few key frames anew, once, and read those; lossy, see `proxy`.
        cache: Where proxies are kept; see `cache.cache_folder`.

    Raises:
        ValueError: A number that cannot be.
    """

    batch: int = 32
    workers: int = 2
    prefetch: int = 2
    seed: int = 0
    shuffle: bool = True
    together: int | None = None
    samples: int | None = None
    shard: tuple[int, int] = (0, 1)
    keep_bytes: int = 1 << 29
    proxy: bool = False
    cache: Path | None = None

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("workers", 0), ("prefetch", 1), ("keep_bytes", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"feed: {name}={getattr(self, name)} must be at least {least}")
        if not 0 <= self.shard[0] < self.shard[1]:
            raise ValueError(f"feed: shard={self.shard} must be a number from 0 on and how many there are")


@dataclass(frozen=True)
class Batch:
    """Training samples.

    Attributes:
        values: By name of the take, (B, K, ...). They are overwritten when the next batch is asked for.
        valid: By name, bool (B, K): false where the window reaches out of the recording.
        dataset: Number of each sample's dataset, int64 (B,).
        number: Number of each sample in its dataset, int64 (B,).
        recording: Number of each sample's recording, int32 (B,).
        anchor_ns: Time of each sample's anchor [ns], int64 (B,).
    """

    values: Mapping[str, np.ndarray]
    valid: Mapping[str, np.ndarray]
    dataset: np.ndarray
    number: np.ndarray
    recording: np.ndarray
    anchor_ns: np.ndarray

    def __len__(self) -> int:
        """B."""
        return len(self.number)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.values[name]


@dataclass
class _Filling:
    """A batch that is being read."""

    slot: int
    datasets: np.ndarray
    numbers: np.ndarray
    pictures: np.ndarray
    drawn: list[int] = field(default_factory=list)


class Feed:
    """An iterator over batches.

    Args:
        datasets: One, or several to be mixed; their samples must be alike.
        config: How.
        state: Of an earlier feed of the same datasets and seed: go on behind its last batch.
        progress: Told while small streams are read.

    Attributes:
        samples: The samples of each dataset.
        proxies: Videos that were encoded anew, and what was lost, for each dataset; empty if not asked for.

    Raises:
        SourceError: A dataset is damaged or lacks a stream.
        ValueError: Windows that cannot be had, datasets whose samples differ, or a state of something else.
    """

    def __init__(
        self,
        datasets: Dataset | Sequence[Dataset],
        config: FeedConfig | None = None,
        *,
        state: Mapping[str, Any] | None = None,
        progress: ProgressFn = quiet,
    ) -> None:
        self.config = config = config or FeedConfig()
        given = [datasets] if isinstance(datasets, Dataset) else list(datasets)
        if not given:
            raise ValueError("feed: no dataset")
        self.proxies: tuple[Proxies, ...] = ()
        if config.proxy:
            self.proxies = tuple(_proxied(each, config, progress) for each in given)
            given = [replace(each, path=found.path) for each, found in zip(given, self.proxies, strict=True)]
        self.samples: tuple[Samples, ...] = tuple(_samples(each, progress) for each in given)
        _require_alike(given, self.samples)
        self._draws = _draws(given, self.samples, config)
        self._about = _about(self.samples, self._draws, config)
        if state is not None:
            self._resume(state)
        self._delivered = self._draws.state()
        self._entries = self.samples[0].entries
        self._at = [
            DatasetAt(str(each.path), every.keys, every.pictures) for each, every in _pairs(given, self.samples)
        ]
        self._build(config)

    def _build(self, config: FeedConfig) -> None:
        arrays = {name: ((config.batch, *entry.shape), entry.dtype) for name, entry in self._entries.items()}
        masks = {VALID + name: ((config.batch, entry.shape[0]), "bool") for name, entry in self._entries.items()}
        layout, pictures = Layout.of({**arrays, **masks}), [n for n, e in self._entries.items() if e.is_picture]
        inside = [each.path for each in self._at if address(each.path) and each.path.startswith("memory:")]
        if pictures and config.workers and inside:
            raise ValueError(f"{inside[0]} is the memory of this process: give workers=0")
        self._ring = Ring(layout, config.prefetch + 1)
        self._crew: Crew | None = None
        self._recordings: OpenRecordings | None = None
        try:
            if pictures and config.workers:
                args = (layout, list(self._entries), pictures, self._at, config.keep_bytes)
                self._crew = Crew(config.workers, self._ring, *args)
            elif pictures:
                self._recordings = OpenRecordings(self._at, config.keep_bytes)
        finally:
            self._ring.close()
        self._free, self._job = list(range(config.prefetch + 1)), 0
        self._filling: deque[tuple[int, _Filling]] = deque()
        self._held: int | None = None
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Iterator[Batch]:
        return self

    def __next__(self) -> Batch:
        if self._closed:
            raise ValueError("the feed was closed, or ended by an error")
        if self._held is not None:
            self._free.append(self._held)
            self._held = None
        try:
            return self._next()
        except StopIteration:
            raise
        except BaseException:
            self.close()
            raise

    def state(self) -> dict[str, JSON]:
        """Where the feed stands, behind the batch given last, as JSON."""
        return {**self._about, "drawn": list(self._delivered)}

    def close(self) -> None:
        """End the processes. Batches stay as they are."""
        self._closed = True
        if self._crew is not None:
            self._crew.close()
        if self._recordings is not None:
            self._recordings.close()

    @property
    def workers(self) -> tuple[int, ...]:
        """Numbers of the processes."""
        return self._crew.processes if self._crew is not None else ()

    @property
    def cpu_ns(self) -> int:
        """CPU time of this process and, up to their last answers, of the workers [ns]."""
        return time.process_time_ns() + (sum(self._crew.cpu_ns) if self._crew is not None else 0)

    def _next(self) -> Batch:
        while len(self._filling) < self.config.prefetch and self._fill():
            pass
        if not self._filling:
            raise StopIteration
        job, filling = self._filling.popleft()
        if self._crew is not None:
            self._crew.wait(job)
        elif self._recordings is not None:
            slot = self._ring.slots[filling.slot]
            flat = [slot[n].reshape(-1, *e.shape[1:]) if e.is_picture else None for n, e in self._entries.items()]
            read_pictures(filling.pictures, self._recordings, flat)
        self._held, self._delivered = filling.slot, filling.drawn
        return self._batch(filling)

    def _fill(self) -> bool:
        """Begin another batch; False at the end."""
        datasets, numbers = self._drawn()
        if not len(numbers):
            return False
        slot = self._free.pop()
        arrays = self._ring.slots[slot]
        valid = {name: arrays[VALID + name] for name in self._entries}
        asked = []
        for each, samples in enumerate(self.samples):
            rows = np.flatnonzero(datasets == each) if len(self.samples) > 1 else None
            wanted = samples.fill(numbers if rows is None else numbers[rows], arrays, valid, rows)
            asked.append(np.insert(wanted, 0, each, axis=1))
        pictures = in_file_order(np.concatenate(asked))
        self._filling.append((self._job, _Filling(slot, datasets, numbers, pictures, self._draws.state())))
        if self._crew is not None:
            self._crew.submit(self._job, slot, pictures)
        self._job += 1
        return True

    def _drawn(self) -> tuple[np.ndarray, np.ndarray]:
        """The next draws of this shard."""
        rank, shards = self.config.shard
        count = self.config.batch * shards
        if self.config.samples is not None:
            left = self.config.samples - int(self._draws.drawn.sum())
            # each shard has as many batches as any other, or one would wait for another for ever
            count = min(count, left) if shards == 1 else count * (left >= count)
        datasets, numbers = self._draws.next(max(count, 0))
        mine = slice(rank * self.config.batch, (rank + 1) * self.config.batch)
        return datasets[mine], numbers[mine]

    def _batch(self, filling: _Filling) -> Batch:
        slot, count = self._ring.slots[filling.slot], len(filling.numbers)
        recording, anchor = np.empty(count, np.int32), np.empty(count, np.int64)
        for each, samples in enumerate(self.samples):
            rows = filling.datasets == each
            recording[rows] = samples.recording[filling.numbers[rows]]
            anchor[rows] = samples.anchor_ns[filling.numbers[rows]]
        values = {name: slot[name][:count] for name in self._entries}
        valid = {name: slot[VALID + name][:count] for name in self._entries}
        return Batch(values, valid, filling.datasets, filling.numbers, recording, anchor)

    def _resume(self, state: Mapping[str, Any]) -> None:
        differs = [name for name, value in self._about.items() if state.get(name) != value]
        if differs:
            told = "; ".join(f"{name} is {self._about[name]!r}, was {state.get(name)!r}" for name in differs)
            raise ValueError(f"the state is of another feed: {told}")
        self._draws.resume(state["drawn"])


def _proxied(dataset: Dataset, config: FeedConfig, progress: ProgressFn) -> Proxies:
    if not Path(dataset.path).exists():
        raise ValueError(f"{dataset.path} does not lie on this machine: no proxies can be made of it")
    return proxied(Path(dataset.path), cache=config.cache, progress=progress)


def _samples(dataset: Dataset, progress: ProgressFn) -> Samples:
    collection = open_collection(dataset.path)
    try:
        return Samples(collection, dataset.windows, dataset.recordings, progress)
    finally:
        collection.close()


def _pairs(datasets: Sequence[Dataset], samples: Sequence[Samples]) -> Iterator[tuple[Dataset, Samples]]:
    return zip(datasets, samples, strict=True)


def _draws(datasets: Sequence[Dataset], samples: Sequence[Samples], config: FeedConfig) -> Draws:
    orders = [
        Order(
            len(each),
            config.seed,
            salt=number,
            shuffle=config.shuffle,
            recording=each.recording,
            together=config.together,
        )
        for number, each in enumerate(samples)
    ]
    given = [dataset.weight for dataset in datasets]
    weights = [each for each in given if each is not None]
    if len(weights) not in (0, len(given)):
        raise ValueError(f"feed: weights {given}: give one to each dataset, or to none")
    return Draws(orders, weights or None)


def _about(samples: Sequence[Samples], draws: Draws, config: FeedConfig) -> dict[str, JSON]:
    """What a state must be of: all that the order depends on."""
    anchors = [hashlib.sha256(each.recording.tobytes() + each.anchor_ns.tobytes()).hexdigest()[:16] for each in samples]
    order = {"shuffle": config.shuffle, "together": config.together, "shares": draws.shares.tolist()}
    return {"version": VERSION, "seed": config.seed, "anchors": anchors, "order": json.dumps(order)}


def _require_alike(datasets: Sequence[Dataset], samples: Sequence[Samples]) -> None:
    first = {name: (entry.shape, entry.dtype) for name, entry in samples[0].entries.items()}
    for dataset, each in _pairs(datasets, samples):
        here = {name: (entry.shape, entry.dtype) for name, entry in each.entries.items()}
        if here != first:
            differs = sorted(name for name in here.keys() | first.keys() if here.get(name) != first.get(name))
            told = "; ".join(f"{name} is {here.get(name)}, in {datasets[0].path} {first.get(name)}" for name in differs)
            raise ValueError(f"{dataset.path} cannot be mixed: {told}")
