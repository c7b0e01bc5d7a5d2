"""`foreact bench edge`: size, parity, speed, memory and closed-loop success of a policy before and after compression.

Every step up to the measurement is a command of its own, kept when it is done, so a stopped benchmark goes on where it
stopped. Timings take turns in one process on one thread; episodes of all variants have the same layouts.
"""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from foreact.cli.bench_edge_figures import Measured, columns, figures_of, rows_of
from foreact.cli.bench_edge_plan import Files, evaluation_stages, files_of, model_stages, prepare_stages
from foreact.cli.commands import Report
from foreact.cli.demo_folder import hold
from foreact.cli.demo_stages import Stage, load_outcome, perform, save_outcome
from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.ranges import require_at_least

__all__ = ["EdgeBenchConfig", "bench_edge"]

DEMO = Path("runs/demo/latest")


@dataclass(frozen=True)
class EdgeBenchConfig:
    """What to measure.

    Attributes:
        target: `edge`.
        policies: Run folders of trained policies; none given takes the demo's, or records and trains as the demo does.
        train: Store they were trained on.
        data: Held-out store, for calibration and parity.
        work: Folder of everything made on the way; the same benchmark is continued there.
        out: Folder of the dated results file; None writes none.
        tasks: Tasks of the closed loop.
        episodes: Layouts a task, the same for the exported policy and the compressed ones.
        naive: Layouts a task for the naive control.
        seed: Which layouts; compression is tuned on those of seed 1000 and above.
        workers: Processes of the closed loop.
        rounds: Timed inferences.
        starts: Fresh processes whose cold start is measured.
    """

    target: str = "edge"
    policies: tuple[Path, ...] = ()
    train: Path | None = None
    data: Path | None = None
    work: Path = Path("runs/bench-edge")
    out: Path | None = None
    tasks: tuple[str, ...] = ("reach", "push", "button-press-topdown", "drawer-open", "window-open", "door-open")
    episodes: int = 100
    naive: int = 20
    seed: int = 0
    workers: int = 2
    rounds: int = 300
    starts: int = 3

    def __post_init__(self) -> None:
        if self.target != "edge":
            raise ValueError(f"target is {self.target!r}, expected edge")
        require_at_least(self, episodes=1, naive=1, workers=1, rounds=1, starts=1)
        if self.naive > self.episodes:
            raise ValueError(
                f"naive={self.naive} is more than episodes={self.episodes}; its layouts are some of theirs"
            )
        if bool(self.policies) != (self.train is not None) or bool(self.policies) != (self.data is not None):
            raise ValueError("bench edge: give policies=, train= and data= together, or none of them")


@dataclass(frozen=True)
class _Material:
    policies: tuple[Path, ...]
    train: Path
    data: Path


def bench_edge(config: EdgeBenchConfig, progress: ProgressFn = quiet) -> Outcome:
    """Prepare, compress, evaluate and time.

    Args:
        config: What to measure.
        progress: Told of each stage.

    Raises:
        DemoError: Another benchmark is writing to the folder.
        ValueError: Whatever a command refuses; what was finished is kept.
    """
    with hold(config.work):
        material = _material(config, progress)
        measured = [
            _measure(config, material, files_of(config.work, index), policy, progress)
            for index, policy in enumerate(material.policies)
        ]
        figures = figures_of(measured, config)
        return _report(config, figures)


def _material(config: EdgeBenchConfig, progress: ProgressFn) -> _Material:
    if config.policies:
        assert config.train is not None and config.data is not None
        return _Material(config.policies, config.train, config.data)
    made = DEMO
    if not (DEMO / "train" / "policy" / "model.json").exists():
        made = config.work / "demo"
        _perform_all(config.work, prepare_stages(config.work), progress)
    return _Material((made / "train",), made / "data" / "train", made / "data" / "calibration")


def _measure(
    config: EdgeBenchConfig, material: _Material, files: Files, policy: Path, progress: ProgressFn
) -> Measured:
    trial = {"tasks": list(config.tasks), "episodes": config.episodes, "seed": config.seed}
    trial |= {"workers": config.workers, "videos": 0}
    made = _perform_all(config.work, model_stages(files, policy, material.train, material.data), progress)
    made |= _perform_all(config.work, evaluation_stages(files, trial, config.naive), progress)
    reports = {name.removeprefix(f"{files.folder.name} "): found for name, found in made.items()}
    return Measured.of(files, policy, material.data, reports, config, progress)


def _perform_all(work: Path, stages: Sequence[Stage], progress: ProgressFn) -> dict[str, Mapping[str, Any]]:
    """The figures of stages by name; those after one that was done now are done now too."""
    figures: dict[str, Mapping[str, Any]] = {}
    fresh = False
    for stage in stages:
        outcome = None if fresh else load_outcome(work, stage)
        fresh = fresh or (outcome is None and stage.command != "eval")
        figures[stage.name] = _perform(work, stage, outcome, progress)
    return figures


def _perform(work: Path, stage: Stage, outcome: Report | None, progress: ProgressFn) -> Mapping[str, Any]:
    """The figures of a stage, done now or before."""
    from foreact.cli.report import output_console, print_outcome

    console: Console = output_console()
    kept = " (kept from before)" if outcome else ""
    console.print(f"\n{stage.name}{kept}: {shlex.join(stage.command_line)}", markup=False, highlight=False)
    if outcome is None:
        outcome = perform(stage, lambda done, total, text: progress(done, total, f"{stage.name}: {text}"))
        save_outcome(work, stage, outcome)
    print_outcome(console, outcome)
    return outcome.figures


def _report(config: EdgeBenchConfig, figures: dict[str, Any]) -> Outcome:
    from foreact.cli.bench_edge_picture import draw
    from foreact.episodes.runfolder import describe_machine, write_dated_json, write_json_atomic

    content = {**figures, "machine": describe_machine(), "config": config}
    path = config.work / "edge.json"
    write_json_atomic(path, content)
    draw(figures, config.work / "edge.png")
    if config.out is not None:
        path = write_dated_json(config.out, "edge", content)
    return Outcome(path, figures, columns(), rows_of(figures))
