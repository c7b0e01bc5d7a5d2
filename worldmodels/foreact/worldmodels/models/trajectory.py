"""What all trained models share: signature, normaliser, checked arguments, and the way from a prediction to `Futures`.

Shape letters: B = states, K = futures, M = true futures, T = control steps, O = observed elements, A = action elements.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from foreact.worldmodels.futures import Futures
from foreact.worldmodels.models.batch import Batch, Draws
from foreact.worldmodels.models.normaliser import Normaliser
from foreact.worldmodels.models.outcomes import OutcomeNetwork, outcome_errors, outcome_targets
from foreact.worldmodels.models.signature import Signature

__all__ = ["Imagined", "ModelConfig", "TrajectoryModel", "even_log_weights"]


class Imagined(NamedTuple):
    """A prediction around one.

    Attributes:
        changes: Of the observation since the context, in memory of its own, (B, K, T, O).
        log_weights: (B, K).
    """

    changes: Tensor
    log_weights: Tensor


class TrajectoryModel(nn.Module, ABC):
    """A world model that is fitted by gradient descent on states with their true futures.

    Args:
        signature: What it is made for.
        futures: K, how many futures it gives of a state.
    """

    def __init__(self, signature: Signature, futures: int) -> None:
        super().__init__()
        self.signature, self.horizon, self.futures = signature, signature.horizon, futures
        self.normaliser = Normaliser(signature)
        self.outcomes = OutcomeNetwork(len(signature.columns))

    def prepare(self, data: Batch) -> None:
        """Take from all training data what is not learned by descent: the normaliser's numbers."""
        self.normaliser.fit(data)

    @abstractmethod
    def predict(self, context: Tensor, actions: Tensor) -> Imagined:
        """Futures around one.

        Args:
            context: Around one, (B, O).
            actions: Around one, (B, T, A).
        """

    @abstractmethod
    def losses(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Terms that are added up, each the mean over the states of this process.

        Args:
            batch: States of this process, in units.
            draws: Random numbers of this update.
        """

    def outcome_loss(self, batch: Batch, changes: Tensor | None = None, nearest: Tensor | None = None) -> Tensor:
        """Error of the outcome network; no gradient of it reaches the futures.

        Args:
            batch: States of this process; from their true futures it learns what follows from what.
            changes: Imagined futures around one, (B, K, T, O); from them it learns how far those are to be believed.
            nearest: The imagined future that each true one is told to, (B, M).
        """
        wanted = outcome_targets(batch, self.normaliser)
        known = outcome_errors(self.outcomes(batch.futures, self.normaliser), wanted).mean()
        if changes is None or nearest is None:
            return known
        told = self.outcomes(self.normaliser.values(batch.context, changes.detach()), self.normaliser)
        told = told.gather(1, nearest[:, :, None, None].expand_as(wanted))
        return known + outcome_errors(told, wanted).mean()

    def forward(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """The losses: what wrappers for several processes call."""
        return self.losses(batch, draws)

    def imagine(self, context: Tensor, actions: Tensor) -> Futures:
        """Futures of some states under chunks of actions.

        Args:
            context: What is seen at the start, in its own units, (B, O).
            actions: Commanded chunks, (B, T, A).

        Raises:
            SignatureError: A shape or a type is wrong.
        """
        self.signature.check(context, actions)
        seen = self.normaliser.context(context)
        imagined = self.predict(seen, self.normaliser.actions(actions))
        # in their place: new memory would take a third of the time
        place = None if imagined.changes.requires_grad else imagined.changes
        values = self.normaliser.values(context, imagined.changes, out=place)
        outcomes, scale = self.outcomes(values, self.normaliser), self.normaliser.reward_scale
        events = torch.sigmoid(outcomes[..., :2])
        return Futures(
            values=values,
            log_weights=imagined.log_weights,
            success=events[..., 0],
            contact=events[..., 1],
            reward=outcomes[..., 2] * scale + self.normaliser.reward_mean,
        )


class ModelConfig(Protocol):
    """Sizes of a model, frozen; `kind` is its name in the registry."""

    @property
    def kind(self) -> str:
        """Name of the model."""
        ...

    def build(self, signature: Signature) -> TrajectoryModel:
        """A model with fresh weights."""
        ...


def even_log_weights(like: Tensor) -> Tensor:
    """Equal probabilities for the K futures of (B, K, ...), (B, K)."""
    count = like.shape[1]
    return like.new_full((len(like), count), -torch.log(torch.tensor(float(count))).item())
