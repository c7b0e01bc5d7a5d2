"""Scores of chunks against numbers worked out by hand."""

import math

import pytest
import torch

from foreact.worldmodels.futures import Futures
from foreact.worldmodels.planner.objective import Objective, ObjectiveConfig, cvar


def futures(reward: list[float], weights: list[float], contact: list[float]) -> Futures:
    """One chunk of one step with one future per number."""
    count = len(reward)
    shape = (1, count, 1)
    return Futures(
        values=torch.arange(count, dtype=torch.float32).reshape(1, count, 1, 1),
        log_weights=torch.tensor([weights]).log(),
        success=torch.zeros(shape),
        contact=torch.tensor(contact).reshape(shape),
        reward=torch.tensor(reward).reshape(shape),
    )


PLAIN = {"final": 0.0, "success": 0.0, "collision": 0.0}


@pytest.mark.parametrize(
    ("values", "weights", "alpha", "expected"),
    [
        ([1.0, 2.0, 3.0, 4.0], [0.25] * 4, 1.0, 2.5),
        ([4.0, 1.0, 3.0, 2.0], [0.25] * 4, 0.25, 1.0),  # the worst alone
        ([4.0, 1.0, 3.0, 2.0], [0.25] * 4, 0.5, 1.5),
        # the worst weighs 0.1, of the next 0.1 of its 0.6 is still missing: (0.1 * -5 + 0.1 * 1) / 0.2
        ([1.0, -5.0, 10.0], [0.6, 0.1, 0.3], 0.2, -2.0),
        ([1.0, -5.0, 10.0], [0.6, 0.1, 0.3], 0.05, -5.0),  # within the worst
        ([1.0, -5.0, 10.0], [0.6, 0.1, 0.3], 1.0, 3.1),
        ([7.0], [1.0], 0.3, 7.0),
        ([2.0, 9.0], [0.0, 1.0], 0.5, 9.0),  # what weighs nothing does not count
    ],
)
def test_the_mean_of_the_worst(values: list[float], weights: list[float], alpha: float, expected: float) -> None:
    found = cvar(torch.tensor([values]), torch.tensor([weights]), alpha)
    assert found.tolist() == pytest.approx([expected], abs=1e-6)


def test_the_mean_of_the_worst_by_another_way() -> None:
    """max_z z - E[(z - u)+] / alpha, at its best among the atoms (Rockafellar and Uryasev 2000)."""
    torch.manual_seed(0)
    values, weights = torch.randn(50, 8), torch.rand(50, 8).softmax(-1)
    for alpha in (0.1, 0.37, 0.9):
        below = (values[:, :, None] - values[:, None]).clamp(min=0)  # z over the atoms, then u
        other = (values - (weights[:, None] * below).sum(-1) / alpha).amax(-1)
        torch.testing.assert_close(cvar(values, weights, alpha), other)


def test_a_future_that_may_collide_counts_once_with_and_once_without() -> None:
    given = futures([1.0, 0.0], [0.5, 0.5], [0.5, 0.0])
    # atoms: 1 (0.25), 1 - 4 (0.25), 0 (0.5)
    mean = Objective(ObjectiveConfig(success=0, final=0, collision=4))(given)
    worst = Objective(ObjectiveConfig(alpha=0.25, success=0, final=0, collision=4))(given)
    half = Objective(ObjectiveConfig(alpha=0.5, success=0, final=0, collision=4))(given)
    assert (mean.item(), worst.item(), half.item()) == pytest.approx((-0.5, -3.0, -1.5))


def test_a_contact_rarer_than_alpha_counts_one_over_alpha_times_as_much() -> None:
    """Where nothing else differs, CVaR of a rare contact is the mean with a dearer one."""
    given = futures([1.0, 1.0, 1.0], [0.2, 0.3, 0.5], [0.5, 0.1, 0.0])
    worst = Objective(ObjectiveConfig(alpha=0.4, success=0, final=0, collision=4))(given)
    dearer = Objective(ObjectiveConfig(success=0, final=0, collision=10))(given)
    assert worst.item() == pytest.approx(1 - 10 * 0.13) == pytest.approx(dearer.item())
    often = futures([1.0, 1.0, 1.0], [0.2, 0.3, 0.5], [1.0, 1.0, 0.0])  # a contact more likely than alpha: all of it
    assert Objective(ObjectiveConfig(alpha=0.4, success=0, final=0, collision=4))(often).item() == pytest.approx(-3)


def test_what_counts_counts_with_its_weight() -> None:
    given = Futures(
        values=torch.zeros(1, 1, 2, 1), log_weights=torch.zeros(1, 1), success=torch.tensor([[[0.2, 0.6]]]),
        contact=torch.tensor([[[0.5, 0.1]]]), reward=torch.tensor([[[1.0, 3.0]]]),
    )  # fmt: skip
    own = ObjectiveConfig(reward=2, final=10, success=100, collision=8, reachability=1000, uncertainty=3)
    scores = Objective(own, lambda values: torch.full(values.shape[:2], 0.5))(given, torch.tensor([7.0]))
    assert scores.item() == pytest.approx(2 * 2 + 10 * 3 + 100 * 0.6 - 8 * 0.5 - 1000 * 0.5 - 3 * 7, rel=1e-6)


def test_the_penalty_is_of_each_future() -> None:
    given = futures([0.0, 0.0], [0.75, 0.25], [0.0, 0.0])
    scores = Objective(ObjectiveConfig(alpha=0.25, **PLAIN), lambda values: values[:, :, 0, 0])(given)
    assert scores.item() == pytest.approx(-1.0)  # the second future is 1 outside, and the worst quarter


def test_doubt_that_counts_must_be_given() -> None:
    given = futures([0.0], [1.0], [0.0])
    with pytest.raises(ValueError, match="uncertainty=1.0, but the model gives none"):
        Objective(ObjectiveConfig(uncertainty=1.0))(given)


@pytest.mark.parametrize("field", ["reward", "contact"])
def test_futures_that_are_no_numbers_are_refused(field: str) -> None:
    numbers = {"reward": [0.0], "contact": [0.0]} | {field: [math.nan]}
    with pytest.raises(ValueError, match="not finite"):
        Objective(ObjectiveConfig())(futures(numbers["reward"], [1.0], numbers["contact"]))


@pytest.mark.parametrize("alpha", [0.0, -0.1, 1.5, math.nan])
def test_a_share_of_the_worst_lies_in_its_range(alpha: float) -> None:
    with pytest.raises(ValueError, match="alpha is"):
        ObjectiveConfig(alpha=alpha)


def test_a_penalty_is_taken_off() -> None:
    with pytest.raises(ValueError, match="collision is -1"):
        ObjectiveConfig(collision=-1)
