"""The multi-future model: K learned codes with probabilities, all steps of all codes in one forward pass.

Shape letters: B = states, K = codes, N = samples of each code, M = true futures, T = control steps, O = observed
elements, A = action elements, Z = latent elements, R = rank of the residual.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foreact.perception.sigreg import random_lines, sigreg
from foreact.worldmodels.losses.codes import assign, code_likelihood, mean_squares, winner_loss
from foreact.worldmodels.losses.energy import energy_score
from foreact.worldmodels.models.batch import Batch, Draws
from foreact.worldmodels.models.ensemble import MeanEnsemble
from foreact.worldmodels.models.layers import perceptron
from foreact.worldmodels.models.predictor import (
    Prediction,
    PredictorConfig,
    PredictorSizes,
    build_predictor,
)
from foreact.worldmodels.models.ridge import Ridge
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.models.trajectory import Imagined, TrajectoryModel

__all__ = ["CodesConfig", "CodesModel", "LossWeights"]


@dataclass(frozen=True)
class LossWeights:
    """What the terms of the loss are multiplied by; 0 leaves a term out.

    Attributes:
        energy: Energy score of tracked positions, over all futures of a state.
        winner: Relaxed winner-takes-all on all elements.
        relaxation: Share of a future that does not pull at the code nearest to it.
        likelihood: -log p of the code nearest to a future.
        sigreg: Latents look like N(0, I).
        value: Value of the state.
        uncertainty: Fit of the ensemble; it shares no weights with the rest.
    """

    energy: float = 1.0
    winner: float = 3.0
    relaxation: float = 0.05
    likelihood: float = 0.1
    sigreg: float = 0.01
    value: float = 0.1
    uncertainty: float = 0.1


@dataclass(frozen=True)
class CodesConfig:
    """Sizes of the multi-future model; the defaults are for tens of CPU-seconds.

    Attributes:
        kind: Its name.
        predictor: Sizes of the predictor.
        latent: Z.
        encoder_width: Hidden width of the encoder.
        residual: R, rank of a Gaussian residual around each code; 0 for none.
        samples: N, futures drawn of each code; above 1 only with a residual.
        members: Networks of the ensemble that tells epistemic uncertainty.
        member_width: Their hidden width.
        discount: Of the value, per control step.
        loss: Weights of the loss.
    """

    kind: Literal["codes"] = "codes"
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    latent: int = 64
    encoder_width: int = 256
    residual: int = 0
    samples: int = 1
    members: int = 4
    member_width: int = 32
    discount: float = 0.97
    loss: LossWeights = field(default_factory=LossWeights)

    def __post_init__(self) -> None:
        if self.samples < 1 or self.residual < 0 or (self.samples > 1) != (self.residual > 0):
            raise ValueError(
                f"codes: residual={self.residual} with samples={self.samples}; "
                "type residual=0 samples=1, or both larger"
            )

    def build(self, signature: Signature) -> CodesModel:
        """A model with fresh weights."""
        return CodesModel(self, signature)


class CodesModel(TrajectoryModel):
    """Encoder, chunk-parallel predictor, and heads.

    Args:
        config: Sizes.
        signature: What it is made for.
    """

    def __init__(self, config: CodesConfig, signature: Signature) -> None:
        super().__init__(signature, config.predictor.codes * config.samples)
        self.config = config
        elements, actions, steps = len(signature.columns), len(signature.actions), signature.horizon
        sizes = PredictorSizes(config.latent, steps, actions, steps, elements)
        self.ridge = Ridge(signature)
        self.encoder = perceptron(elements, config.encoder_width, config.latent)
        self.predictor = build_predictor(config.predictor, sizes, gated=True)
        self.critic = perceptron(config.latent, 64, 1)
        tracked = steps * len(signature.tracked)
        self.ensemble = MeanEnsemble(elements + steps * actions, tracked, config.members, config.member_width)
        self.residual = _Residual(config, sizes) if config.residual else None

    def prepare(self, data: Batch) -> None:
        """The normaliser's numbers, and the ridge regression that futures start from."""
        super().prepare(data)
        self.ridge.fit(data, self.normaliser)

    def encode(self, context: Tensor) -> Tensor:
        """Latents of observations in units, (B, Z)."""
        return self.encoder(self.normaliser.context(context))

    def value(self, context: Tensor) -> Tensor:
        """Expected discounted reward from states on, under the behaviour of the training data, (B,).

        Args:
            context: In units, (B, O).
        """
        return self.critic(self.encode(context)).squeeze(-1)

    def uncertainty(self, context: Tensor, actions: Tensor) -> Tensor:
        """How far the ensemble disagrees about the mean tracked future [m], (B,).

        Args:
            context: In units, (B, O).
            actions: In units, (B, T, A).
        """
        self.signature.check(context, actions)
        seen, chunk = self.normaliser.context(context), self.normaliser.actions(actions)
        return self.ensemble.disagreement(torch.cat([seen, chunk.flatten(1)], 1)) * self.normaliser.unit

    def predict(self, context: Tensor, actions: Tensor) -> Imagined:
        """Futures around one; the residual's noise is the same in every call.

        Args:
            context: Around one, (B, O).
            actions: Around one, (B, T, A).
        """
        prediction = self._predicted(self.encoder(context), context, actions)
        noise = None
        if self.residual is not None:
            generator = torch.Generator().manual_seed(0)
            shape = (1, self.config.predictor.codes, self.config.samples, self.config.residual)
            noise = torch.randn(shape, generator=generator).to(context)
        return self._imagined(prediction, noise)

    def losses(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Weighted terms, by name.

        Args:
            batch: States of this process, in units.
            draws: Random numbers of this update.
        """
        weights = self.config.loss
        seen, chunk = self.normaliser.context(batch.context), self.normaliser.actions(batch.actions)
        latent = self.encoder(seen)
        prediction = self._predicted(latent, seen, chunk)
        targets = self.normaliser.targets(batch.context, batch.futures)
        terms = self._futures_terms(prediction, batch, targets, draws)
        if weights.sigreg:
            every = draws.gather(latent)
            lines = random_lines(latent.shape[1], 64, draws.generator)
            terms["sigreg"] = weights.sigreg * sigreg(every, lines) / len(every)
        if weights.value:
            terms["value"] = weights.value * self._value_error(latent, batch)
        if weights.uncertainty:
            inputs = torch.cat([seen, chunk.flatten(1)], 1)
            mean = self.normaliser.positions(targets.mean(1, keepdim=True)).flatten(1)
            terms["uncertainty"] = weights.uncertainty * self.ensemble.loss(inputs, mean)
        return terms

    def _predicted(self, latent: Tensor, context: Tensor, actions: Tensor) -> Prediction:
        return self.predictor(latent, actions, self.ridge(context, actions), self.normaliser.still)

    def _futures_terms(self, prediction: Prediction, batch: Batch, targets: Tensor, draws: Draws) -> dict[str, Tensor]:
        weights, norm = self.config.loss, self.normaliser
        log_weights = F.log_softmax(prediction.logits, -1)
        true = norm.positions(targets)
        near = mean_squares(norm.positions(prediction.values), true)
        distances = near + mean_squares(prediction.values, targets)
        shares = assign(distances, weights.relaxation)
        terms = {
            "winner": weights.winner * winner_loss(distances, shares),
            "likelihood": weights.likelihood * code_likelihood(log_weights, distances),
        }
        if weights.energy:
            drawn = self._imagined(prediction, self._noise(len(targets), draws))
            scores = energy_score(norm.positions(drawn.changes), drawn.log_weights, true)
            terms["energy"] = weights.energy * scores.mean()
        terms["outcomes"] = self.outcome_loss(batch, prediction.values, distances.argmin(-1))
        return terms

    def _noise(self, states: int, draws: Draws) -> Tensor | None:
        config = self.config
        if self.residual is None:
            return None
        return draws.normal(states, config.predictor.codes, config.samples, config.residual)

    def _imagined(self, prediction: Prediction, noise: Tensor | None) -> Imagined:
        log_weights = F.log_softmax(prediction.logits, -1)
        if self.residual is None or noise is None:
            return Imagined(prediction.values, log_weights)
        count = self.config.samples
        changes = prediction.values[:, :, None] + self.residual(prediction.hidden, noise)
        even = torch.log(torch.tensor(float(count))).item()
        return Imagined(changes.flatten(1, 2), log_weights.repeat_interleave(count, 1) - even)

    def _value_error(self, latent: Tensor, batch: Batch) -> Tensor:
        # V(s_0) = mean_m sum_t gamma^t r_t + gamma^T V(s_T), the right side without gradient
        steps = self.horizon
        discounts = self.config.discount ** torch.arange(steps, device=latent.device, dtype=latent.dtype)
        with torch.no_grad():
            after = self.value(batch.futures[:, :, -1].flatten(0, 1)).view(batch.futures.shape[:2])
            wanted = (batch.reward @ discounts + self.config.discount**steps * after).mean(1)
        scale = self.normaliser.reward_scale * steps
        return ((self.critic(latent).squeeze(-1) - wanted) / scale).square().mean()


class _Residual(nn.Module):
    """Gaussian noise around each code, of low rank over steps and elements."""

    def __init__(self, config: CodesConfig, sizes: PredictorSizes) -> None:
        super().__init__()
        codes, rank = config.predictor.codes, config.residual
        self.shape = (codes, rank)
        self.loadings = nn.Parameter(torch.randn(codes, rank, sizes.steps * sizes.elements) / 10)
        self.size = nn.Linear(config.predictor.width, codes * rank)
        self.steps = sizes.steps

    def forward(self, hidden: Tensor, noise: Tensor) -> Tensor:
        """(B, K, N, T, O) from (B, W) and (B or 1, K, N, R)."""
        sizes = F.softplus(self.size(hidden)).view(-1, *self.shape)
        # r = sum_r eps_r s_kr(h) L_kr
        drawn = torch.einsum("bknr,bkr,krp->bknp", noise.expand(len(hidden), -1, -1, -1), sizes, self.loadings)
        return drawn.unflatten(-1, (self.steps, -1))
