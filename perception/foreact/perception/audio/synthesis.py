"""`foreact record speech`: sentences said by many voices in many rooms, with the time of every word."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import jsonable
from foreact.episodes.sound_clips import SOUND_BLOCK, SoundClip, SoundHeader, SoundSet, SoundWriter
from foreact.episodes.workers import in_order, worker_processes
from foreact.perception.audio.acoustics import Acoustics, heard_in_room
from foreact.perception.audio.espeak import ACCENTS, Synthesiser, Voice, variants
from foreact.perception.audio.streams import Vocabulary, normal_words
from foreact.perception.audio.voices import VoiceSplit, split_voices
from foreact.perception.audio.waveform import RATE, resample

__all__ = ["RecordSpeechConfig", "record_speech"]

COLUMNS = ("clips", "seconds of speech", "sentences", "words", "different words", "voices", "wall [s]")
SEED_LIMIT = 1 << 28
SILENCE = (0.1, 0.4)  # before and after the sentence [s]


@dataclass(frozen=True)
class RecordSpeechConfig:
    """What is said, by whom, and where.

    Attributes:
        out: Folder of the set; one that was begun for the same is gone on with.
        sentences: What is said, in turns.
        target: `speech`.
        clips: How many.
        split: Voices of train and eval never meet.
        accents: Of the voices: en-us, en-gb, en-gb-scotland, en-gb-x-rp.
        rates: Slowest and fastest speech [words per minute].
        pitches: Lowest and highest, 0 to 99; 50 is a voice's own.
        acoustics: The rooms.
        seed: Of everything that is drawn, 0 <= seed < 2**28.
        workers: Processes at once.

    Raises:
        ValueError: A value is out of range; the message names it.
    """

    out: Path
    sentences: tuple[str, ...]
    target: str = "speech"
    clips: int = 2048
    split: VoiceSplit = "train"
    accents: tuple[str, ...] = ("en-us",)
    rates: tuple[int, int] = (140, 210)
    pitches: tuple[int, int] = (30, 70)
    acoustics: Acoustics = field(default_factory=Acoustics)
    seed: int = 0
    workers: int = 1

    def __post_init__(self) -> None:
        if self.target != "speech" or self.split not in get_args(VoiceSplit):
            raise ValueError(f"target={self.target!r}, split={self.split!r}: give speech, and train or eval")
        if not self.sentences or not all(normal_words(each) for each in self.sentences):
            raise ValueError("sentences: give at least one, each with words: sentences=[open the drawer,close it]")
        if self.clips < 1 or self.workers < 1 or not 0 <= self.seed < SEED_LIMIT:
            raise ValueError(f"clips={self.clips}, workers={self.workers}, seed={self.seed}: a value is out of range")
        if not self.accents or set(self.accents) - set(ACCENTS):
            raise ValueError(f"accents={list(self.accents)}: choose from {', '.join(ACCENTS)}")
        if not 80 <= self.rates[0] <= self.rates[1] <= 450 or not 0 <= self.pitches[0] <= self.pitches[1] <= 99:
            raise ValueError(f"rates={self.rates} lie in 80 to 450, pitches={self.pitches} in 0 to 99, lowest first")

    @property
    def header(self) -> SoundHeader:
        """What the set is."""
        voices = split_voices(variants(), self.split)
        drawn = ("split", "accents", "rates", "pitches", "acoustics", "seed")
        about: dict[str, JSON] = {"target": self.target} | {name: jsonable(getattr(self, name)) for name in drawn}
        words = Vocabulary.of(self.sentences).words
        return SoundHeader(self.clips, RATE, words, self.sentences, voices, about)


def record_speech(config: RecordSpeechConfig, progress: ProgressFn = quiet) -> Outcome:
    """Say sentences, or go on where a killed run stopped; a set is the same whatever the workers.

    Args:
        config: What is said.
        progress: Told of clips made.

    Raises:
        EspeakError: espeak-ng is missing, or refuses a sentence.
        SoundError: `out` holds something else, or is damaged.
    """
    started, header = time.monotonic(), config.header
    writer = SoundWriter(config.out, header)
    for clips in _made(config, header, range(writer.done, header.blocks)):
        writer.write(clips)
        progress(min(writer.done * SOUND_BLOCK, config.clips), config.clips, "say sentences")
    samples, words = SoundSet.open(config.out).totals()
    figures: dict[str, JSON] = {
        "clips": config.clips, "seconds": round(samples / RATE, 1), "sentences": len(config.sentences),
        "words": words, "vocabulary": len(header.labels), "voices": len(header.sources),
        "wall_s": round(time.monotonic() - started, 1),
    }  # fmt: skip
    return Outcome(config.out, figures, COLUMNS, (tuple(str(each) for each in figures.values()),))


def _made(config: RecordSpeechConfig, header: SoundHeader, blocks: range) -> Iterator[list[SoundClip]]:
    """Blocks in order, each by a process of its own: what espeak-ng says depends on what it said before."""
    if not blocks:
        return
    with worker_processes(min(config.workers, len(blocks)), fresh=True) as pool:
        yield from in_order(pool, (partial(say_block, config, header, block) for block in blocks), config.workers)


def say_block(config: RecordSpeechConfig, header: SoundHeader, block: int) -> list[SoundClip]:
    """The clips of one block; to be called once in a process.

    Args:
        config: What is said.
        header: Its header.
        block: Number of the block.
    """
    speaker = Synthesiser(config.seed * 1009 % (1 << 31) + block)
    numbers = range(block * SOUND_BLOCK, min((block + 1) * SOUND_BLOCK, config.clips))
    return [_clip(config, header, speaker, number) for number in numbers]


def _clip(config: RecordSpeechConfig, header: SoundHeader, speaker: Synthesiser, number: int) -> SoundClip:
    random = np.random.default_rng([config.seed, get_args(VoiceSplit).index(config.split), number])
    text, source = number % len(config.sentences), int(random.integers(len(header.sources)))
    rate, pitch = (int(random.integers(low, high + 1)) for low, high in (config.rates, config.pitches))
    voice = Voice(header.sources[source], str(random.choice(config.accents)), rate, pitch)
    words = normal_words(config.sentences[text])
    spoken = speaker.say(words, voice)
    before, after = (int(random.uniform(*SILENCE) * RATE) for _ in range(2))
    sound = np.pad(resample(spoken.audio, spoken.rate), (before, after))
    times = np.array([before + start * RATE // spoken.rate for start in spoken.starts], np.int64)
    labels = np.searchsorted(header.labels, words).astype(np.int64)
    heard = heard_in_room(sound, RATE, config.acoustics, random)
    return SoundClip(heard, times, labels, np.ones(len(words), np.float32), text, source)
