"""A picture of what was done and of what a policy would have done."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.episodes.contract import FeatureSpec

if TYPE_CHECKING:
    from foreact.vla.shadow import Shadow

__all__ = ["draw"]

WIDE, HIGH = 10.0, 1.7  # of one element's plot [inch]
MOST = 12  # elements drawn


def draw(watched: Shadow, action: FeatureSpec, file: Path) -> None:
    """Each element over time: what was done as a line, each chunk as a thin line from where it was decided.

    Args:
        watched: One recording.
        action: What elements are called, and their units.
        file: PNG, written in one piece.
    """
    from matplotlib.figure import Figure

    seconds = (watched.time_ns - watched.time_ns[0]) / 1e9
    ahead = np.arange(watched.done.shape[1]) / watched.rate_hz
    count = min(len(action.elements), MOST)
    figure = Figure(figsize=(WIDE, HIGH * count + 0.6), layout="constrained")
    rows = np.atleast_1d(figure.subplots(count, 1, sharex=True))
    for place, axes in enumerate(rows):
        for decision, start in enumerate(seconds):
            kept = watched.known[decision] > 0
            label = {"label": "the policy's chunks"} if decision == 0 else {}
            axes.plot(start + ahead, watched.chunks[decision, :, place], color="#d9822b", alpha=0.7, lw=0.9, **label)
            done = {"label": "what was done"} if decision == 0 else {}
            axes.plot((start + ahead)[kept], watched.done[decision, kept, place], color="#1f4e79", lw=1.6, **done)
        unit = "" if action.units[place] == "1" else f" [{action.units[place]}]"
        axes.set_ylabel(f"{action.elements[place]}{unit}", fontsize=8)
        axes.grid(alpha=0.3)
    rows[0].set_title(watched.key, fontsize=10)
    rows[0].legend(loc="upper right", fontsize=8)
    rows[-1].set_xlabel("time [s]")
    partial = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    figure.savefig(partial, dpi=90, format="png")
    os.replace(partial, file)
