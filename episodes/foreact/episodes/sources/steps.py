"""What recordings kept as tables share: numbered steps, names and kinds of their columns, bounded reading.

Shape letters: n = steps.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np

from foreact.episodes.sources.parts import Part
from foreact.episodes.sources.protocol import Kind, SourceError, Stream

__all__ = ["MAX_SAMPLE", "MAX_STEPS", "Steps", "column_name", "column_part", "distinct", "natural", "numbered", "timed"]

MAX_STEPS = 10_000_000  # 92 h at 30 Hz
MAX_SAMPLE = 1 << 28  # bytes of one sample
KEPT = 1 << 24  # bytes of a column up to which it is read once, whole: rows are often packed by the thousand
RENAMED = {"actions": "action", "rewards": "reward", "dones": "done", "states": "states"}


@dataclass(frozen=True)
class Steps:
    """How the rows of a table are stamped.

    Attributes:
        clock: `step`: stamps are step numbers; `episode`: nanoseconds from the first step.
        rate_hz: If the file says it.
        notes: Why the stamps are what they are.
    """

    clock: str
    rate_hz: float | None
    notes: tuple[str, ...]

    def stamps(self, count: int) -> np.ndarray:
        """Stamps of rows 0 to count - 1, int64 (count,).

        Raises:
            SourceError: More than ten million rows.
        """
        if count > MAX_STEPS:
            raise SourceError(f"{count} steps in one recording; {MAX_STEPS} are the most that are read")
        steps = np.arange(count, dtype=np.int64)
        return steps if self.rate_hz is None else np.rint(steps * (1e9 / self.rate_hz)).astype(np.int64)


def numbered() -> Steps:
    """Steps of a file that states no rate."""
    note = "stamps are step numbers on the clock `step` (1 a step), not nanoseconds: the file states no rate"
    return Steps("step", None, (note,))


def timed(rate_hz: object, said_by: str) -> Steps:
    """Steps of a file that states a rate.

    Args:
        rate_hz: As found in the file [Hz].
        said_by: Which field says so, for the note.
    """
    number = isinstance(rate_hz, int | float | np.integer | np.floating) and not isinstance(rate_hz, bool)
    if not number or not math.isfinite(float(rate_hz)) or not 1e-3 <= float(rate_hz) <= 1e6:  # type: ignore[arg-type]
        plain = numbered()
        return Steps(plain.clock, None, (*plain.notes, f"{said_by} says {rate_hz!r}, which is no rate"))
    rate = float(rate_hz)  # type: ignore[arg-type]
    return Steps("episode", rate, (f"stamps are step / {rate:g} Hz, by {said_by}: the file has no times",))


def natural(name: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that puts demo_2 before demo_10."""
    pieces = re.findall(r"\d+|\D+", name)
    return tuple((0, int(piece)) if piece.isdecimal() and len(piece) < 18 else (1, piece) for piece in pieces)


def distinct(parts: Iterable[tuple[str, Part]]) -> list[Part]:
    """Parts under names of their own: where two would share one, the later is called as in the file.

    Args:
        parts: Name in the file, part.
    """
    found: dict[str, Part] = {}
    for own, part in parts:
        dotted, number = own.replace("/", "."), 2
        name = part.stream.name if part.stream.name not in found else dotted
        while name in found:
            name, number = f"{dotted}.{number}", number + 1
        found[name] = part if name == part.stream.name else replace(part, stream=replace(part.stream, name=name))
    return list(found.values())


def column_name(name: str, kind: Kind) -> str:
    """Name of a stream after its column: `agentview_image` is `camera.agentview`, `actions` is `action`."""
    name = name.replace("/", ".")
    last = name.rpartition(".")[2]
    if kind == "image":
        return f"camera.{re.sub(r'_(image|rgb|img|color|colour)$', '', last)}"
    if kind == "depth":
        return f"depth.{re.sub(r'_?depth_?|_image$', '', last) or 'depth'}"
    return RENAMED.get(name, name)


def column_kind(name: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> Kind:
    """What a column holds, by its type, the shape of a sample and its name."""
    picture = len(shape) in (2, 3) and min(shape[:2]) >= 8
    if picture and "depth" in name.lower() and (len(shape) == 2 or shape[2] == 1):
        return "depth"
    if picture and dtype == np.uint8 and len(shape) == 3 and shape[2] in (1, 3):
        return "image"
    return "vector"


@dataclass(frozen=True)
class Column:
    """Rows start to start + count - 1 of something that is indexed like an array.

    Attributes:
        where: File and column, for messages.
        rows: Has shape, dtype and `[i]`.
        start: First row.
        count: Rows.
        change: Of the rows of a slice, before they are handed out.
    """

    where: str
    rows: Any
    start: int
    count: int
    change: Callable[[np.ndarray, str], np.ndarray] | None = None

    def read_range(self, start: int, stop: int) -> np.ndarray:
        """Rows (stop - start, ...).

        Raises:
            SourceError: They cannot be read, or are not as many as the file says.
        """
        where = f"{self.where}: steps {start} to {stop}"
        try:
            rows = np.asarray(self.rows[self.start + start : self.start + stop])
        except MemoryError:
            raise SourceError(f"{where} do not fit into memory") from None
        except Exception as error:  # a reader of bytes of others: libraries raise what they like
            raise SourceError(f"{where} cannot be read: {error}") from error
        if rows.shape != (stop - start, *self.rows.shape[1:]):
            raise SourceError(f"{where} came as {rows.shape}")
        return rows if self.change is None else self.change(rows, where)

    def reader(self) -> Callable[[int, int], np.ndarray]:
        """Reads rows start to stop - 1; a small column whole when first asked, so that it is unpacked once."""
        row = math.prod(self.rows.shape[1:]) * self.rows.dtype.itemsize
        return _Kept(self).read_range if row * self.count <= KEPT else self.read_range


class _Kept:
    """A small column, read when first asked for; row by row where a part of it is damaged."""

    def __init__(self, column: Column) -> None:
        self._column, self._lock = column, Lock()
        self._rows: np.ndarray | None = None
        self._damaged = False

    def read_range(self, start: int, stop: int) -> np.ndarray:
        with self._lock:
            if self._rows is None and not self._damaged:
                try:
                    self._rows = self._column.read_range(0, self._column.count)
                except SourceError:
                    self._damaged = True
        return self._column.read_range(start, stop) if self._rows is None else self._rows[start:stop]


def column_part(column: Column, name: str, steps: Steps, /, **about: Any) -> Part:
    """A part that reads rows of a numeric array when asked.

    Args:
        column: Of bool, integer or float numbers, one row a step.
        name: In the file, such as `obs/agentview_image`.
        steps: How the rows are stamped.
        about: Fields of the stream that are known better, such as `unit` or `kind`.

    Raises:
        SourceError: Not numbers, or one row is larger than 256 MiB.
    """
    dtype, shape = column.rows.dtype, tuple(column.rows.shape[1:])
    if dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize > MAX_SAMPLE:
        raise SourceError(f"{column.where}: samples of {dtype} {shape} are not read")
    kind = about.pop("kind", None) or column_kind(name, dtype, shape)
    if kind in ("image", "depth") and len(shape) == 3 and shape[2] == 1 and column.change is None:
        shape = shape[:2]
        column = Column(column.where, column.rows, column.start, column.count, lambda rows, _: rows[..., 0])
    fields = {
        "name": column_name(name, kind),
        "kind": kind,
        "shape": shape,
        "dtype": dtype.name,
        "clock": steps.clock,
        "rate_hz": steps.rate_hz,
        **about,
    }
    rows = column.reader()
    return Part(Stream(**fields), steps.stamps(column.count), lambda index: rows(index, index + 1)[0], rows)
