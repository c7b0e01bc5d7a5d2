"""A speech model learns words made of tones in a minute, is stopped and goes on, and hears them as they come in."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foreact.episodes.sound_clips import SOUND_BLOCK, SoundClip, SoundHeader, SoundSet, SoundWriter
from foreact.perception.audio.checkpoint import load_speech_model
from foreact.perception.audio.evaluate import EvaluateSpeechConfig, evaluate_speech
from foreact.perception.audio.fitting import FittingConfig
from foreact.perception.audio.listen import Listener, transcribe
from foreact.perception.audio.streams import normal_words
from foreact.perception.audio.train import TrainSpeechConfig, train_speech
from foreact.perception.audio.word_errors import edits

WORDS = ("close", "door", "drawer", "open", "the")
TEXTS = ("open the door", "close the drawer", "open the drawer", "the door", "close the door")
LONG = 3200  # samples of a word
FITTING = FittingConfig(updates=110, batch=8, warmup=20)


def tone_clip(text: int, seed: int) -> SoundClip:
    random, time = np.random.default_rng(seed), np.arange(LONG) / 16_000
    labels = np.array([WORDS.index(word) for word in TEXTS[text].split()])
    lead = int(random.integers(0, 2000))
    tones = [np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * 3.3 * low * time) for low in 300 + 250 * labels]
    audio = np.concatenate([np.zeros(lead), *(0.15 * np.hanning(LONG) * tone for tone in tones), np.zeros(800)])
    audio += 0.003 * random.standard_normal(len(audio))
    ones = np.ones(len(labels), np.float32)
    return SoundClip(audio.astype(np.float32), lead + LONG * np.arange(len(labels)), labels, ones, text)


def record(path: Path, split: str, clips: int, seed: int) -> Path:
    writer = SoundWriter(path, SoundHeader(clips, 16_000, WORDS, TEXTS, ("tones",), {"split": split}))
    for first in range(0, clips, SOUND_BLOCK):
        numbers = range(first, min(first + SOUND_BLOCK, clips))
        writer.write([tone_clip(number % len(TEXTS), seed * 1000 + number) for number in numbers])
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tones")
    config = TrainSpeechConfig(record(folder / "train", "train", 64, 1000), folder / "run", fitting=FITTING, seed=1000)

    class Stopped(Exception):
        pass

    def stop(done: int, total: int, text: str) -> None:
        if done == 60:
            raise Stopped

    with pytest.raises(Stopped):
        train_speech(TrainSpeechConfig(config.data, config.out, fitting=FITTING, seed=1000, checkpoint_every=50), stop)
    assert [each.name for each in (folder / "run" / "checkpoints").iterdir()] == ["step-0000050"]
    train_speech(TrainSpeechConfig(config.data, config.out, fitting=FITTING, seed=1000, checkpoint_every=50))
    record(folder / "eval", "eval", 30, 1001)
    return folder / "run"


def test_words_are_heard_and_the_controls_are_not(run: Path) -> None:
    config = EvaluateSpeechConfig(run, run.parent / "eval", delays=(480, 2400))
    figures: Mapping[str, Any] = evaluate_speech(config).figures
    wer = {name: each["wer"] for name, each in figures.items() if isinstance(each, dict)}
    assert wer["speech.480"] < 0.2 and wer["speech.2400"] < 0.3
    assert min(wer["other_sentence.480"], wer["other_sentence.2400"], wer["backwards.2400"]) > 0.35


def test_a_stream_is_heard_as_a_recording_is(run: Path) -> None:
    model, data = load_speech_model(run), SoundSet.open(run.parent / "eval")
    wrong, random = 0, np.random.default_rng(0)
    for index in range(6):
        clip, listener, heard, start = data[index], Listener(model, delay_ms=480), [], 0
        while start < len(clip.audio):
            size = int(random.integers(1, 4000))
            heard += listener.hear(clip.audio[start : start + size])
            start += size
        heard += listener.finish()
        words = [each.word for each in heard]
        assert " ".join(words) == transcribe(model, clip.audio, delay_ms=480)
        said = normal_words(TEXTS[clip.text])
        wrong += edits(words, said)
        if tuple(words) == said:  # the delay, the token that announces, and what is left of the token it began in
            late = np.array([each.said_at for each in heard]) - clip.times / 16_000
            assert 0.4 < late.min() and late.max() < 0.9
    assert wrong <= 4


def test_streamed_logits_of_a_trained_model_are_those_of_the_whole(run: Path) -> None:
    model, clip = load_speech_model(run), SoundSet.open(run.parent / "eval")[0]
    audio, random = torch.from_numpy(clip.audio)[None], np.random.default_rng(1)
    for delay in (1, 6, 30):
        state, parts, start, wanted = model.start(1), [], 0, torch.tensor([delay])
        while start < audio.shape[1]:
            size = int(random.integers(1, 2000))
            parts.append(model.step(audio[:, start : start + size], 16_000, wanted, state))
            start += size
        assert torch.allclose(torch.cat(parts, 1), model(audio, 16_000, wanted), rtol=1e-5, atol=1e-5)
