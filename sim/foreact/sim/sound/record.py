"""`foreact record sounds`: contacts in a simulation as sound, with the time, strength and material of each."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import get_args

import numpy as np

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.sound_clips import SOUND_BLOCK, SoundClip, SoundHeader, SoundSet, SoundWriter
from foreact.episodes.workers import in_order, worker_processes
from foreact.sim.seeds import INDEX_LIMIT, SEED_LIMIT, Split, layout_seed
from foreact.sim.sound.impacts import Impact, ImpactListener
from foreact.sim.sound.materials import geom_materials
from foreact.sim.sound.ringing import ContactSound
from foreact.sim.sound.tray import SETTLED, THINGS, Tosses, tray

__all__ = ["RecordSoundsConfig", "record_sounds"]

COLUMNS = ("clips", "seconds each", "impacts", "impacts per s", "wall [s]")
RATE = 16_000


@dataclass(frozen=True)
class RecordSoundsConfig:
    """What is recorded.

    Attributes:
        out: Folder of the set; one that was begun for the same is gone on with.
        target: `sounds`.
        clips: How many.
        seconds: Length of each [s].
        pause: Mean time between tosses [s].
        least: Impacts with a smaller impulse are neither heard nor told [N s].
        seed: Of everything that is drawn, 0 <= seed < 2**28.
        split: Scenes of train, eval and calibration never meet.
        workers: Processes.

    Raises:
        ValueError: A value is out of range; the message names it.
    """

    out: Path
    target: str = "sounds"
    clips: int = 256
    seconds: float = 4.0
    pause: float = 1.0
    least: float = 0.01
    seed: int = 0
    split: Split = "train"
    workers: int = 1

    def __post_init__(self) -> None:
        if self.target != "sounds" or self.split not in get_args(Split):
            raise ValueError(f"target={self.target!r}, split={self.split!r}: give sounds, and a known split")
        if not 0 < self.clips <= INDEX_LIMIT or not 0 <= self.seed < SEED_LIMIT or self.workers < 1:
            raise ValueError(f"clips={self.clips}, seed={self.seed}, workers={self.workers}: a value is out of range")
        if not 0.1 <= self.seconds <= 600 or not self.pause >= 0.05 or not self.least > 0:
            raise ValueError(f"seconds={self.seconds} is 0.1 to 600, pause={self.pause} at least 0.05, least > 0")

    @property
    def header(self) -> SoundHeader:
        """What the set is."""
        names = ("target", "seconds", "pause", "least", "seed", "split")
        return SoundHeader(self.clips, RATE, THINGS, (), ("tray",), {name: getattr(self, name) for name in names})


def record_sounds(config: RecordSoundsConfig, progress: ProgressFn = quiet) -> Outcome:
    """Record contact sounds, or go on where a killed run stopped; a set is the same whatever the workers.

    Args:
        config: What is recorded.
        progress: Told of clips made.

    Raises:
        SoundError: `out` holds something else, or is damaged.
    """
    started, header = time.monotonic(), config.header
    writer = SoundWriter(config.out, header)
    for clips in _made(config, range(writer.done, header.blocks)):
        writer.write(clips)
        progress(min(writer.done * SOUND_BLOCK, config.clips), config.clips, "record sounds")
    samples, impacts = SoundSet.open(config.out).totals()
    figures: dict[str, JSON] = {
        "clips": config.clips, "seconds": config.seconds, "impacts": impacts,
        "impacts_per_s": round(impacts * RATE / samples, 2), "wall_s": round(time.monotonic() - started, 1),
    }  # fmt: skip
    return Outcome(config.out, figures, COLUMNS, (tuple(str(each) for each in figures.values()),))


def _made(config: RecordSoundsConfig, blocks: range) -> Iterator[list[SoundClip]]:
    with worker_processes(min(config.workers, max(len(blocks), 1))) as pool:
        yield from in_order(pool, (partial(record_block, config, block) for block in blocks), config.workers)


def record_block(config: RecordSoundsConfig, block: int) -> list[SoundClip]:
    """The clips of one block.

    Args:
        config: What is recorded.
        block: Number of the block.
    """
    numbers = range(block * SOUND_BLOCK, min((block + 1) * SOUND_BLOCK, config.clips))
    return [_clip(config, layout_seed(config.split, config.seed, number)) for number in numbers]


def _clip(config: RecordSoundsConfig, seed: int) -> SoundClip:
    random, size = np.random.default_rng(seed), round(config.seconds * RATE)
    model = tray(random)
    sound = ContactSound(model, geom_materials(model, {name: name for name in THINGS}, "wood"), RATE)
    heard = []
    for impact in tossed(model, random, config.seconds, config.pause, config.least):
        at = round((impact.time - SETTLED) * RATE)
        if 0 <= at < size:
            sound.strike(impact, at)
            heard.append((at, THINGS.index(model.body(impact.bodies[1]).name), impact.impulse))
    heard.sort()
    times, labels, strengths = (np.array([each[column] for each in heard]) for column in range(3))
    audio = np.clip(sound.ringing.render(size), -1, 1)
    return SoundClip(audio, times.astype(np.int64), labels.astype(np.int64), strengths.astype(np.float32))


def tossed(model: object, random: np.random.Generator, seconds: float, pause: float, least: float) -> Iterator[Impact]:
    """Impacts in a tray whose things are tossed about; the first `SETTLED` seconds are not part of it.

    Args:
        model: Of a tray.
        random: Source of the tosses.
        seconds: How long [s].
        pause: Mean time between tosses [s].
        least: Smallest impulse [N s].
    """
    import mujoco

    assert isinstance(model, mujoco.MjModel)
    data, listener, tosses = mujoco.MjData(model), ImpactListener(model, least), Tosses(model, random, pause)
    while data.time < SETTLED + seconds:
        tosses.act(data)
        mujoco.mj_step(model, data)
        yield from listener.observe(data)
