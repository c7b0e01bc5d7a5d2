"""The energy score as a loss: K weighted futures against M true ones, all of a state in one term.

Source: Gneiting and Raftery 2007, "Strictly proper scoring rules", section 4.2. Shape letters: B = states, K = imagined
futures, M = true futures, F = steps, D = elements.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["energy_score", "trajectory_distances"]

SMOOTH = 1e-12  # under the root, in squared units: the distance of a future to itself has a gradient


def trajectory_distances(first: Tensor, second: Tensor) -> Tensor:
    """Mean over steps of the Euclidean norm of differences, (B, P, Q).

    Args:
        first: (B, P, F, D).
        second: (B, Q, F, D).
    """
    squares = (first[:, :, None] - second[:, None]).square().sum(-1)
    return (squares + SMOOTH).sqrt().mean(-1)


def energy_score(forecast: Tensor, log_weights: Tensor, truth: Tensor) -> Tensor:
    """Energy score of each state, in the units of the elements, (B,).

    Args:
        forecast: (B, K, F, D).
        log_weights: Logarithms of probabilities, (B, K).
        truth: (B, M, F, D).
    """
    weights = log_weights.exp()
    # ES = sum_k w_k mean_m |x_k - y_m| - 1/2 sum_kl w_k w_l |x_k - x_l|
    error = (trajectory_distances(forecast, truth).mean(-1) * weights).sum(-1)
    first, second = torch.triu_indices(forecast.shape[1], forecast.shape[1], 1, device=forecast.device)
    apart = ((forecast[:, first] - forecast[:, second]).square().sum(-1) + SMOOTH).sqrt().mean(-1)
    # half of the sum over all pairs is the sum over those with k < l
    return error - (weights[:, first] * weights[:, second] * apart).sum(-1)
