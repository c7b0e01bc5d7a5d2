"""Video inside VRS records: one coded frame a record, decoded from the key frame before it.

Shape letters: H, W = height and width.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from foreact.episodes.sources.protocol import SourceError

__all__ = ["Video"]

CODECS = {"H.264": "h264", "H.265": "hevc", "AV1": "av1", "VP9": "vp9"}
KEPT = 8
"""Frames kept for a second look."""


class Video:
    """Frames of one stream. Reading is thread-safe: one thread decodes at a time.

    Args:
        codec: As the file names it.
        packet: Bytes of a coded frame, without the size in front of them.
        since_key: int (n,), how many frames before each its key frame lies.
        grey: Whether the picture is its luminance alone.

    Raises:
        SourceError: The codec is not known.
        ModuleNotFoundError: PyAV is not installed.
    """

    def __init__(self, codec: str, packet: Callable[[int], bytes], since_key: np.ndarray, *, grey: bool) -> None:
        if codec not in CODECS:
            raise SourceError(f"the codec {codec!r} is not known")
        try:
            import av
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("video needs PyAV: pip install 'foreact[data]'") from error
        self._av, self._codec = av, CODECS[codec]
        self._packet, self._since_key, self._grey = packet, since_key, grey
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, np.ndarray] = OrderedDict()
        self._decoder: Any = None
        self._next = -1

    def frame(self, index: int) -> np.ndarray:
        """One frame, uint8 (H, W, 3) RGB or (H, W) grey.

        Raises:
            SourceError: It, or a frame it needs, is damaged.
        """
        with self._lock:
            if index not in self._kept:
                self._keep(index, self._decode(index))
            self._kept.move_to_end(index)
            return self._kept[index].copy()

    def _keep(self, index: int, frame: np.ndarray) -> None:
        self._kept[index] = frame
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def _decode(self, index: int) -> np.ndarray:
        key = index - int(self._since_key[index])
        if not 0 <= key <= index or int(self._since_key[key]):
            raise SourceError(f"frame {index} names frame {key} as its key frame, which is none")
        if self._decoder is None or not key < self._next <= index:
            self._decoder, self._next = self._fresh(), key
        try:
            frames: list[Any] = []
            for number in range(self._next, index + 1):
                packet = self._av.Packet(self._packet(number))
                packet.pts = number
                frames += self._decoder.decode(packet)
            self._next = index + 1
            if not any(frame.pts == index for frame in frames):
                frames += self._decoder.decode(None)
                self._decoder = None
        except (self._av.FFmpegError, ValueError) as error:
            self._decoder = None
            raise SourceError(f"frame {index} cannot be decoded: {error}") from error
        found = next((frame for frame in frames if frame.pts == index), None)
        if found is None:
            self._decoder = None
            raise SourceError(f"frame {index} cannot be decoded: the decoder gives nothing")
        return self._array(found)

    def _fresh(self) -> Any:
        decoder = self._av.CodecContext.create(self._codec, "r")
        decoder.thread_count = 1
        decoder.flags |= self._av.codec.context.Flags.low_delay
        return decoder

    def _array(self, frame: Any) -> np.ndarray:
        if not self._grey:
            return frame.to_ndarray(format="rgb24")
        plane = frame.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        return rows[:, : plane.width].copy()
