"""Measures of latents and of pictures. Shape letters: N = samples, D = latent elements, E = elements to be read off."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Linear", "Spread", "bootstrap", "fit_linear", "overlap", "psnr", "spread_of"]


@dataclass(frozen=True)
class Spread:
    """Whether latents have collapsed.

    Attributes:
        effective_rank: Directions that the latents fill, 1 to D: the exponential of the entropy of the covariance's
            eigenvalues (Roy and Vetterli 2007, "The effective rank").
        variance: Mean variance of an element; 1 for N(0, I).
        smallest: Smallest eigenvalue over the largest.
    """

    effective_rank: float
    variance: float
    smallest: float


def spread_of(latents: Tensor) -> Spread:
    """How far latents (N, D) spread.

    Raises:
        ValueError: Fewer than two samples, or a number is not finite.
    """
    if latents.ndim != 2 or len(latents) < 2 or not torch.isfinite(latents).all():
        raise ValueError(f"expected 2 or more finite latents in shape (N, D), got {tuple(latents.shape)}")
    values = torch.linalg.eigvalsh(torch.cov(latents.double().T).reshape(latents.shape[1], -1)).clamp(min=0)
    total = float(values.sum())
    if total == 0:
        return Spread(0.0, 0.0, 0.0)
    shares = values[values > 0] / total
    entropy = -(shares * shares.log()).sum()
    return Spread(float(entropy.exp()), total / latents.shape[1], float(values[0] / values[-1]))


def psnr(drawn: np.ndarray, truth: np.ndarray, where: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio of pictures with values from 0 to 255 [dB], of all pixels' mean squared error.

    Args:
        drawn: uint8 (..., W, W, 3).
        truth: The same shape.
        where: Pixels that count, bool (..., W, W); None for all.

    Raises:
        ValueError: The shapes differ, or no pixel counts.
    """
    if drawn.shape != truth.shape or (where is not None and where.shape != truth.shape[:-1]):
        raise ValueError(f"pictures of shapes {drawn.shape} and {truth.shape} cannot be compared")
    if where is not None:
        drawn, truth = drawn[where], truth[where]
    if not drawn.size:
        raise ValueError("there is no pixel to compare")
    error = np.mean((drawn.astype(np.float32) - truth) ** 2, dtype=np.float64)
    # 10 log10(255^2 / mean error^2)
    return float(10 * np.log10(255**2 / max(error, 1e-10)))


def overlap(drawn: np.ndarray, truth: np.ndarray) -> float | None:
    """Pixels in both masks over those in either (intersection over union), of all pictures together.

    Args:
        drawn: bool (..., W, W).
        truth: The same shape.

    Returns:
        From 0 to 1; None where neither has a pixel.
    """
    either = int((drawn | truth).sum())
    return int((drawn & truth).sum()) / either if either else None


@dataclass(frozen=True)
class Linear:
    """A linear map with an offset.

    Attributes:
        weights: (D + 1, E); the last row is the offset.
    """

    weights: Tensor

    def __call__(self, inputs: Tensor) -> Tensor:
        """(N, D) to (N, E)."""
        return inputs @ self.weights[:-1] + self.weights[-1]

    def explained(self, inputs: Tensor, wanted: Tensor) -> Tensor:
        """Share of each element's variance that is explained, 1 at best, (E,).

        Args:
            inputs: (N, D).
            wanted: (N, E).
        """
        left = (wanted - self(inputs)).square().sum(0)
        return 1 - left / (wanted - wanted.mean(0)).square().sum(0).clamp(min=1e-12)


def fit_linear(inputs: Tensor, wanted: Tensor, ridge: float = 1e-3) -> Linear:
    """Least squares with a small penalty, relative to the inputs' mean square.

    Args:
        inputs: (N, D).
        wanted: (N, E).
        ridge: The penalty.
    """
    x = torch.cat([inputs, torch.ones(len(inputs), 1)], dim=1).double()
    square = x.T @ x
    penalty = ridge * square.diagonal().mean() * torch.eye(len(square), dtype=torch.float64)
    penalty[-1, -1] = 0
    return Linear(torch.linalg.solve(square + penalty, x.T @ wanted.double()).float())


def bootstrap(values: np.ndarray, ratio: bool = False, rounds: int = 1000, seed: int = 0) -> tuple[float, float]:
    """95 % interval of a mean over samples, or of a ratio of two means.

    Args:
        values: (N,), or (N, 2) with the ratio's parts side by side.
        ratio: Of the first column's mean to the second's.
        rounds: Resampled sets.
        seed: Of resampling.
    """
    rows = np.random.default_rng(seed).integers(0, len(values), (rounds, len(values)))
    means = values[rows].mean(axis=1)
    found = means[:, 0] / means[:, 1] if ratio else means
    low, high = np.percentile(found, [2.5, 97.5])
    return float(low), float(high)
