"""Baseline: a recurrent state-space model, rolled out step by step and sampled K times.

Source: Hafner et al. 2019, "Learning latent dynamics for planning from pixels", section 3, with the two-sided KL of
Hafner et al. 2021, "Mastering Atari with discrete world models", section 2. Shape letters: B = states, K = samples,
N = rows, T = control steps, O = observed elements, H = deterministic elements, Z = stochastic elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foreact.worldmodels.models.batch import Batch, Draws
from foreact.worldmodels.models.layers import perceptron
from foreact.worldmodels.models.ridge import Ridge
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.models.trajectory import Imagined, TrajectoryModel, even_log_weights

__all__ = ["RecurrentConfig", "gaussian_divergence"]


@dataclass(frozen=True)
class RecurrentConfig:
    """Sizes of the recurrent model.

    Attributes:
        kind: Its name.
        deterministic: H.
        stochastic: Z.
        width: Hidden width of perceptrons.
        samples: K.
        drawn: True futures of a state that an update trains on.
        divergence: Weight of the KL divergence.
        free: Divergence per step that costs nothing [nat].
    """

    kind: Literal["rssm"] = "rssm"
    deterministic: int = 128
    stochastic: int = 16
    width: int = 128
    samples: int = 8
    drawn: int = 2
    divergence: float = 0.1
    free: float = 0.1

    def __post_init__(self) -> None:
        if min(self.deterministic, self.stochastic, self.width, self.samples, self.drawn) < 1:
            raise ValueError(f"rssm: sizes must be positive, got {self}")

    def build(self, signature: Signature) -> RecurrentModel:
        """A model with fresh weights."""
        return RecurrentModel(self, signature)


class RecurrentModel(TrajectoryModel):
    """h_t = GRU(h_{t-1}, z_{t-1}, a_t); z_t ~ p(z | h_t), while fitting z_t ~ q(z | h_t, o_t); o_t from (h_t, z_t).

    Args:
        config: Sizes.
        signature: What it is made for.
    """

    def __init__(self, config: RecurrentConfig, signature: Signature) -> None:
        super().__init__(signature, config.samples)
        self.config = config
        elements, hidden, latent = len(signature.columns), config.deterministic, config.stochastic
        self.start = perceptron(elements, config.width, hidden)
        self.cell = nn.GRUCell(latent + len(signature.actions), hidden)
        self.prior = perceptron(hidden, config.width, 2 * latent)
        self.posterior = perceptron(hidden + elements, config.width, 2 * latent)
        self.decoder = perceptron(hidden + latent, config.width, elements)
        self.ridge = Ridge(signature)

    def prepare(self, data: Batch) -> None:
        """The normaliser's numbers, and the ridge regression that the decoder adds to."""
        super().prepare(data)
        self.ridge.fit(data, self.normaliser)

    def predict(self, context: Tensor, actions: Tensor) -> Imagined:
        """Samples around one; the noise is the same in every call.

        Args:
            context: Around one, (B, O).
            actions: Around one, (B, T, A).
        """
        count = self.config.samples
        generator = torch.Generator().manual_seed(0)
        shape = (self.horizon, len(context) * count, self.config.stochastic)
        noise = torch.randn(shape, generator=generator).to(context)
        hidden = self.start(context).repeat_interleave(count, 0)
        commands = actions.repeat_interleave(count, 0)
        latent, steps = torch.zeros_like(noise[0]), []
        for step in range(self.horizon):
            hidden = self.cell(torch.cat([latent, commands[:, step]], -1), hidden)
            latent = _sample(self.prior(hidden), noise[step])
            steps.append(torch.cat([hidden, latent], -1))
        told = self.decoder(torch.stack(steps, 1)).unflatten(0, (-1, count))
        changes = told + self.ridge(context, actions)[:, None]
        return Imagined(changes, even_log_weights(changes))

    def losses(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Reconstruction, divergence of posterior and prior, and outcomes on true futures.

        Args:
            batch: States of this process, in units.
            draws: Noise, and which futures.
        """
        norm, count = self.normaliser, self.config.drawn
        seen, chunk = norm.context(batch.context), norm.actions(batch.actions)
        targets = norm.targets(batch.context, batch.futures)
        which = draws.integers(targets.shape[1], len(targets), count)
        rows = torch.arange(len(targets), device=targets.device)[:, None]
        wanted = targets[rows, which].flatten(0, 1)
        noise = draws.normal(len(targets), count, self.horizon, self.config.stochastic).flatten(0, 1)
        errors, divergence = self._filtered(seen, chunk, wanted, noise)
        return {
            "reconstruction": errors,
            "divergence": self.config.divergence * divergence,
            "outcomes": self.outcome_loss(batch),
        }

    def _filtered(self, context: Tensor, actions: Tensor, wanted: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Mean squared error, and mean divergence per step, along true futures, (N, T, O)."""
        count = self.config.drawn
        hidden = self.start(context).repeat_interleave(count, 0)
        commands = actions.repeat_interleave(count, 0)
        latent, hiddens, latents, posteriors = torch.zeros_like(noise[:, 0]), [], [], []
        for step in range(self.horizon):
            hidden = self.cell(torch.cat([latent, commands[:, step]], -1), hidden)
            posterior = self.posterior(torch.cat([hidden, wanted[:, step]], -1))
            latent = _sample(posterior, noise[:, step])
            for kept, each in ((hiddens, hidden), (latents, latent), (posteriors, posterior)):
                kept.append(each)
        # what does not feed the next step is computed for all steps at once
        every, posterior = torch.stack(hiddens, 1), torch.stack(posteriors, 1)
        start = self.ridge(context, actions).repeat_interleave(count, 0)
        error = start + self.decoder(torch.cat([every, torch.stack(latents, 1)], -1)) - wanted
        # KL balancing: the prior learns from the posterior 4 times as fast as the other way round
        prior, free = self.prior(every), self.config.free
        towards = gaussian_divergence(posterior.detach(), prior).clamp_min(free).mean()
        back = gaussian_divergence(posterior, prior.detach()).clamp_min(free).mean()
        return error.square().mean(), 0.8 * towards + 0.2 * back


def _scale(raw: Tensor) -> Tensor:
    return F.softplus(raw) + 0.05


def _sample(parameters: Tensor, noise: Tensor) -> Tensor:
    mean, raw = parameters.chunk(2, -1)
    return torch.addcmul(mean, _scale(raw), noise)


def gaussian_divergence(first: Tensor, second: Tensor) -> Tensor:
    """KL divergence of diagonal Gaussians given as means and raw scales side by side, (N,).

    Args:
        first: (N, 2 Z).
        second: (N, 2 Z).
    """
    mean, raw = first.chunk(2, -1)
    other, other_raw = second.chunk(2, -1)
    scale, wide = _scale(raw), _scale(other_raw)
    # KL = sum log(s2 / s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2
    return ((wide / scale).log() + (scale.square() + (mean - other).square()) / (2 * wide.square()) - 0.5).sum(-1)
