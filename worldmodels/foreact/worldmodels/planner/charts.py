"""Rates with their intervals as a picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from foreact.worldmodels.planner.intervals import Estimate

__all__ = ["draw_rates"]

COLOURS = ("#2b6cb0", "#c05621", "#2f855a")


def draw_rates(path: Path, rates: Mapping[str, Mapping[str, Estimate]], title: str) -> None:
    """Write a PNG: for each measure a bar per name, with its interval.

    Args:
        path: PNG file to write; its folder is created.
        rates: Measure to name to figure in [0, 1]; all measures have the same names.
        title: What was measured.

    Raises:
        ModuleNotFoundError: matplotlib is not installed (extra `viz`).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = list(next(iter(rates.values())))
    figure = Figure(figsize=(7.5, 0.8 + 0.38 * len(names)), layout="constrained")
    panels = figure.subplots(1, len(rates), sharey=True, squeeze=False)[0]
    for axes, (measure, found), colour in zip(panels, rates.items(), COLOURS, strict=False):
        values = [found[name].value for name in names]
        # an end of an interval may be beside its figure by a rounding
        below = [max(0.0, found[name].value - found[name].low) for name in names]
        above = [max(0.0, found[name].high - found[name].value) for name in names]
        axes.barh(names, values, xerr=[below, above], color=colour, ecolor="#1a202c", capsize=3, height=0.65)
        axes.set(xlabel=measure, xlim=(0, max(0.05, *(1.08 * found[name].high for name in names))))
        axes.grid(axis="x", alpha=0.3)
        axes.set_axisbelow(True)
    panels[0].invert_yaxis()
    figure.suptitle(title, fontsize=10)
    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    figure.savefig(temporary, format="png", dpi=130)
    temporary.replace(path)
