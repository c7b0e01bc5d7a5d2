"""The training loop as small steps, one object per process of a data-parallel group.

Every random number of update `n` comes from a generator seeded by (seed, n, rank), so a resumed run draws what an
unbroken one would have drawn. On CPU both give the same bits. Shape letters: B batch of this process.
"""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from foreact.vla.checkpoint import TrainingState
from foreact.vla.chunk_policy import ChunkPolicy, TrainingDraws
from foreact.vla.dataset import LANDMARKS, Demonstrations

__all__ = ["OptimisationConfig", "Trainer", "UpdateFigures"]


@dataclass(frozen=True)
class OptimisationConfig:
    """How weights are fitted.

    Attributes:
        updates: Updates in all.
        batch: Samples per update over all processes.
        learning_rate: Peak of the cosine schedule.
        warmup: Updates until the peak.
        weight_decay: AdamW's.
        clip: Largest gradient norm.
        ema: Decay of the weights' moving average, which is what is evaluated.
        shift: Largest random translation of pictures [px].
        landmark_weight: Weight of the loss that teaches attention where landmarks are; 0 for data without them. Only
            the keypoint architecture learns from them.
        state_noise: Standard deviation of noise on the state [its units].
        precision: Of convolutions and matrix products; weights and losses stay float32.
    """

    updates: int = 2400
    batch: int = 64
    learning_rate: float = 1e-3
    warmup: int = 50
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.997
    shift: int = 4
    landmark_weight: float = 0.3
    state_noise: float = 0.002
    precision: Literal["fp32", "bf16"] = "fp32"

    def rate(self, step: int) -> float:
        """Learning rate of update `step`: linear warm-up, then half a cosine to zero."""
        # eta_n = eta min(1, (n + 1) / w) (1 + cos(pi n / N)) / 2
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / self.updates))


@dataclass(frozen=True)
class UpdateFigures:
    """What one update did."""

    step: int
    loss: float
    gradient_norm: float
    learning_rate: float
    data_s: float
    compute_s: float


class Trainer:
    """Fits a policy on demonstrations held by this process.

    Args:
        policy: On its device.
        demonstrations: This process's share.
        config: How.
        seed: Seed of everything random.
        rank: Number of this process.
        world: Number of processes; above 1 torch.distributed must be initialised.
    """

    def __init__(
        self,
        policy: ChunkPolicy,
        demonstrations: Demonstrations,
        config: OptimisationConfig,
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        if config.batch % world:
            raise ValueError(f"train: batch={config.batch} does not divide among {world} processes")
        if config.landmark_weight and policy.uses_landmarks and not demonstrations.landmarks:
            raise ValueError("train: the demonstrations have no landmarks; type optimisation.landmark_weight=0")
        self.policy, self.average = policy, copy.deepcopy(policy)
        self.data, self.config = demonstrations, config
        self.seed, self.rank, self.world = seed, rank, world
        self.step = 0
        self.device = next(policy.parameters()).device
        self._parameters = list(policy.parameters())
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=config.learning_rate, weight_decay=config.weight_decay, foreach=True
        )

    def update(self) -> UpdateFigures:
        """One step of gradient descent."""
        started = time.perf_counter()
        generator = torch.Generator().manual_seed((self.seed * 2_000_003 + self.step) * 64 + self.rank)
        batch = self._draw(generator)
        drawn = time.perf_counter()
        rate = self.config.rate(self.step)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        self._optimiser.zero_grad(set_to_none=True)
        loss = self._loss(batch, generator)
        loss.backward()
        self._average_gradients()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.config.clip)
        self._optimiser.step()
        self._follow()
        self.step += 1
        finished = time.perf_counter()
        return UpdateFigures(self.step, loss.item(), float(norm), rate, drawn - started, finished - drawn)

    def capture(self) -> TrainingState:
        """Everything needed to continue."""
        tensors = {f"weights.{name}": value for name, value in self.policy.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.state_dict().items()}
        for index, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": value for name, value in moments.items()}
        return TrainingState(self.step, tensors)

    def restore(self, state: TrainingState) -> None:
        """Continue from a captured state."""
        self.policy.load_state_dict(_below(state.tensors, "weights."))
        self.average.load_state_dict(_below(state.tensors, "average."))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(state.tensors, "optimiser.").items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = value
        described = self._optimiser.state_dict()
        self._optimiser.load_state_dict({"state": moments, "param_groups": described["param_groups"]})
        self.step = state.step

    def _draw(self, generator: torch.Generator) -> dict[str, Tensor]:
        size = self.config.batch // self.world
        rows = torch.randint(0, len(self.data), (size,), generator=generator)
        batch = {name: values[rows] for name, values in self.data.inputs.items()}
        batch |= {"chunk": self.data.chunk[rows], "mask": self.data.mask[rows]}
        if self.policy.uses_landmarks:
            batch |= {f"{LANDMARKS}.{name}": values[rows] for name, values in self.data.landmarks.items()}
        noise = torch.randn(batch["state"].shape, generator=generator)
        batch["state"] = batch["state"] + self.config.state_noise * noise
        return {name: values.to(self.device, non_blocking=True) for name, values in batch.items()}

    def _loss(self, batch: dict[str, Tensor], generator: torch.Generator) -> Tensor:
        bf16 = self.config.precision == "bf16"
        draws = self._draws(batch["chunk"].shape, generator)
        weight = self.config.landmark_weight if self.policy.uses_landmarks else 0.0
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            return self.policy.loss(batch, draws, weight)

    def _draws(self, shape: torch.Size, generator: torch.Generator) -> TrainingDraws:
        noise = torch.randn(shape, generator=generator).to(self.device)
        moment = torch.rand((shape[0], 1), generator=generator).to(self.device)
        shifts = self._shifts(shape[0], generator)
        delay = self._delay(shape[0], generator)
        noisy = self.policy.prefix and self.policy.prefix_noise
        told = torch.randn(shape, generator=generator).to(self.device) if noisy else None
        return TrainingDraws(noise, moment, shifts, delay, told)

    def _delay(self, size: int, generator: torch.Generator) -> Tensor | None:
        if not self.policy.prefix:
            return None
        return torch.randint(0, self.policy.prefix + 1, (size,), generator=generator).to(self.device)

    def _shifts(self, size: int, generator: torch.Generator) -> list[Tensor] | None:
        limit = self.config.shift
        if limit == 0:
            return None
        drawn = [torch.randint(-limit, limit + 1, (size, 2), generator=generator) for _ in self.policy.contract.cameras]
        return [shift.to(self.device) for shift in drawn]

    def _average_gradients(self) -> None:
        if self.world == 1:
            return
        import torch.distributed as dist

        gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        flat /= self.world
        for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    @torch.no_grad()
    def _follow(self) -> None:
        # the average forgets its random start quickly: d_n = min(d, (1 + n) / (10 + n))
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for average, weight in zip(self.average.parameters(), self._parameters, strict=True):
            average.lerp_(weight, 1 - decay)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
