"""Ridge regression in closed form, from what is seen and commanded to the mean future: a model's starting point.

Shape letters: B = states, T = control steps, O = observed elements.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foreact.worldmodels.models.batch import Batch
from foreact.worldmodels.models.normaliser import Normaliser
from foreact.worldmodels.models.signature import Signature

__all__ = ["Ridge"]


class Ridge(nn.Module):
    """y = W [x, a, 1], W no parameter but solved for.

    Args:
        signature: Sizes.
        penalty: Relative to the number of states.
    """

    weight: Tensor

    def __init__(self, signature: Signature, penalty: float = 1e-3) -> None:
        super().__init__()
        self.penalty, self.steps = penalty, signature.horizon
        elements = len(signature.columns)
        inputs = elements + signature.horizon * len(signature.actions) + 1
        self.register_buffer("weight", torch.zeros(inputs, signature.horizon * elements))

    @torch.no_grad()
    def fit(self, data: Batch, normaliser: Normaliser) -> None:
        """Solve for the weights; the normaliser has its numbers already."""
        inputs = self._inputs(normaliser.context(data.context), normaliser.actions(data.actions)).double()
        targets = normaliser.targets(data.context, data.futures).mean(1).flatten(1).double()
        # W = (X'X + lambda S I)^-1 X'Y
        gram = inputs.T @ inputs + self.penalty * len(inputs) * torch.eye(inputs.shape[1], dtype=torch.float64)
        self.weight.copy_(torch.linalg.solve(gram, inputs.T @ targets))

    def forward(self, context: Tensor, actions: Tensor) -> Tensor:
        """Mean changes around one, (B, T, O).

        Args:
            context: Around one, (B, O).
            actions: Around one, (B, T, A).
        """
        return (self._inputs(context, actions) @ self.weight).view(len(context), self.steps, -1)

    def _inputs(self, context: Tensor, actions: Tensor) -> Tensor:
        return torch.cat([context, actions.flatten(1), context.new_ones(len(context), 1)], 1)
