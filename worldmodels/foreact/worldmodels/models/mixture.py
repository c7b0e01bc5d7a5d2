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
from foreact.worldmodels.models.outcomes import OutcomeHead, outcome_targets
from foreact.worldmodels.models.predictor import Prediction, PredictorConfig, PredictorSizes, build_predictor
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
        outcome_width: Hidden width of the outcome head.
    """

    kind: Literal["mdn"] = "mdn"
    predictor: PredictorConfig = field(default_factory=PredictorConfig)
    latent: int = 64
    encoder_width: int = 256
    outcome_width: int = 64

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
        self.encoder = perceptron(elements, config.encoder_width, config.latent)
        sizes = PredictorSizes(config.latent, steps, len(signature.actions), steps, elements)
        self.predictor = build_predictor(config.predictor, sizes)
        # one deviation per component, step and element, scaled by what is seen
        self.deviation = nn.Parameter(torch.zeros(config.predictor.codes, steps, elements))
        self.size = nn.Linear(config.predictor.width, config.predictor.codes)
        self.outcomes = OutcomeHead(signature, config.outcome_width)

    def predict(self, context: Tensor, actions: Tensor) -> Imagined:
        """Means of the components around one.

        Args:
            context: Around one, (B, O).
            actions: Around one, (B, T, A).
        """
        prediction: Prediction = self.predictor(self.encoder(context), actions)
        outcomes = self.outcomes(context, actions, prediction.values)
        return Imagined(prediction.values, F.log_softmax(prediction.logits, -1), outcomes)

    def losses(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Negative log-likelihood per element, and that of the outcome head on true futures.

        Args:
            batch: States of this process, in units.
            draws: Not used.
        """
        norm = self.normaliser
        seen, chunk = norm.context(batch.context), norm.actions(batch.actions)
        targets = norm.targets(batch.context, batch.futures)
        prediction: Prediction = self.predictor(self.encoder(seen), chunk)
        log_scale = (self.deviation + self.size(prediction.hidden)[..., None, None]).clamp(-4, 4)
        likelihood = mixture_likelihood(prediction.values, log_scale, F.log_softmax(prediction.logits, -1), targets)
        outcomes = self.outcomes.loss(seen, chunk, targets, outcome_targets(batch, norm))
        return {"likelihood": -likelihood.mean() / targets[0, 0].numel(), "outcomes": 0.1 * outcomes}


def mixture_likelihood(means: Tensor, log_scale: Tensor, log_weights: Tensor, truth: Tensor) -> Tensor:
    """Log p of true futures under a mixture of diagonal Gaussians, constants left out, (B, M).

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
    component = log_weights[:, None] - squares.clamp_min(0) / 2 - log_scale.flatten(2).sum(-1)[:, None]
    return torch.logsumexp(component, -1)
