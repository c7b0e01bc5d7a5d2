"""`foreact record scenes`: pictures of many scenes in colours, depth, segments and classes, to learn seeing from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import get_args

import numpy as np

from foreact.episodes.aligned import BLOCK, AlignedPictures, AlignedWriter
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.workers import in_order, worker_processes
from foreact.sim.pictures import WorldPictures
from foreact.sim.seeds import INDEX_LIMIT, SEED_LIMIT, Split, layout_seed
from foreact.sim.still.classes import CLASSES, geom_classes
from foreact.sim.still.looks import eye
from foreact.sim.still.sheet import write_sheet
from foreact.sim.still.sources import FAMILIES, source

__all__ = ["RecordScenesConfig", "record_scenes"]

COLUMNS = ("scenes", "side [px]", "families", "wall [s]", "scenes per s")
PICTURE = "scenes.png"


@dataclass(frozen=True)
class RecordScenesConfig:
    """What to draw.

    Attributes:
        target: `scenes`.
        out: Folder of the set; one that was begun for the same is gone on with.
        scenes: How many, a multiple of 64.
        families: Where they come from, in turns of 64: rooms, arm, metaworld; one named twice comes twice as often.
        side: Height and width of the pictures [px].
        seed: Of everything that is drawn, 0 <= seed < 2**28.
        split: Scenes of train, eval and calibration never meet.
        workers: Processes.
        device: Where to draw: cpu or cuda:0.

    Raises:
        ValueError: A value is out of range; the message names it.
    """

    out: Path
    target: str = "scenes"
    scenes: int = 4096
    families: tuple[str, ...] = ("rooms", "rooms", "arm", "metaworld")
    side: int = 64
    seed: int = 0
    split: Split = "train"
    workers: int = 2
    device: str = "cpu"

    def __post_init__(self) -> None:
        if self.target != "scenes":
            raise ValueError(f"target is {self.target!r}, expected scenes")
        if not 0 < self.scenes <= INDEX_LIMIT or self.scenes % BLOCK:
            raise ValueError(f"scenes={self.scenes}: give a multiple of {BLOCK}, at most {INDEX_LIMIT}")
        if not self.families or set(self.families) - set(FAMILIES):
            raise ValueError(f"families={list(self.families)}: choose from {', '.join(FAMILIES)}")
        if not 8 <= self.side <= 1024 or self.workers < 1:
            raise ValueError(f"side={self.side}, workers={self.workers}: give 8 to 1024, and 1 or more")
        if not 0 <= self.seed < SEED_LIMIT or self.split not in get_args(Split):
            raise ValueError(f"seed={self.seed}, split={self.split!r}: give 0 to {SEED_LIMIT - 1}, and a known split")

    @property
    def about(self) -> dict[str, JSON]:
        """What decides every pixel, but for their number."""
        return {"families": list(self.families), "side": self.side, "seed": self.seed, "split": self.split}


def record_scenes(config: RecordScenesConfig, progress: ProgressFn = quiet) -> Outcome:
    """Draw scenes, or go on where a killed run stopped; a set is the same whatever the workers.

    Args:
        config: What to draw.
        progress: Told of scenes drawn.

    Raises:
        AlignedError: `out` holds something else, or is damaged.
        RuntimeError: The device does not exist.
    """
    started = time.monotonic()
    writer = AlignedWriter(config.out, config.scenes, config.side, CLASSES, config.about)
    before, blocks = writer.done, config.scenes // BLOCK
    for pictures in _drawn(config, range(before, blocks)):
        writer.write(pictures)
        progress(writer.done * BLOCK, config.scenes, "draw scenes")
    made, took = AlignedPictures.open(config.out), time.monotonic() - started
    write_sheet(config.out / PICTURE, made)
    rate = (blocks - before) * BLOCK / took
    row = (str(len(made)), str(made.side), ", ".join(dict.fromkeys(config.families)), f"{took:.1f}", f"{rate:.0f}")
    figures: dict[str, JSON] = {"scenes": len(made), "side": made.side, "wall_s": took, "scenes_per_s": rate}
    return Outcome(config.out, figures, COLUMNS, (row,))


def _drawn(config: RecordScenesConfig, blocks: range) -> Iterator[dict[str, np.ndarray]]:
    """Blocks in order; a few are drawn ahead, in the workers."""
    with worker_processes(min(config.workers, max(len(blocks), 1))) as pool:
        yield from in_order(pool, (partial(draw_block, config, block) for block in blocks), config.workers)


def draw_block(config: RecordScenesConfig, block: int) -> dict[str, np.ndarray]:
    """Pictures of one block by kind, all of one member of one family."""
    turn, family = divmod(block, len(config.families))
    members = FAMILIES[config.families[family]]
    name = members[turn % len(members)]
    seeds = np.array([layout_seed(config.split, config.seed, block * BLOCK + index) for index in range(BLOCK)])
    made = source(name, BLOCK)
    pictures = _painter(name, config.side, config.device).draw_states(made.states(seeds))
    segments = pictures["camera.eye.segmentation"]
    return {
        "rgb": pictures["camera.eye.rgb"], "depth": pictures["camera.eye.depth"], "segmentation": segments,
        "classes": geom_classes(made.model)[segments],
    }  # fmt: skip


@cache
def _painter(name: str, side: int, device: str) -> WorldPictures:
    return WorldPictures(source(name, BLOCK).model, (eye(side),), BLOCK, launch=BLOCK, device=device)
