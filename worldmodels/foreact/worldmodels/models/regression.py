"""Baselines with one future: nothing moves, ridge regression in closed form, and a deterministic chunk perceptron.

Shape letters: B = states, T = control steps, O = observed elements, A = action elements.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from foreact.worldmodels.losses.codes import mean_squares
from foreact.worldmodels.losses.energy import energy_score
from foreact.worldmodels.models.batch import Batch, Draws
from foreact.worldmodels.models.layers import perceptron
from foreact.worldmodels.models.predictor import Prediction, PredictorConfig, PredictorSizes, build_predictor
from foreact.worldmodels.models.ridge import Ridge
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.models.trajectory import Imagined, TrajectoryModel, even_log_weights

__all__ = ["CopyConfig", "DeterministicConfig", "LinearConfig"]


@dataclass(frozen=True)
class CopyConfig:
    """Nothing moves; only outcomes are learned.

    Attributes:
        kind: Its name.
    """

    kind: Literal["copy-last"] = "copy-last"

    def build(self, signature: Signature) -> CopyModel:
        """A model with fresh weights."""
        return CopyModel(self, signature)


@dataclass(frozen=True)
class LinearConfig:
    """Ridge regression from context and chunk to all steps.

    Attributes:
        kind: Its name.
        ridge: Penalty, relative to the number of states.
    """

    kind: Literal["linear"] = "linear"
    ridge: float = 1e-3

    def build(self, signature: Signature) -> LinearModel:
        """A model with fresh weights."""
        return LinearModel(self, signature)


@dataclass(frozen=True)
class DeterministicConfig:
    """Encoder and predictor of the multi-future model, with one code.

    Attributes:
        kind: Its name.
        predictor: Sizes; one code.
        latent: Elements that the encoder gives.
        encoder_width: Hidden width of the encoder.
        squares: Weight of squared errors of all elements, beside the mean distance of tracked positions.
    """

    kind: Literal["deterministic"] = "deterministic"
    predictor: PredictorConfig = field(default_factory=lambda: PredictorConfig(codes=1))
    latent: int = 64
    encoder_width: int = 256
    squares: float = 0.1

    def __post_init__(self) -> None:
        if self.predictor.codes != 1:
            raise ValueError(f"deterministic: predictor.codes={self.predictor.codes}; type predictor.codes=1")

    def build(self, signature: Signature) -> DeterministicModel:
        """A model with fresh weights."""
        return DeterministicModel(self, signature)


class CopyModel(TrajectoryModel):
    """The observation stays what it is.

    Args:
        config: Sizes.
        signature: What it is made for.
    """

    def __init__(self, config: CopyConfig | LinearConfig, signature: Signature) -> None:
        super().__init__(signature, 1)
        self.config = config

    def predict(self, context: Tensor, actions: Tensor) -> Imagined:
        """One future around one.

        Args:
            context: Around one, (B, O).
            actions: Around one, (B, T, A).
        """
        changes = self.changes(context, actions)[:, None]
        return Imagined(changes, even_log_weights(changes))

    def changes(self, context: Tensor, actions: Tensor) -> Tensor:
        """What changes, around one, (B, T, O)."""
        return self.normaliser.still.repeat(len(context), 1, 1)

    def losses(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Only of outcomes.

        Args:
            batch: States of this process, in units.
            draws: Not used.
        """
        norm = self.normaliser
        changes = self.changes(norm.context(batch.context), norm.actions(batch.actions))[:, None]
        return {"outcomes": self.outcome_loss(batch, changes, _only(batch))}


class LinearModel(CopyModel):
    """y = W [x, a, 1], W by ridge regression on the mean future of each state.

    Args:
        config: Sizes.
        signature: What it is made for.
    """

    def __init__(self, config: LinearConfig, signature: Signature) -> None:
        super().__init__(config, signature)
        self.ridge = Ridge(signature, config.ridge)

    def prepare(self, data: Batch) -> None:
        """The normaliser's numbers, then the weights."""
        super().prepare(data)
        self.ridge.fit(data, self.normaliser)

    def changes(self, context: Tensor, actions: Tensor) -> Tensor:
        """What changes, around one, (B, T, O)."""
        return self.ridge(context, actions)


class DeterministicModel(TrajectoryModel):
    """One future by the predictor that the multi-future model has.

    Args:
        config: Sizes.
        signature: What it is made for.
    """

    def __init__(self, config: DeterministicConfig, signature: Signature) -> None:
        super().__init__(signature, 1)
        self.config = config
        self.ridge = Ridge(signature)
        elements, steps = len(signature.columns), signature.horizon
        self.encoder = perceptron(elements, config.encoder_width, config.latent)
        sizes = PredictorSizes(config.latent, steps, len(signature.actions), steps, elements)
        self.predictor = build_predictor(config.predictor, sizes, gated=True)

    def prepare(self, data: Batch) -> None:
        """The normaliser's numbers, and the ridge regression that futures start from."""
        super().prepare(data)
        self.ridge.fit(data, self.normaliser)

    def predict(self, context: Tensor, actions: Tensor) -> Imagined:
        """One future around one.

        Args:
            context: Around one, (B, O).
            actions: Around one, (B, T, A).
        """
        start = self.ridge(context, actions)
        prediction: Prediction = self.predictor(self.encoder(context), actions, start, self.normaliser.still)
        return Imagined(prediction.values, F.log_softmax(prediction.logits, -1))

    def losses(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Mean distance (the energy score of one future), squares, outcomes.

        Args:
            batch: States of this process, in units.
            draws: Not used.
        """
        norm, config = self.normaliser, self.config
        imagined = self.predict(norm.context(batch.context), norm.actions(batch.actions))
        targets = norm.targets(batch.context, batch.futures)
        scores = energy_score(norm.positions(imagined.changes), imagined.log_weights, norm.positions(targets))
        squares = mean_squares(imagined.changes, targets)
        return {
            "distance": scores.mean(),
            "squares": config.squares * squares.mean(),
            "outcomes": self.outcome_loss(batch, imagined.changes, _only(batch)),
        }


def _only(batch: Batch) -> Tensor:
    """Every true future is told to the one that is imagined, (B, M)."""
    return torch.zeros(batch.futures.shape[:2], dtype=torch.int64, device=batch.futures.device)
