"""Safety value V(z): the margin that the best actions keep from here on, learned inside a model.

Sources: Fisac et al. 2019, "Bridging Hamilton-Jacobi safety analysis and reinforcement learning", equation 7;
Nakamura, Peters and Bajcsy 2025 (2502.00935), equation 6; van Hasselt et al. 2016 for choosing by one network and
judging by its slow copy. Shape letters: B = batch, N = latents, n = actions, K = what an action may lead to,
Z = latent elements.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foreact.worldmodels.safety.networks import perceptron

__all__ = ["Imagined", "Value", "ValueConfig", "backup", "fit_value", "imagine_once"]


@dataclass(frozen=True)
class ValueConfig:
    """How the value is fitted.

    Attributes:
        width: Of hidden layers.
        updates: Of gradient descent.
        batch: Latents per update.
        learning_rate: Peak; half a cosine follows.
        first_gamma: Discount of the first update.
        last_gamma: Discount of the last quarter; 1 - gamma falls geometrically until there.
        follow: Share of the way that the slow copy goes in every update.
        failing: Share of each batch drawn from latents whose margin is negative; 0 draws from all alike.
    """

    width: int = 128
    updates: int = 2000
    batch: int = 256
    learning_rate: float = 1.2e-2
    first_gamma: float = 0.85
    last_gamma: float = 0.999
    follow: float = 0.05
    failing: float = 0.0

    def gamma(self, update: int) -> float:
        """Discount of an update."""
        share = min(1.0, update / max(1.0, 0.75 * self.updates))
        return 1 - (1 - self.first_gamma) ** (1 - share) * (1 - self.last_gamma) ** share


class Value(nn.Module):
    """V(z).

    Args:
        latent: Z.
        width: Of hidden layers.
    """

    def __init__(self, latent: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.layers = perceptron(latent, width, 1, depth=3)

    def forward(self, latents: Tensor) -> Tensor:
        """Values (...,) of latents (..., Z)."""
        return self.layers(latents).squeeze(-1)


@dataclass(frozen=True)
class Imagined:
    """Latents with what each action leads to, inside the model.

    Attributes:
        now: (N, Z).
        following: (N, n, Z), or (N, n, K, Z) where the worst of K counts.
        margin: l of each latent and action, (N, n); where no action has a margin of its own all are alike.
    """

    now: Tensor
    following: Tensor
    margin: Tensor


@torch.no_grad()
def imagine_once(
    step: Callable[[Tensor, Tensor], Tensor],
    margin: Callable[[Tensor, Tensor], Tensor],
    latents: Tensor,
    actions: Tensor,
) -> Imagined:
    """Try every action in every latent.

    Args:
        step: Latents one step later, (B, Z), from (B, Z) and (B, A).
        margin: l, (B,), of the same.
        latents: (N, Z).
        actions: (n, A).
    """
    tried = [actions[index].expand(len(latents), -1) for index in range(len(actions))]
    following = torch.stack([step(latents, action) for action in tried], dim=1)
    return Imagined(latents, following, torch.stack([margin(latents, action) for action in tried], dim=1))


def backup(margin: Tensor, following: Tensor, gamma: float) -> Tensor:
    """One safety Bellman update.

    Args:
        margin: l of each action, (B, n).
        following: V of where each action leads, (B, n).
        gamma: Discount.

    Returns:
        What each action is worth, (B, n); V is its largest.
    """
    # Q(z, a) = (1 - g) l(z, a) + g min{l(z, a), V(f(z, a))}
    return (1 - gamma) * margin + gamma * torch.minimum(margin, following)


def fit_value[Network: nn.Module](
    data: Imagined, config: ValueConfig, seed: int, network: Network | None = None
) -> Network | Value:
    """Fit V by repeated updates towards its own slow copy.

    Args:
        data: Latents and what every action leads to.
        config: How.
        seed: Of weights and batches.
        network: With fresh weights, if it is not to be `Value`; latents (..., Z) to values (...,).
    """
    torch.manual_seed(seed)
    value = Value(data.now.shape[1], config.width) if network is None else network
    slow = copy.deepcopy(value)
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.AdamW(value.parameters(), lr=config.learning_rate, weight_decay=1e-5, foreach=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.updates)
    failing = torch.nonzero(data.margin.amax(dim=1) < 0).squeeze(1)
    for update in range(config.updates):
        rows = _draw(failing, len(data.now), config, generator)
        target = _target(value, slow, data.following[rows], data.margin[rows], config.gamma(update))
        optimiser.zero_grad(set_to_none=True)
        nn.functional.smooth_l1_loss(value(data.now[rows]), target, beta=0.2).backward()
        optimiser.step()
        schedule.step()
        _follow(slow, value, config.follow)
    return value.eval()


def _draw(failing: Tensor, count: int, config: ValueConfig, generator: torch.Generator) -> Tensor:
    """Rows of one batch."""
    share = round(config.failing * config.batch) if len(failing) else 0
    rows = torch.randint(0, count, (config.batch - share,), generator=generator)
    if not share:
        return rows
    return torch.cat([rows, failing[torch.randint(0, len(failing), (share,), generator=generator)]])


@torch.no_grad()
def _target(value: nn.Module, slow: nn.Module, following: Tensor, margin: Tensor, gamma: float) -> Tensor:
    # the value chooses and its slow copy judges, so that errors of one are not picked as if they were gains
    chosen = backup(margin, _worst(value(following)), gamma).argmax(dim=1, keepdim=True)
    return backup(margin, _worst(slow(following)), gamma).gather(1, chosen).squeeze(1)


def _worst(values: Tensor) -> Tensor:
    """(B, n) of (B, n) or (B, n, K)."""
    return values if values.ndim == 2 else values.amin(dim=2)


@torch.no_grad()
def _follow(slow: nn.Module, value: nn.Module, share: float) -> None:
    for old, new in zip(slow.parameters(), value.parameters(), strict=True):
        old.lerp_(new, share)
