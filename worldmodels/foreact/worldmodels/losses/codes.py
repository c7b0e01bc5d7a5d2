"""Losses that make K codes share the futures among them: relaxed winner-takes-all and the likelihood of the winner.

Source: Rupprecht et al. 2017, "Learning in an uncertain world: representing ambiguity through multiple hypotheses",
equations 8 to 10. Shape letters: B = states, K = codes, M = true futures, F = steps, D = elements.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["assign", "code_likelihood", "mean_squares", "winner_loss"]


def mean_squares(values: Tensor, truth: Tensor) -> Tensor:
    """Mean squared difference of every code to every true future, (B, M, K).

    Args:
        values: (B, K, F, D).
        truth: (B, M, F, D).
    """
    codes, true = values.flatten(2), truth.flatten(2)
    # |x - y|^2 = |x|^2 + |y|^2 - 2 x y: no tensor of all differences is made
    products = true @ codes.transpose(1, 2)
    squares = true.square().sum(-1)[:, :, None] + codes.square().sum(-1)[:, None] - 2 * products
    return squares.clamp_min(0) / codes.shape[-1]


def assign(distances: Tensor, relaxation: float) -> Tensor:
    """How much each true future pulls at each code, rows adding up to 1, without gradient, (B, M, K).

    Args:
        distances: Of every code to every true future, (B, M, K).
        relaxation: Share that all codes but the nearest divide among them; 0 is plain winner-takes-all, under which a
            code that never wins never learns.
    """
    codes = distances.shape[-1]
    if codes == 1:
        return torch.ones_like(distances)
    shares = torch.full_like(distances, relaxation / (codes - 1))
    return shares.scatter(-1, distances.detach().argmin(-1, keepdim=True), 1 - relaxation)


def winner_loss(distances: Tensor, shares: Tensor) -> Tensor:
    """Mean over states and true futures of the distances to the codes they pull at.

    Args:
        distances: (B, M, K).
        shares: Of `assign`, (B, M, K).
    """
    return (shares * distances).sum(-1).mean()


def code_likelihood(log_weights: Tensor, distances: Tensor) -> Tensor:
    """-log p of the code nearest to each true future, averaged.

    Args:
        log_weights: Logarithms of the codes' probabilities, (B, K).
        distances: (B, M, K).
    """
    nearest = distances.detach().argmin(-1)
    return -log_weights.gather(1, nearest).mean()
