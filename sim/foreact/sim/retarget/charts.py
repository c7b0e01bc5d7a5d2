"""Plots of how well a robot follows a hand. Shape letters: n = frames, F = fingers."""

from __future__ import annotations

from pathlib import Path

import numpy as np

__all__ = ["Row", "plot"]

type Row = tuple[str, dict[str, np.ndarray], dict[str, float]]
"""Label of the axis, curves (n,) by name, levels that are marked."""


def plot(path: Path, seconds: np.ndarray, rows: list[Row], held: np.ndarray, label: str) -> None:
    """Write a PNG with one axis below the other over time; frames in which the hand is not known are grey.

    Args:
        path: Ends in .png.
        seconds: Of the frames, (n,) [s], or their numbers.
        rows: What to draw.
        held: bool (n,).
        label: Of the axis of time.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.0 + 2.1 * len(rows)), layout="constrained")
    all_axes = np.atleast_1d(figure.subplots(len(rows), 1, sharex=True))
    few = len(seconds) < 30
    for axes, (name, curves, levels) in zip(all_axes, rows, strict=True):
        for curve, values in curves.items():
            axes.plot(seconds, values, label=curve, linewidth=1.0, marker="o" if few else None, markersize=4)
        for level, height in levels.items():
            axes.axhline(height, color="grey", linestyle=":", label=level)
        for index in np.flatnonzero(held):
            end = seconds[min(index + 1, len(seconds) - 1)]
            axes.axvspan(seconds[index], end, color="0.9", linewidth=0)
        axes.set_ylabel(name)
        axes.margins(x=0.01)
        axes.legend(fontsize="x-small", ncols=5, loc="upper right")
    all_axes[-1].set_xlabel(label)
    FigureCanvasAgg(figure)
    figure.savefig(path, format="png", dpi=110)
