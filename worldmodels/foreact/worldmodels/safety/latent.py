"""The world model that safety is learned in: an encoder and an ensemble of one-step predictors.

For states the encoder only standardises; for pictures it is a small convolutional network fitted to predict its own
next latent, kept from collapsing by SIGReg (Maes et al. 2026, "LeWorldModel"; Balestriero and LeCun 2025, "LeJEPA").
Shape letters: B = batch, Z = latent elements, A = action elements, M = members, P = pixels of a side, U = frames,
N = paths, H = steps of a path.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from foreact.perception.sigreg import random_lines, sigreg
from foreact.worldmodels.safety.networks import Ensemble

__all__ = ["LatentConfig", "LatentModel", "Transitions", "encode_all", "fit_latent"]

BATCH = 2048


@dataclass(frozen=True)
class Transitions:
    """What was driven: short paths of H steps through observations.

    Attributes:
        frames: All observations, float32 (U, F) or pictures uint8 (U, 3, P, P).
        paths: Numbers of the frames along each path, int (N, H + 1).
        actions: Between them, float32 (N, H, A).
    """

    frames: np.ndarray
    paths: np.ndarray
    actions: np.ndarray

    def __post_init__(self) -> None:
        if not len(self.paths) or self.paths.shape != (len(self.actions), self.actions.shape[1] + 1):
            shapes = f"{self.paths.shape} and {self.actions.shape}"
            raise ValueError(f"transitions: expected paths (N, H + 1) and actions (N, H, A), got {shapes}")
        if self.paths.min() < 0 or self.paths.max() >= len(self.frames):
            raise ValueError(f"transitions: paths lead outside the {len(self.frames)} frames")
        for name in ("frames", "actions"):
            if not np.isfinite(getattr(self, name)).all():
                raise ValueError(f"transitions: {name} are not finite everywhere")

    @property
    def before(self) -> np.ndarray:
        """Where each path starts, (N, ...)."""
        return self.frames[self.paths[:, 0]]


@dataclass(frozen=True)
class LatentConfig:
    """Sizes of the model, and how it is fitted.

    Attributes:
        latent: Z of pictures; states keep their own elements.
        members: M.
        width: Of the predictors' hidden layers.
        prior: Strength of the members' fixed random functions.
        updates: Of gradient descent.
        batch: Transitions per update.
        learning_rate: Peak; half a cosine follows.
        regular: Weight of SIGReg.
        lines: Random lines of SIGReg.
        refine: Further updates of the predictors alone, four times the batch, on latents that stay as they are.
    """

    latent: int = 16
    members: int = 3
    width: int = 64
    prior: float = 0.0
    updates: int = 700
    batch: int = 256
    learning_rate: float = 4e-3
    regular: float = 0.02
    lines: int = 24
    refine: int = 0


class _Standardise(nn.Module):
    """(x - mean) / deviation, from the data."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))
        self.mean: Tensor
        self.deviation: Tensor

    def learn(self, values: Tensor) -> None:
        """What brings these values to mean 0 and deviation 1."""
        self.mean.copy_(values.mean(0))
        self.deviation.copy_(values.std(0).clamp_min(1e-6))

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.deviation


class _Pictures(nn.Module):
    """Pictures in [0, 255] to latents of mean 0 and variance 1 over the data."""

    def __init__(self, latent: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 24, 6, stride=4, padding=1), nn.SiLU(), nn.Conv2d(24, 48, 3, stride=2, padding=1), nn.SiLU(),
            nn.Flatten(), nn.Linear(48 * 16, 128), nn.SiLU(),
            nn.Linear(128, latent), nn.BatchNorm1d(latent, affine=False),
        )  # fmt: skip
        self.register_buffer("mean", torch.zeros(3, 32, 32))
        self.register_buffer("scale", torch.ones(()))
        self.mean: Tensor
        self.scale: Tensor

    def learn(self, pictures: Tensor) -> None:
        """What all pictures share says nothing; what differs is brought to size."""
        away = pictures.float() - pictures.float().mean(0)
        self.mean.copy_(pictures.float().mean(0))
        self.scale.copy_(1 / away.std().clamp_min(1e-6))

    def forward(self, pictures: Tensor) -> Tensor:
        return self.layers((pictures.float() - self.mean) * self.scale)


class LatentModel(nn.Module):
    """z = encode(observation), z' = step(z, a).

    Args:
        observed: Shape of one observation, (F,) or (3, 32, 32).
        actions: A.
        config: Sizes.

    Raises:
        ValueError: Pictures of another size.
    """

    def __init__(self, observed: tuple[int, ...], actions: int, config: LatentConfig) -> None:
        super().__init__()
        pictured = len(observed) == 3
        if pictured and tuple(observed) != (3, 32, 32):
            raise ValueError(f"safety: pictures of shape {tuple(observed)}, expected (3, 32, 32)")
        self.pictured, self.latent = pictured, config.latent if pictured else observed[0]
        self.encoder: _Pictures | _Standardise = _Pictures(config.latent) if pictured else _Standardise(observed[0])
        self.members = Ensemble(config.members, self.latent + actions, config.width, self.latent, config.prior)

    def encode(self, observations: Tensor) -> Tensor:
        """Latents (B, Z) of observations."""
        return self.encoder(observations)

    def predictions(self, latents: Tensor, actions: Tensor) -> Tensor:
        """What each member expects one control step later, (M, B, Z), from (B, Z) and (B, A), or (M, B, ...) each."""
        told = actions.expand(*latents.shape[:-1], actions.shape[-1]) if actions.ndim < latents.ndim else actions
        return latents + self.members(torch.cat([latents, told], dim=-1))

    def step(self, latents: Tensor, actions: Tensor) -> Tensor:
        """The members' mean, (B, Z)."""
        return self.predictions(latents, actions).mean(0)


def fit_latent(data: Transitions, config: LatentConfig, seed: int) -> LatentModel:
    """Fit encoder and predictors to transitions.

    Args:
        data: What was driven.
        config: How.
        seed: Of weights and batches.
    """
    torch.manual_seed(seed)
    model = LatentModel(data.frames.shape[1:], data.actions.shape[2], config)
    model.encoder.learn(torch.from_numpy(data.before[:BATCH]))
    generator = torch.Generator().manual_seed(seed)
    frames, paths, actions = (torch.from_numpy(each) for each in (data.frames, data.paths, data.actions))

    def loss() -> Tensor:
        rows = torch.randint(0, len(paths), (config.batch,), generator=generator)
        return _loss(model, frames, paths[rows], actions[rows], config, generator)

    model.train()
    _descend(list(model.parameters()), loss, config.updates, config.learning_rate)
    model.eval()
    if config.refine:
        _refine(model, encode_all(model, data.frames), paths, actions[:, 0], config, generator)
    return model


def _descend(parameters: list[nn.Parameter], loss: Callable[[], Tensor], updates: int, rate: float) -> None:
    optimiser = torch.optim.AdamW(parameters, lr=rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
    for _ in range(updates):
        optimiser.zero_grad(set_to_none=True)
        loss().backward()
        torch.nn.utils.clip_grad_norm_(parameters, 10.0)
        optimiser.step()
        schedule.step()


def _refine(
    model: LatentModel,
    latents: Tensor,
    paths: Tensor,
    actions: Tensor,
    config: LatentConfig,
    generator: torch.Generator,
) -> None:
    """Single steps between latents that are known already: a small part of the cost of an update with pictures."""
    now, then = latents[paths[:, 0]], latents[paths[:, 1]]

    def loss() -> Tensor:
        rows = torch.randint(0, len(paths), (config.members, 4 * config.batch), generator=generator)
        return ((model.predictions(now[rows], actions[rows]) - then[rows]) ** 2).mean()

    _descend(list(model.members.parameters()), loss, config.refine, config.learning_rate)


def _loss(
    model: LatentModel, frames: Tensor, paths: Tensor, actions: Tensor, config: LatentConfig, generator: torch.Generator
) -> Tensor:
    # the start, one step later, and the end of each path
    shown = [0, 1, paths.shape[1] - 1] if paths.shape[1] > 2 else [0, 1]
    latents = model.encode(frames[paths[:, shown].T.reshape(-1)])
    now, *later = latents.chunk(len(shown))
    # each member learns from samples of its own, half of the batch on average
    kept = (torch.rand(config.members, len(now), 1, generator=generator) < 0.5).float()
    loss, reached = latents.new_zeros(()), now.expand(config.members, *now.shape)
    for step in range(actions.shape[1]):
        reached = model.predictions(reached, actions[:, step])
        if step + 1 in shown:
            error = (reached - later[shown.index(step + 1) - 1]) ** 2
            loss = loss + (kept * error).sum() / (kept.sum() * error.shape[-1]).clamp_min(1)
    if model.pictured:
        loss = loss + config.regular * sigreg(latents, random_lines(model.latent, config.lines, generator))
    return loss


@torch.no_grad()
def encode_all(model: LatentModel, observations: np.ndarray) -> Tensor:
    """Latents of many observations, batch by batch, (N, Z).

    Args:
        model: In evaluation mode.
        observations: As the model was fitted to, (N, ...).
    """
    batches = range(0, len(observations), BATCH)
    encoded = [model.encode(torch.from_numpy(observations[start : start + BATCH])) for start in batches]
    return torch.cat(encoded) if encoded else torch.zeros(0, model.latent)
