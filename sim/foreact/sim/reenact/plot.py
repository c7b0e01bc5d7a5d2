"""Curves of a re-enacted recording: what was commanded, recorded and simulated.

Shape letters: T = actions, J = joints that are driven.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.sim.reenact.adroit_door import DOOR_OPEN, HINGE, AdroitDoor
from foreact.sim.reenact.drive import Take
from foreact.sim.reenact.stage import Stage

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_doors", "draw_joints"]

ACROSS = 4  # plots in a row
MOST = 32  # joints that are drawn


def draw_joints(path: Path, stage: Stage, take: Take) -> None:
    """Write a PNG with a plot for each joint that is driven, atomically.

    Args:
        path: Ends in .png.
        stage: What on.
        take: What was re-enacted.
    """
    driven = stage.driven
    times = (take.times_ns - take.times_ns[0]) * take.tick_s
    figure, axes = _grid(min(len(driven.names), MOST), ACROSS)
    for joint, each in enumerate(axes):
        scale = driven.scale[joint]
        each.plot(times, take.targets[:, joint] * scale, color="0.6", lw=1, label="commanded")
        each.plot(times, take.posed[:, driven.qpos[joint]] * scale, color="tab:blue", lw=1.5, label="recorded")
        each.plot(times, take.qpos[:-1, driven.qpos[joint]] * scale, color="tab:red", lw=1, ls="--", label="simulated")
        each.set_title(f"{driven.names[joint]} [{driven.units[joint]}]", fontsize=7)
    axes[0].legend(fontsize=6)
    figure.suptitle(f"{take.key} on {stage.name}, time [s]", fontsize=9)
    _save(path, figure)


def draw_doors(path: Path, stage: AdroitDoor, takes: Sequence[Take]) -> None:
    """Write a PNG with a plot of the door's hinge for each demonstration, atomically.

    Args:
        path: Ends in .png.
        stage: The door.
        takes: What was re-enacted, at least one.
    """
    figure, axes = _grid(len(takes), 5)
    for take, each in zip(takes, axes, strict=True):
        times = (take.times_ns - take.times_ns[0]) * take.tick_s
        each.plot(times, take.states[:, HINGE], color="tab:blue", lw=1.5, label="recorded")
        each.plot(times, take.qpos[:-1, stage.hinge], color="tab:red", lw=1, ls="--", label="simulated")
        each.axhline(DOOR_OPEN, color="0.6", lw=0.8, ls=":")
        each.set_title(take.key, fontsize=7)
        each.set_ylim(-0.05, 1.7)
    axes[0].legend(fontsize=6)
    figure.suptitle("hinge of the door [rad], dotted: open; time [s]", fontsize=9)
    _save(path, figure)


def _grid(count: int, across: int) -> tuple[Figure, list]:
    from matplotlib.figure import Figure

    columns = min(across, count)
    rows = -(-count // columns)
    figure = Figure(figsize=(2.6 * columns + 0.4, 1.6 * rows + 0.5), layout="constrained")
    grid = np.atleast_1d(figure.subplots(rows, columns, squeeze=False)).ravel().tolist()
    for each in grid:
        each.tick_params(labelsize=6)
    for each in grid[count:]:
        each.set_axis_off()
    return figure, grid[:count]


def _save(path: Path, figure: Figure) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    figure.savefig(temporary, format="png", dpi=120)
    os.replace(temporary, path)
