"""Plain progress lines: rate and time left worked out by hand, and not more than one every few seconds."""

import io

import pytest
from rich.console import Console

from foreact.cli import progress
from foreact.cli.progress import plain_line, progress_on


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (plain_line(0, 50, "record", 0.0), "record: 0/50"),
        (plain_line(10, 50, "record", 5.0), "record: 10/50, 2.0/s, 0:20 left"),
        (plain_line(30, 50, "record", 10.0, first=20), "record: 30/50, 1.0/s, 0:20 left"),
        (plain_line(2, 1802, "train", 8.0), "train: 2/1802, 4.0 s each, 2:00:00 left"),
        (plain_line(50, 50, "record", 25.0), "record: 50/50, 2.0/s"),
        (plain_line(7, 0, "read", 2.0), "read: 7, 3.5/s"),
    ],
)
def test_a_line_says_rate_and_time_left(line: str, said: str) -> None:
    assert line == said


def test_lines_come_every_few_seconds_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    text = io.StringIO()
    with progress_on(Console(file=text)) as report:
        for done in range(21):
            now[0] = done * 1.0
            report(done, 20, "work")
    assert [line.split(",")[0] for line in text.getvalue().splitlines()] == [
        "work: 0/20",
        "work: 5/20",
        "work: 10/20",
        "work: 15/20",
        "work: 20/20",
    ]


def test_a_terminal_gets_bars() -> None:
    text = io.StringIO()
    with progress_on(Console(file=text, force_terminal=True, width=100)) as report:
        report(0, 20, "work")
        report(10, 20, "work")
    assert "10/20" in text.getvalue() and "work" in text.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_figure_that_changes_on_the_way_does_not_start_the_stage_anew(
    terminal: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    text = io.StringIO()
    with progress_on(Console(file=text, force_terminal=terminal, width=100)) as report:
        for done in range(0, 30, 10):
            now[0] = done * 1.0
            report(done, 40, f"train (loss {1 - done / 100:.1f})")
    last = next(line for line in reversed(text.getvalue().splitlines()) if "train" in line)
    assert "train (loss 0.8)" in last and "1.0/s, 0:20 left" in last
