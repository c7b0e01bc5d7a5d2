"""Layers that several models are made of. Shape letters: B = rows, W = width, E = members of an ensemble."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["AdaptiveBlock", "Gate", "MembersLinear", "SimNorm", "perceptron"]


def perceptron(*sizes: int) -> nn.Sequential:
    """Linear layers with SiLU between them.

    Args:
        *sizes: Elements of the input, of each hidden layer, of the output.
    """
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(inputs, outputs), nn.SiLU()]
    return nn.Sequential(*layers[:-1])


class AdaptiveBlock(nn.Module):
    """A residual perceptron whose normalisation is shifted and scaled by a condition (AdaLN).

    Source: Peebles and Xie 2023, "Scalable diffusion models with transformers", section 3.2; the condition starts
    without effect, but the gate at one: few updates are made here.

    Args:
        width: W.
        condition: Elements of the condition.
        expansion: Hidden width over W.
    """

    def __init__(self, width: int, condition: int, expansion: int = 2) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(condition, 3 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.inner = perceptron(width, expansion * width, width)

    def forward(self, hidden: Tensor, condition: Tensor) -> Tensor:
        """Next hidden values, (..., W)."""
        shift, scale, gate = self.modulation(condition).chunk(3, -1)
        # h + (1 + g(c)) MLP(LN(h) (1 + s(c)) + b(c))
        return hidden + (1 + gate) * self.inner(torch.addcmul(shift, self.norm(hidden), 1 + scale))


class Gate(nn.Module):
    """Elements may stay as they are: without it a cube that nothing touches creeps.

    Args:
        width: W.
        elements: Of what is gated.
    """

    def __init__(self, width: int, elements: int) -> None:
        super().__init__()
        self.open = nn.Linear(width, elements)
        nn.init.zeros_(self.open.weight)
        nn.init.constant_(self.open.bias, 2.0)

    def forward(self, hidden: Tensor, values: Tensor, still: Tensor) -> Tensor:
        """Values between `still` and themselves, written in their place; of the shape of `values`, (..., elements).

        Args:
            hidden: What tells how far, (..., W).
            values: Not gated.
            still: What nothing moving is.
        """
        # x = x_0 + g (x - x_0)
        return values.sub_(still).mul_(torch.sigmoid(self.open(hidden))).add_(still)


class MembersLinear(nn.Module):
    """One linear layer for each member of an ensemble, as one batched product.

    Args:
        members: E.
        inputs: Elements in.
        outputs: Elements out.
        fixed: Weights stay as drawn: they are buffers.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, members: int, inputs: int, outputs: int, fixed: bool = False) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        weight = torch.empty(members, inputs, outputs).uniform_(-bound, bound)
        bias = torch.empty(members, 1, outputs).uniform_(-bound, bound)
        for name, values in (("weight", weight), ("bias", bias)):
            if fixed:
                self.register_buffer(name, values)
            else:
                self.register_parameter(name, nn.Parameter(values))

    def forward(self, values: Tensor) -> Tensor:
        """(E, B, inputs) to (E, B, outputs)."""
        return torch.baddbmm(self.bias, values, self.weight)


class SimNorm(nn.Module):
    """Groups of elements become probabilities.

    Source: Hansen, Su, Wang 2024, "TD-MPC2", section 3.1.

    Args:
        group: Elements of a group.
    """

    def __init__(self, group: int = 8) -> None:
        super().__init__()
        self.group = group

    def forward(self, values: Tensor) -> Tensor:
        """The same shape; each group adds up to 1."""
        return F.softmax(values.unflatten(-1, (-1, self.group)), -1).flatten(-2)
