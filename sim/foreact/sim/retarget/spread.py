"""How numbers of frames are told in a report. Shape letters: n = frames."""

from __future__ import annotations

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.sim.retarget.hand_track import HandTrack

__all__ = ["seconds_of", "spread"]


def spread(values: np.ndarray) -> dict[str, JSON]:
    """Median, 95 % quantile and largest of the finite values, with four digits after the point; None without any."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return {"median": None, "p95": None, "most": None}
    low, high = np.quantile(finite, (0.5, 0.95))
    return {"median": round(float(low), 4), "p95": round(float(high), 4), "most": round(float(finite.max()), 4)}


def seconds_of(track: HandTrack) -> tuple[np.ndarray, str]:
    """Times of the frames from the first (n,), and what they are called."""
    if not track.timed:
        return track.stamps - track.stamps[0], "step"
    return (track.stamps - track.stamps[0]) / 1e9, "[s] since the first sample of the hand"
