from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from foreact.episodes.runfolder import RunError
from foreact.episodes.sound_clips import SoundError, SoundSet
from foreact.perception.audio.checkpoint import load_speech_model
from foreact.perception.audio.evaluate import EvaluateSpeechConfig, evaluate_speech
from foreact.perception.audio.fitting import FittingConfig
from foreact.perception.audio.spoken import SpokenSet
from foreact.perception.audio.streams import Vocabulary
from foreact.perception.audio.train import TrainSpeechConfig, speech_fitter, train_speech
from foreact.perception.tensor_folder import CheckpointError

ToneSet = Callable[..., Path]
SHORT = FittingConfig(updates=4, batch=2, warmup=1)


def test_two_updates_and_two_after_a_resume_are_four(tone_set: ToneSet, tmp_path: Path) -> None:
    config = TrainSpeechConfig(tone_set(clips=4), tmp_path / "run", fitting=SHORT)
    unbroken = speech_fitter(config)[1]
    for _ in range(2):
        unbroken.update()
    state = unbroken.capture()
    last = [unbroken.update() for _ in range(2)]
    model, resumed = speech_fitter(config)
    resumed.restore(state)
    assert [resumed.update() for _ in range(2)] == last and resumed.step == 4
    for name, value in unbroken.model.state_dict().items():
        assert torch.equal(value, model.state_dict()[name]), name
    resumed.restore(state)
    resumed.step += 1
    assert resumed.update()["loss"] != last[0]["loss"]  # another update draws other clips


def test_targets_of_a_batch_are_where_words_are_heard(tone_set: ToneSet) -> None:
    data = SoundSet.open(tone_set(clips=4))
    spoken = SpokenSet(data, Vocabulary(data.header.labels))
    batch = spoken.batch([data[0], data[1]], torch.tensor([1, 6]), [0, 12_800])
    assert batch.audio.shape[1] == batch.targets.shape[1] * 1280
    for row, (clip, lead, delay) in enumerate(((data[0], 0, 1), (data[1], 12_800, 6))):
        assert np.array_equal(batch.audio[row, lead : lead + len(clip.audio)], clip.audio)
        begins = torch.nonzero(batch.targets[row] == 1).flatten().tolist()
        assert begins == ((clip.times + lead) // 1280 + delay).tolist()
        assert batch.targets[row][[each + 1 for each in begins]].tolist() == (clip.labels + 2).tolist()
    assert (batch.targets[0] == -1).any() and not (batch.targets[1] == -1).any()  # the longer one fills the batch
    drawn = spoken.draw(400, torch.Generator().manual_seed(0)).delay
    assert drawn.min() == 1 and drawn.max() == 30 and 0.4 < (drawn <= 5).float().mean() < 0.65


def test_a_finished_run_is_read_continued_and_told_from_others(tone_set: ToneSet, tmp_path: Path) -> None:
    data, out = tone_set(clips=4), tmp_path / "run"
    config = TrainSpeechConfig(data, out, fitting=SHORT, checkpoint_every=2)
    train_speech(replace(config))
    model = load_speech_model(out)
    assert model.vocabulary.words == SoundSet.open(data).header.labels
    assert train_speech(config).figures["updates"] == 4  # nothing left to do
    with pytest.raises(RunError, match="seed"):
        train_speech(replace(config, seed=1))
    outcome = evaluate_speech(EvaluateSpeechConfig(out, tone_set("eval", 4), delays=(80,)))
    assert [row[0] for row in outcome.rows] == ["speech", "other sentence", "backwards"]
    file = out / "model" / "speech.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="truncated"):
        load_speech_model(out)


def test_what_cannot_be_trained_leaves_no_run(tone_set: ToneSet, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(SoundError, match="held out"):
        train_speech(TrainSpeechConfig(tone_set("eval", 4), out, fitting=SHORT))
    with pytest.raises(SoundError, match="not a set of sounds"):
        train_speech(TrainSpeechConfig(tmp_path, out, fitting=SHORT))
    with pytest.raises(FloatingPointError, match="learning_rate"):
        train_speech(TrainSpeechConfig(tone_set(clips=4), out, fitting=replace(SHORT, learning_rate=1e20, clip=1e30)))
    assert not out.exists()
    with pytest.raises(CheckpointError, match="foreact train"):
        load_speech_model(out)
