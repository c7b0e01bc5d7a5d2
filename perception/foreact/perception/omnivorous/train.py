"""Training of encoders: a set of aligned pictures in, an encoder and its run folder out; killed runs go on."""

from __future__ import annotations

import dataclasses
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch

from foreact.episodes.aligned import AlignedPictures
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import RunFolder
from foreact.perception.omnivorous.checkpoint import load_encoder, read_about, save_encoder
from foreact.perception.omnivorous.learners import AlignConfig, AlignLearner, Learner, TeachConfig, TeacherLearner
from foreact.perception.omnivorous.memory import PictureMemory
from foreact.perception.omnivorous.model import EncoderConfig, OmnivorousEncoder
from foreact.perception.omnivorous.retrieval import recalls, seen_scenes
from foreact.perception.omnivorous.trainer import EncoderOptimisation, EncoderTrainer
from foreact.perception.omnivorous.trunk import Trunk
from foreact.perception.tensor_folder import TrainingState, read_state, write_state

__all__ = ["EncoderTrainConfig", "train_encoder"]


@dataclass(frozen=True)
class EncoderTrainConfig:
    """What to train, on what, and how.

    Attributes:
        data: A set of aligned pictures.
        out: Run folder; one that holds the same run is continued.
        encoder: Sizes.
        stage: `teacher` learns from colours alone; `align` makes all kinds of pictures alike.
        teacher: A run of the stage `teacher` of the same sizes, which `align` begins from and is anchored to. Without
            one a named trunk is its own teacher, and any other has none: SIGReg and decoding take its place.
        teaching: What a teacher learns.
        objective: How kinds are aligned.
        optimisation: How weights are fitted.
        watch: A held-out set whose retrieval from grey maps is logged on the way.
        watch_every: Updates between that.
        seed: Of weights and sampling.
        device: `cpu`, `cuda` or `cuda:N`; on CPU one thread.
        checkpoint_every: Updates between training states on disk.
        log_every: Updates between lines of metrics.
    """

    data: Path
    out: Path
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    stage: Literal["teacher", "align"] = "align"
    teacher: Path | None = None
    teaching: TeachConfig = field(default_factory=TeachConfig)
    objective: AlignConfig = field(default_factory=AlignConfig)
    optimisation: EncoderOptimisation = field(default_factory=EncoderOptimisation)
    watch: Path | None = None
    watch_every: int = 100
    seed: int = 0
    device: str = "cpu"
    checkpoint_every: int = 250
    log_every: int = 10


def train_encoder(config: EncoderTrainConfig, progress: ProgressFn = quiet) -> Outcome:
    """Train an encoder, or continue the run in `config.out`.

    Args:
        config: What and how.
        progress: Told of each logged update.

    Raises:
        AlignedError: The data are missing or damaged.
        RunError, CheckpointError: The run folder or the teacher is damaged or of another run.
        WeightsError: Weights of a named trunk are not on this machine.
        ValueError: The device is not there, or the configuration contradicts itself.
        FloatingPointError: The loss is not finite.
    """
    _check(config)
    started, cpu, new = time.monotonic(), time.process_time(), not config.out.exists()
    if config.device == "cpu":
        torch.set_num_threads(1)
    try:
        _train(config, progress)
    except (ValueError, FloatingPointError):
        if new and config.out.exists() and read_state(config.out) is None:
            shutil.rmtree(config.out)
        raise
    return _outcome(config, time.monotonic() - started, time.process_time() - cpu)


def _check(config: EncoderTrainConfig) -> None:
    if config.device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device={config.device}: this machine has no CUDA device for torch; type device=cpu")
    if min(config.checkpoint_every, config.log_every, config.watch_every) < 1:
        raise ValueError("checkpoint_every, log_every and watch_every must be 1 or more")
    if config.stage == "teacher" and config.teacher is not None:
        raise ValueError("stage=teacher takes no teacher; type stage=align")
    if config.stage == "teacher" and config.encoder.trunk.frozen:
        raise ValueError(f"stage=teacher with trunk.frozen={config.encoder.trunk.frozen}: type encoder.trunk.frozen=0")


def _train(config: EncoderTrainConfig, progress: ProgressFn) -> None:
    data = PictureMemory(AlignedPictures.open(config.data), config.device)
    watched = None if config.watch is None else PictureMemory(AlignedPictures.open(config.watch), config.device)
    torch.manual_seed(config.seed)
    learner = _learner(config, data).to(config.device)
    trainer = EncoderTrainer(learner, data, config.optimisation, config.seed)
    folder = RunFolder.resume_or_create(config.out, "train-encoder", config, config.seed)
    if (state := read_state(config.out)) is not None:
        trainer.restore(state.step, state.tensors)
    folder.truncate_after(trainer.step)
    total = config.optimisation.updates
    while trainer.step < total:
        terms = trainer.update()
        found = _watched(config, trainer, watched)
        if trainer.step % config.log_every == 0 or trainer.step == total or found:
            folder.append_metrics({"step": trainer.step, **terms, **found})
            progress(trainer.step, total, f"{config.stage} (loss {terms['loss']:.3f})")
        if trainer.step % config.checkpoint_every == 0 or trainer.step == total:
            write_state(config.out, TrainingState(trainer.step, trainer.capture()))
    tensors = trainer.result.state_dict()
    save_encoder(config.out / "model", _kept(config.encoder), tensors, _about(config, trainer.step))


def _learner(config: EncoderTrainConfig, data: PictureMemory) -> Learner:
    encoder = config.encoder.build()
    if config.stage == "teacher":
        return TeacherLearner(encoder, config.teaching, data.side, data.counts)
    return AlignLearner(encoder, config.objective, _teacher(config, encoder), data.side)


def _teacher(config: EncoderTrainConfig, encoder: OmnivorousEncoder) -> Trunk | None:
    """The frozen teacher on the device of the run; the student begins as it is."""
    if config.teacher is None:
        named = bool(config.encoder.trunk.timm)
        return config.encoder.trunk.build().to(config.device) if named else None
    teacher = load_encoder(config.teacher, config.device).trunk
    sizes = [dataclasses.replace(each, frozen=0, weights=None) for each in (teacher.config, config.encoder.trunk)]
    if sizes[0] != sizes[1]:
        raise ValueError(f"teacher={config.teacher} has another trunk: {sizes[0]}, asked for {sizes[1]}")
    encoder.trunk.load_state_dict(teacher.state_dict())
    return teacher


def _watched(config: EncoderTrainConfig, trainer: EncoderTrainer, data: PictureMemory | None) -> dict[str, float]:
    if data is None or trainer.step % config.watch_every and trainer.step != config.optimisation.updates:
        return {}
    found = recalls(seen_scenes(trainer.result.eval(), data))
    pairs = found["pooled"]
    shown = {f"retrieval_grey.{name}": value for name, value in pairs.items() if name != "mean"}
    means = {f"retrieval_grey_mean.{name}": values["mean"] for name, values in found.items()}
    return {"retrieval_grey_mean": pairs["mean"], **means, **shown}


def _kept(config: EncoderConfig) -> EncoderConfig:
    """What is needed to build the encoder again; where a file of weights lay is told apart."""
    return dataclasses.replace(config, trunk=dataclasses.replace(config.trunk, weights=None))


def _about(config: EncoderTrainConfig, updates: int) -> dict[str, JSON]:
    teacher = None if config.teacher is None else str(config.teacher)
    mark = None if config.teacher is None else read_about(config.teacher)["sha256"]
    return {
        "trained_on": str(config.data), "stage": config.stage, "updates": updates, "seed": config.seed,
        "teacher": teacher, "teacher_sha256": mark,
        "weights": None if config.encoder.trunk.weights is None else str(config.encoder.trunk.weights),
    }  # fmt: skip


def _outcome(config: EncoderTrainConfig, wall_s: float, cpu_s: float) -> Outcome:
    rows = RunFolder.open(config.out).read_metrics()
    last = [row["loss"] for row in rows[-10:]]
    parameters = sum(each.numel() for each in load_encoder(config.out).parameters())
    figures: dict[str, JSON] = {
        "stage": config.stage, "updates": config.optimisation.updates, "loss": sum(last) / max(1, len(last)),
        "parameters": parameters, "wall_s": round(wall_s, 1), "cpu_s": round(cpu_s, 1),
        "sha256": read_about(config.out)["sha256"], "retrieval_grey_mean": rows[-1].get("retrieval_grey_mean"),
    }  # fmt: skip
    columns = ("stage", "updates", "loss (last 10 logged)", "grey R@1", "parameters", "wall [s]", "CPU [s]")
    found = figures["retrieval_grey_mean"]
    row = (
        config.stage, str(figures["updates"]), f"{figures['loss']:.4f}", "-" if found is None else f"{found:.3f}",
        f"{parameters:,}", f"{wall_s:.1f}", f"{cpu_s:.1f}",
    )  # fmt: skip
    return Outcome(config.out / "model", figures, columns, (row,))
