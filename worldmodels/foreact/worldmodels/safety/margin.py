"""Failure margin l(z), learned from labels: negative where something has failed.

Source: Nakamura, Peters and Bajcsy 2025, "Generalizing safety beyond collision-avoidance via latent-space reachability
analysis" (2502.00935), section IV. Shape letters: B = batch, N = samples, Z = latent elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from foreact.worldmodels.safety.networks import perceptron

__all__ = ["Margin", "MarginConfig", "fit_margin", "hinge"]


@dataclass(frozen=True)
class MarginConfig:
    """How the margin is fitted.

    Attributes:
        width: Of hidden layers.
        updates: Of gradient descent.
        batch: Samples per update, half of each class.
        learning_rate: Peak; half a cosine follows.
    """

    width: int = 64
    updates: int = 2000
    batch: int = 256
    learning_rate: float = 1e-2


class Margin(nn.Module):
    """l(z), bounded to [-1, 1].

    Args:
        latent: Z.
        width: Of hidden layers.
    """

    def __init__(self, latent: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = perceptron(latent, width, 1)

    def forward(self, latents: Tensor) -> Tensor:
        """Margins (...,) of latents (..., Z)."""
        return self.layers(latents).squeeze(-1).clamp(-1, 1)


def hinge(margins: Tensor, failed: Tensor) -> Tensor:
    """Both classes are pushed to their side of 0 by 1, and count alike however rare one is.

    Args:
        margins: Unbounded l, (B,).
        failed: bool (B,).

    Raises:
        ValueError: One class is missing.
    """
    if failed.all() or not failed.any():
        raise ValueError("margin: labels of one class only; give samples that failed and samples that did not")
    # mean over safe of max(0, 1 - l) + mean over failed of max(0, 1 + l)
    return F.relu(1 - margins[~failed]).mean() + F.relu(1 + margins[failed]).mean()


def fit_margin(latents: Tensor, failed: Tensor, config: MarginConfig, seed: int) -> Margin:
    """Fit the margin to labelled latents.

    Args:
        latents: (N, Z).
        failed: bool (N,).
        config: How.
        seed: Of weights and batches.

    Raises:
        ValueError: Labels do not fit the latents, or one class is missing.
    """
    if failed.dtype != torch.bool or failed.shape != latents.shape[:1]:
        raise ValueError(f"margin: expected bool labels ({len(latents)},), got {failed.dtype} {tuple(failed.shape)}")
    torch.manual_seed(seed)
    model = Margin(latents.shape[1], config.width)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.updates)
    classes = [torch.nonzero(failed).squeeze(1), torch.nonzero(~failed).squeeze(1)]
    if not all(len(rows) for rows in classes):
        raise ValueError("margin: labels of one class only; give samples that failed and samples that did not")
    half = config.batch // 2
    labels = torch.arange(2 * half) < half
    for _ in range(config.updates):
        drawn = [rows[torch.randint(0, len(rows), (half,), generator=generator)] for rows in classes]
        optimiser.zero_grad(set_to_none=True)
        hinge(model.layers(latents[torch.cat(drawn)]).squeeze(-1), labels).backward()
        optimiser.step()
        schedule.step()
    return model.eval()
