"""How many futures a model imagines in a CPU-second on one core."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from foreact.worldmodels.futures import FutureModel
from foreact.worldmodels.models.signature import Signature

__all__ = ["Throughput", "one_thread", "rollouts_per_cpu_second"]


@dataclass(frozen=True)
class Throughput:
    """Figures of one model.

    Attributes:
        per_cpu_second: Roll-outs of a whole chunk per CPU-second, median; each future of a state counts as one.
        lower: First quartile.
        upper: Third quartile.
        states: States of one call.
        futures: K.
    """

    per_cpu_second: float
    lower: float
    upper: float
    states: int
    futures: int


def rollouts_per_cpu_second(
    model: FutureModel, signature: Signature, states: int = 256, repeats: int = 15, seconds: float = 0.1
) -> Throughput:
    """Time `imagine` in one thread without gradients.

    Args:
        model: On CPU.
        signature: What it is made for.
        states: Of one call.
        repeats: How often it is timed.
        seconds: CPU time of one repeat, at least one call.

    Raises:
        ValueError: Nothing would be timed.
    """
    if min(states, repeats) < 1 or repeats < 2:
        raise ValueError(f"throughput: expected states and at least 2 repeats, got {states} and {repeats}")
    generator = torch.Generator().manual_seed(0)
    context = torch.randn(states, len(signature.columns), generator=generator)
    actions = torch.randn(states, signature.horizon, len(signature.actions), generator=generator)
    with one_thread(), torch.inference_mode():
        model.imagine(context, actions)
        rates = [_rate(model, context, actions, seconds) for _ in range(repeats)]
    lower, middle, upper = statistics.quantiles(rates, n=4)
    return Throughput(middle, lower, upper, states, model.futures)


def _rate(model: FutureModel, context: torch.Tensor, actions: torch.Tensor, seconds: float) -> float:
    started, calls = time.process_time(), 0
    while (used := time.process_time() - started) < seconds or not calls:
        model.imagine(context, actions)
        calls += 1
    return calls * len(context) * model.futures / used if used else calls * len(context) * model.futures / seconds


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute with one thread for a while."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
