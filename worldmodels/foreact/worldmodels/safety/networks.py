"""Small networks: one perceptron, and several side by side that are trained as one.

Shape letters: M = members, B = batch, I = inputs, O = outputs.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["Ensemble", "perceptron"]


def perceptron(inputs: int, width: int, outputs: int, depth: int = 2) -> nn.Sequential:
    """Linear layers with SiLU between them.

    Args:
        inputs: I.
        width: Of each hidden layer.
        outputs: O.
        depth: Hidden layers.
    """
    sizes = [inputs, *[width] * depth]
    layers: list[nn.Module] = []
    for one, other in zip(sizes, sizes[1:], strict=False):
        layers += [nn.Linear(one, other), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(width, outputs))


class Ensemble(nn.Module):
    """M perceptrons of two hidden layers, each plus a fixed random function of its own.

    The fixed functions are learned away where there is data and stay where there is none, so members differ there.
    Source: Osband et al. 2018, "Randomized prior functions for deep reinforcement learning".

    Args:
        members: M.
        inputs: I.
        width: Of hidden layers.
        outputs: O.
        prior: Strength of the fixed functions; 0 for none.
        frequency: How fast the fixed functions vary with their standardised inputs.
    """

    def __init__(
        self, members: int, inputs: int, width: int, outputs: int, prior: float = 0.0, frequency: float = 2.0
    ) -> None:
        super().__init__()
        self.prior = prior
        sizes = (inputs, width, width, outputs)
        pairs = list(zip(sizes, sizes[1:], strict=False))
        self.weights = nn.ParameterList(nn.Parameter(_uniform(members, i, o)) for i, o in pairs)
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(members, 1, o)) for _, o in pairs)
        self.register_buffer("waves", frequency * torch.randn(members, inputs, width // 2))
        self.register_buffer("phases", 2 * math.pi * torch.rand(members, 1, width // 2))
        self.register_buffer("mixing", torch.randn(members, width // 2, outputs) * math.sqrt(2 / (width // 2)))
        self.waves: Tensor
        self.phases: Tensor
        self.mixing: Tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """All members' answers, (M, B, O), to the same inputs (B, I) or to inputs of their own (M, B, I)."""
        hidden = inputs.expand(len(self.weights[0]), *inputs.shape[-2:])
        answer = self._learned(hidden)
        if self.prior:
            # random Fourier features: cos(W x + b) A
            answer = answer + self.prior * torch.cos(torch.baddbmm(self.phases, hidden, self.waves)) @ self.mixing
        return answer

    def _learned(self, hidden: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for index, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            if index < last:
                hidden = F.silu(hidden)
        return hidden


def _uniform(members: int, inputs: int, outputs: int) -> Tensor:
    return (2 * torch.rand(members, inputs, outputs) - 1) / math.sqrt(inputs)
