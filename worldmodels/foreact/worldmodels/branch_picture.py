"""A picture of true futures: in each scene one state whose futures differ a lot.

Shape letters: S = states, M = futures of each, T = control steps, D = tracked elements.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from foreact.episodes.runfolder import write_bytes_atomic
from foreact.worldmodels.branches import BranchError, Branches

__all__ = ["clearest", "draw_branches"]

RANK = 0.97  # of the states by how much their futures differ, the one shown
WEAK, STRONG = "#cc4444", "#3377aa"


def draw_branches(path: Path, sets: Sequence[Branches]) -> None:
    """Write a PNG, atomically: one plot per set, futures whose first hidden number is above a half in red.

    Args:
        path: Ends in .png.
        sets: What to show.

    Raises:
        ValueError: There is no set, or the path does not end in .png.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if path.suffix != ".png" or not sets:
        raise ValueError(f"{path}: expected a path that ends in .png and at least one set, got {len(sets)}")
    figure = Figure(figsize=(2.6 * len(sets), 2.6), layout="constrained")
    FigureCanvasAgg(figure)
    for number, branches in enumerate(sets):
        axes = figure.add_subplot(1, len(sets), number + 1)
        state, element = clearest(branches)
        times = (1 + np.arange(branches.futures.shape[2])) / branches.spec.rate_hz
        for future, way in enumerate(branches.positions[state, :, :, element]):
            colour = WEAK if branches.hidden[state, future, 0] > 0.5 else STRONG
            axes.plot(times, 100 * way, linewidth=0.8, color=colour)
        axes.set_title(branches.spec.task, fontsize=9)
        axes.set_xlabel("s", fontsize=8)
        axes.set_ylabel(f"{branches.spec.columns[branches.spec.tracked[element]]} [cm]", fontsize=8)
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right"]].set_visible(False)
    found = io.BytesIO()
    figure.savefig(found, format="png", dpi=90)
    write_bytes_atomic(path, found.getvalue())


def clearest(branches: Branches) -> tuple[int, int]:
    """A state and the number of a tracked element whose futures lie far apart at the end, though not farthest.

    Things come before the hand, which always moves.

    Raises:
        BranchError: There are no states.
    """
    if not len(branches):
        raise BranchError(f"{branches.spec.task}: no states to draw")
    spread = branches.positions[:, :, -1].std(1)
    things = range(3, spread.shape[1]) if spread.shape[1] > 3 else range(spread.shape[1])
    element = max(things, key=lambda each: float(spread[:, each].mean()))
    order = np.argsort(spread[:, element], kind="stable")
    return int(order[int(RANK * (len(order) - 1))]), element
