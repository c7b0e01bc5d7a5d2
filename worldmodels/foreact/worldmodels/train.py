"""Training of a world model: sets of true futures in, a model and its run folder out; killed runs continue."""

from __future__ import annotations

import functools
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import torch

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import RunFolder
from foreact.perception.tensor_folder import read_state, write_state
from foreact.worldmodels.checkpoint import save_model
from foreact.worldmodels.distributed import Group, joined_group, run_ranks, torchrun_group
from foreact.worldmodels.models.batch import gather_sets
from foreact.worldmodels.models.codes import CodesConfig
from foreact.worldmodels.models.flow import FlowConfig
from foreact.worldmodels.models.mixture import MixtureConfig
from foreact.worldmodels.models.recurrent import RecurrentConfig
from foreact.worldmodels.models.regression import CopyConfig, DeterministicConfig, LinearConfig
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.models.tdmpc import EmbeddingConfig
from foreact.worldmodels.sets import load_sets
from foreact.worldmodels.trainer import OptimisationConfig, Trainer, UpdateFigures

__all__ = ["AnyModelConfig", "WorldModelConfig", "train_worldmodel"]

AnyModelConfig = (
    CodesConfig
    | CopyConfig
    | LinearConfig
    | DeterministicConfig
    | MixtureConfig
    | FlowConfig
    | RecurrentConfig
    | EmbeddingConfig
)
"""All models, told apart by their `kind`; without one it is the first."""


@dataclass(frozen=True)
class WorldModelConfig:
    """What to train, on what, and how.

    Attributes:
        data: A set of true futures, or a folder with sets of one task; their purpose is `train`.
        out: Run folder; one that holds the same run is continued.
        worldmodel: Which model, and its sizes.
        optimisation: How it is fitted.
        seed: Of weights and sampling.
        device: `cpu`, `cuda` or `cuda:N`.
        processes: Data-parallel processes, each with one thread on CPU; under `torchrun` the number it was told.
        shard: Divide weights among the processes (FSDP2), for models that one device cannot hold.
        checkpoint_every: Updates between training states on disk.
        log_every: Updates between lines of metrics.
    """

    data: Path
    out: Path
    worldmodel: AnyModelConfig = field(default_factory=CodesConfig)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    seed: int = 0
    device: str = "cpu"
    processes: int = 1
    shard: bool = False
    checkpoint_every: int = 500
    log_every: int = 20


def train_worldmodel(config: WorldModelConfig, progress: ProgressFn = quiet) -> Outcome:
    """Train a world model, or continue the run in `config.out`.

    Args:
        config: What and how.
        progress: Told of each logged update.

    Raises:
        BranchError, SignatureError: Data are missing, damaged, or do not fit each other.
        RunError, CheckpointError: The run folder is damaged or of another run.
        ValueError: The device is not there, or the configuration contradicts itself.
    """
    _check(config)
    group = torchrun_group()
    if group is not None and group.world != config.processes:
        raise ValueError(f"torchrun started {group.world} processes; type processes={group.world}")
    started, cpu = time.monotonic(), time.process_time()
    if group is not None:
        with joined_group(group, config.device):
            _prepared(config, group)
            _train_process(config, group, progress if group.rank == 0 else quiet)
            torch.distributed.barrier()  # all tell the figures that rank 0 wrote
    elif config.processes == 1 and not config.shard:
        new = _prepared(config, Group())
        _undone(config, new, functools.partial(_train_process, config, Group(), progress))
    else:
        new = _prepared(config, Group())
        job = functools.partial(_train_process, config)
        _undone(config, new, functools.partial(run_ranks, job, config.processes, config.device, progress))
    return _outcome(config, time.monotonic() - started, time.process_time() - cpu)


def _check(config: WorldModelConfig) -> None:
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device={config.device}: this machine has no CUDA device for torch; type device=cpu")
    if min(config.processes, config.checkpoint_every, config.log_every) < 1:
        raise ValueError("processes, checkpoint_every and log_every must be 1 or more")
    if config.optimisation.batch % config.processes:
        raise ValueError(f"optimisation.batch={config.optimisation.batch} does not divide among {config.processes}")


def _prepared(config: WorldModelConfig, group: Group) -> bool:
    """Make or open the run folder, by rank 0 alone; whether it is new."""
    new = not config.out.exists()
    if group.rank == 0:
        # what does not fit is refused before there is a run folder
        config.worldmodel.build(Signature.of(load_sets(config.data)[0]))
        RunFolder.resume_or_create(config.out, "train-worldmodel", config, config.seed)
    if group.world > 1:
        torch.distributed.barrier()
    return new


def _undone(config: WorldModelConfig, new: bool, job: functools.partial[None]) -> None:
    """Do a job; a new run folder without a training state goes again if the user has something to mend."""
    try:
        job()
    except ValueError:
        if new and read_state(config.out) is None:
            shutil.rmtree(config.out)
        raise


def _train_process(config: WorldModelConfig, group: Group, progress: ProgressFn) -> None:
    if config.device == "cpu":
        torch.set_num_threads(1)  # small tensors: a second process uses the second core better than a second thread
    sets = load_sets(config.data)
    signature, data = Signature.of(sets[0]), gather_sets(sets)
    torch.manual_seed(config.seed)
    model = config.worldmodel.build(signature)
    model.prepare(data)
    device = group.device(config.device)
    trainer = Trainer(model.to(device), data, config.optimisation, config.seed, group, config.shard)
    _Fit(config, signature, trainer, progress).run()


class _Fit:
    """The loop of one process: updates, and on rank 0 metrics, checkpoints and the final model."""

    def __init__(self, config: WorldModelConfig, signature: Signature, trainer: Trainer, progress: ProgressFn) -> None:
        self.config, self.signature, self.trainer, self.progress = config, signature, trainer, progress
        self.folder = RunFolder.open(config.out) if trainer.group.rank == 0 else None
        state = read_state(config.out)
        if state is not None:
            trainer.restore(state)
        if self.folder is not None:
            self.folder.truncate_after(trainer.step)

    def run(self) -> None:
        total = self.config.optimisation.updates
        while self.trainer.step < total:
            figures = self.trainer.update()
            if figures.step % self.config.log_every == 0 or figures.step == total:
                self._log(figures)
            if figures.step % self.config.checkpoint_every == 0 or figures.step == total:
                state = self.trainer.capture()
                if self.folder is not None:
                    write_state(self.config.out, state)
        self._finish()

    def _log(self, figures: UpdateFigures) -> None:
        if self.folder is None:
            return
        terms = {f"loss.{name}": value for name, value in figures.terms.items()}
        row = {"step": figures.step, "loss": figures.loss, "gradient_norm": figures.gradient_norm, **terms}
        self.folder.append_metrics(row | {"learning_rate": figures.learning_rate})
        self.progress(figures.step, self.config.optimisation.updates, f"train (loss {figures.loss:.4f})")

    def _finish(self) -> None:
        tensors = self.trainer.averaged()
        if self.folder is None:
            return
        config = self.config
        about = {"trained_on": str(config.data), "updates": self.trainer.step, "seed": config.seed}
        save_model(config.out / "model", config.worldmodel, self.signature, tensors, about)


def _outcome(config: WorldModelConfig, wall_s: float, cpu_s: float) -> Outcome:
    rows = RunFolder.open(config.out).read_metrics()
    last = [row["loss"] for row in rows[-10:]]
    model = config.worldmodel.build(Signature.of(load_sets(config.data)[0]))
    parameters = sum(each.numel() for each in model.parameters())
    figures = {
        "model": config.worldmodel.kind,
        "updates": config.optimisation.updates,
        "loss": sum(last) / max(1, len(last)),
        "parameters": parameters,
        "wall_s": round(wall_s, 1),
        "cpu_s": round(cpu_s, 1),
    }
    columns = ("model", "updates", "loss (last 10 logged)", "parameters", "wall [s]")
    row = (
        config.worldmodel.kind,
        str(figures["updates"]),
        f"{figures['loss']:.4f}",
        f"{parameters:,}",
        f"{wall_s:.1f}",
    )
    return Outcome(config.out / "model", figures, columns, (row,))
