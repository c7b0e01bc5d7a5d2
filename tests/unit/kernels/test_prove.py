"""The prover passes what is right and finds each kind of wrong."""

import dataclasses
from collections.abc import Callable, Iterator

import pytest
import torch

from foreact.kernels.operators import EXACT, Case, Operator, Tolerance, load
from foreact.kernels.prove import poisoned_memory, prove

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", ["rgbd_to_planes", "rgb_to_planes"])
def test_every_implementation_that_runs_here_is_proved(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    proofs = prove(load(name), CPU, seeds=(0, 1))
    assert [proof.problems for proof in proofs] == [()] * 6
    ran = {proof.implementation: proof.cases for proof in proofs}
    assert ran == {"reference": 42, "cpu": 42, "triton": 0}
    assert all(proof.largest_error == 0.0 for proof in proofs)
    assert {proof.implementation for proof in proofs if proof.not_run} == {"triton"}


def double(x: torch.Tensor) -> torch.Tensor:
    return x * 2


def too_far(x: torch.Tensor) -> torch.Tensor:
    return x * 2 + 0.01


def never_written(x: torch.Tensor) -> torch.Tensor:
    result = torch.empty_like(x)
    result[1:] = x[1:] * 2
    return result


def wrong_shape(x: torch.Tensor) -> torch.Tensor:
    return x[None] * 2


def not_contiguous(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x * 2, x], dim=1)[:, 0]


def wrong_dtype(x: torch.Tensor) -> torch.Tensor:
    return x.double() * 2


def changes_its_input(x: torch.Tensor) -> torch.Tensor:
    return x.mul_(2).clone()


def differs_from_run_to_run(x: torch.Tensor, calls: list[int] = []) -> torch.Tensor:  # noqa: B006 (counts the calls)
    calls.append(1)
    return x * 2 + 1e-4 * len(calls)


def operator_with(candidate: Callable[[torch.Tensor], torch.Tensor], tolerance: Tolerance = EXACT) -> Operator:
    def call(*, x: torch.Tensor, dtype: torch.dtype, implementation: str) -> torch.Tensor:
        return (double if implementation == "reference" else candidate)(x)

    def cases(seed: int) -> Iterator[Case]:
        yield Case("three numbers", {"x": torch.tensor([1.0, 2.0, 3.0]) + seed})

    return Operator(
        name="double",
        call=call,
        tolerances={"reference": {torch.float32: EXACT}, "candidate": {torch.float32: tolerance}},
        unavailable=lambda implementation, device: None,
        cases=cases,
        timing_case=lambda batch, size, seed: next(cases(seed)),
    )


@pytest.mark.parametrize(
    ("candidate", "words"),
    [
        (too_far, "3 of 3 elements are off, by up to 0.01"),
        (never_written, "1 of 3 elements are off, by up to inf"),
        (wrong_shape, "the reference gives"),
        (wrong_dtype, "the reference gives"),
        (not_contiguous, "the reference gives"),
        (changes_its_input, "an input was changed"),
        (differs_from_run_to_run, "two runs gave different bits"),
    ],
)
def test_each_kind_of_wrong_is_found(candidate: Callable[[torch.Tensor], torch.Tensor], words: str) -> None:
    reference, wrong = prove(operator_with(candidate), CPU, seeds=(0,))
    assert reference.problems == ()
    assert len(wrong.problems) == 1
    assert wrong.problems[0].startswith("seed 0, three numbers: ")
    assert words in wrong.problems[0]


def test_tolerance_is_absolute_plus_relative() -> None:
    # Results are 2, 4, 6 and all off by 0.01 (a little less after rounding to float32).
    assert prove(operator_with(too_far, Tolerance(0.0, 0.0101)), CPU, seeds=(0,))[1].problems == ()
    assert prove(operator_with(too_far, Tolerance(0.0051, 0.0)), CPU, seeds=(0,))[1].problems == ()
    # 0.003 * 2 = 0.006 < 0.01 < 0.012 = 0.003 * 4: only the first is off.
    assert "1 of 3" in prove(operator_with(too_far, Tolerance(0.003, 0.0)), CPU, seeds=(0,))[1].problems[0]


def test_what_cannot_run_says_why() -> None:
    operator = dataclasses.replace(operator_with(too_far), unavailable=lambda implementation, device: "no such thing")
    assert [(proof.cases, proof.not_run) for proof in prove(operator, CPU)] == [(0, "no such thing")] * 2


def test_poison_fills_new_memory_and_is_taken_back() -> None:
    with poisoned_memory():
        assert torch.empty(1000).isnan().all()
        assert torch.are_deterministic_algorithms_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
