"""A side of a benchmark in a process of its own, which does as much as it is told and answers what that took.

The process first answers one line of JSON, the window of its burn-in, then one for every line on its standard input,
a number of rounds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from foreact.sim.bench_meter import Window, window_steps

__all__ = ["ServedSide", "SideEnded", "serve"]


class SideEnded(RuntimeError):
    """The process ended before it was told to; with its last words."""


class ServedSide:
    """The end that tells.

    Args:
        command: What to start.
        per_round: Steps or frames of one round.
        seconds: Length of a window [s].
        environment: Variables besides ours.

    Raises:
        SideEnded: It could not start.
    """

    def __init__(
        self,
        command: Sequence[str | Path],
        per_round: int,
        seconds: float,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._words = tempfile.TemporaryFile("w+", encoding="utf-8")
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            env={**os.environ, **(environment or {})},
        )
        try:
            self._rounds = window_steps(self._answer(), per_round, seconds)
        except BaseException:
            self.close()
            raise

    def window(self) -> Window:
        """One stretch, timed by the process itself."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._rounds}\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End the process."""
        try:
            self._process.communicate(timeout=30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._words.close()

    def _answer(self) -> Window:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(timeout=30)
            self._words.seek(0)
            words = [each for each in self._words.read().splitlines() if each and not each.startswith(" ")]
            raise SideEnded(words[-1] if words else f"exit code {self._process.returncode}")
        return Window(**json.loads(line))


def serve(burn_in: Window, run: Callable[[int], Window]) -> None:
    """The end that answers, until its input ends.

    Args:
        burn_in: What is answered first.
        run: Does so many rounds.
    """
    print(json.dumps(asdict(burn_in)), flush=True)
    for line in sys.stdin:
        print(json.dumps(asdict(run(int(line)))), flush=True)
