"""`foreact bench safety`: learned safety values against a grid solver, and what a filter prevents in closed loop.

Every stage of every seed leaves one file when it is done; a run that was killed goes on with the first that is missing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import RunFolder, describe_machine, jsonable, write_dated_json, write_json_atomic
from foreact.worldmodels.safety.figures import rows, summary
from foreact.worldmodels.safety.latent import LatentConfig
from foreact.worldmodels.safety.learning import LearnConfig
from foreact.worldmodels.safety.margin import MarginConfig
from foreact.worldmodels.safety.value import ValueConfig

__all__ = ["SafetyBenchConfig", "bench"]

PIXELS = LearnConfig(
    episodes=1500,
    steps=12,
    horizon=8,
    latent=LatentConfig(latent=32, members=3, width=128, updates=2000, batch=96, learning_rate=5e-3, refine=2000),
    # pictures are read with errors of centimetres: a margin that tells them apart, and no sums over 1000 steps of them
    margin=MarginConfig(batch=512, slope=0.5),
    value=ValueConfig(last_gamma=0.985),
    delta=0.6,
    gain=0.25,
)
# what is not known is imagined only, and rare there
UNKNOWN = LearnConfig(beyond=10, value=ValueConfig(failing=0.25))
COLUMNS = ("what", "measured", "control, which must fail")


@dataclass(frozen=True)
class SafetyBenchConfig:
    """What is learned, and how it is tried.

    Attributes:
        target: `safety`.
        out: Run folder; one that holds the same run is continued.
        results: Folder of the dated results file; None writes none.
        stages: What is tried: `state`, `pixels`, `unknown`.
        seeds: Training seeds; starts, goals and drives differ with them too.
        grid: Points along each axis of the car's grid.
        trials: Episodes of each kind per seed.
        low_gamma: Discount of the control that does not look far.
        alpha: Share of known episodes that may count as unknown.
        state: How a filter is learned from states.
        pixels: How one is learned from pictures of 32 px.
        unknown: How one is learned that has never been in a part of the arena.
    """

    target: str = "safety"
    out: Path = Path("runs/bench-safety")
    results: Path | None = None
    stages: tuple[str, ...] = ("state", "pixels", "unknown")
    seeds: tuple[int, ...] = (0, 1, 2)
    grid: int = 60
    trials: int = 400
    low_gamma: float = 0.85
    alpha: float = 0.05
    state: LearnConfig = field(default_factory=LearnConfig)
    pixels: LearnConfig = field(default_factory=lambda: PIXELS)
    unknown: LearnConfig = field(default_factory=lambda: UNKNOWN)

    def __post_init__(self) -> None:
        if self.target != "safety":
            raise ValueError(f"target is {self.target!r}, expected safety")
        if not self.stages or not {"state", "pixels", "unknown"}.issuperset(self.stages):
            raise ValueError(f"stages={list(self.stages)}: expected some of state, pixels, unknown")
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"seeds={list(self.seeds)}: expected one or more, none of them twice")
        for name, least in (("grid", 12), ("trials", 10)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}, expected {least} or more")
        for name in ("low_gamma", "alpha"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected a number between 0 and 1")


def bench(config: SafetyBenchConfig, progress: ProgressFn = quiet) -> Outcome:
    """Learn and try filters, seed by seed.

    Args:
        config: What and how.
        progress: Told of stages.

    Raises:
        RunError: The folder holds another run.
        ValueError: A stage's file is damaged; the message names it.
    """
    import torch

    from foreact.worldmodels.safety.pictures import draw_values
    from foreact.worldmodels.safety.stages import STAGES, solved

    torch.set_num_threads(1)
    RunFolder.resume_or_create(config.out, "bench-safety", dataclasses.replace(config, results=None), config.seeds[0])
    solutions = solved(config)
    stages = [(seed, name) for seed in config.seeds for name in config.stages]
    found: dict[str, list[Any]] = {name: [] for name in config.stages}
    for done, (seed, name) in enumerate(stages):
        progress(done, len(stages), f"{name}, seed {seed}")
        folder = config.out / f"seed-{seed}"
        found[name].append(_once(folder / f"{name}.json", lambda n=name, s=seed: STAGES[n](config, s, solutions)))
    progress(len(stages), len(stages), "done")
    figures = {**solutions.figures, **summary(found)}
    write_json_atomic(config.out / "figures.json", figures)
    if config.results is not None:
        measured = {**figures, "machine": describe_machine(), "config": jsonable(config)}
        write_dated_json(config.results, "safety", measured)
    draw_values(config.out, solutions, config.seeds[0])
    return Outcome(config.out, figures, COLUMNS, rows(figures))


def _once(file: Path, work: Callable[[], dict[str, JSON]]) -> dict[str, Any]:
    """What a stage found, from its file if it was done before."""
    if file.exists():
        try:
            return json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{file} is damaged: {error}. Delete it and run again") from error
    found = work()
    write_json_atomic(file, found)
    return found
