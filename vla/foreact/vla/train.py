"""`foreact train`: demonstrations in, a policy and its run folder out; killed runs continue bit for bit."""

from __future__ import annotations

import dataclasses
import functools
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from foreact.episodes.contract import PolicyContract
from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import RunFolder
from foreact.episodes.store import EpisodeStore
from foreact.vla.checkpoint import read_state, save_policy, write_state
from foreact.vla.dataset import load_demonstrations
from foreact.vla.mlp import MLPConfig
from foreact.vla.policy import PolicyConfig
from foreact.vla.trainer import OptimisationConfig, Trainer, UpdateFigures
from foreact.vla.transformer import TransformerConfig
from foreact.worldmodels.distributed import Group, run_ranks

__all__ = ["AnyPolicyConfig", "TrainConfig", "train"]

AnyPolicyConfig = PolicyConfig | TransformerConfig | MLPConfig
"""The architectures, told apart by their `architecture`; without one it is the first."""


@dataclass(frozen=True)
class TrainConfig:
    """What to train, on what, and how.

    Attributes:
        data: Episode store.
        out: Run folder; one that holds the same run is continued.
        policy: Architecture and sizes of the policy.
        optimisation: How it is fitted.
        streams: Camera streams the policy may see, such as `rgb` and `depth`; none for a policy without cameras.
        language: Whether the policy is told the instruction.
        seed: Of weights, sampling, augmentation.
        device: `cpu`, `cuda` or `cuda:N`.
        processes: Data-parallel processes, each with one thread on CPU; the result depends on their number.
        checkpoint_every: Updates between training states on disk.
        log_every: Updates between lines of metrics.
    """

    data: Path
    out: Path
    policy: AnyPolicyConfig = field(default_factory=PolicyConfig)
    optimisation: OptimisationConfig = field(default_factory=OptimisationConfig)
    streams: tuple[str, ...] = ("rgb", "depth")
    language: bool = True
    seed: int = 0
    device: str = "cpu"
    processes: int = 2
    checkpoint_every: int = 500
    log_every: int = 20


def train(config: TrainConfig, progress: ProgressFn = quiet) -> Outcome:
    """Train a policy, or continue the run in `config.out`.

    Args:
        config: What and how.
        progress: Told of each logged update.

    Raises:
        StoreError, RunError, CheckpointError: Data or run folder are missing, damaged or of another run.
        ValueError: The device is not there, or the configuration contradicts itself.
    """
    _check_device(config.device)
    store = EpisodeStore.open(config.data)
    contract = _policy_contract(store.contract, config)
    config.policy.build(contract)  # a policy that does not fit is refused before there is a run folder
    if not len(store):
        load_demonstrations(store, [], store.contract)
    new = not config.out.exists()
    RunFolder.resume_or_create(config.out, "train", config, config.seed)
    started = time.monotonic()
    try:
        if config.processes == 1:
            _train_process(config, Group(), progress)
        else:
            run_ranks(functools.partial(_train_process, config), config.processes, config.device, progress)
    except ValueError:
        if new and read_state(config.out) is None:
            shutil.rmtree(config.out)
        raise
    return _outcome(config, time.monotonic() - started)


def _check_device(device: str) -> None:
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device={device}: this machine has no CUDA device for torch; type device=cpu")


def _policy_contract(recorded: PolicyContract, config: TrainConfig) -> PolicyContract:
    """The recorded contract, narrowed to what the policy is given."""
    streams, cameras = config.streams, []
    for camera in recorded.cameras if streams else ():
        kept = tuple(stream for stream in camera.streams if stream in streams)
        if not kept:
            raise ValueError(f"streams={list(streams)}: camera {camera.name} has only {list(camera.streams)}")
        cameras.append(dataclasses.replace(camera, streams=kept))
    language = recorded.language if config.language else None
    return dataclasses.replace(recorded, cameras=tuple(cameras), language=language)


def _train_process(config: TrainConfig, group: Group, progress: ProgressFn) -> None:
    if config.device == "cpu":
        torch.set_num_threads(1)  # small tensors: a second process uses the second core better than a second thread
    store = EpisodeStore.open(config.data)
    contract = _policy_contract(store.contract, config)
    demonstrations = load_demonstrations(store, store.keys()[group.rank :: group.world], contract, progress)
    torch.manual_seed(config.seed)
    trainer = Trainer(
        config.policy.build(contract).to(group.device(config.device)),
        demonstrations,
        config.optimisation,
        config.seed,
        group.rank,
        group.world,
    )
    _Fit(config, trainer, RunFolder.open(config.out) if group.rank == 0 else None, progress).run()


class _Fit:
    """The loop of one process: updates, and on rank 0 metrics, checkpoints and the final policy."""

    def __init__(self, config: TrainConfig, trainer: Trainer, folder: RunFolder | None, progress: ProgressFn) -> None:
        self.config, self.trainer, self.folder, self.progress = config, trainer, folder, progress
        state = read_state(config.out)
        if state is not None:
            trainer.restore(state)
        self.writer = self._tensorboard() if folder is not None else None
        self._clock = (time.process_time(), 0.0)

    def run(self) -> None:
        total = self.config.optimisation.updates
        while self.trainer.step < total:
            figures = self.trainer.update()
            if self.folder is None:
                continue
            if figures.step % self.config.log_every == 0 or figures.step == total:
                self._log(figures)
            if figures.step % self.config.checkpoint_every == 0 or figures.step == total:
                write_state(self.config.out, self.trainer.capture())
        if self.folder is not None:
            self._finish()

    def _tensorboard(self) -> Any:  # noqa: ANN401
        from torch.utils.tensorboard import SummaryWriter

        assert self.folder is not None
        self.folder.truncate_after(self.trainer.step)
        return SummaryWriter(str(self.config.out / "tensorboard"), purge_step=self.trainer.step + 1)

    def _log(self, figures: UpdateFigures) -> None:
        assert self.folder is not None and self.writer is not None
        values = dataclasses.asdict(figures)
        share = figures.data_s / max(figures.data_s + figures.compute_s, 1e-9)
        self.folder.append_metrics({name: values[name] for name in ("step", "loss", "gradient_norm", "learning_rate")})
        for name in ("loss", "gradient_norm", "learning_rate"):
            self.writer.add_scalar(f"train/{name}", values[name], figures.step)
        text = f"train (loss {figures.loss:.4f}, data wait {share:.0%})"
        self.progress(figures.step, self.config.optimisation.updates, text)

    def _finish(self) -> None:
        self.writer.close()  # pyright: ignore[reportOptionalMemberAccess]
        about = {"trained_on": str(self.config.data), "updates": self.trainer.step, "seed": self.config.seed}
        save_policy(self.config.out / "policy", self.trainer.average, about)


def _outcome(config: TrainConfig, wall_s: float) -> Outcome:
    rows = RunFolder.open(config.out).read_metrics()
    last = [row["loss"] for row in rows[-10:]]
    contract = _policy_contract(EpisodeStore.open(config.data).contract, config)
    parameters = sum(each.numel() for each in config.policy.build(contract).parameters())
    figures = {
        "updates": config.optimisation.updates,
        "loss": sum(last) / max(1, len(last)),
        "parameters": parameters,
        "wall_s": round(wall_s, 1),
    }
    columns = ("updates", "loss (last 10 logged)", "parameters", "wall [s]")
    row = (str(figures["updates"]), f"{figures['loss']:.4f}", f"{parameters:,}", f"{wall_s:.1f}")
    return Outcome(config.out / "policy", figures, columns, (row,))
