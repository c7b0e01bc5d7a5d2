"""The training loop of world models as small steps, one object per process of a data-parallel group.

Every random number of update `n` comes from a generator seeded by (seed, n) and is drawn for the states of all
processes, so a resumed run draws what an unbroken one would have drawn, and n processes what one would have. On CPU a
resumed run gives the same bits. Shape letters: B batch of this process.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from foreact.perception.tensor_folder import TrainingState
from foreact.worldmodels.distributed import Group, shard_model
from foreact.worldmodels.models.batch import Batch, Draws
from foreact.worldmodels.models.trajectory import TrajectoryModel

__all__ = ["OptimisationConfig", "Trainer", "UpdateFigures"]


@dataclass(frozen=True)
class OptimisationConfig:
    """How weights are fitted.

    Attributes:
        updates: Updates in all.
        batch: States per update over all processes.
        futures: True futures of each state in an update, drawn anew; 0 for all.
        learning_rate: Peak of the cosine schedule.
        warmup: Updates until the peak.
        weight_decay: AdamW's.
        outcome_rate: Learning rate of the outcome network, which is small, over that of the rest.
        clip: Largest gradient norm of the outcome network, and of the rest.
        ema: Decay of the weights' moving average, which is what is evaluated.
    """

    updates: int = 500
    batch: int = 64
    futures: int = 0
    learning_rate: float = 2e-3
    warmup: int = 50
    outcome_rate: float = 10.0
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.99

    def __post_init__(self) -> None:
        if min(self.updates, self.batch) < 1 or self.futures < 0:
            raise ValueError(f"optimisation: updates and batch must be positive, got {self}")

    def rate(self, step: int) -> float:
        """Learning rate of update `step`: linear warm-up, then half a cosine to zero."""
        # eta_n = eta min(1, (n + 1) / w) (1 + cos(pi n / N)) / 2
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / self.updates))


@dataclass(frozen=True)
class UpdateFigures:
    """What one update did; losses are means over the states of all processes, the norm is without outcomes."""

    step: int
    loss: float
    terms: dict[str, float]
    gradient_norm: float
    learning_rate: float


class Trainer:
    """Fits a world model on states with their true futures, all of them in every process.

    Args:
        model: On its device; prepared.
        data: All training data.
        config: How.
        seed: Seed of everything random.
        group: This process's place; above one process torch.distributed must be initialised.
        shard: Divide the weights among the processes instead of copying them.
    """

    def __init__(
        self,
        model: TrajectoryModel,
        data: Batch,
        config: OptimisationConfig,
        seed: int,
        group: Group | None = None,
        shard: bool = False,
    ) -> None:
        self.group = group or Group()
        if config.batch % self.group.world:
            raise ValueError(f"train: batch={config.batch} does not divide among {self.group.world} processes")
        self.device = next(model.parameters()).device
        self.config, self.seed, self.sharded = config, seed, shard
        self.data, self.step = data.to(self.device), 0
        self.model, self.average = model, copy.deepcopy(model).requires_grad_(False)
        if shard:
            shard_model(self.model)
            shard_model(self.average)
        self._wrapped = self._wrap()
        outcomes = list(self.model.outcomes.parameters())
        own = {id(each) for each in outcomes}
        rest = [each for each in self.model.parameters() if each.requires_grad and id(each) not in own]
        self._optimiser = torch.optim.AdamW(
            [{"params": rest}, {"params": outcomes}], weight_decay=config.weight_decay, foreach=True
        )

    def update(self) -> UpdateFigures:
        """One step of gradient descent."""
        generator = torch.Generator().manual_seed(self.seed * 2_000_003 + self.step)
        batch = self._draw(generator)
        rate = self.config.rate(self.step)
        rest, outcomes = self._optimiser.param_groups
        rest["lr"], outcomes["lr"] = rate, rate * self.config.outcome_rate
        self._optimiser.zero_grad(set_to_none=True)
        terms: dict[str, Tensor] = self._wrapped(
            batch, Draws(generator, self.device, self.group.rank, self.group.world)
        )
        torch.stack(list(terms.values())).sum().backward()
        # apart, so that the outcome network changes nothing about the futures
        norm, _ = (_full(nn.utils.clip_grad_norm_(each["params"], self.config.clip)) for each in (rest, outcomes))
        self._optimiser.step()
        self._follow()
        self.step += 1
        shown = self._shown(terms)
        return UpdateFigures(self.step, sum(shown.values()), shown, float(norm), rate)

    def capture(self) -> TrainingState:
        """Everything needed to continue; with divided weights every process must call it."""
        tensors = {f"weights.{name}": _full(value) for name, value in self.model.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.averaged().items()}
        for index, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{index}.{name}": _full(value) for name, value in moments.items()}
        return TrainingState(self.step, tensors)

    def averaged(self) -> dict[str, Tensor]:
        """The moving average's state dictionary, whole; with divided weights every process must call it."""
        return {name: _full(value) for name, value in self.average.state_dict().items()}

    @torch.no_grad()
    def restore(self, state: TrainingState) -> None:
        """Continue from a captured state."""
        for name, module in (("weights.", self.model), ("average.", self.average)):
            held, whole = module.state_dict(), _below(state.tensors, name)
            if held.keys() != whole.keys():
                raise ValueError(f"train: the state at update {state.step} is of another model")
            for key, tensor in held.items():
                tensor.copy_(_like(whole[key], tensor))
        parameters = [each for group in self._optimiser.param_groups for each in group["params"]]
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(state.tensors, "optimiser.").items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = _like(value, parameters[int(index)])
        described = self._optimiser.state_dict()
        self._optimiser.load_state_dict({"state": moments, "param_groups": described["param_groups"]})
        self.step = state.step

    def _wrap(self) -> nn.Module:
        if self.group.world == 1 or self.sharded:
            return self.model
        return nn.parallel.DistributedDataParallel(self.model, broadcast_buffers=False)

    def _draw(self, generator: torch.Generator) -> Batch:
        rows = torch.randint(0, len(self.data), (self.config.batch,), generator=generator)
        share = self.config.batch // self.group.world
        mine = self.data.rows(rows[self.group.rank * share : (self.group.rank + 1) * share].to(self.device))
        count = self.data.futures.shape[1]
        if not 0 < self.config.futures < count:
            return mine
        return mine.chosen(torch.randperm(count, generator=generator)[: self.config.futures].to(self.device))

    def _shown(self, terms: dict[str, Tensor]) -> dict[str, float]:
        values = torch.stack([value.detach() for value in terms.values()])
        if self.group.world > 1:
            torch.distributed.all_reduce(values)
            values /= self.group.world
        return dict(zip(terms, values.tolist(), strict=True))

    @torch.no_grad()
    def _follow(self) -> None:
        # the average forgets its random start quickly: d_n = min(d, (1 + n) / (10 + n))
        decay = min(self.config.ema, (1 + self.step) / (10 + self.step))
        for average, weight in zip(self.average.parameters(), self.model.parameters(), strict=True):
            _local(average).lerp_(_local(weight), 1 - decay)


def _is_divided(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")


def _full(tensor: Any) -> Tensor:
    return tensor.full_tensor() if _is_divided(tensor) else tensor


def _local(tensor: Any) -> Tensor:
    return tensor.to_local() if _is_divided(tensor) else tensor


def _like(whole: Tensor, held: Any) -> Tensor:
    """The part of a whole tensor that this process holds; scalars, such as step counts, are whole everywhere."""
    if not _is_divided(held) or whole.ndim == 0:
        return whole.to(held.device) if whole.ndim else whole
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(whole.to(held.device), held.device_mesh, held.placements)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
