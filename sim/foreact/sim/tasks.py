"""`foreact tasks`: list the tasks, describe some, draw a contact sheet of what the cameras see."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.sim import registry
from foreact.sim.definitions import SceneFacts, TaskDefinition
from foreact.sim.seeds import layout_seed
from foreact.sim.task import SimTask

__all__ = ["TasksConfig", "tasks"]


@dataclass(frozen=True)
class TasksConfig:
    """What to show.

    Attributes:
        names: Tasks to describe, names or aliases; none lists all tasks.
        sheet: PNG file for pictures of these tasks (of all tasks if none is named) in every view.
        seed: Which evaluation layout the pictures show.
        front: Side of the fixed view's image [px].
        wrist: Side of the wrist view's image [px].
        device: Where to draw: cpu or cuda:0.
    """

    names: tuple[str, ...] = ()
    sheet: Path | None = None
    seed: int = 0
    front: int = 96
    wrist: int = 64
    device: str = "cpu"


def tasks(config: TasksConfig, progress: ProgressFn = quiet) -> Outcome:
    """List or describe tasks, and draw them if a sheet is asked for.

    Args:
        config: What to show.
        progress: Told of each task drawn.

    Returns:
        The table; its path is the sheet, or the folder of the task texts if nothing was written.

    Raises:
        UnknownTask: A name is unknown; near matches are listed.
        ValueError: The sheet does not end in .png.
    """
    names = registry.resolve(config.names) if config.names else registry.names()
    if config.sheet is not None:
        _draw_sheet(config, config.sheet, names, progress)
    path = config.sheet or Path(__file__).with_name("task_texts.toml")
    if not config.names:
        rows = tuple((name, _alias(name), _instruction(name)) for name in names)
        return Outcome(path, {"tasks": list(names)}, ("task", "short name", "instruction"), rows)
    described = {name: _described(name) for name in names}
    rows = tuple(
        (name if place == 0 else "", *pair)
        for name, (_, pairs) in described.items()
        for place, pair in enumerate(pairs)
    )
    return Outcome(
        path, {name: figures for name, (figures, _) in described.items()}, ("task", "property", "value"), rows
    )


def _instruction(name: str) -> str:
    task = registry.sim_task(name)
    return registry.definition(name).text.main if task is None else task.instruction


def _described(name: str) -> tuple[JSON, list[tuple[str, str]]]:
    """Figures of a task, and the same as pairs of property and value."""
    task = registry.sim_task(name)
    if task is not None:
        figures = _sim_figures(task)
        return figures, [(label.replace("_", " "), str(value)) for label, value in figures.items()]
    definition = registry.definition(name)
    facts = definition.facts()
    return {**asdict(definition.text), **asdict(facts)}, _describe(definition, facts)


def _sim_figures(task: SimTask) -> dict[str, JSON]:
    from foreact.sim.families import expert
    from foreact.sim.taskworlds import TaskWorlds

    worlds = TaskWorlds(task, 1, threads=1)
    ranges = [_range(float(low), float(high)) for low, high in zip(worlds.low, worlds.high, strict=True)]
    return {
        "instruction": task.instruction,
        "actions": f"{len(ranges)} in " + ", ".join(dict.fromkeys(ranges)),
        "observation": f"{worlds.observation_size} numbers",
        "control_rate": f"{1 / worlds.views.dt:.4g} Hz, {task.substeps} engine steps each",
        "horizon": f"{task.limit} control steps",
        "ends": "at its horizon or before" if task.terminate else "at its horizon",
        "success": "yes" if task.success is not None else "a return only",
        "scripted_expert": "yes" if expert(task.name) is not None else "no",
    }


def _alias(name: str) -> str:
    return next((alias for alias, full in registry.aliases().items() if full == name), "")


def _describe(definition: TaskDefinition, facts: SceneFacts) -> list[tuple[str, str]]:
    text = definition.text
    ranges = [_range(low, high) for low, high in zip(facts.reset_low, facts.reset_high, strict=True)]
    return [
        ("instruction", text.main),
        *[("paraphrase", sentence) for sentence in text.train[1:]],
        ("held out", text.held_out),
        ("success", text.success),
        ("horizon", f"{facts.horizon} control steps of 12.5 ms"),
        ("scene", facts.scene),
        ("drawn at reset [m]", ", ".join(ranges)),
    ]


def _range(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g}..{high:g}"


def _draw_sheet(config: TasksConfig, sheet: Path, names: Sequence[str], progress: ProgressFn) -> None:
    from foreact.sim.contact_sheet import Panel, write_contact_sheet

    if sheet.suffix.lower() != ".png":
        raise ValueError(f"sheet={sheet} must end in .png")
    panels = []
    for done, name in enumerate(names):
        progress(done, len(names), "draw tasks")
        task = registry.sim_task(name)
        views = _metaworld_views(config, name) if task is None else _sim_views(config, task)
        panels.append(Panel(name, _instruction(name), views))
    progress(len(names), len(names), "draw tasks")
    write_contact_sheet(sheet, panels)


def _metaworld_views(config: TasksConfig, name: str) -> tuple[np.ndarray, ...]:
    from foreact.sim.metaworld import default_cameras
    from foreact.sim.worlds import Worlds

    cameras = default_cameras(config.front, config.wrist)
    worlds = Worlds([name], cameras, device=config.device)
    worlds.reset([layout_seed("eval", config.seed, 0)])
    images = worlds.render()
    return tuple(images[f"camera.{camera.name}.rgb"][0] for camera in cameras)


def _sim_views(config: TasksConfig, task: SimTask) -> tuple[np.ndarray, ...]:
    from foreact.sim.cameras import camera_spec, outside_view
    from foreact.sim.frames import check_frames
    from foreact.sim.pictures import WorldPictures
    from foreact.sim.taskworlds import TaskWorlds

    worlds = TaskWorlds(task, 1, threads=1)
    worlds.reset(seeds=[layout_seed("eval", config.seed, 0)])
    model = worlds.backend.model
    if task.cameras:
        sides = (config.front, config.wrist)
        cameras = [
            camera_spec(model, name, side, side, ("rgb",)) for name, side in zip(task.cameras, sides, strict=False)
        ]
    else:
        cameras = [outside_view(model, f"from_{azimuth}", config.front, azimuth) for azimuth in (90, 135)]
    drawn = WorldPictures(model, cameras, 1, segmentation=False, device=config.device, launch=1).draw(worlds.backend)
    check_frames(drawn)
    return tuple(drawn[f"camera.{camera.name}.rgb"][0] for camera in cameras)
