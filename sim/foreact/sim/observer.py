"""The fused observation writer: terms become slices of one buffer, neighbours in memory one copy.

Shape letters: N = worlds, O = observation elements.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from foreact.sim.task import Field, Measure
from foreact.sim.views import Views

__all__ = ["Observer"]


@dataclass
class _Copy:
    """Live values that are copied as they stand."""

    start: int
    stop: int
    values: Any


@dataclass
class _Call:
    """A term that is computed."""

    start: int
    stop: int
    measure: Measure


class Observer:
    """Writes the terms of all worlds side by side into one float32 buffer.

    Args:
        terms: In order.
        views: The worlds; every term is called once, to see its width.
    """

    def __init__(self, terms: Sequence[Measure], views: Views) -> None:
        self._views = views
        self._parts: list[_Copy | _Call] = []
        place = 0
        for term in terms:
            values = term(views)
            width = 1 if values.ndim == 1 else int(np.prod(values.shape[1:]))
            self._add(term, values, place, place + width)
            place += width
        self.size = place
        self.buffer = views.zeros(views.nworld, place)

    def write(self, ids: np.ndarray | None) -> Any:
        """Observe all worlds, or only some; the whole buffer, (N, O)."""
        for part in self._parts:
            values = part.values if isinstance(part, _Copy) else part.measure(self._views)
            if values.ndim != 2:
                values = values.reshape(self._views.nworld, -1)
            if ids is None:
                self.buffer[:, part.start : part.stop] = values
            else:
                self.buffer[ids, part.start : part.stop] = values[ids]
        return self.buffer

    def _add(self, term: Measure, values: Any, start: int, stop: int) -> None:
        if not isinstance(term, Field):
            self._parts.append(_Call(start, stop, term))
            return
        last = self._parts[-1] if self._parts else None
        if isinstance(last, _Copy) and _adjacent(last.values, values):
            joined = as_strided(last.values, (len(values), stop - last.start), last.values.strides)
            self._parts[-1] = _Copy(last.start, stop, joined)
        else:
            self._parts.append(_Copy(start, stop, values))


def _adjacent(first: Any, second: Any) -> bool:
    """Whether rows of the second array begin where those of the first end."""
    if not (isinstance(first, np.ndarray) and isinstance(second, np.ndarray)):
        return False
    end = first.ctypes.data + first.shape[1] * first.itemsize
    same = first.dtype == second.dtype and first.strides == second.strides
    return same and first.strides[1] == first.itemsize and end == second.ctypes.data
