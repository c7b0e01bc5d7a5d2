"""Sets of true futures of several scenes on disk: to train on, to calibrate on, to test on.

A folder `out/SCENE/PURPOSE` appears whole or not at all; a run that was stopped goes on with the sets that are missing.
At the end some of the true futures are drawn into `out/futures.png`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.worldmodels.behaviour import Purpose
from foreact.worldmodels.branch_picture import draw_branches
from foreact.worldmodels.branches import BranchError, Branches
from foreact.worldmodels.branching import HORIZON, make_branches
from foreact.worldmodels.scenes import scene, scene_names

__all__ = ["BranchesConfig", "branches", "set_path"]

PICTURE = "futures.png"  # one state of each scene's test set
COLUMNS = ("scene", "set", "states", "futures", "CPU s", "")


@dataclass(frozen=True)
class BranchesConfig:
    """Which sets to make.

    Attributes:
        out: Folder of the sets.
        scenes: Names of scenes.
        seed: Of states, chunks and hidden numbers.
        horizon: Control steps of a chunk.
        train: States to train on.
        train_futures: Futures of each.
        calibrate: States to calibrate on.
        calibrate_futures: Futures of each.
        test: States to test on.
        test_futures: Futures of each.
        threads: Of the engine; the sets do not depend on it.
    """

    out: Path
    scenes: tuple[str, ...] = scene_names()
    seed: int = 0
    horizon: int = HORIZON
    train: int = 2000
    train_futures: int = 8
    calibrate: int = 1000
    calibrate_futures: int = 8
    test: int = 400
    test_futures: int = 32
    threads: int = 1

    def __post_init__(self) -> None:
        if not self.scenes or len(set(self.scenes)) < len(self.scenes):
            raise ValueError(f"scenes={list(self.scenes)}: name at least one, and none twice")
        numbers = ("train", "train_futures", "calibrate", "calibrate_futures", "test", "test_futures")
        for name in (*numbers, "horizon", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)} is out of range; give 1 or more")

    @property
    def sizes(self) -> dict[Purpose, tuple[int, int]]:
        """States and futures of each, by purpose."""
        return {
            "train": (self.train, self.train_futures),
            "calibrate": (self.calibrate, self.calibrate_futures),
            "test": (self.test, self.test_futures),
        }


def set_path(out: Path, name: str, purpose: Purpose) -> Path:
    """Where a set lies."""
    return out / name / purpose


def branches(config: BranchesConfig, progress: ProgressFn = quiet) -> Outcome:
    """Make all sets that are not there yet.

    Args:
        config: Which.
        progress: Told of states made.

    Raises:
        UnknownScene: No such scene.
        BranchError: A folder holds another set, or a damaged one; the message names it.
    """
    for name in config.scenes:
        scene(name)
    there = {key: _is_there(config, *key) for key in _wanted(config)}  # a mistake is found before any work
    rows: list[tuple[str, ...]] = []
    figures: dict[str, JSON] = {}
    for (name, purpose), old in there.items():
        states, copies = config.sizes[purpose]
        started = time.process_time()
        if not old:
            _make(config, name, purpose, progress)
        seconds = round(time.process_time() - started, 2)
        figures[f"{name}.{purpose}"] = {"states": states, "futures": copies, "cpu_seconds": None if old else seconds}
        rest = ("", "was there") if old else (f"{seconds:.1f}", "")
        rows.append((name, purpose, str(states), str(copies), *rest))
    picture = config.out / PICTURE
    if not (picture.exists() and all(there.values())):
        draw_branches(picture, [Branches.open(set_path(config.out, name, "test")) for name in config.scenes])
    return Outcome(config.out, figures, COLUMNS, tuple(rows))


def _wanted(config: BranchesConfig) -> Iterator[tuple[str, Purpose]]:
    for name in config.scenes:
        for purpose in config.sizes:
            yield name, purpose


def _make(config: BranchesConfig, name: str, purpose: Purpose, progress: ProgressFn) -> None:
    states, copies = config.sizes[purpose]
    made = make_branches(
        scene(name), purpose, states, copies, config.seed,
        horizon=config.horizon, threads=config.threads, progress=progress,
    )  # fmt: skip
    made.save(set_path(config.out, name, purpose))


def _is_there(config: BranchesConfig, name: str, purpose: Purpose) -> bool:
    """Whether the set is there already; if so, it is the one that is wanted."""
    path = set_path(config.out, name, purpose)
    if not path.exists():
        return False
    found = Branches.open(path)
    own = (found.spec.task, found.spec.purpose, found.spec.seed, *found.futures.shape[:3])
    wanted = (name, purpose, config.seed, *config.sizes[purpose], config.horizon)
    names = ("scene", "purpose", "seed", "number of states", "number of futures", "horizon")
    for what, has, wants in zip(names, own, wanted, strict=True):
        if has != wants:
            raise BranchError(f"{path}: its {what} is {has}, not {wants}; choose another out, or delete that folder")
    return True
