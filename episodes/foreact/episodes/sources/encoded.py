"""Pictures as they lie packed in a recording, for those who copy them without unpacking.

Shape letters: n = samples of the stream.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Clip", "Encoded", "Packets", "Stills"]


@dataclass(frozen=True)
class Stills:
    """Single pictures, each a JPEG or PNG file of its own.

    Attributes:
        read: Bytes of sample i.
    """

    read: Callable[[int], bytes]


@dataclass(frozen=True)
class Packets:
    """Coded frames of a video, one a sample.

    Attributes:
        codec: Such as `H.265`, see `vrs_video.CODECS`.
        read: Bytes of sample i.
        since_key: int64 (n,), how many samples before each its key frame lies.
        grey: Whether the picture is its luminance alone.
    """

    codec: str
    read: Callable[[int], bytes]
    since_key: np.ndarray
    grey: bool


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


type Encoded = Stills | Packets | Clip
