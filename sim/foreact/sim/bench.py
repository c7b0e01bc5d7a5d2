"""`foreact bench sim`: what worlds of a task cost, against the bare engine and against what others offer.

All sides of a task take turns, so that a busy machine slows them alike; figures are ratios of control steps per CPU
second of all threads and processes, paired by round. Shape letters: R = rounds.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from foreact.episodes.outcome import ProgressFn, quiet
from foreact.episodes.runfolder import describe_machine, jsonable, write_dated_json
from foreact.sim.bench_metaworld import MetaWorldPair
from foreact.sim.bench_meter import Side, Spread, Window, ratio, spread
from foreact.sim.bench_pixels import PIXELS, TASK, picture_side
from foreact.sim.bench_rivals import GymnasiumSide, envpool_interpreter, envpool_side, has_rivals, write_model
from foreact.sim.bench_served import SideEnded
from foreact.sim.bench_worlds import OwnAndRaw, OwnWall
from foreact.sim.instructions import metaworld_task_names
from foreact.sim.registry import resolve, sim_task
from foreact.sim.task import SimTask

__all__ = ["SimBenchConfig", "SimBenchReport", "bench"]

TASKS = (
    "cartpole",
    "reacher",
    "half-cheetah",
    "ant",
    "humanoid",
    "arm-push",
    "quadruped-velocity",
    "reach-v3",
    "pick-place-v3",
)
PACKAGES = ("mujoco", "gymnasium", "numpy", "mujoco-warp", "metaworld", "envpool")
COLUMNS = ("task", "per CPU s", "per s", "of raw", "vs Async", "vs Sync", "vs EnvPool", "vs Meta-World", "vs OpenGL")
RATES = ("steps_per_cpu_second", "steps_per_second")
RATIOS = ("fraction_of_raw", "vs_async_vector_env", "vs_sync_vector_env", "vs_envpool", "vs_metaworld")
WALL_WORLDS = 2
"""Times as many worlds when all cores are used: threads need something to share."""


@dataclass(frozen=True)
class SimBenchConfig:
    """What to measure.

    Args:
        target: "sim".
        tasks: simulated tasks; others have those of the default only.
        out: folder of the dated results file; None writes nothing.
        repeats: rounds, in each of which every side has its turn.
        worlds: worlds of a task.
        seconds: length of one window [s].
        seed: of episodes and actions.
        envpool_python: an interpreter that can import EnvPool; None takes this one if it can.
        rivals: whether others are measured too.
        pixels: whether pictures are measured too.
    """

    target: str = "sim"
    tasks: tuple[str, ...] = TASKS
    out: Path | None = None
    repeats: int = 5
    worlds: int = 512
    seconds: float = 0.3
    seed: int = 0
    envpool_python: Path | None = None
    rivals: bool = True
    pixels: bool = True

    def __post_init__(self) -> None:
        if self.target != "sim":
            raise ValueError(f"target is {self.target!r}, expected sim")
        for name in ("repeats", "worlds", "seconds"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected more than 0")


@dataclass(frozen=True)
class SimBenchReport:
    """What was measured: a table, the same figures by name, and the results file if one was written."""

    path: Path | None
    figures: dict[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass
class _Figures:
    """Medians by name, their quartiles, and why others are missing."""

    medians: dict[str, float] = field(default_factory=dict)
    quartiles: dict[str, list[float]] = field(default_factory=dict)
    not_run: dict[str, str] = field(default_factory=dict)

    def add(self, name: str, found: Spread) -> None:
        self.medians[name] = found.median
        self.quartiles[name] = [found.lower, found.upper]


def bench(config: SimBenchConfig, progress: ProgressFn = quiet) -> SimBenchReport:
    """Measure tasks one after the other.

    Args:
        config: what to measure.
        progress: told (rounds done, rounds in all, what is running).

    Raises:
        UnknownTask: no such task.
        ValueError: a task given twice, one without worlds to be run together, or an interpreter without EnvPool.
        RawDiffers: the raw side does not reproduce the worlds.
    """
    names = resolve(config.tasks)
    known = metaworld_task_names()
    tasks = {name: _task(name, known) for name in names}
    interpreter = envpool_interpreter(config.envpool_python) if config.rivals else None
    figures = _Figures()
    if config.rivals and interpreter is None:
        figures.not_run["vs_envpool"] = "EnvPool is not installed; pip install envpool, or give envpool_python=PATH"
    total = (len(tasks) + config.pixels) * config.repeats
    for index, (name, task) in enumerate(tasks.items()):
        report = _counted(progress, index * config.repeats, total, name)
        if task is None:
            _measure_metaworld(name, config, figures, report)
        else:
            _measure(task, config, interpreter, figures, report)
    if config.pixels:
        _measure_pixels(config, figures, _counted(progress, len(tasks) * config.repeats, total, "pictures"))
    found = _as_json(config, figures)
    path = None if config.out is None else write_dated_json(config.out, "sim", found)
    rows = [_row(name, figures.medians) for name in names]
    if config.pixels:
        rows.append(_pixel_row(figures.medians))
    return SimBenchReport(path, found, COLUMNS, tuple(rows))


def _task(name: str, metaworld: Collection[str]) -> SimTask | None:
    """The task, or None for one of Meta-World's."""
    task = sim_task(name)
    if task is None and name not in metaworld:
        raise ValueError(f"task {name!r} has no worlds to be run together; `foreact bench sim` cannot measure it")
    return task


def _counted(progress: ProgressFn, done: int, total: int, name: str) -> Callable[[int], None]:
    return lambda rounds: progress(done + rounds, total, f"timing {name}")


def _measure(
    task: SimTask, config: SimBenchConfig, interpreter: Path | None, figures: _Figures, report: Callable[[int], None]
) -> None:
    report(0)
    own = OwnAndRaw(task, config.worlds, config.seed, config.seconds)
    sides: dict[str, Side] = {}
    full: list[Window] = []
    raw: list[Window] = []
    others: dict[str, list[Window]] = {}
    with ExitStack() as stack:
        for name, side in _sides(task, config, interpreter, stack):
            sides[name] = stack.enter_context(closing(side))
            others[name] = []
        for index in range(config.repeats):
            one, other = own.windows(raw_first=index % 2 == 1)
            full.append(one)
            raw.append(other)
            for name, side in sides.items():
                others[name].append(side.window())
            report(index + 1)
    wall = others.pop("wall")
    figures.add(f"{task.name}.steps_per_cpu_second", spread([each.per_cpu_second for each in full]))
    figures.add(f"{task.name}.steps_per_second", spread([each.per_second for each in wall]))
    figures.add(f"fraction_of_raw.{task.name}", ratio(full, raw))
    for name, windows in others.items():
        figures.add(f"{name}.{task.name}", ratio(full, windows))


def _measure_metaworld(name: str, config: SimBenchConfig, figures: _Figures, report: Callable[[int], None]) -> None:
    report(0)
    pair = MetaWorldPair(name, config.worlds, config.seed)
    rounds = []
    for index in range(config.repeats):
        rounds.append(pair.windows())
        report(index + 1)
    ours, theirs = zip(*rounds, strict=True)
    figures.add(f"{name}.steps_per_cpu_second", spread([each.per_cpu_second for each in ours]))
    figures.add(f"vs_metaworld.{name}", ratio(ours, theirs))


def _measure_pixels(config: SimBenchConfig, figures: _Figures, report: Callable[[int], None]) -> None:
    report(0)
    ours, theirs = [], []
    with closing(picture_side("raytracer", config.seconds)) as traced, ExitStack() as stack:
        drawn: Side | None = None
        try:
            drawn = stack.enter_context(closing(picture_side("opengl", config.seconds))) if config.rivals else None
        except SideEnded as error:
            figures.not_run["pixels.vs_opengl"] = str(error)
        for index in range(config.repeats):
            ours.append(traced.window())
            if drawn is not None:
                theirs.append(drawn.window())
            report(index + 1)
    figures.add("pixels.frames_per_cpu_second", spread([each.per_cpu_second for each in ours]))
    if theirs:
        figures.add("pixels.vs_opengl", ratio(ours, theirs))


def _sides(
    task: SimTask, config: SimBenchConfig, interpreter: Path | None, stack: ExitStack
) -> Iterator[tuple[str, Side]]:
    yield "wall", OwnWall(task, WALL_WORLDS * config.worlds, config.seed, config.seconds)
    if not (config.rivals and has_rivals(task.name)):
        return
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    model, seconds = write_model(task, folder), config.seconds
    # the CPU time of its processes is known to 10 ms only
    yield "vs_async_vector_env", GymnasiumSide(task, model, "async", 2 * seconds)
    yield "vs_sync_vector_env", GymnasiumSide(task, model, "sync", seconds)
    if interpreter is not None:
        yield "vs_envpool", envpool_side(interpreter, task, model, seconds)


def _as_json(config: SimBenchConfig, figures: _Figures) -> dict[str, Any]:
    import os

    found = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "config": config,
        "machine": {**describe_machine(), "load_average": os.getloadavg(), "packages": _versions()},
        **figures.medians,
        "quartiles": figures.quartiles,
        "not_run": figures.not_run,
    }
    plain = jsonable(found)
    assert isinstance(plain, dict)
    return plain


def _versions() -> dict[str, str | None]:
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def _row(task: str, medians: dict[str, float]) -> tuple[str, ...]:
    rates = (medians.get(f"{task}.{name}") for name in RATES)
    ratios = (medians.get(f"{name}.{task}") for name in RATIOS)
    shown = [*((each, ",.0f") for each in rates), *((each, ".2f") for each in ratios)]
    return (task, *("" if value is None else format(value, form) for value, form in shown), "")


def _pixel_row(medians: dict[str, float]) -> tuple[str, ...]:
    head = (f"frames of {TASK}, {PIXELS} px", f"{medians['pixels.frames_per_cpu_second']:,.0f}")
    ratio_to_opengl = medians.get("pixels.vs_opengl")
    last = "" if ratio_to_opengl is None else f"{ratio_to_opengl:.2f}"
    return (*head, *[""] * (len(COLUMNS) - 3), last)
