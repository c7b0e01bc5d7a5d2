"""Sets of true futures of several scenes on disk: to train on, to calibrate on, to test on.

A folder `out/SCENE/PURPOSE` appears whole or not at all; a run that was stopped goes on with the sets that are missing.
At the end some of the true futures are drawn into `out/futures.png`. Who makes the same sets again sees the same sums.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.worldmodels.behaviour import Purpose
from foreact.worldmodels.branch_picture import draw_branches
from foreact.worldmodels.branches import SHAPES, BranchError, Branches
from foreact.worldmodels.branching import HORIZON, make_branches
from foreact.worldmodels.scenes import scene, scene_names

__all__ = ["BranchesConfig", "branches", "digest", "set_path"]

PICTURE = "futures.png"  # one state of each scene's test set
COLUMNS = ("scene", "set", "states", "futures", "CPU s", "sha256")


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
    there = {key: _found(config, *key) for key in _wanted(config)}  # a mistake is found before any work
    rows: list[tuple[str, ...]] = []
    figures: dict[str, JSON] = {}
    for (name, purpose), known in there.items():
        states, copies = config.sizes[purpose]
        started = time.process_time()
        checksum = known or _make(config, name, purpose, progress)
        seconds = None if known else round(time.process_time() - started, 2)
        figures[f"{name}.{purpose}"] = {
            "states": states, "futures": copies, "cpu_seconds": seconds, "sha256": checksum,
        }  # fmt: skip
        spent = "was there" if seconds is None else f"{seconds:.1f}"
        rows.append((name, purpose, str(states), str(copies), spent, checksum[:12]))
    picture = config.out / PICTURE
    if not (picture.exists() and all(there.values())):
        draw_branches(picture, [Branches.open(set_path(config.out, name, "test")) for name in config.scenes])
    return Outcome(config.out, figures, COLUMNS, tuple(rows))


def digest(made: Branches) -> str:
    """SHA-256 of all numbers of a set, in hexadecimal."""
    total = hashlib.sha256()
    for name in SHAPES:
        values = getattr(made, name)
        total.update(f"{name} {values.dtype} {values.shape};".encode())
        total.update(values.tobytes())
    return total.hexdigest()


def _wanted(config: BranchesConfig) -> Iterator[tuple[str, Purpose]]:
    for name in config.scenes:
        for purpose in config.sizes:
            yield name, purpose


def _make(config: BranchesConfig, name: str, purpose: Purpose, progress: ProgressFn) -> str:
    """Make a set; its checksum."""
    states, copies = config.sizes[purpose]
    made = make_branches(
        scene(name), purpose, states, copies, config.seed,
        horizon=config.horizon, threads=config.threads, progress=progress,
    )  # fmt: skip
    made.save(set_path(config.out, name, purpose))
    return digest(made)


def _found(config: BranchesConfig, name: str, purpose: Purpose) -> str | None:
    """The checksum of the set that is wanted, or None if it is not there yet."""
    path = set_path(config.out, name, purpose)
    if not path.exists():
        return None
    found = Branches.open(path)
    own = (found.spec.task, found.spec.purpose, found.spec.seed, *found.futures.shape[:3])
    wanted = (name, purpose, config.seed, *config.sizes[purpose], config.horizon)
    names = ("scene", "purpose", "seed", "number of states", "number of futures", "horizon")
    for what, has, wants in zip(names, own, wanted, strict=True):
        if has != wants:
            raise BranchError(f"{path}: its {what} is {has}, not {wants}; choose another out, or delete that folder")
    return digest(found)
