"""What a model of pictures is fitted to: its latents to what they become, and to an isotropic Gaussian.

The targets are latents of the same encoder, with gradient: nothing is stopped or averaged. What keeps the encoder from
answering the same for all pictures is SIGReg alone. Neither rival nor decoder has a say in them.
Shape letters: B = states, m = futures of each in a batch, F = pictured moments, T = control steps, D = latent elements,
V = frames of a state in a batch = 2 + m F.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.worldmodels.losses.codes import assign, code_likelihood, mean_squares, winner_loss
from foreact.worldmodels.losses.energy import energy_score
from foreact.worldmodels.losses.sigreg import random_lines, sigreg
from foreact.worldmodels.models.outcomes import outcome_errors
from foreact.worldmodels.pixels.decoder import picture_loss
from foreact.worldmodels.pixels.encoder import kinds_left, planes
from foreact.worldmodels.pixels.model import LatentFutures, PixelModel
from foreact.worldmodels.pixels.pictures import STREAMS, PixelBranches
from foreact.worldmodels.pixels.signature import proprioception

__all__ = ["PixelBatch", "PixelLossWeights", "batch_of", "outcomes_at_moments", "pixel_losses"]


@dataclass(frozen=True)
class PixelLossWeights:
    """What the terms of the loss are multiplied by; 0 leaves a term out.

    Attributes:
        energy: Energy score of latents, divided by the root of their elements.
        winner: Relaxed winner-takes-all.
        relaxation: Share of a future that does not pull at the code nearest to it.
        likelihood: -log p of the code nearest to a future.
        sigreg: Latents look like N(0, I).
        lines: Random lines that SIGReg looks along in each update.
        outcomes: Success, contact and reward.
        drawn: Frames of a batch that the decoder learns from.
    """

    energy: float = 1.0
    winner: float = 0.5
    relaxation: float = 0.05
    likelihood: float = 0.1
    sigreg: float = 0.1
    lines: int = 128
    outcomes: float = 0.1
    drawn: int = 32

    def __post_init__(self) -> None:
        numbers = (self.energy, self.winner, self.likelihood, self.sigreg, self.outcomes)
        if min(numbers) < 0 or not 0 <= self.relaxation < 1 or self.lines < 1 or self.drawn < 0:
            raise ValueError(f"loss: weights must not be negative, got {self}")


@dataclass(frozen=True)
class PixelBatch:
    """Some states with some of their pictured futures.

    Attributes:
        pictures: As `planes` gives them, (B V, ...): of each state the frames seen, then its futures.
        robot: What the robot knows of itself, (B, Q).
        actions: (B, T, A).
        outcomes: Success, contact, reward at the pictured moments, (B, m, F, 3).
    """

    pictures: dict[str, Tensor]
    robot: Tensor
    actions: Tensor
    outcomes: Tensor

    def to(self, device: torch.device) -> PixelBatch:
        """The same on a device."""
        pictures = {name: values.to(device) for name, values in self.pictures.items()}
        return PixelBatch(pictures, *(each.to(device) for each in (self.robot, self.actions, self.outcomes)))


def batch_of(data: PixelBranches, states: np.ndarray, futures: np.ndarray) -> PixelBatch:
    """A batch.

    Args:
        data: Where it is from.
        states: Numbers of states, int (B,).
        futures: Numbers of pictured futures, the same ones of every state, int (m,).
    """
    pictures = {}
    for name in STREAMS:
        seen, later = data.seen[name][states], data.later[name][states][:, futures]
        frames = np.concatenate([seen, later.reshape(len(states), -1, *later.shape[3:])], axis=1)
        pictures[name] = frames.reshape(-1, *frames.shape[2:])
    outcomes = outcomes_at_moments(data)[states][:, futures]
    numbers = (proprioception(data.branches)[states], data.branches.actions[states], outcomes)
    return PixelBatch(planes(pictures), *(torch.from_numpy(each) for each in numbers))


def outcomes_at_moments(data: PixelBranches) -> np.ndarray:
    """Success at, contact and mean reward since the moment before, of the pictured futures, float32 (S, P, F, 3)."""
    branches, every = data.branches, data.spec.every

    def spans(values: np.ndarray) -> np.ndarray:
        return values[:, : data.pictured].reshape(len(data), data.pictured, -1, every)

    found = (spans(branches.success)[..., -1], spans(branches.contact).any(-1), spans(branches.reward).mean(-1))
    return np.stack(found, axis=-1).astype(np.float32)


def pixel_losses(
    model: PixelModel, batch: PixelBatch, weights: PixelLossWeights, generator: torch.Generator
) -> dict[str, Tensor]:
    """Weighted terms, by name.

    Args:
        model: In training mode.
        batch: On the model's device.
        weights: Of the terms.
        generator: Random numbers of this update, on CPU.
    """
    states = len(batch.actions)
    frames = len(batch.pictures["rgb"]) // states
    kept = kinds_left(states, len(model.config.encoder.kinds), generator).repeat_interleave(frames, 0)
    latents = model.encoder(batch.pictures, kept.to(batch.actions.device)).unflatten(0, (states, frames))
    terms = _futures_terms(model, batch, latents, weights)
    if weights.sigreg:
        lines = random_lines(latents.shape[-1], weights.lines, generator)
        terms["sigreg"] = weights.sigreg * sigreg(latents.flatten(0, 1), lines)
    # from here on the latents are what they are
    still = latents.detach()
    rival = _prediction_terms(
        model, model.predict_one(_context(model, batch, still), batch.actions), batch, still, weights
    )
    terms["rival"] = sum(rival.values(), torch.zeros((), device=still.device))
    if weights.drawn:
        rows = torch.randperm(states * frames, generator=generator)[: weights.drawn].to(still.device)
        pictures = {name: values[rows] for name, values in batch.pictures.items()}
        terms["pictures"] = picture_loss(model.decoder, model.decoder(still.flatten(0, 1)[rows]), pictures)
    return terms


def _futures_terms(
    model: PixelModel, batch: PixelBatch, latents: Tensor, weights: PixelLossWeights
) -> dict[str, Tensor]:
    found = model.predict(_context(model, batch, latents), batch.actions)
    return _prediction_terms(model, found, batch, latents, weights)


def _prediction_terms(
    model: PixelModel, found: LatentFutures, batch: PixelBatch, latents: Tensor, weights: PixelLossWeights
) -> dict[str, Tensor]:
    truth = latents[:, 2:].unflatten(1, batch.outcomes.shape[1:3])
    distances = mean_squares(found.latents, truth)
    shares = assign(distances, weights.relaxation)
    root = truth.shape[-1] ** 0.5
    terms = {
        "winner": weights.winner * winner_loss(distances, shares),
        "energy": weights.energy * energy_score(found.latents, found.log_weights, truth).mean() / root,
        "likelihood": weights.likelihood * code_likelihood(found.log_weights, distances),
    }
    if weights.outcomes:
        scaled = (batch.outcomes - _offset(model)) / _unit(model)
        shape = (*shares.shape, *scaled.shape[2:])
        errors = outcome_errors(found.outcomes[:, None].expand(shape), scaled[:, :, None].expand(shape))
        terms["outcomes"] = weights.outcomes * (shares * errors).sum(-1).mean()
    return terms


def _context(model: PixelModel, batch: PixelBatch, latents: Tensor) -> Tensor:
    return model.packed(latents[:, :2], batch.robot)


def _offset(model: PixelModel) -> Tensor:
    zero = torch.zeros_like(model.reward_mean)
    return torch.stack([zero, zero, model.reward_mean])


def _unit(model: PixelModel) -> Tensor:
    one = torch.ones_like(model.reward_scale)
    return torch.stack([one, one, model.reward_scale])
