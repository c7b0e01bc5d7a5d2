"""Training with rounding: weights and activations are rounded as in the exported file, gradients pass straight through.

Straight-through estimator: Bengio et al. 2013, arXiv 1308.3432; for quantisation Jacob et al. 2018, section 3.
Our own small one: it rounds as the Q/DQ nodes of our file do, which layers share scales included.
Shape letters: O outputs, I inputs.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import TYPE_CHECKING, Any

from foreact.deploy_edge.compress.distil import Task, distil
from foreact.episodes.outcome import JSON, ProgressFn

if TYPE_CHECKING:
    from torch import Tensor

    from foreact.deploy_edge.compress.recipe import QatConfig
    from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["round_through", "rounded_weight", "train_with_rounding"]


def train_with_rounding(
    policy: ChunkPolicy, config: QatConfig, task: Task, progress: ProgressFn
) -> tuple[ChunkPolicy, dict[str, JSON]]:
    """Train a policy so that it stays the same when rounded.

    Args:
        policy: Both what is trained and its teacher; not changed.
        config: How weights and activations are rounded.
        task: The training.
        progress: Told of updates.

    Returns:
        The policy with float weights that survive rounding to the nearest, and figures for the report.
    """
    wrapped = dataclasses.replace(task, wrap=lambda student: _round_layers(student, config))
    result, figures = distil(policy, policy, wrapped, progress)
    return result, {**figures, "bits": config.bits, "group": config.group}


def round_through(x: Tensor, scale: Tensor, limit: int) -> Tensor:
    """Multiples of a scale, at most `limit` of them; the gradient is that of the identity inside the limits.

    Args:
        x: Any shape.
        scale: Broadcast to it.
        limit: Largest integer.
    """
    import torch

    inside = torch.maximum(torch.minimum(x, scale * limit), -scale * limit)
    # x_q = s round(x / s);  d x_q / d x = 1
    return inside + (torch.round(inside / scale) * scale - inside).detach()


def rounded_weight(weight: Tensor, bits: int, group: int) -> Tensor:
    """Weights as the file will hold them: one scale per output, or per group of inputs and output.

    Args:
        weight: (O, I, ..).
        bits: Of the integers.
        group: Inputs that share a scale; 0, or a number that does not divide I, for all.
    """
    limit = 2 ** (bits - 1) - 1
    matrix = weight.flatten(1)
    size = group if group and matrix.shape[1] % group == 0 else matrix.shape[1]
    groups = matrix.unflatten(1, (-1, size))
    scale = groups.detach().abs().amax(-1, keepdim=True).clamp(min=1e-8) / limit
    return round_through(groups, scale, limit).view_as(weight)


def _round_layers(policy: ChunkPolicy, config: QatConfig) -> None:
    """Change the forward functions of all linear and convolution layers in place."""
    from torch import nn

    entries = _first_convolutions(policy)
    for name, module in policy.named_modules():
        layer: Any = module
        if isinstance(module, nn.Linear):
            layer.forward = functools.partial(_linear, module, config.bits, config.group)
        elif isinstance(module, nn.Conv2d):
            activations = config.activations and name not in entries and module.kernel_size != (1, 1)
            layer.forward = functools.partial(_convolution, module, activations)


def _first_convolutions(policy: ChunkPolicy) -> set[str]:
    """Convolutions on raw planes, whose inputs stay float: colours and metres would share one range."""
    from torch import nn

    return {name for name, m in policy.named_modules() if isinstance(m, nn.Conv2d) and m.in_channels in (3, 6)}


def _linear(module: Any, bits: int, group: int, x: Tensor) -> Tensor:
    from torch.nn import functional

    return functional.linear(x, rounded_weight(module.weight, bits, group), module.bias)


def _convolution(module: Any, activations: bool, x: Tensor) -> Tensor:
    if activations:
        x = round_through(x, x.detach().abs().amax().clamp(min=1e-8) / 127, 127)
    return module._conv_forward(x, rounded_weight(module.weight, 8, 0), module.bias)
