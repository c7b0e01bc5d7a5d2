"""The training loop of a model of pictures, as small steps; every random number of update `n` follows from (seed, n).

So a resumed run draws what an unbroken one would have drawn, and on CPU both give the same bits.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from foreact.worldmodels.pixels.model import PixelModel
from foreact.worldmodels.pixels.objective import PixelLossWeights, batch_of, pixel_losses
from foreact.worldmodels.pixels.pictures import PixelBranches

__all__ = ["PixelOptimisation", "PixelTrainer"]

WEIGHTS, MOMENTS = "weights.", "optimiser."


@dataclass(frozen=True)
class PixelOptimisation:
    """How weights are fitted.

    Attributes:
        updates: Updates in all.
        states: States of an update.
        futures: Pictured futures of each of them, drawn anew for each update; latents of one state's
            futures lie near each other, so SIGReg sees more from many states with one future each.
        learning_rate: Peak of the cosine schedule.
        warmup: Updates until the peak.
        weight_decay: AdamW's.
        loss: Weights of the loss.

    Raises:
        ValueError: A number is out of range.
    """

    updates: int = 1500
    states: int = 32
    futures: int = 1
    learning_rate: float = 2e-3
    warmup: int = 50
    weight_decay: float = 1e-4
    loss: PixelLossWeights = field(default_factory=PixelLossWeights)

    def __post_init__(self) -> None:
        if min(self.updates, self.states, self.futures) < 1 or self.learning_rate <= 0 or self.warmup < 0:
            raise ValueError(f"optimisation: expected positive numbers, got {self}")

    def rate(self, step: int) -> float:
        """Learning rate of update `step`: linear warm-up, then half a cosine to zero."""
        # eta_n = eta min(1, (n + 1) / w) (1 + cos(pi n / N)) / 2
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / self.updates))


class PixelTrainer:
    """Fits a model to a set of pictured futures.

    Args:
        model: On its device.
        data: What to learn from.
        config: How.
        seed: Of everything random.

    Raises:
        ValueError: There are fewer pictured futures than an update needs.
    """

    def __init__(self, model: PixelModel, data: PixelBranches, config: PixelOptimisation, seed: int) -> None:
        if config.futures > data.pictured:
            raise ValueError(f"futures={config.futures}: the data picture {data.pictured} futures of each state")
        self.model, self.data, self.config, self.seed, self.step = model, data, config, seed, 0
        self.device = model.robot_mean.device
        self._optimiser = torch.optim.AdamW(
            model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, foreach=True
        )

    def update(self) -> dict[str, float]:
        """One step of gradient descent; the terms of its loss, and their sum as `loss`.

        Raises:
            FloatingPointError: The loss is not finite; weights stay as they were.
        """
        generator = torch.Generator().manual_seed(self.seed * 2_000_003 + self.step)
        states = torch.randint(0, len(self.data), (self.config.states,), generator=generator).numpy()
        futures = torch.randperm(self.data.pictured, generator=generator)[: self.config.futures].numpy()
        batch = batch_of(self.data, states, np.sort(futures)).to(self.device)
        self.model.train()
        terms = pixel_losses(self.model, batch, self.config.loss, generator)
        loss = torch.stack(list(terms.values())).sum()
        if not torch.isfinite(loss):
            found = {name: float(value.detach()) for name, value in terms.items()}
            raise FloatingPointError(f"update {self.step}: the loss is not finite: {found}; lower learning_rate")
        for group in self._optimiser.param_groups:
            group["lr"] = self.config.rate(self.step)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._optimiser.step()
        self.step += 1
        return {name: float(value.detach()) for name, value in terms.items()} | {"loss": float(loss.detach())}

    def capture(self) -> dict[str, Tensor]:
        """All tensors that are needed to continue, by name."""
        tensors = {WEIGHTS + name: value.clone() for name, value in self.model.state_dict().items()}
        for index, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"{MOMENTS}{index}.{name}": value.clone() for name, value in moments.items()}
        return tensors

    def restore(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Continue from captured tensors after `step` updates."""
        self.model.load_state_dict(_below(tensors, WEIGHTS))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, MOMENTS).items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.step = step


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
