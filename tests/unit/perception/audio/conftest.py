"""Words made of tones: a small set of recorded speech that needs no synthesiser."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.sound_clips import SOUND_BLOCK, SoundClip, SoundHeader, SoundSet, SoundWriter

WORDS = ("close", "door", "drawer", "open", "the")
TEXTS = ("open the door", "close the drawer", "open the drawer")
LONG = 3200  # samples of a word


def tone_word(word: str) -> np.ndarray:
    time = np.arange(LONG) / 16_000
    low = 300 + 250 * WORDS.index(word)
    return 0.3 * np.hanning(LONG) * (np.sin(2 * np.pi * low * time) + np.sin(2 * np.pi * 3.3 * low * time)) / 2


def tone_clip(text: int, seed: int) -> SoundClip:
    random = np.random.default_rng(seed)
    words = TEXTS[text].split()
    lead = int(random.integers(0, 2000))
    audio = np.concatenate([np.zeros(lead), *(tone_word(word) for word in words), np.zeros(800)])
    audio += 0.003 * random.standard_normal(len(audio))
    times = lead + LONG * np.arange(len(words))
    labels = np.array([WORDS.index(word) for word in words])
    return SoundClip(audio.astype(np.float32), times, labels, np.ones(len(words), np.float32), text, 0)


@pytest.fixture
def tone_set(tmp_path: Path) -> Callable[..., Path]:
    """Records tone words: `tone_set(split="train", clips=40)` gives the folder."""

    def record(split: str = "train", clips: int = 40, seed: int = 1000) -> Path:
        path = tmp_path / f"tones-{split}-{seed}"
        writer = SoundWriter(path, SoundHeader(clips, 16_000, WORDS, TEXTS, ("tone",), {"split": split}))
        for first in range(0, clips, SOUND_BLOCK):
            numbers = range(first, min(first + SOUND_BLOCK, clips))
            writer.write([tone_clip(number % len(TEXTS), seed * 1000 + number) for number in numbers])
        SoundSet.open(path)
        return path

    return record
