"""Times the implementations of an operator against its reference, interleaved in one run."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median

import torch

from foreact.kernels.operators import Case, Operator

FLUSH_BYTES = 128 * 2**20  # more than the last-level cache of the GPUs in use


@dataclass(frozen=True)
class Timing:
    """How long one implementation took.

    Args:
        operator: name.
        implementation: name.
        dtype: of the results.
        wall_seconds: median over the rounds [s]; on CUDA between two events around the call.
        cpu_seconds: median over the rounds [s], all threads of the process.
        gigabytes_per_second: bytes of inputs and result over `wall_seconds` [GB/s].
        ratio: median over the rounds of reference / this, in CPU seconds on the CPU and wall seconds on CUDA.
        spread: quartiles of that ratio over the rounds.
    """

    operator: str
    implementation: str
    dtype: torch.dtype
    wall_seconds: float
    cpu_seconds: float
    gigabytes_per_second: float
    ratio: float
    spread: tuple[float, float]


def measure(operator: Operator, case: Case, dtype: torch.dtype, repeats: int) -> list[Timing]:
    """Time every implementation that can run where the case is.

    Each round runs all implementations once, so that a busy machine slows all of them alike.

    Args:
        operator: to be timed.
        case: inputs on the device to time.
        dtype: of the results.
        repeats: rounds; two more come first and are dropped (compilation, caches).

    Returns:
        one timing per implementation, the reference first.

    Raises:
        ValueError: `repeats` is below 1.
    """
    if repeats < 1:
        raise ValueError(f"repeats is {repeats}, expected at least 1")
    device = case.tensors()[0].device
    names = [name for name in operator.tolerances if operator.unavailable(name, device) is None]
    clock = _cuda_seconds if device.type == "cuda" else _cpu_seconds
    rounds: list[dict[str, tuple[float, float]]] = []
    for _ in range(repeats + 2):
        rounds.append({name: clock(lambda name=name: operator.run(name, case, dtype)) for name in names})
    moved = _moved_bytes(case, operator.run("reference", case, dtype))
    basis = 0 if device.type == "cuda" else 1
    return [_summary(operator.name, name, dtype, rounds[2:], moved, basis) for name in names]


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads inside the block.

    Args:
        count: at least 1.

    Raises:
        ValueError: `count` is below 1.
    """
    if count < 1:
        raise ValueError(f"threads is {count}, expected at least 1")
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _summary(
    operator: str,
    name: str,
    dtype: torch.dtype,
    rounds: list[dict[str, tuple[float, float]]],
    moved: int,
    basis: int,
) -> Timing:
    wall = median(each[name][0] for each in rounds)
    ratios = sorted(each["reference"][basis] / each[name][basis] for each in rounds)
    spread = (ratios[len(ratios) // 4], ratios[(3 * len(ratios)) // 4])
    cpu = median(each[name][1] for each in rounds)
    return Timing(operator, name, dtype, wall, cpu, moved / wall / 1e9, median(ratios), spread)


def _moved_bytes(case: Case, result: torch.Tensor) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in [*case.tensors(), result])


def _cpu_seconds(call: Callable[[], torch.Tensor]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


def _cuda_seconds(call: Callable[[], torch.Tensor]) -> tuple[float, float]:
    # A write larger than the cache makes every call read its inputs from memory, as in training.
    torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda").zero_()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    cpu = time.process_time()
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / 1e3, time.process_time() - cpu
