"""What people said of a video: sentences and stretches of time, from CSV and JSON files."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.sources.parts import Part
from foreact.episodes.sources.protocol import Kind, SourceError, Stream

__all__ = ["Annotations", "read_json", "read_table", "seconds_to_ns"]

LONGEST_S = 10**7  # more is no place in a video


@dataclass
class Annotations:
    """Annotations of many videos, filled while files are read.

    Attributes:
        streams: For each video and each stream, (time [ns], text) in the order of the files.
        tasks: What a video as a whole shows, where it is said.
        about: What else is said of a video.
        notes: What was left out, and why.
    """

    streams: dict[str, dict[str, list[tuple[int, str]]]] = field(default_factory=dict)
    tasks: dict[str, str] = field(default_factory=dict)
    about: dict[str, dict[str, Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, video: str, stream: str, time: int, text: str) -> None:
        """Note one sentence or one stretch."""
        self.streams.setdefault(video, {}).setdefault(stream, []).append((time, text))

    def stretch(self, video: str, stream: str, start: int, stop: int | None, told: Mapping[str, Any]) -> None:
        """Note what goes on from start to stop [ns]; stop None: to the end of the video."""
        self.add(video, stream, start, json.dumps({"start_ns": start, "stop_ns": stop, **told}, ensure_ascii=False))

    def rows(self, file: Path, rows: Sequence[dict[str, str]], take: Callable[[dict[str, str]], None]) -> None:
        """Take each row; those that are damaged are left out and counted."""
        faults: list[str] = []
        for number, row in enumerate(rows, 2):
            try:
                take(row)
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                faults.append(f"line {number}: {error!r}")
        if faults:
            self.notes.append(f"{file.name}: {len(faults)} of {len(rows)} rows are left out, first {faults[0]}")

    def parts(self, video: str, clock: str = "video") -> list[Part]:
        """Streams of one video: `narration...` are text, others events."""
        return [_part(name, marks, clock) for name, marks in self.streams.get(video, {}).items()]


def _part(name: str, marks: list[tuple[int, str]], clock: str) -> Part:
    kind: Kind = "text" if name.startswith("narration") else "event"
    texts = [text for _, text in marks]
    stamps = np.array([time for time, _ in marks], np.int64)
    return Part(
        Stream(name, kind, (), "str", clock=clock),
        stamps,
        texts.__getitem__,
        lambda start, stop: [*texts[start:stop]],
    )


def read_table(file: Path, needed: Sequence[str]) -> list[dict[str, str]]:
    """Rows of a CSV file by the names in its first line.

    Raises:
        SourceError: Missing, damaged, or without a column that is needed.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            missing = set(needed) - set(reader.fieldnames or ())
            if missing:
                raise SourceError(f"{file} has no columns {', '.join(sorted(missing))}")
            return [{str(key): value for key, value in row.items() if isinstance(value, str)} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{file}: {error}") from error


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        SourceError: Missing, damaged, or not an object.
    """
    try:
        content = strictjson.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, RecursionError, strictjson.StrictJsonError) as error:
        raise SourceError(f"{file}: {error}") from error
    if not isinstance(content, dict):
        raise SourceError(f"{file} does not hold a JSON object")
    return content


def seconds_to_ns(value: object) -> int:
    """`00:01:03.37`, `63.37` or 63.37 as [ns], exactly as written.

    Raises:
        ValueError: No time, or none of a video.
    """
    text = repr(value) if isinstance(value, float) else str(value)
    fields = text.strip().split(":")
    if isinstance(value, bool) or not 1 <= len(fields) <= 3:
        raise ValueError(f"{value!r} is not a time")
    total = Decimal(0)
    try:
        for each in fields:
            total = total * 60 + Decimal(each)
    except InvalidOperation:
        raise ValueError(f"{value!r} is not a time") from None
    if not total.is_finite() or not 0 <= total < LONGEST_S:
        raise ValueError(f"{value!r} is not a time in a video")
    return int((total * 10**9).to_integral_value())
