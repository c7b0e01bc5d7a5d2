"""Baseline: flow matching over whole trajectories, sampled by a few Euler steps.

Source: Lipman et al. 2023, "Flow matching for generative modeling", section 4.1 with straight paths. The network tells
where a path ends, which says the same as its velocity and needs no copy of the noise to pass through. Shape letters:
B = states, K = samples, M = true futures, T = control steps, O = observed elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from foreact.worldmodels.models.batch import Batch, Draws
from foreact.worldmodels.models.layers import AdaptiveBlock, perceptron
from foreact.worldmodels.models.ridge import Ridge
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.models.trajectory import Imagined, TrajectoryModel, even_log_weights

__all__ = ["FlowConfig"]


@dataclass(frozen=True)
class FlowConfig:
    """Sizes of the flow.

    Attributes:
        kind: Its name.
        width: Hidden width.
        depth: Blocks.
        samples: K.
        steps: Euler steps.
        drawn: True futures of a state that an update trains on.
    """

    kind: Literal["flow"] = "flow"
    width: int = 192
    depth: int = 3
    samples: int = 8
    steps: int = 5
    drawn: int = 4

    def __post_init__(self) -> None:
        if min(self.width, self.samples, self.steps, self.drawn) < 1:
            raise ValueError(f"flow: sizes must be positive, got {self}")

    def build(self, signature: Signature) -> FlowModel:
        """A model with fresh weights."""
        return FlowModel(self, signature)


class FlowModel(TrajectoryModel):
    """Noise becomes trajectories along learned paths; tracked positions are drawn with all else.

    Args:
        config: Sizes.
        signature: What it is made for.
    """

    def __init__(self, config: FlowConfig, signature: Signature) -> None:
        super().__init__(signature, config.samples)
        self.config = config
        self.shape = (signature.horizon, len(signature.columns))
        inputs = len(signature.columns) + signature.horizon * len(signature.actions)
        size = self.shape[0] * self.shape[1]
        self.condition = perceptron(inputs, config.width, config.width)
        self.moment = perceptron(2, config.width, config.width)
        self.input = nn.Linear(size, config.width)
        self.blocks = nn.ModuleList(AdaptiveBlock(config.width, config.width) for _ in range(config.depth))
        self.output = nn.Linear(config.width, size)
        self.ridge = Ridge(signature)

    def prepare(self, data: Batch) -> None:
        """The normaliser's numbers, and the ridge regression that ends are told from."""
        super().prepare(data)
        self.ridge.fit(data, self.normaliser)

    def predict(self, context: Tensor, actions: Tensor) -> Imagined:
        """Samples around one; the noise they start from is the same in every call.

        Args:
            context: Around one, (B, O).
            actions: Around one, (B, T, A).
        """
        count, steps = self.config.samples, self.config.steps
        condition, start = self._condition(context, actions)[:, None], self._start(context, actions)
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(len(context), count, self.shape[0] * self.shape[1], generator=generator)
        values = noise.to(context)
        for step in range(steps):
            moment = values.new_full((1, 1, 1), step / steps)
            # x_{t + 1/n} = x_t + v(x_t, t) / n, v(x_t, t) = (y(x_t, t) - x_t) / (1 - t)
            values = torch.lerp(values, self._end(values, moment, condition, start), 1 / (steps - step))
        changes = values.unflatten(-1, self.shape)
        return Imagined(changes, even_log_weights(changes))

    def losses(self, batch: Batch, draws: Draws) -> dict[str, Tensor]:
        """Squared error of the ends of straight paths, and the error of outcomes on true futures.

        Args:
            batch: States of this process, in units.
            draws: Noise, moments, and which futures.
        """
        norm, count = self.normaliser, self.config.drawn
        seen, chunk = norm.context(batch.context), norm.actions(batch.actions)
        targets = norm.targets(batch.context, batch.futures)
        which = draws.integers(targets.shape[1], len(targets), count)
        end = targets.flatten(2).gather(1, which[:, :, None].expand(-1, -1, targets[0, 0].numel()))
        noise = draws.normal(*end.shape)
        moment = draws.uniform(len(end), count, 1)
        # x_t = (1 - t) noise + t y
        on_way, condition = torch.lerp(noise, end, moment), self._condition(seen, chunk)[:, None]
        told = self._end(on_way, moment, condition, self._start(seen, chunk))
        return {"flow": (told - end).square().mean(), "outcomes": self.outcome_loss(batch)}

    def _condition(self, context: Tensor, actions: Tensor) -> Tensor:
        return self.condition(torch.cat([context, actions.flatten(1)], 1))

    def _start(self, context: Tensor, actions: Tensor) -> Tensor:
        return self.ridge(context, actions).flatten(1)[:, None]

    def _end(self, values: Tensor, moment: Tensor, condition: Tensor, start: Tensor) -> Tensor:
        """E[y | x_t], (B, K, T O)."""
        told = nn.functional.silu(condition + self.moment(torch.cat([moment, moment.square()], -1)))
        hidden = self.input(values) + condition
        for block in self.blocks:
            hidden = block(hidden, told)
        return start + self.output(hidden)
