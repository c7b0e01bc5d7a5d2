"""Sheets of one state: all charts together, and one picture that says it all to somebody who sees it first.

Shape letters: K = imagined futures, T = control steps, H and W = image height and width, F = moments.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.worldmodels.imagine import charts
from foreact.worldmodels.imagine.comparison import State, percent
from foreact.worldmodels.imagine.drawing import Painter

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Film", "chart_sheet", "film_rows", "moments", "poster"]

MOMENTS = 5  # pictures of a future, the start among them
POSTER_ROWS = 4  # imagined futures on the poster
LARGER: dict[Any, Any] = {
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
STYLE: dict[Any, Any] = {"font.size": 8.5, "axes.titlesize": 9.5, "axes.spines.top": False, "axes.spines.right": False}


@dataclass(frozen=True)
class Film:
    """Pictures of one future.

    Attributes:
        number: Of the imagined future; -1 for what happened.
        pictures: RGB, uint8 (F, H, W, 3).
    """

    number: int
    pictures: np.ndarray


def moments(state: State) -> np.ndarray:
    """After which steps there are pictures, 0 for the start, (F,)."""
    steps = len(state.actions)
    return np.unique(np.linspace(0, steps, min(MOMENTS, steps + 1)).round().astype(int))


def film_rows(state: State, painter: Painter, most: int) -> list[Film]:
    """What happened, then the most probable imagined futures.

    Args:
        state: Of which.
        painter: Who draws.
        most: Imagined futures, at most.
    """
    chosen, count = moments(state), min(most, len(state.weights))
    futures = np.concatenate([state.truth[:1], state.values[:count]])
    start = np.broadcast_to(state.context, (len(futures), 1, len(state.context)))
    seen = np.concatenate([start, futures], axis=1)[:, chosen]
    drawn = painter.draw(seen.reshape(-1, seen.shape[-1]))
    return [
        Film(number - 1, each) for number, each in enumerate(drawn.reshape(*seen.shape[:2], *drawn.shape[1:]))
    ]  # fmt: skip


def chart_sheet(state: State, painter: Painter, calibrated: bool) -> bytes:
    """All charts of a state, PNG."""
    from matplotlib import rc_context

    with rc_context(STYLE):
        figure = _figure(12.0, 7.4)
        top, bottom = figure.subfigures(2, 1, height_ratios=(1.1, 1.0))
        first = top.subplots(1, 3, width_ratios=(1.25, 1.0, 1.0))
        charts.seen(first[0], state, painter)
        charts.above(first[1], state)
        charts.beside(first[2], state)
        second = bottom.subplots(1, 4)
        charts.apart(second[0], state)
        charts.band(second[1], state, calibrated)
        charts.ends(second[2], state)
        charts.chances(second[3], state)
        return _png(figure, 110)


def poster(state: State, painter: Painter, films: list[Film], calibrated: bool) -> bytes:
    """Pictures and charts of a state on one sheet, PNG."""
    from matplotlib import rc_context

    with rc_context(LARGER):
        figure = _figure(14.0, 6.5)
        figure.suptitle(
            f"“{state.scene.task.instruction}” ({state.scene.name}). Commanded: {state.commanded}.\n"
            f"Black: what happened. Grey or white: {len(state.truth) - 1} other true futures. Colours: futures that the"
            " model imagined, A being the most probable.",
            fontsize=11, x=0.01, ha="left",
        )  # fmt: skip
        left, right = figure.subfigures(1, 2, width_ratios=(1.0, 1.12))
        _film_grid(left, state, films[: POSTER_ROWS + 1])
        axes = right.subplots(2, 2, width_ratios=(1.2, 1.0))
        charts.seen(axes[0, 0], state, painter)
        charts.band(axes[0, 1], state, calibrated)
        charts.apart(axes[1, 0], state)
        charts.ends(axes[1, 1], state)
        return _png(figure, 100)


def caption(state: State, number: int) -> str:
    """What is written beside the pictures of a future."""
    if number < 0:
        return f"what\nhappened\n{100 * state.true_left[0]:.1f} cm to go"
    return (
        f"imagined {charts.letter(number)}: {percent(state.weights[number])}\n{100 * state.left[number]:.1f} cm to go,"
        f"\n{100 * state.apart[number].mean():.1f} cm off"
    )


def _film_grid(figure: Any, state: State, films: list[Film]) -> None:
    """All moments but the start, which is the same for all futures."""
    steps = moments(state)[1:]
    grid = figure.subplots(len(films), len(steps), squeeze=False)
    for row, film in zip(grid, films, strict=True):
        tint = charts.DID if film.number < 0 else charts.colour(film.number)
        for axes, picture in zip(row, film.pictures[1:], strict=True):
            axes.imshow(picture)
            axes.set(xticks=[], yticks=[])
            for spine in axes.spines.values():
                spine.set(visible=True, color=tint, linewidth=2.0)
        row[0].set_ylabel(caption(state, film.number), rotation=0, ha="right", va="center", color=tint)
    for axes, step in zip(grid[0], steps, strict=True):
        axes.set_title(f"after {step / state.scene.rate_hz:.1f} s")


def _figure(width: float, height: float) -> Any:
    # subfigures of one row are annotated as one figure, which is not so; hence Any
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure, dpi: int) -> bytes:
    found = io.BytesIO()
    figure.savefig(found, format="png", dpi=dpi)
    return found.getvalue()
