"""Failure margin l(z), learned from labels: negative where something has failed.

Source: Nakamura, Peters and Bajcsy 2025, "Generalizing safety beyond collision-avoidance via latent-space reachability
analysis" (2502.00935), section IV; the bound on its slope: Gulrajani et al. 2017, "Improved training of Wasserstein
GANs" (1704.00028), here from above only. Shape letters: B = batch, N = samples, Z = latent elements.
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
        slope: Most that l may change over one control step of mean length; 0 for no bound.
        penalty: Weight of what exceeds the bound.
    """

    width: int = 64
    updates: int = 2000
    batch: int = 256
    learning_rate: float = 1e-2
    slope: float = 0.0
    penalty: float = 10.0


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


def fit_margin(latents: Tensor, failed: Tensor, config: MarginConfig, seed: int, step: float = 1.0) -> Margin:
    """Fit the margin to labelled latents.

    Without a bound on its slope l leaps from -1 to 1 within the width of an error; with one it tells how far away
    failure is, and a filter can ask for more than none.

    Args:
        latents: (N, Z).
        failed: bool (N,).
        config: How.
        seed: Of weights and batches.
        step: Mean distance between the latents of two control steps; what a bounded slope is measured by.

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
    for _ in range(config.updates):
        optimiser.zero_grad(set_to_none=True)
        if config.slope:
            rows = torch.randint(0, len(latents), (config.batch,), generator=generator)
            _bounded(model, latents[rows], failed[rows], config, step).backward()
        else:
            _steep(model, latents, classes, config.batch // 2, generator).backward()
        optimiser.step()
        schedule.step()
    if config.slope:
        _level(model, latents, int(failed.sum()))
    return model.eval()


def _steep(model: Margin, latents: Tensor, classes: list[Tensor], half: int, generator: torch.Generator) -> Tensor:
    drawn = [rows[torch.randint(0, len(rows), (half,), generator=generator)] for rows in classes]
    return hinge(model.layers(latents[torch.cat(drawn)]).squeeze(-1), torch.arange(2 * half) < half)


def _bounded(model: Margin, latents: Tensor, failed: Tensor, config: MarginConfig, step: float) -> Tensor:
    # every sample counts alike: with a bound, the rarer class would push level 0 away from itself
    latents = latents.clone().requires_grad_()
    margins = model.layers(latents).squeeze(-1)
    (slopes,) = torch.autograd.grad(margins.sum(), latents, create_graph=True)
    # mean max(0, 1 -+ l) + w mean max(0, |dl/dz| step / slope - 1)^2
    excess = F.relu(slopes.norm(dim=1) * step / config.slope - 1)
    return F.relu(1 + torch.where(failed, margins, -margins)).mean() + config.penalty * (excess**2).mean()


@torch.no_grad()
def _level(model: Margin, latents: Tensor, failed: int) -> None:
    """Put level 0 where as many latents lie below it as have failed."""
    margins = model.layers(latents).squeeze(-1).sort().values
    last = model.layers[-1]
    assert isinstance(last, nn.Linear)
    last.bias -= margins[failed - 1 : failed + 1].mean()
