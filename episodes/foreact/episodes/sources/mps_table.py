"""Tables of Aria's machine perception services: CSV with stamps in whole microseconds or nanoseconds.

Shape letters: n = rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foreact.episodes.sources.protocol import SourceError

__all__ = ["Table", "read_table"]

MOST_MICROSECONDS = (1 << 63) // 1000 - 1
MOST_BYTES = 1 << 33


class Table:
    """Columns of a CSV file.

    Args:
        path: Where it lies.
        columns: By name: int64 or float64 (n,), or a list of n texts.
        time: Name of the column of stamps.
        scale: Nanoseconds of its unit.

    Attributes:
        stamps: int64 (n,) [ns].

    Raises:
        SourceError: A stamp is too large.
    """

    def __init__(self, path: Path, columns: dict[str, np.ndarray | list[str]], time: str, scale: int) -> None:
        self.path, self.columns = path, columns
        times = np.asarray(columns[time])
        most = MOST_MICROSECONDS * 1000 // scale
        if len(times) and not -most <= times.min() <= times.max() <= most:
            raise SourceError(f"{path}: a time in {time} is too large")
        self.stamps = times * scale

    def __len__(self) -> int:
        return len(self.stamps)

    def has(self, *names: str) -> bool:
        """Whether it has all these columns."""
        return set(names) <= set(self.columns)

    def numbers(self, *names: str) -> np.ndarray:
        """Columns side by side, float64 (n, len(names)); NaN where a cell is empty.

        Raises:
            SourceError: One is missing.
        """
        if missing := [name for name in names if name not in self.columns]:
            raise SourceError(f"{self.path}: it has no column {missing[0]}")
        return np.column_stack([np.asarray(self.columns[name], np.float64) for name in names])

    def texts(self, name: str) -> list[str]:
        """A column of texts; empty if there is none."""
        column = self.columns.get(name, [])
        return column if isinstance(column, list) else [str(value) for value in column]


def read_table(path: Path, time: str, scale: int, texts: Sequence[str] = (), integers: Sequence[str] = ()) -> Table:
    """Read a CSV file.

    Args:
        path: Where it lies.
        time: Column of whole numbers with the stamps.
        scale: Nanoseconds of its unit.
        texts: Columns that are no numbers.
        integers: Columns of whole numbers beside `time`.

    Raises:
        SourceError: It is missing, damaged or not such a table.
    """
    import pyarrow as pa
    from pyarrow import csv

    try:
        if path.stat().st_size > MOST_BYTES:
            raise SourceError(f"{path}: {path.stat().st_size} bytes are too many")
        names = _names(path)
        if time not in names or len(set(names)) < len(names):
            raise SourceError(f"{path}: no table with one column {time}")
        whole = {time, *integers}
        types = {
            name: pa.int64() if name in whole else pa.string() if name in texts else pa.float64() for name in names
        }
        options = csv.ConvertOptions(column_types=types, strings_can_be_null=False)
        table = csv.read_csv(path, csv.ReadOptions(use_threads=False), convert_options=options)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: no such table: {error}") from error
    if table.num_rows and table.column(time).null_count:
        raise SourceError(f"{path}: {table.column(time).null_count} rows have no {time}")
    columns: dict[str, np.ndarray | list[str]] = {}
    for name in names:
        column = table.column(name)
        if name in texts:
            columns[name] = [str(text or "") for text in column.to_pylist()]
        else:
            columns[name] = (column.fill_null(0) if name in whole else column).to_numpy()
    return Table(path, columns, time, scale)


def _names(path: Path) -> list[str]:
    with path.open(encoding="utf-8") as file:
        line = file.readline(1 << 20)
    return line.rstrip("\r\n").split(",")
