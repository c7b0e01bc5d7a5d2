"""Training of a model of pictures: a set of pictured futures in, a model and its run folder out; killed runs go on."""

from __future__ import annotations

import functools
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import RunFolder
from foreact.perception.tensor_folder import TrainingState, read_state, write_state
from foreact.worldmodels.branches import BranchError
from foreact.worldmodels.distributed import Group, joined_group, run_ranks, torchrun_group
from foreact.worldmodels.pixels.checkpoint import load_pixel_model, save_pixel_model
from foreact.worldmodels.pixels.model import PixelModelConfig
from foreact.worldmodels.pixels.pictures import PixelBranches
from foreact.worldmodels.pixels.signature import PixelSignature
from foreact.worldmodels.pixels.trainer import PixelOptimisation, PixelTrainer

__all__ = ["PixelTrainConfig", "train_pixels"]


@dataclass(frozen=True)
class PixelTrainConfig:
    """What to train, on what, and how.

    Attributes:
        data: A set of pictured futures whose purpose is `train`.
        out: Run folder; one that holds the same run is continued.
        worldmodel: Sizes.
        optimisation: How it is fitted.
        seed: Of weights and sampling.
        device: `cpu`, `cuda` or `cuda:N`; on CPU each process takes one thread.
        processes: Data-parallel processes; under `torchrun` the number it was told.
        checkpoint_every: Updates between training states on disk.
        log_every: Updates between lines of metrics.
    """

    data: Path
    out: Path
    worldmodel: PixelModelConfig = field(default_factory=PixelModelConfig)
    optimisation: PixelOptimisation = field(default_factory=PixelOptimisation)
    seed: int = 0
    device: str = "cpu"
    processes: int = 1
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
    _check(config)
    group = torchrun_group()
    if group is not None and group.world != config.processes:
        raise ValueError(f"torchrun started {group.world} processes; type processes={group.world}")
    started, cpu, new = time.monotonic(), time.process_time(), not config.out.exists()
    job = functools.partial(_train_process, config)
    try:
        if group is not None:
            with joined_group(group, config.device):
                job(group, progress if group.rank == 0 else quiet)
                torch.distributed.barrier()  # all tell the figures that rank 0 wrote
        elif config.processes == 1:
            job(Group(), progress)
        else:
            run_ranks(job, config.processes, config.device, progress)
    except (ValueError, FloatingPointError):
        if new and config.out.exists() and read_state(config.out) is None:
            shutil.rmtree(config.out)
        raise
    return _outcome(config, time.monotonic() - started, time.process_time() - cpu)


def _check(config: PixelTrainConfig) -> None:
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device={config.device}: this machine has no CUDA device for torch; type device=cpu")
    if min(config.processes, config.checkpoint_every, config.log_every) < 1:
        raise ValueError("processes, checkpoint_every and log_every must be 1 or more")


def _train_process(config: PixelTrainConfig, group: Group, progress: ProgressFn) -> None:
    if config.device == "cpu":
        torch.set_num_threads(1)
    data = PixelBranches.open(config.data)
    if data.branches.spec.purpose != "train":
        raise BranchError(f"data={config.data} is for {data.branches.spec.purpose!r}, expected 'train'")
    torch.manual_seed(config.seed)
    model = config.worldmodel.build(PixelSignature.of(data))
    model.prepare(data)
    trainer = PixelTrainer(model.to(group.device(config.device)), data, config.optimisation, config.seed, group)
    folder = None
    if group.rank == 0:
        folder = RunFolder.resume_or_create(config.out, "train-pixels", config, config.seed)
    if group.world > 1:
        torch.distributed.barrier()
    _fit(config, trainer, folder, progress)


def _fit(config: PixelTrainConfig, trainer: PixelTrainer, folder: RunFolder | None, progress: ProgressFn) -> None:
    """Updates, and on rank 0, which has the run folder, metrics, training states and the final model."""
    state, total = read_state(config.out), config.optimisation.total
    if state is not None:
        trainer.restore(state.step, state.tensors)
    if folder is not None:
        folder.truncate_after(trainer.step)
    while trainer.step < total:
        terms = trainer.update()
        if folder is None:
            continue
        if trainer.step % config.log_every == 0 or trainer.step == total:
            folder.append_metrics({"step": trainer.step, **terms})
            progress(trainer.step, total, f"train (loss {terms['loss']:.4f})")
        if trainer.step % config.checkpoint_every == 0 or trainer.step == total:
            write_state(config.out, TrainingState(trainer.step, trainer.capture()))
    if folder is not None:
        about = {"trained_on": str(config.data), "updates": trainer.step, "seed": config.seed}
        save_pixel_model(config.out / "model", trainer.model, about)


def _outcome(config: PixelTrainConfig, wall_s: float, cpu_s: float) -> Outcome:
    last = [row["loss"] for row in RunFolder.open(config.out).read_metrics()[-10:]]
    parameters = sum(each.numel() for each in load_pixel_model(config.out).parameters())
    updates = config.optimisation.total
    figures = {
        "updates": updates,
        "loss": sum(last) / max(1, len(last)),
        "parameters": parameters,
        "wall_s": round(wall_s, 1),
        "cpu_s": round(cpu_s, 1),
    }
    columns = ("updates", "loss (last 10 logged)", "parameters", "wall [s]", "CPU [s]")
    row = (str(updates), f"{figures['loss']:.4f}", f"{parameters:,}", f"{wall_s:.1f}", f"{cpu_s:.1f}")
    return Outcome(config.out / "model", figures, columns, (row,))
