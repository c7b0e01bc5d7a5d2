"""Epistemic uncertainty: several small networks learn the mean future; where they never saw data they disagree.

Each member adds a fixed random network to a learned one, so that they agree only where data made them.
Source: Osband, Aslanides, Cassirer 2018, "Randomized prior functions for deep reinforcement learning".
Shape letters: E = members, B = states, I = input elements, P = elements of the mean future.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foreact.worldmodels.models.layers import MembersLinear

__all__ = ["MeanEnsemble"]


class MeanEnsemble(nn.Module):
    """An ensemble over the mean of what will be.

    Args:
        inputs: I.
        outputs: P.
        members: E.
        width: Of the hidden layers.
    """

    def __init__(self, inputs: int, outputs: int, members: int, width: int) -> None:
        super().__init__()
        self.members = members
        self.learned = nn.Sequential(
            MembersLinear(members, inputs, width), nn.SiLU(), MembersLinear(members, width, outputs)
        )
        self.prior = nn.Sequential(
            MembersLinear(members, inputs, width, fixed=True),
            nn.SiLU(),
            MembersLinear(members, width, outputs, fixed=True),
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Every member's mean, (E, B, P).

        Args:
            inputs: (B, I).
        """
        repeated = inputs.expand(self.members, -1, -1)
        return self.learned(repeated) + self.prior(repeated)

    def loss(self, inputs: Tensor, mean: Tensor) -> Tensor:
        """Mean squared error of all members.

        Args:
            inputs: (B, I).
            mean: The mean future, (B, P).
        """
        return (self(inputs) - mean).square().mean()

    def disagreement(self, inputs: Tensor) -> Tensor:
        """Standard deviation of the members, root mean square over elements, (B,)."""
        return self(inputs).var(0).mean(-1).clamp_min(0).sqrt() if self.members > 1 else torch.zeros(len(inputs))
