"""The end of a command: a short table, the path of what was written, and the same figures as JSON."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from foreact.cli.commands import Report
from foreact.episodes.runfolder import write_json_atomic

__all__ = ["output_console", "print_outcome", "write_figures"]

WIDTH_IN_A_FILE = 160  # [characters] a file or a pipe has no width of its own, and cells must not be cut there


def output_console() -> Console:
    """Open standard output: as wide as the terminal, or wide enough not to cut table cells."""
    console = Console()
    return console if console.is_terminal else Console(width=WIDTH_IN_A_FILE)


def print_outcome(console: Console, outcome: Report) -> None:
    """Print the table and the path.

    Args:
        console: the console of standard output.
        outcome: what the command returned.
    """
    if outcome.rows:
        table = Table(*(escape(text) for text in outcome.columns), header_style="bold")
        for row in outcome.rows:
            table.add_row(*(escape(text) for text in row))
        console.print(table)
    if outcome.path is not None:
        console.print(str(outcome.path), markup=False, highlight=False, soft_wrap=True)


def write_figures(file: Path, command: str, outcome: Report) -> None:
    """Write the figures atomically.

    Args:
        file: where to write.
        command: the command's name.
        outcome: what the command returned.

    Raises:
        RunError: a figure is NaN or infinite; nothing is written.
    """
    write_json_atomic(file, {"command": command, "path": outcome.path, "figures": outcome.figures})
