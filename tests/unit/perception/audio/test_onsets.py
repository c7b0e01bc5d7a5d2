from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from foreact.episodes.runfolder import RunError
from foreact.episodes.sound_clips import SoundClip, SoundError, SoundHeader, SoundWriter
from foreact.perception.audio.fitting import FittingConfig
from foreact.perception.audio.onset_train import (
    EvaluateOnsetsConfig,
    TrainOnsetsConfig,
    evaluate_onsets,
    load_onset_network,
    onset_fitter,
    train_onsets,
)
from foreact.perception.audio.onsets import (
    OnsetConfig,
    OnsetScore,
    merged_onsets,
    onset_frames,
    onsets_found,
    score_onsets,
)
from foreact.perception.tensor_folder import CheckpointError

SMALL = OnsetConfig(mels=20, width=8)
SHORT = FittingConfig(updates=4, batch=2, warmup=1)


def clicks(path: Path, split: str = "train", clips: int = 4, seconds: float = 0.5) -> Path:
    random, size = np.random.default_rng(clips), int(seconds * 16_000)
    header = SoundHeader(clips, 16_000, ("wood",), (), ("made up",), {"target": "sounds", "split": split})
    made = []
    for _ in range(clips):
        times = np.sort(random.choice(np.arange(1600, size - 1600, 1600), 3, replace=False))
        audio = np.zeros(size + 800)
        for at in times:
            audio[at : at + 800] += 0.5 * random.standard_normal(800) * np.exp(-np.arange(800) / 100)
        clip = np.clip(audio[:size], -1, 1).astype(np.float32)
        made.append(SoundClip(clip, times, np.zeros(3, np.int64), np.ones(3, np.float32)))
    SoundWriter(path, header).write(made)
    return path


def test_scores_by_hand() -> None:
    assert score_onsets([0.1, 0.5, 0.9], [0.12, 0.58]) == OnsetScore(1, 1, 2)
    assert score_onsets([0.10, 0.11], [0.1]) == OnsetScore(1, 0, 1)  # one is found once
    assert score_onsets([0.14], [0.1, 0.18]) == OnsetScore(1, 1, 0)
    assert score_onsets([0.06, 0.16], [0.1, 0.12]) == OnsetScore(2, 0, 0)
    assert OnsetScore(3, 1, 2).f1 == pytest.approx(2 / 3) and OnsetScore(0, 0, 0).f1 == 1.0
    assert score_onsets([], [0.3]).f1 == 0.0 and score_onsets([0.3], []).f1 == 0.0


def test_onsets_that_follow_closely_are_one() -> None:
    assert merged_onsets(np.array([0.1, 0.12, 0.14, 0.3])).tolist() == [0.1, 0.14, 0.3]
    assert np.flatnonzero(onset_frames(np.array([1600, 1760, 4799]), 40)).tolist() == [10, 29]


def test_peaks_are_found_where_they_are() -> None:
    logits = np.full(50, -5.0)
    logits[[10, 11, 30]] = 1.0, 3.0, 0.5
    assert onsets_found(logits).tolist() == pytest.approx([0.115, 0.305])
    assert onsets_found(logits, threshold=1.0).tolist() == pytest.approx([0.115])
    assert onsets_found(np.zeros(0)).tolist() == []


def test_only_what_was_heard_before_counts_and_only_of_late() -> None:
    torch.manual_seed(0)
    network, audio = SMALL.build(), torch.randn(1, 16_000) * 0.1
    later, earlier = audio.clone(), audio.clone()
    later[:, 8000:], earlier[:, :1600] = 0.5, 0.5
    first = network(audio, 16_000)
    assert first.shape == (1, 100) and torch.equal(first[:, :50], network(later, 16_000)[:, :50])
    assert torch.allclose(first[:, 50:], network(earlier, 16_000)[:, 50:], atol=1e-6)


def test_the_control_knows_where_it_is_and_refuses_more() -> None:
    torch.manual_seed(0)
    network = replace(SMALL, positions="learned", longest=60).build()
    beat = torch.zeros(1, 9600)
    logits = network(beat, 16_000)
    assert logits.std() > 0.01 and SMALL.build()(beat, 16_000)[:, 40:].std() < 1e-6
    with pytest.raises(ValueError, match="longest=100"):
        network(torch.zeros(1, 16_000), 16_000)
    with pytest.raises(ValueError, match="none or learned"):
        replace(SMALL, positions="rotary")


def test_two_updates_and_two_after_a_resume_are_four(tmp_path: Path) -> None:
    config = TrainOnsetsConfig(clicks(tmp_path / "set"), tmp_path / "run", SMALL, SHORT)
    unbroken = onset_fitter(config)[1]
    for _ in range(2):
        unbroken.update()
    state = unbroken.capture()
    last = [unbroken.update() for _ in range(2)]
    network, resumed = onset_fitter(config)
    resumed.restore(state)
    assert [resumed.update() for _ in range(2)] == last
    assert all(torch.equal(each, network.state_dict()[name]) for name, each in unbroken.model.state_dict().items())


def test_clicks_are_learned_and_found_in_longer_recordings(tmp_path: Path) -> None:
    out = tmp_path / "run"
    config = TrainOnsetsConfig(clicks(tmp_path / "set", clips=32), out, SMALL, FittingConfig(60, 8, 1e-2, 5))
    train_onsets(config)
    long = clicks(tmp_path / "long", "eval", clips=3, seconds=4.0)
    figures: Any = evaluate_onsets(EvaluateOnsetsConfig(out, long)).figures
    network, control = (figures[name]["f1"] for name in ("network", "random_times"))
    assert network > 0.8 and control < 0.4
    with pytest.raises(RunError, match="seed"):
        train_onsets(replace(config, seed=1))
    (out / "model" / "onsets.safetensors").unlink()
    with pytest.raises(CheckpointError, match="missing"):
        load_onset_network(out)


def test_what_cannot_be_trained_leaves_no_run(tmp_path: Path) -> None:
    config = TrainOnsetsConfig(clicks(tmp_path / "set", "eval"), tmp_path / "run", SMALL, SHORT)
    with pytest.raises(SoundError, match="expected train"):
        train_onsets(config)
    with pytest.raises(CheckpointError, match="foreact train onsets"):
        load_onset_network(tmp_path)
    assert not config.out.exists()
