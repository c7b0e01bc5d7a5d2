"""`foreact demo`: the whole pipeline on a few tasks, from nothing to a running int8 policy and one HTML report."""

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from foreact.cli.commands import Report
from foreact.cli.demo_folder import hold, open_folder
from foreact.cli.demo_ledger import Ledger
from foreact.cli.demo_stages import Stage, check, load_outcome, perform, plan, save_outcome
from foreact.episodes.outcome import Outcome, ProgressFn, quiet

__all__ = ["DemoConfig", "demo"]


@dataclass(frozen=True)
class DemoConfig:
    """What the demo shows, and settings that it hands on to the commands it is made of.

    Attributes:
        out: Folder of the demo; the same demo is continued, another one in it is set aside.
        tasks: Task names or aliases.
        demos: Demonstrations per task.
        calibration: Demonstrations per task on held-out layouts, for the parity reports.
        episodes: Evaluation layouts per task.
        seed: Of layouts, noise, weights and sampling.
        workers: Processes that record and evaluate.
        record: Further keys of `foreact record`, such as record.front=64.
        train: Further keys of `foreact train`, such as train.optimisation.updates=500.
        eval: Further keys of `foreact eval`, for both evaluations.
        export: Further keys of `foreact export`.
        compress: Further keys of `foreact compress`.
        run: Further keys of `foreact run`.
    """

    out: Path = Path("runs/demo/latest")
    tasks: tuple[str, ...] = ("reach", "push", "button-press-topdown", "drawer-open", "window-open", "door-open")
    demos: int = 50
    calibration: int = 4
    episodes: int = 20
    seed: int = 0
    workers: int = 2
    record: dict[str, Any] = field(default_factory=dict)
    train: dict[str, Any] = field(default_factory=dict)
    eval: dict[str, Any] = field(default_factory=dict)
    export: dict[str, Any] = field(default_factory=dict)
    compress: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.tasks:
            raise ValueError("demo: tasks=[] names no task; give at least one, such as tasks=[reach,push]")
        for name in ("demos", "calibration", "episodes", "workers"):
            if getattr(self, name) < 1:
                raise ValueError(f"demo: {name}={getattr(self, name)} is out of range; give {name}=1 or more")


def demo(config: DemoConfig, progress: ProgressFn = quiet) -> Outcome:
    """Record, train, evaluate, export, compress, evaluate again, run, and write the report.

    A demo that was stopped goes on where it stopped; the seconds of all attempts are added up. One that is complete
    only has its report written again.

    Args:
        config: What to show.
        progress: Told of the progress of every stage, its name in front.

    Raises:
        DoorError: A key handed on to a command does not fit; nothing was started.
        DemoError: The folder holds something else, or another demo is writing to it.
        ValueError: Whatever a stage refuses; the stages before it are kept.
    """
    from foreact.cli.report import output_console

    console = output_console()
    stages = plan(config)
    check(stages)
    with hold(config.out):
        set_aside = open_folder(config.out, config, config.seed)
        if set_aside is not None:
            _say(console, f"{config.out} held another demo; it is now {set_aside}")
        ledger = Ledger(config.out / "ledger.json")
        if any(load_outcome(config.out, stage) is None for stage in stages):
            with ledger.attempt():
                outcomes = _run_stages(config, stages, ledger, progress, console)
                with ledger.stage("report"):
                    prepared = _prepare(config, stages, outcomes, progress)
        else:
            outcomes = _run_stages(config, stages, ledger, progress, console)
            prepared = _prepare(config, stages, outcomes, progress)
        return _finish(config, outcomes, ledger, prepared)


def _run_stages(
    config: DemoConfig, stages: tuple[Stage, ...], ledger: Ledger, progress: ProgressFn, console: Console
) -> dict[str, Report]:
    from foreact.cli.report import print_outcome

    outcomes: dict[str, Report] = {}
    for number, stage in enumerate(stages, start=1):
        outcome = load_outcome(config.out, stage)
        kept = " (kept from before)" if outcome else ""
        _say(console, f"\n{number}/{len(stages)} {stage.name}{kept}: {shlex.join(stage.command_line)}")
        if outcome is None:
            with ledger.stage(stage.name):
                outcome = perform(stage, _named(stage.name, progress))
            save_outcome(config.out, stage, outcome)
        print_outcome(console, outcome)
        outcomes[stage.name] = outcome
    return outcomes


def _prepare(
    config: DemoConfig, stages: tuple[Stage, ...], outcomes: Mapping[str, Report], progress: ProgressFn
) -> Any:
    from foreact.cli.demo_report import collect

    return collect(config.out, stages, outcomes, _named("report", progress))


def _finish(config: DemoConfig, outcomes: Mapping[str, Report], ledger: Ledger, prepared: Any) -> Outcome:
    from foreact.cli.demo_report import write_report
    from foreact.cli.demo_summary import summarise, summary_rows
    from foreact.episodes.runfolder import RunFolder, write_json_atomic

    summary = summarise(outcomes, ledger, RunFolder.open(config.out).record)
    material = dataclasses.replace(prepared, attempts=ledger.attempts)
    page = write_report(config.out / "report.html", material, summary)
    write_json_atomic(config.out / "summary.json", summary)
    return Outcome(page, dict(summary), ("figure", "value"), summary_rows(summary))


def _named(stage: str, progress: ProgressFn) -> ProgressFn:
    return lambda done, total, text: progress(done, total, f"{stage}: {text}")


def _say(console: Console, text: str) -> None:
    console.print(text, markup=False, highlight=False, soft_wrap=True)
