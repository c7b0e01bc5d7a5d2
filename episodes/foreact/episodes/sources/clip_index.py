"""The index of a video as arrays, so that who opens it again need not walk over its packets.

Shape letters: n = frames in the order in which they are shown, m = packets in the order of the file.
"""

from __future__ import annotations

import numpy as np

from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.video_index import VideoIndex

__all__ = ["index_of", "tables_of"]


def tables_of(index: VideoIndex) -> tuple[np.ndarray, np.ndarray]:
    """Frames int64 (n, 5): stamp [ns], tick, packet, packet to decode from, 1 of key frames; packets int64 (m, 2)."""
    is_key = np.isin(np.arange(len(index.stamps)), index.keyframes).astype(np.int64)
    frames = np.stack([index.stamps, index.ticks, index.position, index.entry, is_key], axis=1)
    return frames, np.stack([index.packet_ticks, index.seek_ticks], axis=1)


def index_of(
    frames: np.ndarray,
    packets: np.ndarray,
    *,
    size: tuple[int, int],
    rate_hz: float | None,
    rotation: int,
    codec: str,
    colours: str,
) -> VideoIndex:
    """What `tables_of` was given.

    Args:
        frames: int64 (n, 5).
        packets: int64 (m, 2); m = 0 where frames are counted.
        size: (H, W) [px].
        rate_hz: Mean rate, if known.
        rotation: Turn that the file asks for [degree].
        codec: Such as `h264`.
        colours: Such as `bt709`.

    Raises:
        SourceError: They do not fit each other.
    """
    whole = frames.ndim == packets.ndim == 2 and frames.shape[1] == 5 and packets.shape[1] == 2 and len(frames) > 0
    if not whole:
        raise SourceError(f"frames of shape {frames.shape} and packets of shape {packets.shape} are no index")
    stamps, ticks, position, entry, is_key = (np.ascontiguousarray(column) for column in frames.T)
    past = len(packets) and (position.max() >= len(packets) or (entry > position).any())
    if past or entry.min() < 0 or (np.diff(ticks) < 0).any():
        raise SourceError("the index of the video names packets that it does not have")
    return VideoIndex(
        stamps=stamps,
        ticks=ticks,
        position=position,
        entry=entry,
        packet_ticks=np.ascontiguousarray(packets[:, 0]),
        seek_ticks=np.ascontiguousarray(packets[:, 1]),
        keyframes=np.flatnonzero(is_key),
        size=size,
        rate_hz=rate_hz,
        rotation=rotation,
        codec=codec,
        colours=colours,
        notes=(),
    )
