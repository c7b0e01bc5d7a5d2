"""Losses against numbers worked out by hand."""

import math

import pytest
import torch

from foreact.worldmodels.losses.codes import assign, code_likelihood, mean_squares, winner_loss
from foreact.worldmodels.losses.energy import energy_score, trajectory_distances


def line(*values: float) -> torch.Tensor:
    """Futures of one state with one step and one element, (1, K, 1, 1)."""
    return torch.tensor(values, dtype=torch.float32).view(1, -1, 1, 1)


def test_the_energy_score_of_two_weighted_futures() -> None:
    # 1/4 |0 - 1| + 3/4 |2 - 1| - 1/2 (2 * 1/4 * 3/4 * |0 - 2|) = 1 - 3/8
    weights = torch.tensor([[0.25, 0.75]]).log()
    assert energy_score(line(0, 2), weights, line(1)).item() == pytest.approx(0.625, abs=1e-5)


def test_the_energy_score_is_least_for_the_true_distribution() -> None:
    truth = line(0, 0, 0, 2)
    scores = [
        energy_score(line(0, 2), torch.tensor([[1 - p, p]]).log(), truth).item() for p in (0.1, 0.25, 0.4, 0.6, 0.9)
    ]
    assert min(scores) == scores[1]


def test_distances_are_means_over_steps_of_norms() -> None:
    first = torch.zeros(1, 1, 2, 2)
    second = torch.tensor([[[[3.0, 4.0], [0.0, 1.0]]]])
    assert trajectory_distances(first, second).item() == pytest.approx(3.0)


def test_a_future_at_zero_distance_has_a_gradient() -> None:
    forecast = line(1, 1).requires_grad_()
    energy_score(forecast, torch.tensor([[0.5, 0.5]]).log(), line(1)).sum().backward()
    assert forecast.grad is not None and torch.isfinite(forecast.grad).all()


def test_mean_squares_are_those_of_all_pairs() -> None:
    values, truth = torch.randn(2, 3, 4, 5), torch.randn(2, 6, 4, 5)
    wanted = (truth[:, :, None] - values[:, None]).square().mean((-1, -2))
    torch.testing.assert_close(mean_squares(values, truth), wanted)


def test_the_nearest_code_is_pulled_most_and_the_others_a_little() -> None:
    shares = assign(torch.tensor([[[3.0, 1.0, 2.0]]]), 0.1)
    torch.testing.assert_close(shares, torch.tensor([[[0.05, 0.9, 0.05]]]))
    assert winner_loss(torch.tensor([[[3.0, 1.0, 2.0]]]), shares).item() == pytest.approx(0.15 + 0.9 + 0.1)


def test_one_code_takes_all() -> None:
    assert assign(torch.tensor([[[2.0]]]), 0.3).item() == 1


def test_the_likelihood_is_that_of_the_nearest_code() -> None:
    weights = torch.tensor([[0.2, 0.8]]).log()
    distances = torch.tensor([[[0.0, 1.0], [1.0, 0.0], [3.0, 2.0]]])
    assert code_likelihood(weights, distances).item() == pytest.approx(-(math.log(0.2) + 2 * math.log(0.8)) / 3)
