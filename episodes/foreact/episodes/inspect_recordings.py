"""`foreact inspect` of what others recorded: streams, clocks, rates, and what their stamps say of them."""

from __future__ import annotations

from pathlib import Path

from foreact.episodes.outcome import JSON, Outcome, ProgressFn
from foreact.episodes.sources import Collection, Source, SourceError, Stream, open_collection
from foreact.episodes.timeline import COUNTED, Health, health

__all__ = ["inspect_recordings"]

COLUMNS = ("recording", "stream", "kind", "samples", "one sample", "unit", "clock", "rate", "from - to", "stamps")
SHOWN = 3  # recordings in the table; the figures have all
CHUNK = 64  # samples read together to verify


def inspect_recordings(path: Path, progress: ProgressFn, *, verify: bool) -> Outcome:
    """One row per stream of the first recordings.

    Args:
        path: Of any format that `foreact.episodes.sources` knows.
        progress: Told of each recording.
        verify: Read every sample.

    Raises:
        SourceError: No format is known by its looks, or the only recording cannot be read; of several, one that cannot
            is told in a row, and the outcome counts as failed.
        ModuleNotFoundError: The reader needs a package that is not installed.
    """
    collection = open_collection(path)
    keys = collection.keys()
    recordings: dict[str, JSON] = {}
    rows: list[tuple[str, ...]] = []
    damaged = 0
    for done, key in enumerate(keys):
        progress(done, len(keys), "read recordings" if verify else "open recordings")
        try:
            with collection.open(key) as source:
                if verify:
                    _read_all(source)
                found = {name: health(source.stamps(name)) for name in source.streams}
                recordings[key] = _figures(source, found)
                if done < SHOWN:
                    rows += _rows(key, source, found)
        except SourceError as error:
            if len(keys) == 1:
                raise
            damaged += 1
            rows.append((key, f"cannot be read: {error}", *[""] * (len(COLUMNS) - 2)))
    progress(len(keys), len(keys), "open recordings")
    if len(keys) > SHOWN:
        rows.append((f"... and {len(keys) - SHOWN} more recordings", *[""] * (len(COLUMNS) - 1)))
    figures: dict[str, JSON] = {
        "format": collection.format, "recordings": recordings, "damaged": damaged, "notes": list(collection.notes),
        "verified": verify,
    }  # fmt: skip
    rows += [("note", note, *[""] * (len(COLUMNS) - 2)) for note in _notes(collection, recordings)]
    return Outcome(path, figures, COLUMNS, tuple(rows), failed=damaged > 0)


def _rows(key: str, source: Source, found: dict[str, Health]) -> list[tuple[str, ...]]:
    return [_row("" if place else key, source.streams[name], found[name]) for place, name in enumerate(found)]


def _read_all(source: Source) -> None:
    for name in source.streams:
        count = len(source.stamps(name))
        for start in range(0, count, CHUNK):
            try:
                source.read_range(name, start, min(start + CHUNK, count))
            except SourceError as error:
                raise SourceError(f"{source.key}, stream {name}, samples from {start}: {error}") from error


def _figures(source: Source, found: dict[str, Health]) -> JSON:
    return {
        "task": source.task,
        "notes": list(source.notes),
        "metadata": dict(source.metadata),
        "streams": {name: _stream(source.streams[name], seen) for name, seen in found.items()},
    }


def _stream(stream: Stream, seen: Health) -> JSON:
    rate = None if stream.clock in COUNTED else round(seen.rate_hz, 6)
    return {
        "kind": stream.kind, "shape": list(stream.shape), "dtype": stream.dtype, "unit": stream.unit,
        "clock": stream.clock, "rate_hz": stream.rate_hz, "elements": list(stream.elements), "frame": stream.frame,
        "child": stream.child, "description": stream.description, "samples": seen.count, "first_ns": seen.first_ns,
        "last_ns": seen.last_ns, "median_rate_hz": rate,
        "out_of_order": seen.out_of_order, "duplicates": seen.duplicates, "gaps": seen.gaps,
        "longest_gap_ns": seen.longest_gap_ns,
    }  # fmt: skip


def _row(key: str, stream: Stream, seen: Health) -> tuple[str, ...]:
    shape = "x".join("?" if each is None else str(each) for each in stream.shape)
    counted = stream.clock in COUNTED
    rate = f"{seen.rate_hz:.4g} Hz" if seen.rate_hz and not counted else ""
    span = f"{seen.first_ns} - {seen.last_ns}" if counted else f"{seen.first_ns / 1e9:.3f} - {seen.last_ns / 1e9:.3f} s"
    faults = {"out of order": seen.out_of_order, "doubled": seen.duplicates, "gaps": seen.gaps}
    return (
        key,
        stream.name,
        stream.kind,
        str(seen.count),
        f"{stream.dtype} {shape}".strip(),
        stream.unit if len(stream.unit) < 16 else f"{stream.unit[:14]}..",
        stream.clock,
        rate,
        span if seen.count else "",
        ", ".join(f"{count} {name}" for name, count in faults.items() if count) or ("good" if seen.count else "empty"),
    )


def _notes(collection: Collection, recordings: dict[str, JSON]) -> list[str]:
    """Each note once, with how many recordings it is of."""
    seen: dict[str, int] = {}
    for each in recordings.values():
        notes = each["notes"] if isinstance(each, dict) else []
        for note in notes if isinstance(notes, list) else []:
            seen[str(note)] = seen.get(str(note), 0) + 1
    shown = [note if count == 1 else f"{note} ({count} recordings)" for note, count in seen.items()]
    return [*collection.notes, *shown]
