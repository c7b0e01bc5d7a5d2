"""Pictures as they lie packed in a recording, for those who copy them without unpacking.

Shape letters: n = samples of the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Clip", "Encoded", "Stills"]


@dataclass(frozen=True)
class Stills:
    """Single pictures, each packed on its own.

    Attributes:
        media: `image/jpeg` or `image/png`.
        read: Bytes of sample i.
    """

    media: str
    read: Callable[[int], bytes]


@dataclass(frozen=True)
class Clip:
    """A range of the frames of a video file.

    Attributes:
        path: The file.
        track: Number among its video tracks.
        first: Frame of the file, in the order in which they are shown, that is sample 0; sample i is frame first + i.
    """

    path: Path
    track: int = 0
    first: int = 0


type Encoded = Stills | Clip
