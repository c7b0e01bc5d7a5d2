"""Playing in time: deadlines, drops, and control from another thread, on a clock of our own where time matters."""

import threading
import time

import numpy as np
import pytest

from foreact.episodes.replayer import Replayer
from foreact.episodes.sources.parts import PartsSource, array_part
from foreact.episodes.sources.protocol import Stream
from foreact.episodes.timeline import Timeline

MS = 1_000_000


def timeline(count: int = 10, period_ms: int = 10) -> tuple[Timeline, np.ndarray]:
    stamps = np.arange(count, dtype=np.int64) * period_ms * MS
    stream = Stream("state", "vector", (1,), "float64")
    line = Timeline.of({"one": PartsSource("one", [array_part(stream, stamps, np.arange(count)[:, None] * 1.0)])})
    return line, stamps


def numbers(replayer: Replayer) -> list[int]:
    return [step.number for step in replayer]


def test_as_fast_as_possible_gives_every_step_once() -> None:
    replayer = Replayer(*timeline())
    assert numbers(replayer) == list(range(10))
    assert (replayer.pacing().steps, replayer.pacing().dropped) == (10, 0)


def test_in_time_steps_come_at_their_deadlines_at_any_rate() -> None:
    replayer = Replayer(*timeline(20, 10), rate=2.0)
    start = time.monotonic()
    assert len(numbers(replayer)) + replayer.pacing().dropped == 20
    assert 0.09 < time.monotonic() - start < 1.0  # 190 ms of recording at twice the speed


def test_late_steps_are_dropped_and_counted_or_all_given() -> None:
    for drop in (True, False):
        now = [0]
        replayer = Replayer(*timeline(), rate=1.0, drop=drop, clock=lambda now=now: now[0])
        seen = []
        for step in replayer:
            seen.append(step.number)
            now[0] += 35 * MS if step.number == 2 else 10 * MS
        if drop:
            assert seen == [0, 1, 2, 5, 6, 7, 8, 9]
            assert replayer.pacing().dropped == 2
        else:
            assert seen == list(range(10))
        assert replayer.pacing().lateness_ns.max() >= 5 * MS


def test_pause_step_seek_and_rate_from_another_thread() -> None:
    replayer = Replayer(*timeline(1000, 1), rate=1.0)
    replayer.pause()
    seen: list[int] = []
    thread = threading.Thread(target=lambda: seen.extend(step.number for step in replayer))
    thread.start()

    def until(count: int) -> None:
        end = time.monotonic() + 5
        while replayer.pacing().steps < count and time.monotonic() < end:
            time.sleep(0.001)

    replayer.step(3)
    until(3)
    replayer.seek(500 * MS)
    until(4)
    replayer.step(-1)
    until(5)
    replayer.set_rate(float("inf"))
    replayer.seek(990 * MS)
    until(6)
    replayer.play()
    thread.join(5)
    assert seen == [0, 1, 2, 500, 499, *range(990, 1000)]
    with pytest.raises(ValueError, match="after the last step"):
        replayer.seek(10_000 * MS)


def test_a_loop_goes_on_until_it_is_stopped() -> None:
    replayer = Replayer(*timeline(3), loop=True)
    seen = []
    for step in replayer:
        seen.append(step.number)
        if len(seen) == 8:
            replayer.stop()
    assert seen == [0, 1, 2, 0, 1, 2, 0, 1]


def test_what_cannot_be_played_is_refused() -> None:
    line, times = timeline()
    with pytest.raises(ValueError, match="at least one time"):
        Replayer(line, times[:0])
    with pytest.raises(ValueError, match="each after"):
        Replayer(line, times[::-1])
    with pytest.raises(ValueError, match="rate=0"):
        Replayer(line, times, rate=0)
