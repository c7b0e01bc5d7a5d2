"""Faults of sound: silence, clipping, a microphone that is dead.

Shape letters: k = samples of a block, C = channels.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from foreact.episodes.checks.finding import Finding
from foreact.episodes.sources import Stream

__all__ = ["Sound"]

QUIET = 1e-4  # of the full scale: below -80 dB
SILENT_SHARE = 0.5  # of the blocks
TOP = 0.999  # of the full scale
FLAT = 3  # samples at the top in a row: one alone may be a loud moment
CLIPPED = 10  # such runs


class Sound:
    """Listens to blocks of one stream.

    Args:
        stream: Of kind audio.
    """

    def __init__(self, stream: Stream) -> None:
        self._name = stream.name
        self._blocks = self._silent = self._runs = 0
        self._low: np.ndarray | None = None
        self._high: np.ndarray | None = None

    def add(self, block: np.ndarray) -> None:
        """Listen to one block, (k, C) or (k,)."""
        if not block.size:
            return
        block = block.reshape(len(block), -1)
        full = float(np.iinfo(block.dtype).max) if block.dtype.kind in "iu" else 1.0
        low, high = block.min(0), block.max(0)
        self._low = low if self._low is None else np.minimum(self._low, low)
        self._high = high if self._high is None else np.maximum(self._high, high)
        self._blocks += 1
        self._silent += bool(float(np.ptp(block.astype(np.float64), axis=0).max()) < QUIET * full)
        top = np.abs(block.astype(np.float64)) >= TOP * full
        ends = top[FLAT - 1 :].copy()
        for before in range(1, FLAT):
            ends &= top[FLAT - 1 - before : len(top) - before]
        self._runs += int(ends.sum())

    def findings(self) -> Iterator[Finding]:
        """What is wrong."""
        if self._low is None or self._high is None:
            return
        dead = np.flatnonzero(self._low == self._high)
        if len(dead) == len(self._low):
            yield Finding(self._name, "grave", "audio", f"all {len(dead)} channels are of one value: no sound at all")
            return
        if len(dead):
            listed = ", ".join(map(str, dead.tolist()))
            yield Finding(self._name, "remark", "audio", f"channels {listed} are of one value: dead microphones?")
        if self._silent > SILENT_SHARE * self._blocks:
            what = f"{self._silent} of {self._blocks} blocks are silent, below -80 dB of the full scale"
            yield Finding(self._name, "remark", "audio", what)
        if self._runs >= CLIPPED:
            what = f"clipped: {self._runs} times {FLAT} samples in a row at the full scale"
            yield Finding(self._name, "remark", "audio", what)
