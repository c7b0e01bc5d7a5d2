"""What a model of pictures is fitted to, first its latents, then what reads them.

Latents learn to be forecast, to look like N(0, I) and to say where things are. The targets are latents of the same
encoder, with gradient: nothing is stopped or averaged, and what keeps the encoder from answering the same for all
pictures is SIGReg. Then the latents stand still, and predictor, rival and decoder learn from them; so neither rival nor
decoder has a say in them. Shape letters: B = states, m = futures of each in a batch, F = pictured moments, f = those in
a batch, T = control steps, D = latent elements, V = frames of a state in a batch = 2 + m f, N = drawn frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.perception.sigreg import random_lines, sigreg
from foreact.worldmodels.losses.codes import assign, code_likelihood, mean_squares, winner_loss
from foreact.worldmodels.losses.energy import energy_score
from foreact.worldmodels.models.batch import Draws
from foreact.worldmodels.models.outcomes import outcome_errors
from foreact.worldmodels.pixels.decoder import picture_loss
from foreact.worldmodels.pixels.encoder import planes
from foreact.worldmodels.pixels.model import LatentFutures, PixelModel
from foreact.worldmodels.pixels.pictures import STREAMS, PixelBranches
from foreact.worldmodels.pixels.signature import proprioception

__all__ = [
    "KnownBatch",
    "PixelBatch",
    "PixelLossWeights",
    "batch_of",
    "latent_losses",
    "outcomes_at_moments",
    "reader_losses",
]


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
        places: Where segments are can be read off latents.
        outcomes: Success, contact and reward.
    """

    energy: float = 1.0
    winner: float = 5.0
    relaxation: float = 0.05
    likelihood: float = 0.1
    sigreg: float = 0.1
    lines: int = 128
    places: float = 3.0
    outcomes: float = 0.1

    def __post_init__(self) -> None:
        numbers = (self.energy, self.winner, self.likelihood, self.sigreg, self.places, self.outcomes)
        if min(numbers) < 0 or not 0 <= self.relaxation < 1 or self.lines < 1:
            raise ValueError(f"loss: weights must not be negative, got {self}")


@dataclass(frozen=True)
class PixelBatch:
    """Some states with some frames of some of their pictured futures.

    Attributes:
        pictures: As `planes` gives them, (B V, ...): of each state the frames seen, then its futures.
        robot: What the robot knows of itself, (B, Q).
        actions: (B, T, A).
        outcomes: Success, contact, reward at the moments, (B, m, f, 3).
        moments: Numbers of the pictured moments, int64 (f,).
    """

    pictures: dict[str, Tensor]
    robot: Tensor
    actions: Tensor
    outcomes: Tensor
    moments: Tensor

    def to(self, device: torch.device) -> PixelBatch:
        """The same on a device."""
        pictures = {name: values.to(device) for name, values in self.pictures.items()}
        rest = (self.robot, self.actions, self.outcomes, self.moments)
        return PixelBatch(pictures, *(each.to(device) for each in rest))


@dataclass(frozen=True)
class KnownBatch:
    """Some states with the latents of all their pictured futures.

    Attributes:
        context: (B, C).
        actions: (B, T, A).
        later: (B, m, F, D).
        outcomes: As in `PixelBatch`, (B, m, F, 3).
    """

    context: Tensor
    actions: Tensor
    later: Tensor
    outcomes: Tensor


def batch_of(
    data: PixelBranches, outcomes: Tensor, states: np.ndarray, futures: np.ndarray, moments: np.ndarray
) -> PixelBatch:
    """A batch.

    Args:
        data: Where it is from.
        outcomes: Of `outcomes_at_moments`.
        states: Numbers of states, int (B,).
        futures: Numbers of pictured futures of each, int (B, m).
        moments: Numbers of pictured moments, the same ones of every future, int (f,).
    """
    chosen = (states[:, None, None], futures[:, :, None], moments)
    pictures = {}
    for name in STREAMS:
        seen, later = data.seen[name][states], data.later[name][chosen]
        frames = np.concatenate([seen, later.reshape(len(states), -1, *later.shape[3:])], axis=1)
        pictures[name] = frames.reshape(-1, *frames.shape[2:])
    robot, actions = (torch.from_numpy(each[states]) for each in (proprioception(data.branches), data.branches.actions))
    return PixelBatch(planes(pictures), robot, actions, outcomes[chosen], torch.from_numpy(moments))


def outcomes_at_moments(data: PixelBranches) -> Tensor:
    """Success at, contact and mean reward since the moment before, of the pictured futures, (S, P, F, 3)."""
    branches, every = data.branches, data.spec.every

    def spans(values: np.ndarray) -> np.ndarray:
        return values[:, : data.pictured].reshape(len(data), data.pictured, -1, every)

    found = (spans(branches.success)[..., -1], spans(branches.contact).any(-1), spans(branches.reward).mean(-1))
    return torch.from_numpy(np.stack(found, axis=-1).astype(np.float32))


def latent_losses(
    model: PixelModel, batch: PixelBatch, kept: Tensor, weights: PixelLossWeights, draws: Draws
) -> dict[str, Tensor]:
    """Weighted terms that latents are fitted to, by name.

    Args:
        model: In training mode.
        batch: States of this process, on the model's device.
        kept: Which kinds of pictures each state keeps, bool (B, kinds).
        weights: Of the terms.
        draws: Random numbers of this update.
    """
    states = len(batch.actions)
    frames = len(batch.pictures["rgb"]) // states
    # normalised over the frames of all processes, as SIGReg looks at all of them
    features = model.encoder.features(batch.pictures, kept.repeat_interleave(frames, 0).to(batch.actions.device))
    every = model.encoder.norm(draws.gather(features))
    flat = every[draws.rank * len(features) : (draws.rank + 1) * len(features)]
    latents = flat.unflatten(0, (states, frames))
    found = model.predict(model.packed(latents[:, :2], batch.robot), batch.actions)
    some = LatentFutures(found.latents[:, :, batch.moments], found.log_weights, found.outcomes[:, :, batch.moments])
    truth = latents[:, 2:].unflatten(1, batch.outcomes.shape[1:3])
    terms = _prediction_terms(model, some, truth, batch.outcomes, weights)
    if weights.sigreg:
        terms["sigreg"] = weights.sigreg * sigreg(every, random_lines(every.shape[1], weights.lines, draws.generator))
    if weights.places:
        terms["places"] = weights.places * model.places.loss(flat, batch.pictures["segmentation"])
    return terms


def reader_losses(
    model: PixelModel, known: KnownBatch, latents: Tensor, pictures: Mapping[str, Tensor], weights: PixelLossWeights
) -> dict[str, Tensor]:
    """Weighted terms of what learns from latents that stand still, by name.

    Args:
        model: In training mode.
        known: States of this process.
        latents: Of the frames to draw, (N, D).
        pictures: Of those frames, as `planes` gives them.
        weights: Of the terms.
    """
    terms = _prediction_terms(model, model.predict(known.context, known.actions), known.later, known.outcomes, weights)
    rival = _prediction_terms(
        model, model.predict_one(known.context, known.actions), known.later, known.outcomes, weights
    )
    drawn = picture_loss(model.decoder, model.decoder(latents), pictures)
    return terms | {"rival": torch.stack(list(rival.values())).sum(), "pictures": drawn}


def _prediction_terms(
    model: PixelModel, found: LatentFutures, truth: Tensor, outcomes: Tensor, weights: PixelLossWeights
) -> dict[str, Tensor]:
    distances = mean_squares(found.latents, truth)
    shares = assign(distances, weights.relaxation)
    root = truth.shape[-1] ** 0.5
    terms = {
        "winner": weights.winner * winner_loss(distances, shares),
        "energy": weights.energy * energy_score(found.latents, found.log_weights, truth).mean() / root,
        "likelihood": weights.likelihood * code_likelihood(found.log_weights, distances),
    }
    if weights.outcomes:
        scaled = (outcomes - _offset(model)) / _unit(model)
        shape = (*shares.shape, *scaled.shape[2:])
        errors = outcome_errors(found.outcomes[:, None].expand(shape), scaled[:, :, None].expand(shape))
        terms["outcomes"] = weights.outcomes * (shares * errors).sum(-1).mean()
    return terms


def _offset(model: PixelModel) -> Tensor:
    zero = torch.zeros_like(model.reward_mean)
    return torch.stack([zero, zero, model.reward_mean])


def _unit(model: PixelModel) -> Tensor:
    one = torch.ones_like(model.reward_scale)
    return torch.stack([one, one, model.reward_scale])
