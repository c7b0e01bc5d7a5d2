"""All latents of a set, and what several forecasts say about them.

Shape letters: S = states, P = pictured futures, F = pictured moments, D = latent elements, C = context elements,
K = futures of a forecast.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.worldmodels.pixels.encoder import planes
from foreact.worldmodels.pixels.measures import Linear, fit_linear
from foreact.worldmodels.pixels.model import PixelModel
from foreact.worldmodels.pixels.pictures import PixelBranches
from foreact.worldmodels.pixels.signature import proprioception
from foreact.worldmodels.scores import energy_score

__all__ = ["Encoded", "Forecast", "coded", "copied", "encoded", "linear", "one", "scores"]

FRAMES = 512  # that are encoded together


@dataclass(frozen=True)
class Encoded:
    """A set in the space of latents.

    Attributes:
        context: (S, C).
        actions: (S, T, A).
        last: Latents at the fork, (S, D).
        later: Of the futures, (S, P, F, D).
    """

    context: Tensor
    actions: Tensor
    last: Tensor
    later: Tensor


@dataclass(frozen=True)
class Forecast:
    """K weighted futures of each state: latents (S, K, F, D) and the logarithms of their probabilities, (S, K)."""

    latents: Tensor
    log_weights: Tensor

    @property
    def mean(self) -> Tensor:
        """The expected future, (S, F, D)."""
        return torch.einsum("sk,skfd->sfd", self.log_weights.exp(), self.latents)


@torch.no_grad()
def encoded(
    model: PixelModel, data: PixelBranches, kinds: tuple[str, ...] | None = None, left: Tensor | None = None
) -> Encoded:
    """Encode a set.

    Args:
        model: In evaluation mode.
        data: The set.
        kinds: Kinds of pictures that the model may see; None for all it knows.
        left: Which of the kinds it knows all frames of each state keep, bool (S, kinds); None for all that are given.

    Raises:
        SignatureError: The set is not what the model was made for.
    """
    model.signature.require(data, "the data")
    kept = model.config.encoder.kinds if kinds is None else kinds
    seen, later = (_latents(model, {name: each[name] for name in kept}, left) for each in (data.seen, data.later))
    actions = torch.from_numpy(data.branches.actions)
    robot = torch.from_numpy(proprioception(data.branches))
    return Encoded(model.packed(seen, robot), actions, seen[:, 1], later)


@torch.no_grad()
def coded(model: PixelModel, known: Encoded, actions: Tensor | None = None) -> Forecast:
    """What the model forecasts under these or other actions."""
    found = model.predict(known.context, known.actions if actions is None else actions)
    return Forecast(found.latents, found.log_weights)


@torch.no_grad()
def one(model: PixelModel, known: Encoded) -> Forecast:
    """What its deterministic rival forecasts."""
    found = model.predict_one(known.context, known.actions)
    return Forecast(found.latents, found.log_weights)


def copied(known: Encoded) -> Forecast:
    """That nothing changes."""
    return _single(known.last[:, None].expand(-1, known.later.shape[2], -1))


def linear(known: Encoded, train: Encoded) -> Forecast:
    """What a linear map of context and actions says, fitted on training states."""
    changes = (train.later - train.last[:, None, None]).mean(1).flatten(1)
    fitted: Linear = fit_linear(_features(train), changes, ridge=1e-2)
    return _single(known.last[:, None] + fitted(_features(known)).unflatten(1, (known.later.shape[2], -1)))


def scores(forecast: Forecast, truth: Tensor) -> np.ndarray:
    """Energy score of each state, (S,).

    Args:
        forecast: Of the states.
        truth: True futures, (S, P, F, D).
    """
    weights = forecast.log_weights.exp().numpy()
    return energy_score(forecast.latents.numpy(), weights, truth.numpy())


def _latents(model: PixelModel, pictures: Mapping[str, np.ndarray], left: Tensor | None) -> Tensor:
    name = next(iter(pictures))
    leading = pictures[name].shape[: -3 if name == "rgb" else -2]
    flat = {name: values.reshape(-1, *values.shape[len(leading) :]) for name, values in pictures.items()}
    device, count = model.robot_mean.device, len(flat[name])
    kept = None if left is None else left.repeat_interleave(count // len(left), 0).to(device)
    parts = []
    for start in range(0, count, FRAMES):
        some = slice(start, start + FRAMES)
        frames = planes({name: values[some] for name, values in flat.items()})
        shown = {name: values.to(device) for name, values in frames.items()}
        parts.append(model.encoder(shown, None if kept is None else kept[some]).cpu())
    return torch.cat(parts).unflatten(0, leading)


def _features(known: Encoded) -> Tensor:
    return torch.cat([known.context, known.actions.flatten(1)], dim=1)


def _single(latents: Tensor) -> Forecast:
    return Forecast(latents[:, None], torch.zeros(len(latents), 1))
