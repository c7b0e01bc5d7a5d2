"""The report of a demo: one HTML file that needs no network and no other file."""

import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from foreact.cli import demo_plots
from foreact.cli.commands import Report
from foreact.cli.demo_pictures import Strip, file_uri, poster, training_strips
from foreact.cli.demo_stages import Stage
from foreact.episodes.outcome import ProgressFn
from foreact.episodes.runfolder import RunFolder, write_text_atomic

__all__ = ["Clip", "Material", "collect", "lateness_bins", "render", "write_report"]

TEMPLATE = "demo_report.html.j2"


@dataclass(frozen=True)
class Clip:
    """One film on the page.

    Attributes:
        task: Task name.
        index: Number of the episode.
        success: How it ended.
        instruction: What the policy was told.
        seconds: Length of the episode in simulated time [s].
        uri: The film as data URI.
        poster: Its last picture as data URI.
    """

    task: str
    index: int
    success: bool
    instruction: str
    seconds: float
    uri: str
    poster: str


@dataclass(frozen=True)
class Material:
    """What the page shows beside the summary.

    Attributes:
        tables: What each stage reported, by stage name.
        commands: The command lines, by stage name.
        loss: Update and training loss, each as a list.
        strips: Training pictures.
        clips: Films.
        attempts: How often the demo was started.
    """

    tables: dict[str, Report]
    commands: dict[str, str]
    loss: tuple[list[int], list[float]]
    strips: list[Strip]
    clips: list[Clip]
    attempts: int = 1


def collect(out: Path, stages: tuple[Stage, ...], outcomes: Mapping[str, Report], progress: ProgressFn) -> Material:
    """Gather everything the page shows from the demo's folder.

    Args:
        out: The demo's folder.
        stages: The demo's stages.
        outcomes: What they reported.
        progress: Told of each task's pictures.

    Raises:
        RunError, StoreError, FilmError: Something that a stage wrote is missing or damaged.
    """
    from foreact.episodes.store import EpisodeStore

    data, evaluation = outcomes["record"].path, outcomes["eval"].path
    assert data is not None and evaluation is not None
    store = EpisodeStore.open(data)
    tasks = list(outcomes["eval"].figures["success_per_task"])
    strips: list[Strip] = []
    for done, task in enumerate(tasks):
        progress(done, len(tasks), "gather pictures")
        strips += training_strips(store, task)
    progress(len(tasks), len(tasks), "gather pictures")
    metrics = RunFolder.open(out / "train").read_metrics()
    return Material(
        tables=dict(outcomes),
        commands={stage.name: shlex.join(stage.command_line) for stage in stages},
        loss=([row["step"] for row in metrics], [row["loss"] for row in metrics]),
        strips=strips,
        clips=sorted(_clips(evaluation), key=lambda clip: tasks.index(clip.task)),  # stable: successes stay first
    )


def write_report(path: Path, material: Material, summary: Mapping[str, Any]) -> Path:
    """Write the page, atomically.

    Args:
        path: Where to write; ends in .html.
        material: What it shows.
        summary: The demo's figures.
    """
    write_text_atomic(path, render(material, summary))
    return path


def render(material: Material, summary: Mapping[str, Any]) -> str:
    """The page as text.

    Args:
        material: What it shows.
        summary: The demo's figures.
    """
    import jinja2

    template = resources.files("foreact.cli").joinpath(TEMPLATE).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["clock"] = _clock
    drawn = {name: environment.filters["safe"](svg) for name, svg in _plots(material, summary).items()}
    return environment.from_string(template).render(
        summary=summary, material=material, plots=drawn, tasks=_task_rows(material, environment.filters["safe"])
    )


def _clips(evaluation: Path) -> list[Clip]:
    from foreact.episodes.film import read_film
    from foreact.sim.metaworld import CONTROL_RATE_HZ
    from foreact.vla.showcase import load_films

    clips = []
    for film in load_films(evaluation):
        path = evaluation / "videos" / film.file
        last = poster(read_film(path)[-1])
        seconds = film.steps / CONTROL_RATE_HZ
        uri = file_uri(path, "video/mp4")
        clips.append(Clip(film.task, film.index, film.success, film.instruction, seconds, uri, last))
    return clips


def _plots(material: Material, summary: Mapping[str, Any]) -> dict[str, str]:
    costs = [(name, cost["wall_s"], cost["cpu_s"]) for name, cost in summary["stages"].items()]
    plots = {"budget": demo_plots.bars(costs, ("wall clock", "CPU, all processes"), "s", "Seconds of each stage")}
    if material.loss[0]:
        plots["loss"] = demo_plots.line_chart(*material.loss, "update", "loss", "Training loss")
    buckets = lateness_bins(summary["lateness"]["buckets_us"])
    if buckets:
        title = "How many control ticks began how late"
        plots["lateness"] = demo_plots.histogram(buckets, "lateness [ms]", "control ticks", title)
    return plots


def lateness_bins(buckets_us: Sequence[Sequence[int]]) -> list[tuple[float, float, int]]:
    """Buckets of the control loop, [low, high, count] in us, as at most four bins per octave in ms.

    Args:
        buckets_us: In order; what is below 1 us counts as 1 us.
    """
    counts: dict[int, int] = {}
    for low, _, count in buckets_us:
        place = math.floor(4 * math.log2(max(1, low)) + 1e-9)
        counts[place] = counts.get(place, 0) + count
    return [(2 ** (place / 4) / 1000, 2 ** ((place + 1) / 4) / 1000, count) for place, count in sorted(counts.items())]


def _task_rows(material: Material, safe: Any) -> list[dict[str, Any]]:
    """Each task's rates, intervals and instruction; the last row is the mean."""
    evaluations = {"fp32": material.tables["eval"].figures, "int8": material.tables["eval int8"].figures}
    instructions = {clip.task: clip.instruction for clip in material.clips}
    rows = []
    for task in [*evaluations["fp32"]["success_per_task"], None]:
        rates = {kind: _rate(figures, task, kind, safe) for kind, figures in evaluations.items()}
        rows.append({"name": task or "all tasks", "instruction": instructions.get(task, "") if task else "", **rates})
    return rows


def _rate(figures: Mapping[str, Any], task: str | None, kind: str, safe: Any) -> dict[str, Any]:
    if task is None:
        value, (low, high), episodes = figures["success_mean"], figures["success_interval"], figures["episodes"]
    else:
        entry = figures["success_per_task"][task]
        value, (low, high), episodes = entry["success"], entry["interval"], entry["episodes"]
    style = {"fp32": "fill-a", "int8": "fill-b"}[kind]
    text = f"{kind}: {value:.2f}, 95 % interval {low:.2f} to {high:.2f}"
    picture = safe(demo_plots.interval(value, low, high, style, text))
    return {"value": value, "low": low, "high": high, "episodes": episodes, "picture": picture}


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d} min"
