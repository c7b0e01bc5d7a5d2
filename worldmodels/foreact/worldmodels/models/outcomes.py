"""Success, contact and reward of each step, read from the observation after it by a network that all models share.

Shape letters: B = states, M = true futures, K = imagined futures, T = control steps, O = observed elements,
D = learned distances.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foreact.worldmodels.models.batch import Batch
from foreact.worldmodels.models.normaliser import Normaliser

__all__ = ["OUTCOMES", "OutcomeNetwork", "outcome_errors", "outcome_targets"]

BLOCK = 2048  # rows
OUTCOMES = 3  # logits of success and contact, normalised reward
FAR = 6.0  # deviations beyond which an observation counts as no further off: a spinning cube is no reason for a reward


def outcome_targets(batch: Batch, normaliser: Normaliser) -> Tensor:
    """Success, contact, normalised reward of the true futures, (B, M, T, 3)."""
    return torch.stack([batch.success, batch.contact, normaliser.reward(batch.reward)], -1)


def outcome_errors(outcomes: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy of success and contact, half the square of the reward's error, added; mean over steps.

    Args:
        outcomes: Logits of success and contact, reward, (..., T, 3).
        targets: The same shape.
    """
    events = F.binary_cross_entropy_with_logits(outcomes[..., :2], targets[..., :2], reduction="none").sum(-1)
    reward = (outcomes[..., 2] - targets[..., 2]).square() / 2
    return (events + reward).mean(-1)


class OutcomeNetwork(nn.Module):
    """A small perceptron on learned distances in space: what matters to most tasks is how far things are apart.

    Args:
        elements: O.
        distances: D.
        width: Of the hidden layer.
    """

    def __init__(self, elements: int, distances: int = 8, width: int = 24) -> None:
        super().__init__()
        self.apart = nn.Linear(elements, 3 * distances)
        self.hidden = nn.Linear(distances, width)
        self.told = nn.Linear(width, OUTCOMES)

    def forward(self, observed: Tensor, normaliser: Normaliser) -> Tensor:
        """Outcomes after observations, (..., 3).

        Args:
            observed: In units, (..., O).
            normaliser: Whose numbers of contexts put them around one.
        """
        mean, scale = normaliser.context_mean, normaliser.context_scale
        low, high = mean - FAR * scale, mean + FAR * scale
        # W (o - mean) / scale + b without a tensor of (o - mean) / scale
        weight = self.apart.weight / scale
        bias = (self.apart.bias - weight @ mean)[:, None]
        # in blocks that stay in the cache: memory is what takes time
        blocks = observed.flatten(0, -2).split(BLOCK)
        outcomes = [self._outcomes(torch.addmm(bias, weight, each.clamp(low, high).T)) for each in blocks]
        return torch.cat(outcomes, 1).view(OUTCOMES, *observed.shape[:-1]).movedim(0, -1)

    def _outcomes(self, apart: Tensor) -> Tensor:
        """(3, n) from (3 D, n)."""
        x, y, z = apart.square().chunk(3)
        # d_j = |W_j o + b_j|, W_j o in space
        distances = (x + y + z + 1e-6).sqrt()
        hidden = F.silu(torch.addmm(self.hidden.bias[:, None], self.hidden.weight, distances))
        return torch.addmm(self.told.bias[:, None], self.told.weight, hidden)
