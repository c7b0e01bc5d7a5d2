"""Success, contact and reward of each step: losses for all models, and a head for those that predict only trajectories.

Shape letters: B = states, K = futures, M = true futures, T = control steps, O = observed elements.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foreact.worldmodels.models.batch import Batch
from foreact.worldmodels.models.layers import perceptron
from foreact.worldmodels.models.normaliser import Normaliser
from foreact.worldmodels.models.predictor import OUTCOMES
from foreact.worldmodels.models.signature import Signature

__all__ = ["OutcomeHead", "outcome_errors", "outcome_targets", "shared_outcome_errors"]


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


def shared_outcome_errors(shares: Tensor, outcomes: Tensor, targets: Tensor) -> Tensor:
    """Mean over states and true futures of the errors of all futures, weighted.

    Args:
        shares: Weights that add up to 1, (B, M, K).
        outcomes: Of the imagined futures, (B, K, T, 3).
        targets: Of the true ones, (B, M, T, 3).
    """
    every = (*shares.shape, -1, -1)
    errors = outcome_errors(outcomes[:, None].expand(every), targets[:, :, None].expand(every))
    return (shares * errors).sum(-1).mean()


class OutcomeHead(nn.Module):
    """Tells outcomes of a step from the context, the action and what is observed after it.

    Args:
        signature: Sizes.
        width: Of the hidden layer.
    """

    def __init__(self, signature: Signature, width: int = 64) -> None:
        super().__init__()
        elements = len(signature.columns)
        self.layers = perceptron(2 * elements + len(signature.actions), width, OUTCOMES)

    def forward(self, context: Tensor, actions: Tensor, changes: Tensor) -> Tensor:
        """Outcomes of trajectories, (B, K, T, 3).

        Args:
            context: Around one, (B, O).
            actions: Around one, (B, T, A).
            changes: Around one, (B, K, T, O).
        """
        shape = changes.shape[:3]
        seen = context[:, None, None].expand(*shape, -1)
        done = actions[:, None].expand(*shape, -1)
        return self.layers(torch.cat([seen, done, changes], -1))

    def loss(self, context: Tensor, actions: Tensor, changes: Tensor, targets: Tensor) -> Tensor:
        """Mean error on true trajectories."""
        return outcome_errors(self(context, actions, changes), targets).mean()
