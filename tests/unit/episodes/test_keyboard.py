"""Keys in a terminal: what they do to a replay, and that the terminal is as before."""

import os
import pty
import sys
import termios
import time

import numpy as np
import pytest

from foreact.episodes.keyboard import Keyboard, listening
from foreact.episodes.replayer import Replayer
from foreact.episodes.sources.parts import PartsSource, array_part
from foreact.episodes.sources.protocol import Stream
from foreact.episodes.timeline import Timeline

S = 1_000_000_000


def replayer() -> Replayer:
    times = np.arange(30, dtype=np.int64) * S
    part = array_part(Stream("state", "vector", (1,), "float64"), times, np.zeros((30, 1)))
    return Replayer(Timeline.of({"a": PartsSource("a", [part])}), times, rate=1e6)


def pressed(player: Replayer, keyboard: Keyboard, *keys: str) -> list[int]:
    """Steps [s] that come when the keys are pressed one after the other while it stands still."""
    found = []
    steps = iter(player)
    for key in keys:
        keyboard.press(key)
        step = next(steps)
        keyboard.show(step)
        found.append(step.time_ns // S)
    return found


def test_arrows_step_and_jump() -> None:
    player = replayer()
    keyboard = Keyboard(player, 1.0)
    player.pause()
    assert pressed(player, keyboard, "\x1b[C", "\x1b[C", "\x1b[D", "\x1b[A", "\x1bOA", "\x1b[B") == [0, 1, 0, 5, 10, 5]
    assert pressed(player, keyboard, *["\x1b[A"] * 6) == [10, 15, 20, 25, 29, 29]
    keyboard.press("+")
    keyboard.press("+")  # twice as fast: five seconds of those who watch are ten
    assert pressed(player, keyboard, "\x1b[B", "\x1b[C") == [19, 20]


def test_space_stands_and_goes_and_q_ends() -> None:
    player = replayer()
    keyboard = Keyboard(player, 1.0)
    keyboard.press(" ")
    assert player.paused
    keyboard.press(" ")
    keyboard.press("?")
    assert not player.paused and not keyboard.ended.is_set()
    keyboard.press("q")
    assert keyboard.ended.is_set() and list(player) == []


def test_keys_are_taken_from_a_terminal_that_is_left_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = pty.openpty()
    with os.fdopen(there) as terminal:
        monkeypatch.setattr(sys, "stdin", terminal)
        before = termios.tcgetattr(terminal)
        keyboard = Keyboard(replayer(), 1.0)
        with listening(keyboard):
            assert termios.tcgetattr(terminal)[3] != before[3]
            os.write(here, b"q")
            assert keyboard.ended.wait(2)
        assert termios.tcgetattr(terminal) == before
    os.close(here)


def test_without_a_terminal_nothing_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"q")
    with os.fdopen(reading) as piped:
        monkeypatch.setattr(sys, "stdin", piped)
        keyboard = Keyboard(replayer(), 1.0)
        with listening(keyboard):
            time.sleep(0.15)
        assert not keyboard.ended.is_set()
    os.close(writing)
