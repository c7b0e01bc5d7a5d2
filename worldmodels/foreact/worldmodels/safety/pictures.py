"""Slices of the car's safety value: the grid's beside what was learned from states and from pictures."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.episodes.runfolder import write_bytes_atomic
from foreact.worldmodels.safety.grid import Solution
from foreact.worldmodels.safety.stages import PICTURE_STRIDE, Solutions, values_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_values"]

HEADINGS = (0, 90, 225)  # [deg]


def draw_values(out: Path, solutions: Solutions, seed: int) -> Path:
    """Draw one row of slices per solver; black lines are level 0, green ones the grid's.

    Args:
        out: Run folder of the bench.
        solutions: The grid's.
        seed: Whose learned values are shown.

    Returns:
        The picture, `values.png` in the run folder.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    true = solutions.car
    shape = tuple(len(axis[::PICTURE_STRIDE]) for axis in true.grid.axes)
    volumes = [("grid solver", true.values, 1)]
    for kind, title, stride, size in (
        ("state", "learned from states", 1, true.grid.shape),
        ("pixels", "learned from 32 px pictures", PICTURE_STRIDE, shape),
    ):
        if (file := values_file(out, seed, kind)).exists():
            volumes.append((title, np.load(file).reshape(size), stride))
    figure = Figure(figsize=(9.5, 3.2 * len(volumes) + 0.2), layout="constrained")
    FigureCanvasAgg(figure)
    every: Any = figure.subplots(len(volumes), 3, sharex=True, sharey=True, squeeze=False)
    for axes, (title, values, stride) in zip(every, volumes, strict=True):
        images = [_slice(place, true, values, stride, heading) for place, heading in zip(axes, HEADINGS, strict=True)]
        axes[0].set_ylabel(f"{title}\ny [m]")
        figure.colorbar(images[0], ax=axes, shrink=0.8, label="V [m]" if values is true.values else "V, in [-1, 1]")
    for place, heading in zip(every[0], HEADINGS, strict=True):
        place.set_title(f"heading {heading} deg")
    for place in every[-1]:
        place.set_xlabel("x [m]")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=90)
    write_bytes_atomic(out / "values.png", content.getvalue())
    return out / "values.png"


def _slice(place: Axes, true: Solution, values: np.ndarray, stride: int, heading: float) -> Any:
    x, y, headings = (axis[::stride] for axis in true.grid.axes)
    near = int(np.abs(np.exp(1j * headings) - np.exp(1j * np.deg2rad(heading))).argmin())
    shown = values[:, :, near].T
    image = place.pcolormesh(x, y, shown, cmap="RdBu", vmin=-1, vmax=1, shading="nearest")
    place.contour(x, y, shown, levels=[0.0], colors="black", linewidths=1.5)
    fine_x, fine_y, fine = true.grid.axes
    at = int(np.abs(np.exp(1j * fine) - np.exp(1j * headings[near])).argmin())
    place.contour(
        fine_x, fine_y, true.values[:, :, at].T, levels=[0.0], colors="limegreen", linewidths=1.5, linestyles="--"
    )
    place.annotate("", xytext=(-1.3, -1.3), xy=_tip(heading), arrowprops={"arrowstyle": "->"})
    place.set_aspect("equal")
    return image


def _tip(heading: float) -> tuple[float, float]:
    angle = np.deg2rad(heading)
    return -1.3 + 0.3 * float(np.cos(angle)), -1.3 + 0.3 * float(np.sin(angle))
