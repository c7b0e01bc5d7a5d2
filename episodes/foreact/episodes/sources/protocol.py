"""What every recording offers, whatever its format.

A `Collection` is what lies at a path: one recording or many. A `Source` is one recording: streams on one timeline.
Stamps are int64 [ns]. Nothing is invented: what a file does not say is empty; `notes` tell what was left out and why.
Shape letters: n = samples of a stream, H and W = image height and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, Self

import numpy as np

from foreact.episodes.outcome import JSON
from foreact.episodes.sources.encoded import Encoded

__all__ = ["Collection", "Kind", "Source", "SourceError", "Stream", "Value"]

Kind = Literal[
    "image",
    "depth",
    "segmentation",
    "audio",
    "vector",
    "pose",
    "hand",
    "gaze",
    "imu",
    "points",
    "text",
    "event",
    "bytes",
]
"""What a sample is.

image: uint8 (H, W, 3) RGB or (H, W) grey. depth: (H, W), the unit says of what. segmentation: integers (H, W).
audio: a block of samples (k, channels), stamped by its first. vector: numbers. pose: position [m] and unit quaternion
wxyz, (7,), of `Stream.child` in `Stream.frame`. hand: landmarks (21, 3) [m] from the wrist, thumb to little finger.
gaze: yaw, pitch [rad] and depth [m] where known, or a direction. imu: turning rate [rad/s] and acceleration [m/s^2],
(6,), or a part of them. points: (k, 3) [m] and more columns. text: a sentence. event: a JSON object as text.
bytes: a payload that is not understood, as it lies in the file.
"""

Value = np.ndarray | str | bytes


class SourceError(ValueError):
    """A recording that cannot be opened or read; the message names the file and what to do."""


@dataclass(frozen=True)
class Stream:
    """One stream of a recording.

    Attributes:
        name: Unique in the recording, dotted, such as `camera.rgb` or `imu.left`.
        kind: What a sample is.
        shape: Of one sample; None where it varies.
        dtype: Of one sample, as NumPy says it; `str` for text, `bytes` for bytes.
        unit: One for all elements or one for each, separated by commas; empty if the file does not say and the format
            does not fix it.
        clock: Which clock stamps it; streams of one clock can be compared. Such as `device`, `host`, `utc`, `episode`.
        rate_hz: Nominal rate, if the file says it.
        elements: Names of a vector's elements, if the file says them.
        frame: Coordinate frame of positions and orientations, if known.
        child: What a pose is the pose of, if known.
        description: What the file or the format says about it, in words.
    """

    name: str
    kind: Kind
    shape: tuple[int | None, ...]
    dtype: str
    unit: str = ""
    clock: str = "device"
    rate_hz: float | None = None
    elements: tuple[str, ...] = ()
    frame: str = ""
    child: str = ""
    description: str = ""


class Source(Protocol):
    """One recording.

    Attributes:
        key: Its name in the collection.
        streams: By name, in the order in which they are shown.
        task: What the recording says was to be done; empty if it does not.
        metadata: What else it says of itself, as JSON.
        notes: What it lacks or what was left out, and why.
    """

    key: str
    streams: Mapping[str, Stream]
    task: str
    metadata: Mapping[str, JSON]
    notes: tuple[str, ...]

    def stamps(self, stream: str) -> np.ndarray:
        """When the samples of a stream were taken, int64 (n,) [ns], in the order of the file; known since opening.

        Raises:
            KeyError: No such stream.
        """
        ...

    def read(self, stream: str, index: int) -> Value:
        """One sample.

        Args:
            stream: Its name.
            index: In the order of the file, 0 <= index < n.

        Raises:
            SourceError: The file is damaged there.
        """
        ...

    def read_range(self, stream: str, start: int, stop: int) -> list[Value] | np.ndarray:
        """Samples start to stop - 1, faster than one by one; an array (stop - start, ...) where all have one shape.

        Raises:
            SourceError: The file is damaged there.
        """
        ...

    def encoded(self, stream: str) -> Encoded | None:
        """A stream's pictures as they lie packed in the recording; None where they do not, or for other streams.

        Unpacked they may differ from what `read` gives: who copies them compares.

        Raises:
            KeyError: No such stream.
        """
        return None

    def close(self) -> None:
        """Let go of files; reading is an error from then on."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Collection(Protocol):
    """What lies at a path.

    Attributes:
        path: Where.
        format: Such as `vrs`, `mcap`, `lerobot-3.0`.
        notes: What was left out, and why.
    """

    path: Path
    format: str
    notes: tuple[str, ...]

    def keys(self) -> tuple[str, ...]:
        """Names of its recordings, in order."""
        ...

    def open(self, key: str) -> Source:
        """Open one recording.

        Raises:
            KeyError: There is none of this name.
            SourceError: It is damaged.
        """
        ...

    def close(self) -> None:
        """Let go of files."""
        ...
