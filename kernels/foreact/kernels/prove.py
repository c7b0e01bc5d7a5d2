"""Proves the implementations of an operator against its reference."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from foreact.kernels.operators import Case, Operator, Tolerance

SEEDS = (0, 1, 2, 3, 4)


@dataclass(frozen=True)
class Proof:
    """The verdict on one implementation and result dtype over all cases.

    Args:
        operator: name.
        implementation: name.
        dtype: of the results.
        cases: how many were run; 0 if it could not run here.
        largest_error: max |result - reference| over all cases and elements.
        problems: what was wrong, one line per case; empty when proved.
        not_run: why it could not run on this device, else None.
    """

    operator: str
    implementation: str
    dtype: torch.dtype
    cases: int
    largest_error: float
    problems: tuple[str, ...]
    not_run: str | None = None


def prove(operator: Operator, device: torch.device, seeds: Sequence[int] = SEEDS) -> list[Proof]:
    """Run every implementation on every case, twice, in memory poisoned with NaN, and compare with the reference.

    A result must have the reference's shape, dtype, device and contiguity, be within tolerance, be the same bits both
    times, and leave the inputs as they were. The poison shows elements that were never written.

    Args:
        operator: to be proved.
        device: to run on.
        seeds: one pass over the operator's cases each.

    Returns:
        one proof per implementation and dtype; one that cannot run here says why in `not_run`.
    """
    return [
        _prove_one(operator, implementation, dtype, tolerance, device, seeds)
        for implementation, tolerances in operator.tolerances.items()
        for dtype, tolerance in tolerances.items()
    ]


def _prove_one(
    operator: Operator,
    implementation: str,
    dtype: torch.dtype,
    tolerance: Tolerance,
    device: torch.device,
    seeds: Sequence[int],
) -> Proof:
    reason = operator.unavailable(implementation, device)
    if reason is not None:
        return Proof(operator.name, implementation, dtype, 0, 0.0, (), reason)
    count, largest, problems = 0, 0.0, []
    with poisoned_memory():
        for seed in seeds:
            for case in operator.cases(seed):
                error, problem = _check(operator, implementation, case.to(device), dtype, tolerance)
                count, largest = count + 1, max(largest, error)
                if problem is not None:
                    problems.append(f"seed {seed}, {case.label}: {problem}")
    return Proof(operator.name, implementation, dtype, count, largest, tuple(problems))


def _check(
    operator: Operator, implementation: str, case: Case, dtype: torch.dtype, tolerance: Tolerance
) -> tuple[float, str | None]:
    """Return the largest error and what is wrong, if anything."""
    before = [tensor.clone() for tensor in case.tensors()]
    expected = operator.run("reference", case, dtype)
    result = operator.run(implementation, case, dtype)
    again = operator.run(implementation, case, dtype)
    if not all(torch.equal(old, new) for old, new in zip(before, case.tensors(), strict=True)):
        return 0.0, "an input was changed"
    kind, expected_kind = ((tuple(x.shape), x.dtype, x.device, x.is_contiguous()) for x in (result, expected))
    if kind != expected_kind:
        return 0.0, f"got shape, dtype, device, contiguous = {kind}, the reference gives {expected_kind}"
    if not torch.equal(result.nan_to_num(), again.nan_to_num()):
        return 0.0, "two runs gave different bits"
    difference = (result.double() - expected.double()).abs()
    allowed = tolerance.absolute + tolerance.relative * expected.double().abs()
    # Written so that NaN, which compares false to everything, counts as wrong.
    wrong = ~(difference <= allowed)
    error = float(difference.nan_to_num(torch.inf).max()) if difference.numel() else 0.0
    if wrong.any():
        return error, f"{int(wrong.sum())} of {wrong.numel()} elements are off, by up to {error:.3g}"
    return error, None


@contextmanager
def poisoned_memory() -> Iterator[None]:
    """Make torch fill newly allocated tensors with NaN (integers: the largest value) while the block runs."""
    # Filling needs the deterministic mode; use_deterministic_algorithms() would import the whole compiler with it.
    mode = torch.get_deterministic_debug_mode()
    flags: Any = torch.utils.deterministic  # torch defines the flag where type checkers cannot see it
    fill = flags.fill_uninitialized_memory
    try:
        torch.set_deterministic_debug_mode("error")
        flags.fill_uninitialized_memory = True
        yield
    finally:
        flags.fill_uninitialized_memory = fill
        torch.set_deterministic_debug_mode(mode)
