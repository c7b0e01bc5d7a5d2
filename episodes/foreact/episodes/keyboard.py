"""Keys that control a replay, read from a terminal: pause, step, jump, rate, end."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import threading
from collections.abc import Iterator

from foreact.episodes.replayer import Replayer
from foreact.episodes.timeline import Step

__all__ = ["HELP", "Keyboard", "listening"]

HELP = "space: pause   left, right: a step   down, up: 5 s back, on   + -: faster, slower   q: end"
JUMP_NS = 5_000_000_000
FASTER = 2**0.5
ARROWS = {"\x1b[A": "up", "\x1b[B": "down", "\x1b[C": "right", "\x1b[D": "left"}
# some terminals send these for arrows instead
ARROWS |= {key.replace("[", "O"): name for key, name in ARROWS.items()}


class Keyboard:
    """Does to a replay what keys say.

    Args:
        replayer: Which.
        rate: At which it plays, times real time.
    """

    def __init__(self, replayer: Replayer, rate: float) -> None:
        self._replayer, self._rate, self._now = replayer, rate, int(replayer.times[0])
        self.ended = threading.Event()

    def show(self, step: Step) -> None:
        """Know where the replay is."""
        self._now = step.time_ns

    def press(self, key: str) -> None:
        """Do what a key says; others do nothing."""
        key = ARROWS.get(key, key)
        if key == " ":
            (self._replayer.play if self._replayer.paused else self._replayer.pause)()
        elif key in ("left", "right"):
            self._replayer.step(-1 if key == "left" else 1)
        elif key in ("down", "up"):
            first, last = int(self._replayer.times[0]), int(self._replayer.times[-1])
            jump = round(JUMP_NS * max(self._rate, 1e-3))  # five seconds of those who watch
            self._replayer.seek(min(max(self._now + (jump if key == "up" else -jump), first), last))
        elif key in ("+", "=", "-"):
            self._rate *= 1 / FASTER if key == "-" else FASTER
            self._replayer.set_rate(self._rate)
        elif key == "q":
            self.ended.set()
            self._replayer.stop()


@contextlib.contextmanager
def listening(keyboard: Keyboard) -> Iterator[None]:
    """Take keys from the terminal as they are pressed, if there is one; it is as before afterwards."""
    if not (sys.stdin.isatty() and threading.current_thread() is threading.main_thread()):
        yield
        return
    import termios
    import tty

    number = sys.stdin.fileno()
    before = termios.tcgetattr(number)
    done = threading.Event()
    reader = threading.Thread(target=_read, args=(number, keyboard, done), daemon=True)
    tty.setcbreak(number)
    print(HELP, flush=True)
    reader.start()
    try:
        yield
    finally:
        done.set()
        reader.join(1)
        termios.tcsetattr(number, termios.TCSADRAIN, before)


def _read(number: int, keyboard: Keyboard, done: threading.Event) -> None:
    while not done.is_set():
        if select.select([number], [], [], 0.1)[0]:
            typed = os.read(number, 64).decode(errors="ignore")
            if not typed:  # nobody is there any more
                return
            for key in [typed] if typed in ARROWS else typed:
                keyboard.press(key)
