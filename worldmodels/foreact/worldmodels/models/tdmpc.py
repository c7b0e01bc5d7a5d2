"""Baseline after TD-MPC2: a deterministic latent, step by step, joint embedding with reward and value, no decoder.

Observations are read from latents by a probe whose gradient does not reach them. Several futures come from an ensemble
of dynamics, so they tell what the model does not know, not what the world leaves open. Source: Hansen, Su, Wang 2024,
"TD-MPC2: scalable, robust world models for continuous control", section 3. Shape letters: B = states, E = members,
T = control steps, O = observed elements, Z = latent elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from foreact.worldmodels.losses.codes import mean_squares
from foreact.worldmodels.models.batch import Batch, Draws
from foreact.worldmodels.models.layers import MembersLinear, SimNorm, perceptron
from foreact.worldmodels.models.ridge import Ridge
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.models.trajectory import Imagined, TrajectoryModel, even_log_weights

__all__ = ["EmbeddingConfig"]


@dataclass(frozen=True)
class EmbeddingConfig:
    """Sizes of the joint-embedding model.

    Attributes:
        kind: Its name.
        latent: Z, a multiple of 8.
        width: Hidden width.
        members: E, dynamics that are trained side by side; 1 for one future.
        discount: Of the value, per control step.
        decay: Weight of each later step over that of the one before.
        drawn: True futures of a state whose latents an update aims at.
    """

    kind: Literal["tdmpc2"] = "tdmpc2"
    latent: int = 128
    width: int = 256
    members: int = 4
    discount: float = 0.97
    decay: float = 0.9
    drawn: int = 2

    def __post_init__(self) -> None:
        if self.latent % 8 or min(self.latent, self.width, self.members, self.drawn) < 1:
            raise ValueError(f"tdmpc2: latent={self.latent} must be a multiple of 8, and every size positive")

    def build(self, signature: Signature) -> EmbeddingModel:
        """A model with fresh weights."""
        return EmbeddingModel(self, signature)


class EmbeddingModel(TrajectoryModel):
    """z = h(o); z_{t+1} = d_e(z_t, a_t) for each member e.

    Args:
        config: Sizes.
        signature: What it is made for.
    """

    def __init__(self, config: EmbeddingConfig, signature: Signature) -> None:
        super().__init__(signature, config.members)
        self.config = config
        elements, actions = len(signature.columns), len(signature.actions)
        self.encoder = nn.Sequential(perceptron(elements, config.width, config.latent), SimNorm())
        self.dynamics = nn.Sequential(
            MembersLinear(config.members, config.latent + actions, config.width),
            nn.LayerNorm(config.width),
            nn.Mish(),
            MembersLinear(config.members, config.width, config.latent),
            SimNorm(),
        )
        self.reward = perceptron(config.latent + actions, config.width, 1)
        self.critic = perceptron(config.latent, config.width, 1)
        self.probe = perceptron(config.latent + elements, config.width, elements)
        self.ridge = Ridge(signature)

    def prepare(self, data: Batch) -> None:
        """The normaliser's numbers, and the ridge regression that the probe adds to."""
        super().prepare(data)
        self.ridge.fit(data, self.normaliser)

    def value(self, context: Tensor) -> Tensor:
        """Expected discounted reward from states on, under the behaviour of the training data, (B,).

        Args:
            context: In units, (B, O).
        """
        return self.critic(self.encoder(self.normaliser.context(context))).squeeze(-1)

    def predict(self, context: Tensor, actions: Tensor) -> Imagined:
        """One future of each member, around one.

        Args:
            context: Around one, (B, O).
            actions: Around one, (B, T, A).
        """
        latents = self._rolled(self.encoder(context), actions)
        changes = self._probed(context, actions, latents)
        return Imagined(changes, even_log_weights(changes))

    def losses(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Consistency of latents, reward, value, and the probe; each against a mean over true futures.

        Args:
            batch: States of this process, in units.
            draws: Which futures.
        """
        norm, config = self.normaliser, self.config
        seen, chunk = norm.context(batch.context), norm.actions(batch.actions)
        latent = self.encoder(seen)
        rolled = self._rolled(latent, chunk)
        which = draws.integers(batch.futures.shape[1], len(batch), config.drawn)
        rows = torch.arange(len(batch), device=seen.device)[:, None]
        with torch.no_grad():
            after = self.encoder(norm.context(batch.futures[rows, which])).mean(1, keepdim=True)
        weights = config.decay ** torch.arange(self.horizon, device=seen.device, dtype=seen.dtype)
        weights = weights / weights.mean()
        consistency = ((rolled - after).square().mean(-1) * weights).mean()
        wanted = norm.reward(batch.reward).mean(1, keepdim=True)
        targets = norm.targets(batch.context, batch.futures)
        probed = self._probed(seen, chunk, rolled.detach())
        nearest = mean_squares(probed.detach(), targets).argmin(-1)
        return {
            "consistency": 20 * consistency,
            "reward": 0.1 * (self._rewarded(rolled, chunk) - wanted).square().mean(),
            "value": 0.1 * self._value_error(latent, batch),
            "probe": (probed - targets.mean(1, keepdim=True)).square().mean(),
            "outcomes": self.outcome_loss(batch, probed, nearest),
        }

    def _rolled(self, latent: Tensor, actions: Tensor) -> Tensor:
        """Latents after each step, (B, E, T, Z)."""
        current = latent.expand(self.config.members, -1, -1)
        steps = []
        for step in range(self.horizon):
            commanded = actions[:, step].expand(self.config.members, -1, -1)
            current = self.dynamics(torch.cat([current, commanded], -1))
            steps.append(current)
        return torch.stack(steps, 2).transpose(0, 1)

    def _probed(self, context: Tensor, actions: Tensor, latents: Tensor) -> Tensor:
        seen = context[:, None, None].expand(*latents.shape[:3], -1)
        return self.ridge(context, actions)[:, None] + self.probe(torch.cat([latents, seen], -1))

    def _rewarded(self, latents: Tensor, actions: Tensor) -> Tensor:
        commanded = actions[:, None].expand(*latents.shape[:3], -1)
        return self.reward(torch.cat([latents, commanded], -1)).squeeze(-1)

    def _value_error(self, latent: Tensor, batch: Batch) -> Tensor:
        discount, steps = self.config.discount, self.horizon
        discounts = discount ** torch.arange(steps, device=latent.device, dtype=latent.dtype)
        with torch.no_grad():
            after = self.value(batch.futures[:, :, -1].flatten(0, 1)).view(batch.futures.shape[:2])
            wanted = (batch.reward @ discounts + discount**steps * after).mean(1)
        scale = self.normaliser.reward_scale * steps
        return ((self.critic(latent).squeeze(-1) - wanted) / scale).square().mean()
