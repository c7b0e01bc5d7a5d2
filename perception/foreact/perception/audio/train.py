"""Training of a speech model: recorded speech in, a model and its run folder out; killed runs go on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import RunFolder
from foreact.episodes.sound_clips import SoundError
from foreact.perception.audio.checkpoint import save_speech_model
from foreact.perception.audio.fitting import Fitter, FittingConfig, check_device, fit, fitted
from foreact.perception.audio.model import SpeechModel, SpeechModelConfig, speech_losses
from foreact.perception.audio.spoken import SpokenSet, open_speech
from foreact.perception.audio.streams import Vocabulary
from foreact.perception.audio.waveform import RATE

__all__ = ["TrainSpeechConfig", "speech_fitter", "train_speech"]


@dataclass(frozen=True)
class TrainSpeechConfig:
    """What to train, on what, and how.

    Attributes:
        data: Recorded speech whose split is `train`.
        out: Run folder; one that holds the same run is continued.
        speech: Sizes of the model.
        fitting: How it is fitted.
        pad_weight: Weight of tokens in which nothing is to be said.
        z_weight: Weight of the z-loss.
        seed: Of weights and of everything drawn.
        device: `cpu` (one thread), `cuda` or `cuda:N`.
        checkpoint_every: Updates between training states on disk.
        log_every: Updates between lines of metrics.
    """

    data: Path
    out: Path
    speech: SpeechModelConfig = field(default_factory=SpeechModelConfig)
    fitting: FittingConfig = field(default_factory=FittingConfig)
    pad_weight: float = 0.3
    z_weight: float = 1e-4
    seed: int = 0
    device: str = "cpu"
    checkpoint_every: int = 250
    log_every: int = 10


def train_speech(config: TrainSpeechConfig, progress: ProgressFn = quiet) -> Outcome:
    """Train a speech model, or continue the run in `config.out`.

    Args:
        config: What and how.
        progress: Told of each logged update.

    Raises:
        SoundError: The data are missing, damaged, or for another purpose.
        RunError, CheckpointError: The run folder is damaged or of another run.
        ValueError: The device is not there, or a number is out of range.
        FloatingPointError: The loss is not finite.
    """
    check_device(config.device, config.log_every, config.checkpoint_every)
    figures = fitted(config.out, config.fitting.updates, lambda: _train(config, progress))
    columns = ("model", "updates", "loss (last 10 logged)", "wall [s]", "CPU [s]")
    row = (config.speech.encoder.size, *(f"{figures[key]:.6g}" for key in ("updates", "loss", "wall_s", "cpu_s")))
    return Outcome(config.out / "model", figures, columns, (row,))


def speech_fitter(config: TrainSpeechConfig) -> tuple[SpeechModel, Fitter]:
    """The model before its first update, and what updates it.

    Raises:
        SoundError: The data are missing, damaged, or for another purpose.
    """
    data = open_speech(config.data)
    if (split := data.header.about.get("split")) != "train":
        raise SoundError(f"data={config.data} was recorded with split={split}, expected train: its voices are held out")
    vocabulary = Vocabulary(data.header.labels)
    spoken = SpokenSet(data, vocabulary)
    torch.manual_seed(config.seed)
    model = config.speech.build(vocabulary).to(config.device)

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        batch = spoken.draw(config.fitting.batch, generator)
        logits = model(batch.audio.to(config.device), RATE, batch.delay.to(config.device))
        return speech_losses(logits, batch.targets.to(config.device), config.pad_weight, config.z_weight)

    return model, Fitter(model, losses, config.fitting, config.seed)


def _train(config: TrainSpeechConfig, progress: ProgressFn) -> None:
    model, fitter = speech_fitter(config)
    run = RunFolder.resume_or_create(config.out, "train-speech", config, config.seed)
    fit(fitter, run, config.log_every, config.checkpoint_every, progress)
    about: dict[str, JSON] = {"trained_on": str(config.data), "updates": fitter.step, "seed": config.seed}
    save_speech_model(config.out / "model", model, about)
