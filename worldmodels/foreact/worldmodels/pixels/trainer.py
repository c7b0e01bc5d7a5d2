"""The training loop of a model of pictures, as small steps; every random number of update `n` follows from (seed, n).

So a resumed run draws what an unbroken one would have drawn, and on CPU both give the same bits. Numbers are drawn for
the states of all processes, of which each takes its share. There are two stages: latents learn; then they stand still,
and what reads them learns.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from foreact.worldmodels.distributed import Group
from foreact.worldmodels.models.batch import Draws
from foreact.worldmodels.pixels.encoder import kinds_left, planes
from foreact.worldmodels.pixels.latents import Encoded, encoded
from foreact.worldmodels.pixels.model import PixelModel
from foreact.worldmodels.pixels.objective import (
    KnownBatch,
    PixelLossWeights,
    batch_of,
    latent_losses,
    outcomes_at_moments,
    reader_losses,
)
from foreact.worldmodels.pixels.pictures import STREAMS, PixelBranches

__all__ = ["PixelOptimisation", "PixelTrainer"]

WEIGHTS, MOMENTS = "weights.", "optimiser."


@dataclass(frozen=True)
class PixelOptimisation:
    """How weights are fitted.

    Attributes:
        updates: Updates of the latents.
        states: States of each of them.
        futures: Pictured futures of each state, drawn anew; latents of one state's futures lie near each other, so
            SIGReg sees more from many states with one future each.
        moments: Pictured moments of each future, drawn anew.
        readers: Updates of what reads latents, once they stand still.
        batch: States of each of them, with all their pictured futures.
        drawn: Frames that the decoder draws in each of them.
        learning_rate: Peak of the cosine schedule of either stage.
        warmup: Updates until the peak.
        weight_decay: AdamW's.
        loss: Weights of the loss.

    Raises:
        ValueError: A number is out of range.
    """

    updates: int = 350
    states: int = 64
    futures: int = 1
    moments: int = 1
    readers: int = 300
    batch: int = 64
    drawn: int = 24
    learning_rate: float = 2e-3
    warmup: int = 50
    weight_decay: float = 1e-4
    loss: PixelLossWeights = field(default_factory=PixelLossWeights)

    def __post_init__(self) -> None:
        counts = (self.updates, self.states, self.futures, self.moments, self.readers, self.batch, self.drawn)
        if min(counts) < 1 or self.learning_rate <= 0 or self.warmup < 0:
            raise ValueError(f"optimisation: expected positive numbers, got {self}")

    @property
    def total(self) -> int:
        """Updates of both stages."""
        return self.updates + self.readers

    def rate(self, step: int) -> float:
        """Learning rate of update `step`: linear warm-up, then half a cosine to zero, in each stage."""
        first = step < self.updates
        step, length = (step, self.updates) if first else (step - self.updates, self.readers)
        # eta_n = eta min(1, (n + 1) / w) (1 + cos(pi n / N)) / 2
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / length))


class PixelTrainer:
    """Fits a model to a set of pictured futures.

    Args:
        model: On its device.
        data: What to learn from.
        config: How.
        seed: Of everything random.
        group: This process's place; above one process torch.distributed must be initialised.

    Raises:
        ValueError: There are fewer pictured futures or moments than an update needs, or its states do not divide.
    """

    def __init__(
        self, model: PixelModel, data: PixelBranches, config: PixelOptimisation, seed: int, group: Group | None = None
    ) -> None:
        self.group = group or Group()
        if config.futures > data.pictured or config.moments > len(model.signature.moments):
            raise ValueError(
                f"futures={config.futures}, moments={config.moments}: the data picture {data.pictured} futures of each "
                f"state at {len(model.signature.moments)} moments"
            )
        for name in ("states", "batch", "drawn"):
            if getattr(config, name) % self.group.world:
                raise ValueError(f"{name}={getattr(config, name)} does not divide among {self.group.world} processes")
        self.model, self.data, self.config, self.seed, self.step = model, data, config, seed, 0
        self.device = model.robot_mean.device
        self._outcomes = outcomes_at_moments(data)
        self._known: Encoded | None = None
        self._optimise()

    def update(self) -> dict[str, float]:
        """One step of gradient descent; the terms of its loss, and their sum as `loss`, over all processes.

        Raises:
            FloatingPointError: The loss is not finite; weights stay as they were.
        """
        reading = self.step >= self.config.updates
        if reading and self._known is None:
            self._stand_still()
        generator = torch.Generator().manual_seed(self.seed * 2_000_003 + self.step)
        self.model.train()
        terms = self._reader_terms(generator) if reading else self._latent_terms(generator)
        loss = torch.stack(list(terms.values())).sum()
        shown = self._shown(terms)
        if not math.isfinite(shown["loss"]):
            raise FloatingPointError(f"update {self.step}: the loss is not finite: {shown}; lower learning_rate")
        for group in self._optimiser.param_groups:
            group["lr"] = self.config.rate(self.step)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self._average_gradients()
        self._optimiser.step()
        self.step += 1
        return shown

    def capture(self) -> dict[str, Tensor]:
        """All tensors that are needed to continue, by name."""
        tensors = {WEIGHTS + name: value.clone() for name, value in self.model.state_dict().items()}
        for index, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"{MOMENTS}{index}.{name}": value.clone() for name, value in moments.items()}
        return tensors

    def restore(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Continue from captured tensors after `step` updates."""
        self.model.load_state_dict(_below(tensors, WEIGHTS))
        self.step, self._known = step, None
        if step > self.config.updates:
            self._known = self._encoded()
        self._optimise()
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(tensors, MOMENTS).items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})

    def _optimise(self) -> None:
        """AdamW of the weights that the present stage fits."""
        model = self.model
        readers = (model.predictor, model.rival, model.decoder)
        modules = readers if self._known is not None else (model.encoder, model.predictor, model.places)
        self._parameters = [each for module in modules for each in module.parameters()]
        self._optimiser = torch.optim.AdamW(
            self._parameters, lr=self.config.learning_rate, weight_decay=self.config.weight_decay, foreach=True
        )

    def _stand_still(self) -> None:
        """From here on latents are what they are: encode all of them, and start over with what reads them."""
        self._known = self._encoded()
        torch.manual_seed(self.seed)
        known = (self._known.context, self._known.actions, self._known.later)
        self.model.start_over(*(each.to(self.device) for each in known))
        self._optimise()

    def _encoded(self) -> Encoded:
        generator = torch.Generator().manual_seed(self.seed)
        kept = kinds_left(len(self.data), len(self.model.config.encoder.kinds), generator)
        return encoded(self.model.eval(), self.data, left=kept)

    def _latent_terms(self, generator: torch.Generator) -> dict[str, Tensor]:
        config, data = self.config, self.data
        states = torch.randint(0, len(data), (config.states,), generator=generator)
        order = torch.rand(config.states, data.pictured, generator=generator).argsort(1)[:, : config.futures]
        moments = torch.randperm(len(self.model.signature.moments), generator=generator)[: config.moments].sort().values
        kept = kinds_left(config.states, len(self.model.config.encoder.kinds), generator)
        rows, futures = self._mine(states).numpy(), self._mine(order).numpy()
        batch = batch_of(data, self._outcomes, rows, futures, moments.numpy()).to(self.device)
        draws = Draws(generator, self.device, self.group.rank, self.group.world)
        return latent_losses(self.model, batch, self._mine(kept), config.loss, draws)

    def _reader_terms(self, generator: torch.Generator) -> dict[str, Tensor]:
        known, config = self._known, self.config
        assert known is not None
        rows = self._mine(torch.randint(0, len(self.data), (config.batch,), generator=generator))
        parts = (known.context, known.actions, known.later, self._outcomes)
        batch = KnownBatch(*(each[rows].to(self.device) for each in parts))
        frames = [
            self._mine(torch.randint(0, count, (config.drawn,), generator=generator))
            for count in (len(self.data), *known.later.shape[1:3])
        ]
        latents = known.later[tuple(frames)].to(self.device)
        place = tuple(each.numpy() for each in frames)
        pictures = planes({name: self.data.later[name][place] for name in STREAMS})
        shown = {name: each.to(self.device) for name, each in pictures.items()}
        return reader_losses(self.model, batch, latents, shown, config.loss)

    def _mine(self, values: Tensor) -> Tensor:
        share = len(values) // self.group.world
        return values[self.group.rank * share : (self.group.rank + 1) * share]

    def _shown(self, terms: Mapping[str, Tensor]) -> dict[str, float]:
        values = torch.stack([each.detach() for each in terms.values()])
        self._average([values])
        return dict(zip(terms, values.tolist(), strict=True)) | {"loss": float(values.sum())}

    def _average_gradients(self) -> None:
        self._average([each.grad for each in self._parameters if each.grad is not None])

    def _average(self, tensors: Sequence[Tensor]) -> None:
        """Make tensors the mean of those of all processes."""
        if self.group.world == 1:
            return
        flat = torch.cat([each.flatten() for each in tensors])
        torch.distributed.all_reduce(flat)
        flat /= self.group.world
        for each, mean in zip(tensors, flat.split([each.numel() for each in tensors]), strict=True):
            each.copy_(mean.view_as(each))


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
