"""What the model does not know counts as failure: doubt above a calibrated limit.

Source: Seo, Nakamura and Bajcsy 2025, "Uncertainty-aware latent safety filters for avoiding out-of-distribution
failures" (2505.00779). The limit: split conformal prediction (Vovk et al. 2005) over whole episodes, which are
exchangeable; single steps are not. Shape letters: B = batch, E = episodes, M = members, Z = latent elements.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from foreact.worldmodels.safety.latent import LatentModel

__all__ = ["SLOPE", "AugmentedMargin", "Doubt", "DoubtConfig", "conformal_limit", "disagreement", "fit_doubt"]

SLOPE = 5.0


@torch.no_grad()
def disagreement(model: LatentModel, latents: Tensor, actions: Tensor) -> Tensor:
    """u(z, a): spread of the members' predictions, (B,), from (B, Z) and (B, A)."""
    # u^2 = sum over elements of the variance over members
    return model.predictions(latents, actions).var(dim=0).sum(dim=-1).sqrt()


def conformal_limit(scores: np.ndarray, alpha: float) -> float:
    """The limit that a new score exceeds with probability of at most alpha.

    Args:
        scores: Largest disagreement of each held-out episode, (E,).
        alpha: In (0, 1).

    Raises:
        ValueError: Not finite, alpha is out of range, or too few episodes for so small an alpha.
    """
    if not 0 < alpha < 1 or scores.ndim != 1 or not np.isfinite(scores).all():
        raise ValueError(f"conformal: expected finite scores (E,) and 0 < alpha < 1, got {scores.shape} and {alpha}")
    # the ceil((E + 1) (1 - alpha))-th smallest of E
    rank = math.ceil((len(scores) + 1) * (1 - alpha))
    if rank > len(scores):
        raise ValueError(f"conformal: {len(scores)} episodes are too few for alpha={alpha}: {rank} are needed")
    return float(np.sort(scores)[rank - 1])


@dataclass(frozen=True)
class DoubtConfig:
    """Random features of latents.

    Attributes:
        features: Their number.
        length: How far a latent, of variance 1, tells about others.
        noise: Standard deviation of what is fitted; smaller trusts less data more.
    """

    features: int = 768
    length: float = 0.4
    noise: float = 0.1


class Doubt(nn.Module):
    """u(z): the spread of infinitely many members that are linear in random features of z.

    Each member is fitted to noisy samples of a random function of its own; their spread has a closed form. Sources:
    Rahimi and Recht 2007, "Random features for large-scale kernel machines"; Osband et al. 2018 for the members.

    Args:
        latent: Z.
        config: Sizes.
    """

    def __init__(self, latent: int, config: DoubtConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("waves", torch.randn(latent, config.features) / config.length)
        self.register_buffer("phases", 2 * math.pi * torch.rand(config.features))
        self.register_buffer("covariance", torch.eye(config.features))
        self.waves: Tensor
        self.phases: Tensor
        self.covariance: Tensor

    def features(self, latents: Tensor) -> Tensor:
        """Values (B, features) of latents (B, Z)."""
        # phi(z) = sqrt(2 / F) cos(W z + b)
        return math.sqrt(2 / self.config.features) * torch.cos(latents @ self.waves + self.phases)

    def learn(self, latents: Tensor) -> None:
        """Where there is data, (N, Z)."""
        known = self.features(latents)
        # covariance of the weights: (Phi^T Phi / sigma^2 + I)^-1
        precision = known.T @ known / self.config.noise**2 + torch.eye(self.config.features)
        self.covariance.copy_(torch.linalg.inv(precision.double()).float())

    def forward(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Spread (B,) of latents (B, Z); actions (B, A) do not count, for they were tried everywhere alike."""
        values = self.features(latents)
        # u^2 = phi^T C phi
        return ((values @ self.covariance) * values).sum(-1).clamp_min(0).sqrt()


def fit_doubt(latents: Tensor, config: DoubtConfig, seed: int) -> Doubt:
    """What is known of the places where there is data.

    Args:
        latents: (N, Z).
        config: Sizes.
        seed: Of the features.
    """
    torch.manual_seed(seed)
    doubt = Doubt(latents.shape[1], config)
    with torch.no_grad():
        doubt.learn(latents)
    return doubt.eval()


@dataclass(frozen=True)
class AugmentedMargin:
    """l_aug(z, a) = min{l(z), kappa (eps - u(z, a))}.

    Attributes:
        model: f.
        margin: l.
        doubt: u; None takes the disagreement of the model's members.
        limit: eps, by `conformal_limit`; None leaves the term out.
        slope: kappa times eps: the term reaches 1 where u is this part of the limit below it.
    """

    model: LatentModel
    margin: Callable[[Tensor], Tensor]
    doubt: Doubt | None = None
    limit: float | None = None
    slope: float = SLOPE

    @torch.no_grad()
    def __call__(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Margins (B,) of latents (B, Z) and actions (B, A)."""
        margin = self.margin(latents)
        known = self.known(latents, actions)
        return margin if known is None else torch.minimum(margin, known)

    @torch.no_grad()
    def known(self, latents: Tensor, actions: Tensor) -> Tensor | None:
        """The term kappa (eps - u), bounded to [-1, 1], (B,); None without a limit."""
        if self.limit is None:
            return None
        doubt = self.doubt or partial(disagreement, self.model)
        # kappa = slope / eps
        return (self.slope * (1 - doubt(latents, actions) / self.limit)).clamp(-1, 1)
