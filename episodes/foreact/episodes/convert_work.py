"""Recordings one by one through a conversion, in this process or in several."""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from foreact.episodes.arrays import StoreError
from foreact.episodes.convert_parts import chosen, require_drops, without
from foreact.episodes.outcome import JSON, ProgressFn
from foreact.episodes.partial import PartialFolder
from foreact.episodes.remote import address
from foreact.episodes.sources import Collection, Source, SourceError, open_collection

__all__ = ["Asked", "Done", "begun", "convert_each", "figures", "model_digest", "place", "require_all_dropped"]

NOTES = 20  # shown

type Write = Callable[[Source, Path, bool], Mapping[str, str]]
"""Writes a recording to a path unless it is there; compares it if asked to; gives the streams it had to encode anew,
and why. A function of a module, so that another process finds it."""


@dataclass(frozen=True)
class Asked:
    """What is asked of every recording.

    Attributes:
        source: Where they lie.
        drop: Names or patterns of streams to leave out.
        anonymise: Model that finds what is to be blurred.
        verify: Read back and compare.
        workers: Processes.
    """

    source: Path
    drop: tuple[str, ...] = ()
    anonymise: Path | None = None
    verify: bool = True
    workers: int = 1

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise StoreError(f"workers={self.workers}: at least one process is needed")

    @property
    def identity(self) -> dict[str, JSON]:
        """By which a conversion that was stopped is known again."""
        model = model_digest(self.anonymise)
        return {
            "source": place(self.source), "drop": list(self.drop), "anonymise": model, "verify": self.verify
        }  # fmt: skip


@dataclass(frozen=True)
class Done:
    """What became of one recording: numbers, what was left out or encoded anew and why, and its notes."""

    streams: int
    samples: int
    dropped: dict[str, str] = field(default_factory=dict)
    reencoded: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@contextlib.contextmanager
def begun(
    asked: Asked, out: Path, to: str, recordings: Sequence[str]
) -> Iterator[tuple[Collection, tuple[str, ...], PartialFolder]]:
    """The source for the length of a conversion, the keys of what is converted, and the folder it is written into.

    Args:
        asked: The source, and what is asked of each recording.
        out: A folder that does not exist.
        to: The format.
        recordings: Which, by key; all if none is named.

    Raises:
        StoreError: `out` exists, or a half-finished conversion of something else is in the way.
        SourceError: The source is damaged, or has no such recording.
    """
    with contextlib.closing(open_collection(asked.source)) as collection:
        keys = chosen(collection, recordings)
        yield collection, keys, PartialFolder(out, {**asked.identity, "to": to, "recordings": list(keys)})


def model_digest(model: Path | None) -> str:
    """SHA-256 of a model's file, so that a conversion is not continued with another; empty without one.

    Raises:
        FileNotFoundError: It is not there.
    """
    return "" if model is None else hashlib.sha256(model.read_bytes()).hexdigest()


def place(source: Path) -> str:
    """A path that means the same wherever it is read, or the address."""
    return address(source) or str(source.resolve())


def convert_each(
    asked: Asked, collection: Collection, targets: Mapping[str, Path], write: Write, progress: ProgressFn
) -> dict[str, Done]:
    """Convert recordings.

    Args:
        asked: What is asked of each.
        collection: Of them; stays open.
        targets: For each key where it is written.
        write: How.
        progress: Told of each recording.

    Returns:
        What became of each, in the order of `targets`.

    Raises:
        StoreError: What was written is not what was read.
        SourceError: A recording is damaged.
    """
    stage = "write and compare" if asked.verify else "write"
    found: dict[str, Done] = {}
    progress(0, len(targets), stage)
    for key, done in _each(asked, collection, targets, write):
        found[key] = done
        progress(len(found), len(targets), stage)
    return {key: found[key] for key in targets}


def require_all_dropped(asked: Asked, found: Mapping[str, Done], folder: PartialFolder) -> None:
    """Refuse, and delete what was written, if something was to be dropped that is nowhere.

    A typing error would keep what must not be kept.

    Raises:
        StoreError: A pattern fits no stream of any recording.
    """
    try:
        require_drops(asked.drop, [name for done in found.values() for name in done.dropped], asked.source)
    except StoreError:
        folder.discard()
        raise


def figures(found: Mapping[str, Done], size: int, *, verify: bool) -> dict[str, JSON]:
    """The figures of a conversion.

    Args:
        found: What became of each recording.
        size: Of what was written [B].
        verify: Whether it was compared.
    """
    notes = dict.fromkeys(note for done in found.values() for note in done.notes)
    return {
        "recordings": len(found),
        "streams": sum(done.streams for done in found.values()),
        "samples": sum(done.samples for done in found.values()),
        "megabytes": round(size / 1e6, 3),
        "dropped": {name: why for done in found.values() for name, why in done.dropped.items()},
        "reencoded": {name: why for done in found.values() for name, why in done.reencoded.items()},
        "notes": [*list(notes)[:NOTES], *([f"and {len(notes) - NOTES} more"] if len(notes) > NOTES else [])],
        "compared": "every sample and stamp, after opening the files again" if verify else "not compared",
    }


def _each(
    asked: Asked, collection: Collection, targets: Mapping[str, Path], write: Write
) -> Iterator[tuple[str, Done]]:
    if asked.workers == 1 or len(targets) < 2:
        for key, target in targets.items():
            yield key, _one(asked, collection, key, target, write)
        return
    workers = min(asked.workers, len(targets))
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        jobs = {pool.submit(_elsewhere, asked, key, target, write): key for key, target in targets.items()}
        for job in as_completed(jobs):
            yield jobs[job], job.result()
    finally:
        pool.shutdown(cancel_futures=True)


@cache
def _opened(source: Path) -> Collection:
    return open_collection(source)


def _elsewhere(asked: Asked, key: str, target: Path, write: Write) -> Done:
    return _one(asked, _opened(asked.source), key, target, write)


def _one(asked: Asked, collection: Collection, key: str, target: Path, write: Write) -> Done:
    try:
        with collection.open(key) as whole:
            kept = _prepared(asked, whole)
            reencoded = write(kept, target, asked.verify)
            samples = sum(len(kept.stamps(name)) for name in kept.streams)
            left_out = _dropped(asked.drop, whole, kept)
            return Done(len(kept.streams), samples, left_out, dict(reencoded), tuple(kept.notes))
    except SourceError as error:
        hint = "; recordings=[...] names those to convert" if len(collection.keys()) > 1 else ""
        raise SourceError(f"recording {key}: {error}{hint}") from error


def _prepared(asked: Asked, whole: Source) -> Source:
    kept = without(whole, asked.drop)
    if asked.anonymise is None:
        return kept
    from foreact.episodes.anonymise import anonymised

    return anonymised(kept, asked.anonymise)


def _dropped(drop: Sequence[str], whole: Source, kept: Source) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in whole.streams:
        if name not in kept.streams:
            pattern = next((each for each in drop if fnmatch.fnmatch(name, each)), None)
            found[name] = "anonymise" if pattern is None else f"drop={pattern}"
    return found
