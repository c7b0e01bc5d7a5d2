"""What a command reports while it works (ProgressFn) and when it is done (Outcome)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["JSON", "Outcome", "ProgressFn", "quiet"]

type JSON = bool | int | float | str | Sequence[JSON] | Mapping[str, JSON] | None

ProgressFn = Callable[[int, int, str], None]
"""Called as progress(done, total, text); `text` names the stage, and a changed text starts a new one."""


def quiet(done: int, total: int, text: str) -> None:
    """Ignore progress: the default of a room's function when nobody watches.

    Args:
        done: units finished, 0 <= done <= total.
        total: units in all; 0 means unknown.
        text: the stage, such as "record reach-v3".
    """


@dataclass(frozen=True)
class Outcome:
    """The end of a command: what it wrote, the figures for `--json`, and a short table for the terminal.

    Args:
        path: the file or folder that was written (or read, for a command that only looks).
        figures: the same figures as the table, as JSON, each key naming its unit where it has one.
        columns: table headings.
        rows: table rows, each with one text per column.
        failed: what was found makes the command end with exit code 1, after its table.

    Raises:
        ValueError: a row does not have one text per column.
    """

    path: Path
    figures: Mapping[str, JSON]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    failed: bool = False

    def __post_init__(self) -> None:
        for number, row in enumerate(self.rows):
            if len(row) != len(self.columns):
                raise ValueError(f"Outcome row {number} has {len(row)} texts for {len(self.columns)} columns: {row}")
