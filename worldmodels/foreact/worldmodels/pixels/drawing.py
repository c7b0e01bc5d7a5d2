"""Draw sets of true futures: the states that `make_branches` makes from the same seed, with pictures.

Pictures are kept batch by batch in a folder beside the set until it is complete; a run that was stopped simulates anew,
which is cheap, and draws what is missing. Shape letters: n = states of a batch, M = futures of each, P = pictured ones,
F = pictured moments, W = side [px].
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import jsonable, write_bytes_atomic, write_json_atomic
from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.behaviour import FEWEST, Purpose
from foreact.worldmodels.branches import BranchError
from foreact.worldmodels.branching import HORIZON, make_branches
from foreact.worldmodels.pixels.pictures import STREAMS, PictureSpec, PixelBranches
from foreact.worldmodels.scenes import Scene, scene

__all__ = ["DrawConfig", "draw_futures"]


@dataclass(frozen=True)
class DrawConfig:
    """What to draw.

    Attributes:
        out: Folder of the set; one that is there is not drawn again.
        scene: Name of the scene.
        purpose: `train`, `calibrate` or `test`.
        states: Number of states.
        copies: M, futures of each state.
        pictured: P, how many of them are drawn.
        seed: Of states, chunks and hidden numbers.
        pictures: Camera, side and moments.
        batch: States drawn together; a run that was stopped loses one batch at most.

    Raises:
        ValueError: A number is out of range.
    """

    out: Path
    scene: str = "arm-push"
    purpose: Purpose = "train"
    states: int = 512
    copies: int = 4
    pictured: int = 4
    seed: int = 0
    pictures: PictureSpec = field(default_factory=PictureSpec)
    batch: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.pictured <= self.copies:
            raise ValueError(f"pictured={self.pictured} of copies={self.copies}: give 1 to {self.copies}")
        if self.states < 1 or self.batch < 1:
            raise ValueError(f"states={self.states} and batch={self.batch} must be 1 or more")


def draw_futures(config: DrawConfig, progress: ProgressFn = quiet) -> Outcome:
    """Make a set of pictured futures, or go on with one that was stopped.

    Args:
        config: What to draw.
        progress: Told of states made.

    Raises:
        UnknownScene: The scene is unknown; near matches are listed.
        BranchError: `out` holds something else, or parts of another set.
    """
    chosen = scene(config.scene)
    if config.out.exists():
        _require(config, PixelBranches.open(config.out))
        return _outcome(config, PixelBranches.open(config.out), None)
    parts = config.out.with_name(f"{config.out.name}.parts")
    _claim(config, parts)
    watch = _Watch(config, chosen, parts)
    branches = make_branches(
        chosen, config.purpose, config.states, config.copies, config.seed,
        worlds=config.batch * config.copies, progress=progress, watch=watch,
    )  # fmt: skip
    seen, later = watch.gathered()
    data = PixelBranches(config.pictures, branches, seen, later)
    data.save(config.out)
    shutil.rmtree(parts)
    return _outcome(config, data, watch)


class _Watch:
    """Draws what `make_branches` shows, one part for each of its batches."""

    def __init__(self, config: DrawConfig, chosen: Scene, parts: Path) -> None:
        from foreact.sim.pictures import WorldPictures, camera_specs

        spec, model = config.pictures, chosen.task.compile()
        cameras = camera_specs(model, [spec.camera], spec.side, spec.side)
        self.config, self.parts = config, parts
        self.moments = {step: place for place, step in enumerate(spec.moments(HORIZON))}
        self.painter = WorldPictures(model, cameras, config.batch * config.pictured)
        self.drawn, self.cpu_s, self.batch = 0, 0.0, -1
        self.found: dict[str, np.ndarray] = {}

    def __call__(self, step: int, worlds: TaskWorlds, states: np.ndarray) -> None:
        if step == -FEWEST:
            self.batch += 1
            self.found = {"states": states}
            file = self._part(self.batch)
            part = _read_part(file)
            if part is not None:
                if not np.array_equal(part["states"], states):
                    raise BranchError(f"{file} holds other states; delete {self.parts} and draw again")
                self.found = {}
        if not self.found:
            return
        if step <= 0:
            self._draw("seen", worlds, np.arange(len(states)), (len(states), 2), (slice(None), int(step == 0)))
        elif step in self.moments:
            first = np.arange(len(states))[:, None] * self.config.copies
            ids = (first + np.arange(self.config.pictured)).ravel()
            axes = (len(states), self.config.pictured, len(self.moments))
            self._draw("later", worlds, ids, axes, (slice(None), slice(None), self.moments[step]))
            if self.moments[step] == len(self.moments) - 1:
                self._keep()

    def _part(self, batch: int) -> Path:
        return self.parts / f"part-{batch:05d}.safetensors"

    def _draw(self, group: str, worlds: TaskWorlds, ids: np.ndarray, axes: tuple[int, ...], place: tuple) -> None:
        started = time.process_time()
        pictures = self.painter.draw(worlds.backend, ids)
        for name, (dtype, _) in STREAMS.items():
            drawn = pictures[f"camera.{self.config.pictures.camera}.{name}"]
            shape = (*axes, *drawn.shape[1:])
            whole = self.found.setdefault(f"{group}.{name}", np.empty(shape, dtype))
            whole[place] = drawn.reshape(*axes[:-1], *drawn.shape[1:])
        self.cpu_s += time.process_time() - started
        self.drawn += len(ids)

    def _keep(self) -> None:
        from safetensors.numpy import save

        write_bytes_atomic(self._part(self.batch), save(self.found))
        self.found = {}

    def gathered(self) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """All parts, in the order of the states."""
        arrays: dict[str, np.ndarray] = {}
        for batch in range(self.batch + 1):
            part = _read_part(self._part(batch))
            if part is None:
                raise BranchError(f"{self._part(batch)} is missing; draw again")
            for name in part.keys() - {"states"}:
                whole = arrays.setdefault(name, np.empty((self.config.states, *part[name].shape[1:]), part[name].dtype))
                whole[part["states"]] = part[name]
        seen, later = ({name: arrays[f"{group}.{name}"] for name in STREAMS} for group in ("seen", "later"))
        return seen, later


def _read_part(path: Path) -> dict[str, np.ndarray] | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    if not path.exists():
        return None
    try:
        return load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise BranchError(f"{path} is damaged: {error}. Delete it and draw again") from error


def _claim(config: DrawConfig, parts: Path) -> None:
    """The folder of parts belongs to one configuration."""
    file, own = parts / "drawn.json", jsonable(asdict(config))
    if file.exists():
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise BranchError(f"{file} is damaged: {error}. Delete {parts} and draw again") from error
        if found != own:
            raise BranchError(f"{parts} holds parts of another set: {found}. Delete it, or choose another out=...")
    write_json_atomic(file, own)


def _require(config: DrawConfig, data: PixelBranches) -> None:
    spec = data.branches.spec
    found = (spec.task, spec.purpose, spec.seed, len(data), data.branches.futures.shape[1], data.pictured, data.spec)
    names = ("scene", "purpose", "seed", "states", "copies", "pictured", "pictures")
    wanted = tuple(getattr(config, name) for name in names)
    pairs = zip(names, found, wanted, strict=True)
    if wrong := [f"{name} is {theirs}, asked for {ours}" for name, theirs, ours in pairs if theirs != ours]:
        raise BranchError(f"{config.out} holds another set: {'; '.join(wrong)}. Choose another out=...")


def _outcome(config: DrawConfig, data: PixelBranches, watch: _Watch | None) -> Outcome:
    rate = watch.drawn / watch.cpu_s if watch is not None and watch.cpu_s else None
    figures: Mapping[str, float | int | None] = {
        "states": len(data),
        "frames": data.frames,
        "frames_drawn": watch.drawn if watch is not None else 0,
        "frames_per_cpu_s": None if rate is None else round(rate, 1),
    }
    columns = ("scene", "purpose", "states", "frames", "side [px]", "frames per CPU-second")
    row = (config.scene, config.purpose, str(len(data)), str(data.frames), str(data.spec.side))
    return Outcome(config.out, figures, columns, ((*row, "-" if rate is None else f"{rate:.0f}"),))
