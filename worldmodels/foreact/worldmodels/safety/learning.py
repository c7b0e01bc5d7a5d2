"""A filter from scratch: drives, a model of them, a margin from their labels, a value inside the model.

Shape letters: N = transitions, E = episodes, n = choices.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from foreact.worldmodels.safety.driving import Drives
from foreact.worldmodels.safety.latent import LatentConfig, LatentModel, encode_all, fit_latent
from foreact.worldmodels.safety.margin import Margin, MarginConfig, fit_margin
from foreact.worldmodels.safety.parts import SafetyParts
from foreact.worldmodels.safety.systems import DubinsCar
from foreact.worldmodels.safety.uncertainty import AugmentedMargin, Doubt, conformal_limit, disagreement
from foreact.worldmodels.safety.value import Imagined, Value, ValueConfig, fit_value, imagine_once

__all__ = ["LearnConfig", "Observe", "World", "calibrated", "episode_scores", "fit_world", "learn_value"]

Observe = Callable[[np.ndarray], np.ndarray]
"""States (N, S) to what is seen of them, (N, ...)."""


@dataclass(frozen=True)
class LearnConfig:
    """How much is driven, and how each part is fitted.

    Attributes:
        episodes: Random drives to learn from.
        steps: Control steps of each.
        horizon: Steps that the model is fitted to predict in a row.
        beyond: Steps that are imagined from what was driven, to learn V there too.
        latent: The model.
        margin: l.
        value: V.
        delta: What the filter asks of V, which lies in [-1, 1].
        gain: What the newest observation counts when it drives; the rest is what was expected from those before.
    """

    episodes: int = 2000
    steps: int = 10
    horizon: int = 1
    beyond: int = 1
    latent: LatentConfig = field(default_factory=LatentConfig)
    margin: MarginConfig = field(default_factory=MarginConfig)
    value: ValueConfig = field(default_factory=ValueConfig)
    delta: float = 0.3
    gain: float = 1.0


@dataclass(frozen=True)
class World:
    """What is known before a value is learned.

    Attributes:
        model: Encoder and predictors.
        margin: l.
        latents: Of everything driven, (N, Z).
        actions: What was done there, (N, A).
        choices: Actions to choose among, (n, A).
        config: How it was learned.
    """

    model: LatentModel
    margin: Margin
    latents: Tensor
    actions: Tensor
    choices: Tensor
    config: LearnConfig


def fit_world(car: DubinsCar, drives: Drives, observe: Observe, config: LearnConfig, seed: int) -> World:
    """Fit a model and a margin to drives.

    Args:
        car: Labels the states it sees.
        drives: What to learn from.
        observe: What is seen of a state.
        config: How.
        seed: Of weights and batches.
    """
    frames = observe(drives.every())
    model = fit_latent(drives.transitions(frames, config.horizon), config.latent, seed)
    data = drives.transitions(frames)
    latents, following = encode_all(model, frames)[torch.from_numpy(data.paths.T)]
    failed = torch.from_numpy(car.margin(drives.every()[data.paths[:, 0]]) < 0)
    step = (following - latents).norm(dim=1).mean().item()
    margin = fit_margin(latents, failed, config.margin, seed, step)
    choices = torch.from_numpy(car.actions.astype(np.float32))
    return World(model, margin, latents, torch.from_numpy(data.actions[:, 0]), choices, config)


def learn_value(
    world: World, seed: int, limit: float | None = None, doubt: Doubt | None = None, gamma: float | None = None
) -> SafetyParts:
    """Learn V inside the model, from what was driven and from imagined steps beyond.

    Args:
        world: Model, margin and where to start from.
        seed: Of weights and batches.
        limit: eps on what is not known; None leaves the term out.
        doubt: u, if it is not the disagreement of the model's members.
        gamma: A fixed discount in place of the rising one.
    """
    config = world.config.value
    if gamma is not None:
        config = dataclasses.replace(config, first_gamma=gamma, last_gamma=gamma)
    data = _imagined(world, AugmentedMargin(world.model, world.margin, doubt, limit))
    value: Value = fit_value(data, config, seed)
    return SafetyParts(world.model, world.config.latent, world.margin, value, world.choices, doubt, limit)


@torch.no_grad()
def _imagined(world: World, margin: AugmentedMargin) -> Imagined:
    # every so many-th latent is followed as many steps, so that there are as many imagined ones as driven ones
    latents, actions = (each[:: world.config.beyond] for each in (world.latents, world.actions))
    every = [world.latents]
    for step in range(world.config.beyond):
        latents = world.model.step(latents, actions.roll(step, dims=0))
        every.append(latents)
    return imagine_once(world.model.step, margin, torch.cat(every), world.choices)


def episode_scores(model: LatentModel, doubt: Doubt | None, drives: Drives, observe: Observe) -> np.ndarray:
    """Largest doubt of each episode that has a step that counts, (E,); without `doubt` the members' disagreement."""
    data = drives.transitions(observe(drives.every()))
    latents, actions = encode_all(model, data.before), torch.from_numpy(data.actions[:, 0])
    with torch.no_grad():
        scores = (disagreement(model, latents, actions) if doubt is None else doubt(latents, actions)).numpy()
    every = np.full(drives.kept.shape, -np.inf)
    every[drives.kept] = scores
    return every.max(axis=1)[drives.kept.any(axis=1)]


def calibrated(model: LatentModel, doubt: Doubt | None, drives: Drives, observe: Observe, alpha: float) -> float:
    """The limit that a new episode of the same kind exceeds with probability of at most alpha."""
    return conformal_limit(episode_scores(model, doubt, drives, observe), alpha)
