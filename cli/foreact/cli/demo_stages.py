"""The stages of a demo: each is a command that could have been typed, with its settings written out."""

import json
import shlex
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.cli.commands import COMMANDS, Command, Report
from foreact.episodes.outcome import Outcome, ProgressFn
from foreact.episodes.runfolder import write_json_atomic

if TYPE_CHECKING:
    from foreact.cli.demo import DemoConfig

__all__ = ["Stage", "check", "load_outcome", "perform", "plan", "save_outcome", "stage_of"]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: Unique within the demo.
        command: The command's name in the command table.
        overrides: What would be typed after it.
        scratch: A folder that the command does not continue: what a stopped attempt left in it is removed first.
    """

    name: str
    command: str
    overrides: tuple[str, ...]
    scratch: Path | None = None

    @property
    def command_line(self) -> list[str]:
        """The words that would be typed."""
        return ["foreact", self.command, *self.overrides]


def plan(config: "DemoConfig") -> tuple[Stage, ...]:
    """The stages of a demo, in order.

    Args:
        config: The demo's settings.

    Raises:
        ValueError: A key is handed on that the demo itself sets.
    """
    out, tasks = config.out, list(config.tasks)
    store, held_out, trained = out / "data" / "train", out / "data" / "calibration", out / "train"
    exported, compressed = out / "export" / "policy.onnx", out / "compress" / "policy.int8.onnx"
    recording = {"tasks": tasks, "seed": config.seed, "workers": config.workers}
    filmless = {**config.eval, "videos": 0}
    trial = {"tasks": tasks, "episodes": config.episodes, "seed": config.seed, "workers": config.workers}
    robot = {name: config.record[name] for name in ("front", "wrist") if name in config.record}
    return (
        stage_of("record", "record", {"out": store, "episodes": config.demos, **recording}, config.record),
        stage_of(
            "calibration",
            "record",
            {"out": held_out, "split": "calibration", "episodes": config.calibration, **recording},
            config.record,
        ),
        stage_of(
            "train", "train", {"data": store, "out": trained, "seed": config.seed, **_arithmetic(config)}, config.train
        ),
        stage_of("eval", "eval", {"policy": trained, "out": out / "eval", **trial}, config.eval),
        stage_of("export", "export", {"policy": trained, "out": exported, "data": held_out}, config.export),
        stage_of(
            "compress",
            "compress",
            {"model": exported, "policy": trained, "out": compressed, "data": held_out},
            config.compress,
        ),
        stage_of("eval int8", "eval", {"policy": compressed, "out": out / "eval-int8", **trial}, filmless),
        stage_of(
            "run",
            "run",
            {"policy": compressed, "task": tasks[0], "out": out / "run", "seed": config.seed, **robot},
            config.run,
            scratch=out / "run",
        ),
    )


def check(stages: tuple[Stage, ...]) -> None:
    """Resolve the settings of every stage, so that a mistyped key ends the demo before it begins.

    Args:
        stages: The stages.

    Raises:
        DoorError: A key or value does not fit.
        UnknownTask: A task name is unknown.
    """
    from foreact.sim.registry import resolve

    for stage in stages:
        config = _settings(stage)[1]
        if hasattr(config, "tasks"):
            resolve(config.tasks)


def perform(stage: Stage, progress: ProgressFn) -> Report:
    """Run a stage.

    Args:
        stage: Which.
        progress: Told of its progress.
    """
    command, config = _settings(stage)
    if stage.scratch is not None and stage.scratch.exists():
        shutil.rmtree(stage.scratch)
    return command.load()[1](config, progress)


def save_outcome(out: Path, stage: Stage, outcome: Report) -> None:
    """Keep what a finished stage reported.

    Args:
        out: The demo's folder.
        stage: The stage.
        outcome: What its command returned.
    """
    kept = {"path": outcome.path, "figures": outcome.figures, "columns": outcome.columns, "rows": outcome.rows}
    write_json_atomic(_file(out, stage), {"typed": shlex.join(stage.command_line), "outcome": kept})


def load_outcome(out: Path, stage: Stage) -> Outcome | None:
    """What a stage reported, or None if it has not finished, with these settings, or what it wrote is gone.

    Args:
        out: The demo's folder.
        stage: The stage.
    """
    try:
        kept = json.loads(_file(out, stage).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    outcome = kept["outcome"]
    if kept["typed"] != shlex.join(stage.command_line) or not Path(outcome["path"]).exists():
        return None
    rows = tuple(tuple(row) for row in outcome["rows"])
    return Outcome(Path(outcome["path"]), outcome["figures"], tuple(outcome["columns"]), rows)


def _arithmetic(config: "DemoConfig") -> dict[str, Any]:
    """bf16 where this processor has the instructions (a third fewer CPU-seconds), fp32 elsewhere, unless it is set."""
    from foreact.cli.doctor import cpu_flags

    if "precision" in config.train.get("optimisation", {}):
        return {}
    return {"optimisation.precision": "bf16" if {"avx512_bf16", "amx_bf16"} & set(cpu_flags()) else "fp32"}


def _file(out: Path, stage: Stage) -> Path:
    return out / "stages" / f"{stage.name.replace(' ', '-')}.json"


def _settings(stage: Stage) -> tuple[Command, Any]:
    from foreact.cli.execute import Request, resolve

    command = next(command for command in COMMANDS if command.name == stage.command)
    return command, resolve(command, command.load()[0], Request(stage.overrides, {}))


def stage_of(
    name: str, command: str, values: dict[str, Any], handed_on: Mapping[str, Any], scratch: Path | None = None
) -> Stage:
    """A stage from plain settings.

    Args:
        name: Unique among the stages.
        command: The command's name.
        values: Settings that the caller decides.
        handed_on: Settings of whoever typed the command.
        scratch: See `Stage`.

    Raises:
        ValueError: A key is in both.
    """
    from foreact.cli.execute import flatten

    for key in handed_on.keys() & values.keys():
        raise ValueError(f"demo: {command}.{key} is set by the demo itself; leave it out")
    flat = flatten({**values, **handed_on})
    return Stage(name, command, tuple(f"{key}={_typed(value)}" for key, value in flat.items()), scratch)


def _typed(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ",".join(_typed(item) for item in value) + "]"
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)
