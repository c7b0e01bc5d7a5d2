"""What a training sample takes from each stream: by steps, by times, or all samples of a span, around an anchor.

Shape letters: K = samples of a stream in one window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from foreact.episodes.sync import Hold, Interpolate, Nearest

__all__ = ["Edge", "Span", "Steps", "Take", "Times", "Windows", "period_offsets"]

Edge = Literal["drop", "repeat"]
"""What becomes of a window that is not complete.

drop: its anchor is none. repeat: the nearest sample of the recording stands in, and `valid` is false there.
"""


@dataclass(frozen=True)
class Steps:
    """Samples counted from the one that the policy finds at the anchor: (K, ...).

    Attributes:
        stream: Of the recording.
        offsets: K numbers of samples, in order of time: 0 is the one at the anchor, -1 the one before.
        policy: How the sample at the anchor is found. On the anchor's own stream it is the anchor.
        edge: What becomes of a window that reaches out of the recording, or whose anchor finds no sample.

    Raises:
        ValueError: No offset.
    """

    stream: str
    offsets: tuple[int, ...] = (0,)
    policy: Hold | Nearest = field(default_factory=Hold)
    edge: Edge = "drop"

    def __post_init__(self) -> None:
        _require(self.stream, self.edge, bool(self.offsets), "offsets: at least one is needed")


@dataclass(frozen=True)
class Times:
    """What a stream says at times around the anchor: (K, ...).

    A time is over the edge if it lies before the first sample, or more than a median period behind the last, where
    `Hold` would go on for ever.

    Attributes:
        stream: Of the recording.
        offsets_ns: K times from the anchor [ns].
        policy: What it says between its samples. None interpolates poses, and takes for others the nearest sample, at
            most a median period away. `Hold` never looks ahead, but a stamp that was rounded up by 1 ns is ahead.
        edge: What becomes of a window in which the policy finds nothing at a time.

    Raises:
        ValueError: No offset.
    """

    stream: str
    offsets_ns: tuple[int, ...] = (0,)
    policy: Hold | Nearest | Interpolate | None = None
    edge: Edge = "drop"

    def __post_init__(self) -> None:
        _require(self.stream, self.edge, bool(self.offsets_ns), "offsets_ns: at least one is needed")


@dataclass(frozen=True)
class Span:
    """All samples after `anchor - past_ns`, up to and including `anchor + future_ns`: (K, ...), the oldest first.

    Places behind the last sample hold zeros, and `valid` is false there.

    Attributes:
        stream: Of the recording.
        past_ns: Length before the anchor [ns].
        future_ns: Length behind it [ns].
        most: K; None for the most that a window of the recordings holds.
        edge: What becomes of a window that holds no sample, or that reaches out of the stream by more than a median
            period: its anchor is dropped, or what there is, is given.

    Raises:
        ValueError: The span is empty, or `most` is below 1.
    """

    stream: str
    past_ns: int
    future_ns: int = 0
    most: int | None = None
    edge: Edge = "drop"

    def __post_init__(self) -> None:
        _require(self.stream, self.edge, self.past_ns + self.future_ns > 0, "past_ns + future_ns must be above 0")
        _require(self.stream, self.edge, self.most is None or self.most > 0, f"most={self.most} must be above 0")


Take = Steps | Times | Span


@dataclass(frozen=True)
class Windows:
    """A sample for each anchor.

    Attributes:
        takes: By the name in the batch.
        anchor: A stream, each of whose samples is an anchor; or a rate [Hz], from the time at which every stream that
            is taken has begun to the time at which the first of them ends.
        stride: Of a stream every so manieth sample is an anchor.
        offsets_ns: Added to the stamps of streams [ns]. Streams of another clock than the anchor's need one.

    Raises:
        ValueError: Nothing is taken, or the rate or stride is not above 0.
    """

    takes: Mapping[str, Take]
    anchor: str | float
    stride: int = 1
    offsets_ns: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.takes:
            raise ValueError("windows: nothing is taken; name at least one stream")
        if self.stride < 1:
            raise ValueError(f"windows: stride={self.stride} must be above 0")
        if not isinstance(self.anchor, str) and not 0 < self.anchor <= 1e9:
            raise ValueError(f"windows: anchors at {self.anchor} Hz cannot be")

    @property
    def streams(self) -> tuple[str, ...]:
        """Every stream that is needed, each once."""
        anchor = [self.anchor] if isinstance(self.anchor, str) else []
        return tuple(dict.fromkeys([*anchor, *(take.stream for take in self.takes.values())]))


def period_offsets(first: int, stop: int, rate_hz: float) -> tuple[int, ...]:
    """Times of steps first to stop - 1 at a rate, for `Times.offsets_ns` [ns]."""
    return tuple(round(step * 1e9 / rate_hz) for step in range(first, stop))


def _require(stream: str, edge: str, right: bool, wrong: str) -> None:
    if edge not in ("drop", "repeat"):
        raise ValueError(f"stream {stream}: edge={edge!r}; there are drop, repeat")
    if not right:
        raise ValueError(f"stream {stream}: {wrong}")
