"""How well a speech model hears: word errors and exact sentences by delay, beside two controls.

The controls: what was heard against the sentence of another clip, and sound played backwards. Nothing is replaced by
the nearest known sentence.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.sound_clips import SoundClip, SoundError
from foreact.perception.audio.checkpoint import load_speech_model
from foreact.perception.audio.encoder import delay_tokens
from foreact.perception.audio.fitting import check_device
from foreact.perception.audio.model import SpeechModel
from foreact.perception.audio.spoken import SpokenSet, open_speech
from foreact.perception.audio.streams import Reader, normal_words
from foreact.perception.audio.waveform import RATE
from foreact.perception.audio.word_errors import word_figures

__all__ = ["EvaluateSpeechConfig", "evaluate_speech"]

COLUMNS = ("sound", "delay [ms]", "word error rate", "exact sentences", "clips")


@dataclass(frozen=True)
class EvaluateSpeechConfig:
    """What to listen with, and to what.

    Attributes:
        speech: A speech model, or its run folder.
        data: Recorded speech; with split `eval` its voices are held out.
        delays: [ms]; multiples of 80, at most 2400.
        clips: How many of the set, from its start; 0 for all.
        batch: Clips at once.
        seed: Of the intervals and of the control.
        device: `cpu` (one thread), `cuda` or `cuda:N`.
    """

    speech: Path
    data: Path
    delays: tuple[int, ...] = (80, 240, 480, 960, 2400)
    clips: int = 0
    batch: int = 16
    seed: int = 0
    device: str = "cpu"


def evaluate_speech(config: EvaluateSpeechConfig, progress: ProgressFn = quiet) -> Outcome:
    """Listen to recorded speech at each delay.

    Args:
        config: With what and to what.
        progress: Told of clips heard.

    Raises:
        SoundError: The set is missing, damaged, or too small.
        CheckpointError: The model is.
        ValueError: A delay or another number is out of range, or the set has words that the model cannot say.
    """
    check_device(config.device, 1, config.batch)
    started, delays = time.monotonic(), [(each, delay_tokens(each)) for each in config.delays]
    model, data = load_speech_model(config.speech, config.device), open_speech(config.data)
    spoken = SpokenSet(data, model.vocabulary)
    count = config.clips or len(data)
    if not delays or not 2 <= count <= len(data):
        raise SoundError(
            f"clips={config.clips}, delays={config.delays}: {config.data} has {len(data)} clips, 2 are needed"
        )
    clips = [data[index] for index in range(count)]
    said = [normal_words(data.header.texts[clip.text]) for clip in clips]
    other = _of_others([clip.text for clip in clips], config.seed)
    figures: dict[str, JSON] = {"voices": str(data.header.about.get("split")), "wall_s": 0.0}
    rows = []
    for index, (milliseconds, tokens) in enumerate(delays):
        heard = list(_heard(model, spoken, clips, tokens, config.batch))
        found = {"speech": (heard, said), "other sentence": (heard, [said[row] for row in other])}
        if index == len(delays) - 1:
            found["backwards"] = (list(_heard(model, spoken, _backwards(clips), tokens, config.batch)), said)
        for name, (mine, true) in found.items():
            own = word_figures(mine, true, config.seed)
            figures[f"{name.replace(' ', '_')}.{milliseconds}"] = own
            rows.append((name, str(milliseconds), _with_interval(own, "wer"), _with_interval(own, "exact"), str(count)))
        progress(index + 1, len(delays), "listen")
    figures["wall_s"] = round(time.monotonic() - started, 1)
    return Outcome(config.speech, figures, COLUMNS, tuple(rows))


@torch.no_grad()
def _heard(
    model: SpeechModel, spoken: SpokenSet, clips: Sequence[SoundClip], delay: int, batch: int
) -> Iterator[tuple[str, ...]]:
    device = model.head.weight.device
    for first in range(0, len(clips), batch):
        some = list(clips[first : first + batch])
        made = spoken.batch(some, torch.full((len(some),), delay), [0] * len(some))
        tokens = model(made.audio.to(device), RATE, made.delay.to(device)).argmax(-1).cpu()
        for row, asked in zip(tokens, made.targets >= 0, strict=True):
            yield tuple(word for _, word in Reader(model.vocabulary).read(row[asked].tolist()))


def _backwards(clips: Sequence[SoundClip]) -> list[SoundClip]:
    return [replace(clip, audio=clip.audio[::-1].copy()) for clip in clips]


def _of_others(texts: Sequence[int], seed: int) -> list[int]:
    """For each clip one with another sentence, or the next one where all say the same."""
    random, numbers = np.random.default_rng(seed), np.array(texts)
    found = []
    for row, text in enumerate(numbers):
        others = np.flatnonzero(numbers != text)
        found.append(int(random.choice(others)) if len(others) else (row + 1) % len(numbers))
    return found


def _with_interval(figures: dict[str, JSON], name: str) -> str:
    return f"{figures[name]:.3f} ({figures[f'{name}_low']:.3f} to {figures[f'{name}_high']:.3f})"
