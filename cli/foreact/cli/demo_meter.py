"""What a process tree costs: CPU seconds of this process and all its children, and the peak of their memory."""

import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psutil

__all__ = ["Meter", "metered"]

SECONDS_BETWEEN_SAMPLES = 0.5


class Meter:
    """Samples of this process and its descendants.

    Attributes:
        peak_bytes: Most memory seen at one time [bytes], summed over the tree; where the system says so (Linux), pages
            that processes share are counted once.
    """

    def __init__(self) -> None:
        self._process = psutil.Process()
        self.peak_bytes = 0

    def cpu_s(self) -> float:
        """CPU seconds until now of this process, its finished children and its running descendants [s]."""
        # in this order, a child that ends in between is missed now and counted the next time, never counted twice
        mine, ended = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        running = sum(_cpu_s(child) for child in self._process.children(recursive=True))
        return mine.ru_utime + mine.ru_stime + ended.ru_utime + ended.ru_stime + running

    def sample(self) -> None:
        """Look at the memory once."""
        tree = [self._process, *self._process.children(recursive=True)]
        resident = sum(_resident_bytes(process) for process in tree)
        # counting shared pages once is slow, and cannot give more than the plain sum
        if resident > self.peak_bytes:
            self.peak_bytes = max(self.peak_bytes, sum(_own_bytes(process) for process in tree))


@contextmanager
def metered(each: Callable[[], None] = lambda: None, seconds: float = SECONDS_BETWEEN_SAMPLES) -> Iterator[Meter]:
    """Sample in a thread of its own until the block ends.

    Args:
        each: Called after each sample, in that thread.
        seconds: Time between samples [s].
    """
    meter, stop = Meter(), threading.Event()

    def watch() -> None:
        while True:
            meter.sample()
            each()
            if stop.wait(seconds):
                return

    thread = threading.Thread(target=watch, name="meter", daemon=True)
    thread.start()
    try:
        yield meter
    finally:
        stop.set()
        thread.join()
        meter.sample()  # a block that was too short for the thread


def _cpu_s(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.Error:  # it ended meanwhile
        return 0.0
    return times.user + times.system + times.children_user + times.children_system


def _resident_bytes(process: psutil.Process) -> int:
    try:
        return process.memory_info().rss
    except psutil.Error:
        return 0


def _own_bytes(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
    except psutil.Error:
        return 0
    return getattr(memory, "pss", memory.rss)
