"""Training of a model of pictures: a set of pictured futures in, a model and its run folder out; killed runs go on."""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import RunFolder
from foreact.worldmodels.branches import BranchError
from foreact.worldmodels.pixels.checkpoint import save_pixel_model
from foreact.worldmodels.pixels.model import PixelModelConfig
from foreact.worldmodels.pixels.pictures import PixelBranches
from foreact.worldmodels.pixels.signature import PixelSignature
from foreact.worldmodels.pixels.trainer import PixelOptimisation, PixelTrainer
from foreact.worldmodels.tensor_folder import TrainingState, read_state, write_state

__all__ = ["PixelTrainConfig", "train_pixels"]


@dataclass(frozen=True)
class PixelTrainConfig:
    """What to train, on what, and how.

    Attributes:
        data: A set of pictured futures whose purpose is `train`.
        out: Run folder; one that holds the same run is continued.
        model: Sizes.
        optimisation: How it is fitted.
        seed: Of weights and sampling.
        device: `cpu`, `cuda` or `cuda:N`; on CPU it takes one thread.
        checkpoint_every: Updates between training states on disk.
        log_every: Updates between lines of metrics.
    """

    data: Path
    out: Path
    model: PixelModelConfig = field(default_factory=PixelModelConfig)
    optimisation: PixelOptimisation = field(default_factory=PixelOptimisation)
    seed: int = 0
    device: str = "cpu"
    checkpoint_every: int = 250
    log_every: int = 10


def train_pixels(config: PixelTrainConfig, progress: ProgressFn = quiet) -> Outcome:
    """Train a model of pictures, or continue the run in `config.out`.

    Args:
        config: What and how.
        progress: Told of each logged update.

    Raises:
        BranchError, SignatureError: The data are missing, damaged, or for another purpose.
        RunError, CheckpointError: The run folder is damaged or of another run.
        ValueError: The device is not there, or the configuration contradicts itself.
        FloatingPointError: The loss is not finite.
    """
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device={config.device}: this machine has no CUDA device for torch; type device=cpu")
    if min(config.checkpoint_every, config.log_every) < 1:
        raise ValueError("checkpoint_every and log_every must be 1 or more")
    data = PixelBranches.open(config.data)
    if data.branches.spec.purpose != "train":
        raise BranchError(f"data={config.data} is for {data.branches.spec.purpose!r}, expected 'train'")
    started, cpu = time.monotonic(), time.process_time()
    if config.device == "cpu":
        torch.set_num_threads(1)
    trainer = _trainer(config, data)
    new = not config.out.exists()
    folder = RunFolder.resume_or_create(config.out, "train-pixels", config, config.seed)
    try:
        _fit(config, trainer, folder, progress)
    except (ValueError, FloatingPointError):
        if new and read_state(config.out) is None:
            shutil.rmtree(config.out)
        raise
    return _outcome(config, trainer, time.monotonic() - started, time.process_time() - cpu)


def _trainer(config: PixelTrainConfig, data: PixelBranches) -> PixelTrainer:
    torch.manual_seed(config.seed)
    model = config.model.build(PixelSignature.of(data))
    model.prepare(data)
    return PixelTrainer(model.to(config.device), data, config.optimisation, config.seed)


def _fit(config: PixelTrainConfig, trainer: PixelTrainer, folder: RunFolder, progress: ProgressFn) -> None:
    state, total = read_state(config.out), config.optimisation.updates
    if state is not None:
        trainer.restore(state.step, state.tensors)
    folder.truncate_after(trainer.step)
    while trainer.step < total:
        terms = trainer.update()
        if trainer.step % config.log_every == 0 or trainer.step == total:
            folder.append_metrics({"step": trainer.step, **terms})
            progress(trainer.step, total, f"train (loss {terms['loss']:.4f})")
        if trainer.step % config.checkpoint_every == 0 or trainer.step == total:
            write_state(config.out, TrainingState(trainer.step, trainer.capture()))
    about = {"trained_on": str(config.data), "updates": trainer.step, "seed": config.seed}
    save_pixel_model(config.out / "model", trainer.model, about)


def _outcome(config: PixelTrainConfig, trainer: PixelTrainer, wall_s: float, cpu_s: float) -> Outcome:
    last = [row["loss"] for row in RunFolder.open(config.out).read_metrics()[-10:]]
    parameters = sum(each.numel() for each in trainer.model.parameters())
    figures = {
        "updates": trainer.step,
        "loss": sum(last) / max(1, len(last)),
        "parameters": parameters,
        "wall_s": round(wall_s, 1),
        "cpu_s": round(cpu_s, 1),
    }
    columns = ("updates", "loss (last 10 logged)", "parameters", "wall [s]", "CPU [s]")
    row = (str(trainer.step), f"{figures['loss']:.4f}", f"{parameters:,}", f"{wall_s:.1f}", f"{cpu_s:.1f}")
    return Outcome(config.out / "model", figures, columns, (row,))
