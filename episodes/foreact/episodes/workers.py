"""Processes that do jobs and never outlive the process that started them."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor

__all__ = ["InlineExecutor", "follow_parent", "give_back_memory", "in_order", "worker_processes"]


class InlineExecutor(Executor):
    """Does each job at once in this process: one worker costs no second interpreter."""

    def submit[**P, T](self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Do the job now; the future is done when this returns.

        Args:
            fn: The job.
            *args: Its arguments.
            **kwargs: Its named arguments.
        """
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def worker_processes(count: int, *, fresh: bool = False) -> Iterator[Executor]:
    """Executor with so many processes, started fresh (spawn): threads and device handles are not inherited.

    Leaving the context early cancels jobs not yet begun and waits for the running ones.

    Args:
        count: Number of processes; 1 works in this process.
        fresh: Give each job a process of its own, for libraries that remember what they did.
    """
    if count == 1 and not fresh:
        yield InlineExecutor()
        return
    import multiprocessing

    pool = ProcessPoolExecutor(
        count,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=follow_parent,
        max_tasks_per_child=1 if fresh else None,
    )
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def in_order[T](pool: Executor, jobs: Iterable[Callable[[], T]], ahead: int) -> Iterator[T]:
    """What jobs give, in their order, with a few of them begun ahead of the one that is waited for.

    Args:
        pool: Who does them.
        jobs: Functions that can be sent to another process.
        ahead: How many are begun before the first is waited for.
    """
    begun: deque[Future[T]] = deque()
    for job in jobs:
        begun.append(pool.submit(job))
        if len(begun) > ahead:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def give_back_memory() -> None:
    """Hand what was freed back to the system; to be called when the worlds of a task are done with.

    The C library keeps the memory of models and engines, in pieces that the next task's do not fit into: over six tasks
    a process grew from 0.7 to 1.6 GB.
    """
    import ctypes
    import gc

    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it; where it is not, nothing is to be done
    if trim is not None:
        trim(0)


def follow_parent() -> None:
    """End with the parent, also when it is killed; leave Ctrl-C to it, so that a running job is finished."""
    import multiprocessing
    import os
    import signal
    import threading

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
