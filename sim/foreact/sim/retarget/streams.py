"""What retargeting found as streams of a recording. Shape letters: n = frames, m = frames with a command."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.episodes.sources.mcap_writer import write_mcap
from foreact.episodes.sources.parts import Part, PartsSource, array_part
from foreact.episodes.sources.protocol import Stream
from foreact.sim.retarget.hand_track import HandTrack
from foreact.sim.retarget.poses import finite_rows

__all__ = ["Rows", "write_streams"]

POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
POSE_UNIT = "m,m,m,1,1,1,1"


class Rows:
    """Streams on the stamps of a hand, each without the frames in which it has nothing to say.

    Args:
        track: The hand.
        known: Frames that are written, bool (n,).
    """

    def __init__(self, track: HandTrack, known: np.ndarray) -> None:
        self._track, self._known, self.parts = track, known, list[Part]()

    def vector(
        self, name: str, values: np.ndarray, unit: str, elements: tuple[str, ...], *, frame: str = "", about: str = ""
    ) -> None:
        """Add a stream of numbers, (n, ...)."""
        self._add(name, values, "vector", unit, elements, frame, "", about)

    def pose(self, name: str, values: np.ndarray, frame: str, child: str, about: str) -> None:
        """Add a stream of poses, (n, 7)."""
        self._add(name, values, "pose", POSE_UNIT, POSE, frame, child, about)

    def _add(
        self, name: str, values: np.ndarray, kind: str, unit: str, elements: tuple[str, ...], frame: str, child: str,
        about: str,
    ) -> None:  # fmt: skip
        values = np.asarray(values, np.float64)
        chosen = self._known & finite_rows(values)  # what is not known is not there, rather than NaN
        if not chosen.any():
            return
        rows, shape = values[chosen], values.shape[1:]
        assert kind in ("vector", "pose")
        stream = Stream(
            name, kind, shape, "float64", unit, self._track.clock, None, elements, frame, child, about
        )  # fmt: skip
        self.parts.append(array_part(stream, self._track.stamps[chosen], rows))


def write_streams(
    file: Path, key: str, rows: Rows, task: str, metadata: dict[str, JSON], notes: tuple[str, ...]
) -> None:
    """Write them as MCAP.

    Raises:
        ModuleNotFoundError: The packages for bags are lacking.
        SourceError: A stamp lies before 0.
    """
    with PartsSource(key, rows.parts, task=task, metadata=metadata, notes=notes) as source:
        write_mcap(source, file)
