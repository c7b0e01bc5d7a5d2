"""Fitting of a listening model in small steps; every random number of update `n` follows from (seed, n).

So a resumed run draws what an unbroken one would have drawn, and on CPU both give the same bits.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from foreact.episodes.outcome import JSON, ProgressFn
from foreact.episodes.runfolder import RunFolder
from foreact.perception.tensor_folder import TrainingState, read_state, write_state

__all__ = ["Fitter", "FittingConfig", "check_device", "fit", "fitted"]

WEIGHTS, MOMENTS = "weights.", "optimiser."

Losses = Callable[[torch.Generator], dict[str, Tensor]]


@dataclass(frozen=True)
class FittingConfig:
    """How weights are fitted.

    Attributes:
        updates: Updates in all.
        batch: Clips of each.
        learning_rate: Peak of the cosine schedule.
        warmup: Updates until the peak.
        weight_decay: AdamW's.
        clip: Largest gradient norm.

    Raises:
        ValueError: A number is out of range.
    """

    updates: int = 1500
    batch: int = 16
    learning_rate: float = 2e-3
    warmup: int = 100
    weight_decay: float = 1e-2
    clip: float = 1.0

    def __post_init__(self) -> None:
        if min(self.updates, self.batch) < 1 or self.learning_rate <= 0 or self.warmup < 0 or self.clip <= 0:
            raise ValueError(f"fitting: expected positive numbers, got {self}")

    def rate(self, step: int) -> float:
        """Learning rate of update `step`: linear warm-up, then half a cosine to zero."""
        # eta_n = eta min(1, (n + 1) / w) (1 + cos(pi n / N)) / 2
        warm = min(1.0, (step + 1) / max(1, self.warmup))
        return self.learning_rate * warm * 0.5 * (1 + math.cos(math.pi * step / self.updates))


class Fitter:
    """Fits a model to losses that are drawn anew for each update.

    Args:
        model: On its device.
        losses: Terms of the loss, from a generator.
        config: How.
        seed: Of everything random.
    """

    def __init__(self, model: nn.Module, losses: Losses, config: FittingConfig, seed: int) -> None:
        self.model, self.config, self.seed, self.step = model, config, seed, 0
        self._losses = losses
        self._optimiser = torch.optim.AdamW(model.parameters(), weight_decay=config.weight_decay, foreach=True)

    def update(self) -> dict[str, float]:
        """One step of gradient descent; the terms of its loss, and their sum as `loss`.

        Raises:
            FloatingPointError: The loss is not finite; weights stay as they were.
        """
        self.model.train()
        terms = self._losses(torch.Generator().manual_seed(self.seed * 2_000_003 + self.step))
        loss = torch.stack(list(terms.values())).sum()
        shown = {name: value.item() for name, value in terms.items()} | {"loss": loss.item()}
        if not math.isfinite(shown["loss"]):
            raise FloatingPointError(f"update {self.step}: the loss is not finite: {shown}; lower learning_rate")
        for group in self._optimiser.param_groups:
            group["lr"] = self.config.rate(self.step)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.config.clip)
        self._optimiser.step()
        self.step += 1
        return shown

    def capture(self) -> TrainingState:
        """Everything needed to continue."""
        tensors = {WEIGHTS + name: value.clone() for name, value in self.model.state_dict().items()}
        for index, moments in self._optimiser.state_dict()["state"].items():
            tensors |= {f"{MOMENTS}{index}.{name}": value.clone() for name, value in moments.items()}
        return TrainingState(self.step, tensors)

    def restore(self, state: TrainingState) -> None:
        """Continue from a captured state."""
        self.model.load_state_dict(_below(state.tensors, WEIGHTS))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _below(state.tensors, MOMENTS).items():
            index, key = name.split(".", 1)
            moments.setdefault(int(index), {})[key] = value
        groups = self._optimiser.state_dict()["param_groups"]
        self._optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.step = state.step


def fit(fitter: Fitter, run: RunFolder, log_every: int, checkpoint_every: int, progress: ProgressFn) -> None:
    """Update until the end, from the newest state in the run folder if it has one.

    Args:
        fitter: What to update.
        run: Gets metrics and training states.
        log_every: Updates between lines of metrics.
        checkpoint_every: Updates between training states.
        progress: Told of each logged update.

    Raises:
        CheckpointError: The newest state is damaged.
        FloatingPointError: The loss is not finite.
    """
    total = fitter.config.updates
    if (state := read_state(run.path)) is not None:
        fitter.restore(state)
    run.truncate_after(fitter.step)
    while fitter.step < total:
        terms = fitter.update()
        if fitter.step % log_every == 0 or fitter.step == total:
            run.append_metrics({"step": fitter.step, **terms})
            progress(fitter.step, total, f"train (loss {terms['loss']:.4f})")
        if fitter.step % checkpoint_every == 0 or fitter.step == total:
            write_state(run.path, fitter.capture())


def fitted(out: Path, updates: int, job: Callable[[], None]) -> dict[str, JSON]:
    """Do a training; a new run folder without a training state goes again if the user has something to mend.

    Args:
        out: The run folder.
        updates: Of the training.
        job: What to do.

    Returns:
        `updates`, `loss` (mean of the last 10 logged), `wall_s`, `cpu_s`.
    """
    started, cpu, new = time.monotonic(), time.process_time(), not out.exists()
    try:
        job()
    except (ValueError, FloatingPointError):
        if new and out.exists() and read_state(out) is None:
            shutil.rmtree(out)
        raise
    rows = RunFolder.open(out).read_metrics()[-10:]
    return {
        "updates": updates,
        "loss": sum(row["loss"] for row in rows) / max(1, len(rows)),
        "wall_s": round(time.monotonic() - started, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
    }


def check_device(device: str, log_every: int, checkpoint_every: int) -> None:
    """Refuse a device that is not there and intervals that are none; on CPU take one thread.

    Raises:
        ValueError: One of these.
    """
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device={device}: this machine has no CUDA device for torch; type device=cpu")
    if min(log_every, checkpoint_every) < 1:
        raise ValueError("log_every and checkpoint_every must be 1 or more")
    if device == "cpu":
        torch.set_num_threads(1)


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
