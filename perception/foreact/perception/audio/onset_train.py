"""Training and scoring of onset networks on recorded contact sounds; killed runs go on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from foreact.episodes import strictjson
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import RunFolder
from foreact.episodes.sound_clips import SoundClip, SoundError, SoundSet
from foreact.perception.audio.acoustics import Acoustics, heard_in_room
from foreact.perception.audio.fitting import Fitter, FittingConfig, check_device, fit, fitted
from foreact.perception.audio.mel import HOP
from foreact.perception.audio.onsets import (
    OnsetConfig,
    OnsetNetwork,
    OnsetScore,
    merged_onsets,
    onset_frames,
    onsets_found,
    score_onsets,
)
from foreact.perception.audio.waveform import RATE
from foreact.perception.tensor_folder import CheckpointError, read_description, read_tensors, write_folder

__all__ = [
    "EvaluateOnsetsConfig",
    "TrainOnsetsConfig",
    "evaluate_onsets",
    "load_onset_network",
    "onset_fitter",
    "train_onsets",
]

NAME = "onsets"
DRAWS = 1000


@dataclass(frozen=True)
class TrainOnsetsConfig:
    """What to train, on what, and how.

    Attributes:
        data: Recorded contact sounds whose split is `train`.
        out: Run folder; one that holds the same run is continued.
        onsets: Sizes of the network, and whether it has positions.
        fitting: How it is fitted.
        acoustics: Rooms that sounds are heard in, drawn anew in each update.
        onset_weight: Weight of frames with an onset.
        seed: Of weights and of everything drawn.
        device: `cpu` (one thread), `cuda` or `cuda:N`.
        checkpoint_every: Updates between training states on disk.
        log_every: Updates between lines of metrics.
    """

    data: Path
    out: Path
    onsets: OnsetConfig = field(default_factory=OnsetConfig)
    fitting: FittingConfig = field(default_factory=lambda: FittingConfig(updates=400, batch=8, warmup=20))
    acoustics: Acoustics = field(default_factory=lambda: Acoustics(snr=(15.0, 40.0)))
    onset_weight: float = 4.0
    seed: int = 0
    device: str = "cpu"
    checkpoint_every: int = 200
    log_every: int = 10


@dataclass(frozen=True)
class EvaluateOnsetsConfig:
    """What to listen with, and to what.

    Attributes:
        onsets: An onset network, or its run folder.
        data: Recorded contact sounds of any length.
        acoustics: Rooms that sounds are heard in.
        seed: Of rooms and intervals.
        device: `cpu` (one thread), `cuda` or `cuda:N`.
    """

    onsets: Path
    data: Path
    acoustics: Acoustics = field(default_factory=lambda: Acoustics(snr=(15.0, 40.0)))
    seed: int = 0
    device: str = "cpu"


def train_onsets(config: TrainOnsetsConfig, progress: ProgressFn = quiet) -> Outcome:
    """Train an onset network, or continue the run in `config.out`.

    Args:
        config: What and how.
        progress: Told of each logged update.

    Raises:
        SoundError: The data are missing, damaged, for another purpose, or of clips of several lengths.
        RunError, CheckpointError: The run folder is damaged or of another run.
        ValueError: The device is not there, or a number is out of range.
        FloatingPointError: The loss is not finite.
    """
    check_device(config.device, config.log_every, config.checkpoint_every)
    figures = fitted(config.out, config.fitting.updates, lambda: _train(config, progress))
    columns = ("updates", "loss (last 10 logged)", "wall [s]", "CPU [s]")
    return Outcome(config.out / "model", figures, columns, (tuple(f"{each:.6g}" for each in _numbers(figures)),))


def onset_fitter(config: TrainOnsetsConfig) -> tuple[OnsetNetwork, Fitter]:
    """The network before its first update, and what updates it.

    Raises:
        SoundError: As `train_onsets`.
    """
    data = _opened(config.data)
    if (split := data.header.about.get("split")) != "train":
        raise SoundError(f"data={config.data} was recorded with split={split}, expected train")
    lengths = {len(data[index].audio) for index in range(len(data))}
    if len(lengths) != 1:
        raise SoundError(f"data={config.data} has clips of {min(lengths)} to {max(lengths)} samples; record one length")
    torch.manual_seed(config.seed)
    network = config.onsets.build().to(config.device)
    weight = torch.tensor(config.onset_weight, device=config.device)

    def losses(generator: torch.Generator) -> dict[str, Tensor]:
        rows = torch.randint(0, len(data), (config.fitting.batch,), generator=generator).tolist()
        random = np.random.default_rng(int(torch.randint(0, 1 << 62, (), generator=generator)))
        audio = np.stack([in_room(data[row], config.acoustics, random) for row in rows])
        targets = np.stack([onset_frames(data[row].times, audio.shape[1] // HOP) for row in rows])
        logits = network(torch.from_numpy(audio).to(config.device), RATE)
        wanted = torch.from_numpy(targets).to(config.device)
        return {"onsets": nn.functional.binary_cross_entropy_with_logits(logits, wanted, pos_weight=weight)}

    return network, Fitter(network, losses, config.fitting, config.seed)


def in_room(clip: SoundClip, acoustics: Acoustics, random: np.random.Generator) -> np.ndarray:
    """A clip as heard in a random room, float32 (S,); one without any sound stays silent.

    Args:
        clip: What sounds.
        acoustics: What rooms there are.
        random: Source of the room.
    """
    return heard_in_room(clip.audio, RATE, acoustics, random) if clip.audio.any() else clip.audio


def load_onset_network(path: Path, device: str | torch.device = "cpu") -> OnsetNetwork:
    """Read a network in evaluation mode; its weights take no gradients.

    Args:
        path: A folder written by `train_onsets`, or a run folder, whose `model` it then takes.
        device: Where to put it.

    Raises:
        CheckpointError: Missing, truncated, altered, or not an onset network.
    """
    folder = path / "model" if (path / "model" / f"{NAME}.json").exists() else path
    described = read_description(folder, NAME, "train one: foreact train onsets=tiny data=... out=...")
    tensors = read_tensors(folder, NAME, described)
    try:
        network = strictjson.decode(OnsetConfig, described["network"], "network").build()
        network.load_state_dict(tensors)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{folder} does not hold an onset network: {error}") from error
    return network.to(device).eval().requires_grad_(False)


def evaluate_onsets(config: EvaluateOnsetsConfig, progress: ProgressFn = quiet) -> Outcome:
    """Score onsets that a network finds, within 50 ms, beside a control that knows only how many there are.

    Args:
        config: With what and to what.
        progress: Told of clips heard.

    Raises:
        SoundError: The set is missing or damaged.
        CheckpointError: The network is.
        ValueError: Clips are longer than learned positions.
    """
    check_device(config.device, 1, 1)
    network, data = load_onset_network(config.onsets, config.device), _opened(config.data)
    random, scores, controls = np.random.default_rng(config.seed), list[OnsetScore](), list[OnsetScore]()
    seconds = float(np.mean([len(data[index].audio) / RATE for index in range(len(data))]))
    for index in range(len(data)):
        clip = data[index]
        audio = torch.from_numpy(in_room(clip, config.acoustics, random)).to(config.device)
        with torch.no_grad():
            logits = network(audio[None], RATE)[0].cpu().numpy()
        true = merged_onsets(clip.times / RATE)
        scores.append(score_onsets(onsets_found(logits).tolist(), true.tolist()))
        guessed = np.sort(random.uniform(0, len(clip.audio) / RATE, len(true)))
        controls.append(score_onsets(guessed.tolist(), true.tolist()))
        progress(index + 1, len(data), "listen")
    found, control = _with_interval(scores, config.seed), _with_interval(controls, config.seed)
    figures: dict[str, JSON] = {"seconds": seconds, "clips": len(data), "network": found, "random_times": control}
    rows = tuple(
        (name, f"{seconds:g}", f"{own['f1']:.3f} ({own['f1_low']:.3f} to {own['f1_high']:.3f})", str(len(data)))
        for name, own in (("network", found), ("random times", control))
    )
    return Outcome(config.onsets, figures, ("onsets", "seconds", "F1 within 50 ms", "clips"), rows)


def _train(config: TrainOnsetsConfig, progress: ProgressFn) -> None:
    network, fitter = onset_fitter(config)
    run = RunFolder.resume_or_create(config.out, "train-onsets", config, config.seed)
    fit(fitter, run, config.log_every, config.checkpoint_every, progress)
    about = {"trained_on": str(config.data), "updates": fitter.step, "seed": config.seed}
    described = {"network": dataclasses.asdict(config.onsets), "about": about}
    write_folder(config.out / "model", NAME, network.state_dict(), described)


def _opened(path: Path) -> SoundSet:
    data = SoundSet.open(path)
    if data.header.rate != RATE or data.header.about.get("target") != "sounds":
        raise SoundError(f"{path} is no recorded contact sound at {RATE} Hz; make some: foreact record sounds out=...")
    return data


def _with_interval(scores: list[OnsetScore], seed: int) -> dict[str, float]:
    """F1 over all clips, with a 95 % interval over resampled clips."""
    counts = np.array([[each.right, each.missed, each.wrong] for each in scores], float)
    rows = np.random.default_rng(seed).integers(0, len(scores), (DRAWS, len(scores)))
    right, missed, wrong = counts[rows].sum(1).T
    drawn = 2 * right / np.maximum(2 * right + missed + wrong, 1)
    whole = sum(scores, OnsetScore(0, 0, 0))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"f1": whole.f1, "f1_low": float(low), "f1_high": float(high), "onsets": float(whole.right + whole.missed)}


def _numbers(figures: Mapping[str, JSON]) -> list[float]:
    return [float(each) for each in figures.values() if isinstance(each, int | float)]
