"""One number for everything that a replay gives: the same files give the same number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from foreact.episodes.sources.protocol import Value
from foreact.episodes.timeline import Step

__all__ = ["digest"]


def digest(steps: Iterable[Step]) -> str:
    """SHA-256 of everything in the steps: names, times, values with their types."""
    seen = hashlib.sha256()
    for step in steps:
        seen.update(f"{step.number} {step.time_ns}".encode())
        for name, picked in sorted(step.samples.items()):
            seen.update(f"|{name} {picked.time_ns} {picked.stamps_ns} {picked.interpolated}".encode())
            for value in picked.value if isinstance(picked.value, list) else [picked.value]:
                _update(seen, value)
    return seen.hexdigest()


def _update(seen: hashlib._Hash, value: Value) -> None:
    if isinstance(value, np.ndarray):
        seen.update(f"{value.dtype.str}{value.shape}".encode())
        seen.update(np.ascontiguousarray(value).tobytes())
    else:
        seen.update(value.encode() if isinstance(value, str) else value)
