"""The training loop of encoders as small steps; every random number of update `n` follows from (seed, n).

So a resumed run draws what an unbroken one would have drawn, and on CPU both give the same bits.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from foreact.perception.omnivorous.learners import Learner
from foreact.perception.omnivorous.memory import PictureMemory
from foreact.perception.omnivorous.model import OmnivorousEncoder

__all__ = ["EncoderOptimisation", "EncoderTrainer"]

WEIGHTS, AVERAGE, MOMENTS = "weights.", "average.", "optimiser."


@dataclass(frozen=True)
class EncoderOptimisation:
    """How weights are fitted.

    Attributes:
        updates: In all.
        batch: Scenes of each, 4 or more.
        learning_rate: Peak of the cycle.
        rising: Part of the updates until the peak.
        weight_decay: AdamW's, of matrices.
        clip: Largest norm of the gradient.
        ema: Decay of the encoder's moving average, which is then what is kept; 0 keeps the encoder itself.
        zoom: Least edge of a window that is cut from the pictures of a scene, over theirs.
        precision: Of matrix products: float32, or bfloat16 where the processor is fast at it.

    Raises:
        ValueError: A number is out of range.
    """

    updates: int = 1500
    batch: int = 64
    learning_rate: float = 1.5e-3
    rising: float = 0.2
    weight_decay: float = 0.02
    clip: float = 1.0
    ema: float = 0.0
    zoom: float = 0.7
    precision: Literal["float32", "bfloat16"] = "bfloat16"

    def __post_init__(self) -> None:
        if self.updates < 1 or self.batch < 4 or self.learning_rate <= 0 or self.clip <= 0:
            raise ValueError(f"optimisation: expected positive numbers and a batch of 4 or more, got {self}")
        if not (0 < self.rising < 1 and 0 <= self.ema < 1 and 0 < self.zoom <= 1 and self.weight_decay >= 0):
            raise ValueError(f"optimisation: rising, ema, zoom or weight_decay is out of range: {self}")

    def rate(self, step: int) -> float:
        """Learning rate of update `step`: from 1/25 of the peak up to it, and down to 0, each half a cosine."""
        # one cycle (Smith and Topin 2018), r = updates until the peak: eta (1 + 12 (1 - cos(pi n / r))) / 25, then
        # eta (1 + cos(pi (n - r) / (N - r))) / 2
        top = self.rising * self.updates
        if step < top:
            return self.learning_rate * (1 + 12 * (1 - math.cos(math.pi * step / top))) / 25
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - top) / (self.updates - top)))


class EncoderTrainer:
    """Fits a learner to a set of pictures.

    Args:
        learner: On its device.
        data: What it learns from, which goes to the same device.
        config: How.
        seed: Of everything random.

    Raises:
        ValueError: Nothing of the learner can learn.
    """

    def __init__(self, learner: Learner, data: PictureMemory, config: EncoderOptimisation, seed: int) -> None:
        self.learner, self.data, self.config, self.seed, self.step = learner, data, config, seed, 0
        self._parameters = [each for each in learner.parameters() if each.requires_grad]
        if not self._parameters:
            raise ValueError("train: everything is frozen, so nothing can learn; lower trunk.frozen")
        self._average = copy.deepcopy(learner.encoder).requires_grad_(False) if config.ema else None
        decayed = [each for each in self._parameters if each.ndim > 1]
        rest = [each for each in self._parameters if each.ndim <= 1]
        groups = [{"params": decayed}, {"params": rest, "weight_decay": 0.0}]
        self._optimiser = torch.optim.AdamW(
            [group for group in groups if group["params"]], lr=config.learning_rate, betas=(0.9, 0.98),
            weight_decay=config.weight_decay, foreach=True,
        )  # fmt: skip

    def update(self) -> dict[str, float]:
        """One step of gradient descent; the terms of its loss, their sum as `loss`, norm of the gradient and rate.

        Raises:
            FloatingPointError: The loss is not finite; weights stay as they were.
        """
        config = self.config
        generator = torch.Generator().manual_seed(self.seed * 2_000_003 + self.step)
        batch = self.data.draw(config.batch, config.zoom, generator)
        self.learner.train()
        with torch.autocast(self.data.device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
            terms = self.learner.losses(batch, self.step / config.updates, generator)
        loss = torch.stack([term.float() for term in terms.values()]).sum()
        if not math.isfinite(value := loss.item()):
            told = {name: term.item() for name, term in terms.items()}
            raise FloatingPointError(f"update {self.step}: the loss is not finite: {told}; lower learning_rate")
        rate = config.rate(self.step)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, config.clip)
        self._optimiser.step()
        self._follow()
        self.step += 1
        shown = {f"loss.{name}": term.item() for name, term in terms.items()}
        return {"loss": value, **shown, "gradient_norm": float(norm), "learning_rate": rate}

    @property
    def result(self) -> OmnivorousEncoder:
        """What training is for: the moving average of the encoder if there is one, else the encoder."""
        return self._average or self.learner.encoder

    def capture(self) -> dict[str, Tensor]:
        """All tensors that are needed to continue, by name."""
        tensors = {WEIGHTS + name: value.clone() for name, value in self.learner.state_dict().items()}
        if self._average is not None:
            tensors |= {AVERAGE + name: value.clone() for name, value in self._average.state_dict().items()}
        for index, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"{MOMENTS}{index}.{name}": value.clone() for name, value in moments.items()}
        return tensors

    def restore(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Continue from captured tensors after `step` updates."""
        self.learner.load_state_dict(_below(tensors, WEIGHTS))
        if self._average is not None:
            self._average.load_state_dict(_below(tensors, AVERAGE))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, MOMENTS).items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.step = step

    @torch.no_grad()
    def _follow(self) -> None:
        if self._average is None:
            return
        # the average forgets its random start quickly: d_n = min(d, (1 + n) / (10 + n))
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for average, weight in zip(self._average.parameters(), self.learner.encoder.parameters(), strict=True):
            average.lerp_(weight, 1 - decay)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
