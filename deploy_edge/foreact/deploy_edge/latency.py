"""How long single inferences take, several runtimes in turn so that a busy machine slows them alike."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

__all__ = ["Latency", "interleaved"]

TURN = 8  # calls in a row: a robot runs one policy, whose weights stay in the cache
DROPPED = 2  # of them, while the cache still holds what ran before
WARM_UP = 2  # turns


@dataclass(frozen=True)
class Latency:
    """Time of one call.

    Attributes:
        cpu_ms: Median CPU time of the calling thread [ms]: all of it, for runtimes that use one thread.
        wall_ms: Median wall time [ms].
        wall_p99_ms: 99th percentile of the wall time [ms].
    """

    cpu_ms: float
    wall_ms: float
    wall_p99_ms: float


def interleaved(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Latency]:
    """Time calls in turns.

    Args:
        calls: What to time, by name; each does one inference on the calling thread.
        rounds: Calls of each that count, at least; the first of every turn do not.
    """
    cpu: dict[str, list[int]] = {name: [] for name in calls}
    wall: dict[str, list[int]] = {name: [] for name in calls}
    for turn in range(WARM_UP + -(-rounds // (TURN - DROPPED))):
        for name, call in calls.items():
            for number in range(TURN):
                started, started_cpu = time.perf_counter_ns(), time.thread_time_ns()
                call()
                spent_cpu, spent = time.thread_time_ns() - started_cpu, time.perf_counter_ns() - started
                if turn >= WARM_UP and number >= DROPPED:
                    cpu[name].append(spent_cpu)
                    wall[name].append(spent)
    return {name: _latency(cpu[name], wall[name]) for name in calls}


def _latency(cpu_ns: list[int], wall_ns: list[int]) -> Latency:
    cpu, wall = np.array(cpu_ns) / 1e6, np.array(wall_ns) / 1e6
    return Latency(
        round(float(np.median(cpu)), 4), round(float(np.median(wall)), 4), round(float(np.percentile(wall, 99)), 4)
    )
