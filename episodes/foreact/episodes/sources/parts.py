"""A recording put together from parts: for each stream its stamps and a way to read a sample.

Shape letters: n = samples of a stream.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import override

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.episodes.sources.encoded import Encoded
from foreact.episodes.sources.protocol import Collection, Source, SourceError, Stream, Value

__all__ = ["Part", "PartsSource", "Recordings", "array_part"]

NEVER: Callable[[], None] = lambda: None  # noqa: E731


@dataclass(frozen=True)
class Part:
    """One stream and how it is read.

    Attributes:
        stream: What it is.
        stamps: int64 (n,) [ns], in the order of the file.
        read: Gives sample i.
        read_range: Gives samples start to stop - 1 faster than one by one; None where nothing is faster.
        encoded: The pictures as they lie packed in the recording; None where they do not.
    """

    stream: Stream
    stamps: np.ndarray
    read: Callable[[int], Value]
    read_range: Callable[[int, int], list[Value] | np.ndarray] | None = None
    encoded: Encoded | None = None

    def __post_init__(self) -> None:
        if self.stamps.dtype != np.int64 or self.stamps.ndim != 1:
            raise ValueError(
                f"stream {self.stream.name}: stamps must be int64 (n,), not {self.stamps.dtype} {self.stamps.shape}"
            )


def array_part(stream: Stream, stamps: np.ndarray, values: np.ndarray) -> Part:
    """A part that lies in memory.

    Args:
        stream: What it is.
        stamps: int64 (n,) [ns].
        values: (n, ...).

    Raises:
        ValueError: Stamps and values differ in number.
    """
    if len(stamps) != len(values):
        raise ValueError(f"stream {stream.name}: {len(stamps)} stamps for {len(values)} samples")
    return Part(stream, stamps, lambda index: values[index], lambda start, stop: values[start:stop])


class PartsSource(Source):
    """A recording made of parts.

    Args:
        key: Its name in the collection.
        parts: In the order in which streams are shown.
        task: What was to be done; empty if the recording does not say.
        metadata: What else it says of itself.
        notes: What it lacks or what was left out, and why.
        close: Lets go of files.

    Raises:
        ValueError: Two streams have one name.
    """

    def __init__(
        self,
        key: str,
        parts: Sequence[Part],
        *,
        task: str = "",
        metadata: Mapping[str, JSON] | None = None,
        notes: Sequence[str] = (),
        close: Callable[[], None] = NEVER,
    ) -> None:
        self._parts = {part.stream.name: part for part in parts}
        if len(self._parts) < len(parts):
            raise ValueError(f"{key}: two streams have one name")
        self.key, self.task, self.metadata, self.notes = key, task, dict(metadata or {}), tuple(notes)
        self.streams = {name: part.stream for name, part in self._parts.items()}
        self._close, self._closed = close, False

    @override
    def stamps(self, stream: str) -> np.ndarray:
        return self._part(stream).stamps

    @override
    def read(self, stream: str, index: int) -> Value:
        part = self._parts.get(stream)
        if part is None or self._closed:
            part = self._opened(stream)  # which says what is wrong
        if not 0 <= index < len(part.stamps):
            raise IndexError(f"{self.key}: stream {stream} has {len(part.stamps)} samples, asked for number {index}")
        return part.read(index)

    @override
    def read_range(self, stream: str, start: int, stop: int) -> list[Value] | np.ndarray:
        part = self._opened(stream)
        if not 0 <= start <= stop <= len(part.stamps):
            raise IndexError(f"{self.key}: stream {stream} has {len(part.stamps)} samples, asked for {start} to {stop}")
        if part.read_range is not None:
            return part.read_range(start, stop)
        return [part.read(index) for index in range(start, stop)]

    @override
    def encoded(self, stream: str) -> Encoded | None:
        return self._part(stream).encoded

    @override
    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._close()

    def _part(self, stream: str) -> Part:
        try:
            return self._parts[stream]
        except KeyError:
            raise KeyError(f"{self.key} has no stream {stream!r}; it has {', '.join(self._parts)}") from None

    def _opened(self, stream: str) -> Part:
        if self._closed:
            raise SourceError(f"{self.key} was closed")
        return self._part(stream)


@dataclass
class Recordings(Collection):
    """Recordings that are opened by name.

    Attributes:
        path: Where they lie.
        format: Such as `rlds`.
        openers: By key, in order; each opens its recording.
        notes: What was left out, and why.
        on_close: Lets go of what the recordings share.
    """

    path: Path
    format: str
    openers: Mapping[str, Callable[[], Source]]
    notes: tuple[str, ...] = ()
    on_close: Callable[[], None] = NEVER

    @override
    def keys(self) -> tuple[str, ...]:
        return tuple(self.openers)

    @override
    def open(self, key: str) -> Source:
        if key not in self.openers:
            raise KeyError(f"{self.path} has no recording {key!r}; it has {', '.join(list(self.openers)[:5])}, ...")
        return self.openers[key]()

    @override
    def close(self) -> None:
        self.on_close()
