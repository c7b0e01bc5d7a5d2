"""Progress on the terminal: bars with rate and time left, or a plain line every few seconds where there is none."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from foreact.episodes.outcome import ProgressFn

__all__ = ["plain_line", "progress_on"]

SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def progress_on(console: Console) -> Iterator[ProgressFn]:
    """Yield the function that rooms call to report progress.

    Args:
        console: where to draw; bars if it is a terminal, plain lines if it is a file or a pipe.
    """
    if console.is_terminal:
        with _bars(console) as report:
            yield report
    else:
        yield _Lines(console)


@contextmanager
def _bars(console: Console) -> Iterator[ProgressFn]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeElapsedColumn(),
    )
    tasks: dict[str, tuple[TaskID, float, int]] = {}  # stage -> bar, when it started [s], units done by then
    with Progress(*columns, console=console) as bars:

        def report(done: int, total: int, text: str) -> None:
            now = time.monotonic()
            stage = _stage(text)
            if stage not in tasks:
                tasks[stage] = (bars.add_task(text, pace=""), now, done)
            bar, started, first = tasks[stage]
            pace = _pace(done, total, now - started, first)
            bars.update(bar, description=text, completed=done, total=total or None, pace=pace)

        yield report


class _Lines:
    """Prints at most one line every few seconds for each stage, and one when a stage is done."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._stage = ""
        self._started = 0.0
        self._first = 0
        self._printed = float("-inf")

    def __call__(self, done: int, total: int, text: str) -> None:
        now = time.monotonic()
        if _stage(text) != self._stage:
            self._stage, self._started, self._first = _stage(text), now, done
        finished = total > 0 and done >= total
        if finished or now - self._printed >= SECONDS_BETWEEN_LINES:
            self._printed = now
            line = plain_line(done, total, text, now - self._started, self._first)
            self._console.print(line, markup=False, highlight=False, soft_wrap=True)


def _stage(text: str) -> str:
    """What a text is about, without figures in brackets that change on the way: `train (loss 0.1)` is `train`."""
    return text.partition(" (")[0]


def plain_line(done: int, total: int, text: str, seconds: float, first: int = 0) -> str:
    """Say in one line how far a stage is.

    Args:
        done: units finished.
        total: units in all; 0 means unknown.
        text: the stage.
        seconds: time since the stage was first reported [s].
        first: units that were finished by then, as when a run is resumed.
    """
    count = f"{done}/{total}" if total else str(done)
    pace = _pace(done, total, seconds, first)
    return f"{text}: {count}" + (f", {pace}" if pace else "")


def _pace(done: int, total: int, seconds: float, first: int) -> str:
    if done <= first or seconds <= 0:
        return ""
    rate = (done - first) / seconds
    shown = f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each"
    if not total or done >= total:
        return shown
    return f"{shown}, {_clock((total - done) / rate)} left"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
