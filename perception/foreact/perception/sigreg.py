"""SIGReg: latents are kept from collapsing by a test whether they look like an isotropic Gaussian.

A distribution is N(0, I) if and only if all its projections on lines are N(0, 1). A few random lines are drawn anew in
every update, and the characteristic function of the projections on each is compared with that of N(0, 1). Sources:
Balestriero and LeCun 2025, "LeJEPA", section 4 (the sketch and the numbers of knots); Epps and Pulley 1983, "A test for
normality based on the empirical characteristic function". Shape letters: N = samples, D = latent elements, L = lines,
G = knots.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["KNOTS", "LIMIT", "epps_pulley", "random_lines", "sigreg"]

KNOTS = 17  # of the integral over [0, LIMIT]
LIMIT = 3.0


def random_lines(size: int, lines: int, generator: torch.Generator) -> Tensor:
    """Directions spread evenly over the sphere, unit columns, (D, L).

    Args:
        size: D.
        lines: L.
        generator: Where they are drawn from, on CPU.

    Raises:
        ValueError: No element or no line.
    """
    if size < 1 or lines < 1:
        raise ValueError(f"sigreg: expected 1 or more elements and lines, got {size} and {lines}")
    drawn = torch.randn(size, lines, generator=generator)
    return drawn / drawn.norm(dim=0, keepdim=True)


def epps_pulley(samples: Tensor) -> Tensor:
    """How far samples are from N(0, 1): 1.06 on average, whatever N, if they are drawn from it; if not it grows with N.

    Args:
        samples: (N, L), N samples of each of L distributions.

    Returns:
        The statistic of each, (L,).

    Raises:
        ValueError: Not two axes, or fewer than two samples.
    """
    if samples.ndim != 2 or len(samples) < 2:
        raise ValueError(f"sigreg: expected 2 or more samples in shape (N, L), got {tuple(samples.shape)}")
    step = LIMIT / (KNOTS - 1)
    knots = torch.arange(KNOTS, device=samples.device, dtype=samples.dtype) * step
    normal = torch.exp(-(knots**2) / 2)  # both the characteristic function of N(0, 1) and the weight of a knot
    trapezoid = torch.full_like(knots, step)
    trapezoid[0] = trapezoid[-1] = step / 2
    angles = samples[:, :, None] * knots
    # |phi_N(t) - phi(t)|^2, with phi_N(t) = mean_n exp(i t x_n); phi is real
    distance = (torch.cos(angles).mean(0) - normal) ** 2 + torch.sin(angles).mean(0) ** 2
    # N int |phi_N - phi|^2 exp(-t^2 / 2) dt over the whole line, which is twice that over its right half
    return 2 * len(samples) * (distance @ (trapezoid * normal))


def sigreg(latents: Tensor, lines: Tensor) -> Tensor:
    """Mean statistic over random lines.

    Args:
        latents: (N, D).
        lines: Unit columns, (D, L), see `random_lines`; draw them anew for every update.

    Returns:
        One number; its gradient pulls the latents towards N(0, I).

    Raises:
        ValueError: The shapes do not fit, or fewer than two samples.
    """
    if latents.ndim != 2 or lines.ndim != 2 or latents.shape[1] != lines.shape[0]:
        raise ValueError(f"sigreg: latents {tuple(latents.shape)} do not fit lines {tuple(lines.shape)}")
    return epps_pulley(latents @ lines.to(latents)).mean()
