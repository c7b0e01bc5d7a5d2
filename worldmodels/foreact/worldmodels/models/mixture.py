"""Baseline: a mixture density network over whole trajectories, K Gaussians fitted by likelihood.

Source: Bishop 1994, "Mixture density networks". Shape letters: B = states, K = components, M = true futures,
T = control steps, O = observed elements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foreact.worldmodels.models.batch import Batch, Draws
from foreact.worldmodels.models.layers import perceptron
from foreact.worldmodels.models.predictor import Prediction, PredictorConfig, PredictorSizes, build_predictor
from foreact.worldmodels.models.ridge import Ridge
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.models.trajectory import Imagined, TrajectoryModel

__all__ = ["MixtureConfig", "mixture_likelihood"]


@dataclass(frozen=True)
class MixtureConfig:
    """Sizes of the mixture.

    Attributes:
        kind: Its name.
        predictor: Sizes; its codes are the components' means.
        latent: Elements that the encoder gives.
        encoder_width: Hidden width of the encoder.
    """

    kind: Literal["mdn"] = "mdn"
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    latent: int = 64
    encoder_width: int = 256

    def build(self, signature: Signature) -> MixtureModel:
        """A model with fresh weights."""
        return MixtureModel(self, signature)


class MixtureModel(TrajectoryModel):
    """The futures it gives are the components' means, with their probabilities.

    Args:
        config: Sizes.
        signature: What it is made for.
    """

    def __init__(self, config: MixtureConfig, signature: Signature) -> None:
        super().__init__(signature, config.predictor.codes)
        elements, steps = len(signature.columns), signature.horizon
        self.ridge = Ridge(signature)
        self.encoder = perceptron(elements, config.encoder_width, config.latent)
        sizes = PredictorSizes(config.latent, steps, len(signature.actions), steps, elements)
        self.predictor = build_predictor(config.predictor, sizes, gated=True)
        # one deviation per component, step and element, scaled by what is seen
        self.deviation = nn.Parameter(torch.zeros(config.predictor.codes, steps, elements))
        self.size = nn.Linear(config.predictor.width, config.predictor.codes)

    def prepare(self, data: Batch) -> None:
        """The normaliser's numbers, and the ridge regression that futures start from."""
        super().prepare(data)
        self.ridge.fit(data, self.normaliser)

    def predict(self, context: Tensor, actions: Tensor) -> Imagined:
        """Means of the components around one.

        Args:
            context: Around one, (B, O).
            actions: Around one, (B, T, A).
        """
        prediction = self._predicted(context, actions)
        return Imagined(prediction.values, F.log_softmax(prediction.logits, -1))

    def losses(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Negative log-likelihood per element, and errors of outcomes, told by the component responsible for a future.

        Args:
            batch: States of this process, in units.
            draws: Not used.
        """
        norm = self.normaliser
        seen, chunk = norm.context(batch.context), norm.actions(batch.actions)
        targets = norm.targets(batch.context, batch.futures)
        prediction = self._predicted(seen, chunk)
        log_scale = (self.deviation + self.size(prediction.hidden)[..., None, None]).clamp(-4, 4)
        likelihood = mixture_likelihood(prediction.values, log_scale, F.log_softmax(prediction.logits, -1), targets)
        whole = torch.logsumexp(likelihood, -1).mean() / targets[0, 0].numel()
        return {"likelihood": -whole, "outcomes": self.outcome_loss(batch, prediction.values, likelihood.argmax(-1))}

    def _predicted(self, context: Tensor, actions: Tensor) -> Prediction:
        start = self.ridge(context, actions)
        return self.predictor(self.encoder(context), actions, start, self.normaliser.still)


def mixture_likelihood(means: Tensor, log_scale: Tensor, log_weights: Tensor, truth: Tensor) -> Tensor:
    """Log p of true futures together with each component, constants left out, (B, M, K); diagonal Gaussians.

    Args:
        means: (B, K, T, O).
        log_scale: Logarithms of deviations, (B, K, T, O).
        log_weights: (B, K).
        truth: (B, M, T, O).
    """
    precision = (-2 * log_scale).exp().flatten(2)
    centre, true = means.flatten(2), truth.flatten(2)
    # sum (y - x)^2 / s^2 = sum y^2 / s^2 - 2 sum y x / s^2 + sum x^2 / s^2
    squares = true.square() @ precision.transpose(1, 2) - 2 * true @ (precision * centre).transpose(1, 2)
    squares = squares + (precision * centre.square()).sum(-1)[:, None]
    return log_weights[:, None] - squares.clamp_min(0) / 2 - log_scale.flatten(2).sum(-1)[:, None]
