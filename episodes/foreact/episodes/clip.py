"""Cut a range of frames out of a video file without decoding: packets are copied, from the key frame before on.

Shape letters: n = frames of the new file, m = its packets.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.episodes.recording_header import ClipHeader
from foreact.episodes.sources.clip_index import tables_of
from foreact.episodes.sources.encoded import Clip
from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.video import Video
from foreact.episodes.sources.video_index import VideoIndex, needs_av, open_container, video_stream

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.stream import VideoStream

__all__ = ["ClipError", "Cut", "cut_clip"]

CONTAINERS = {"mp4": "clip.mp4", "matroska": "clip.mkv"}  # the second for codecs that MP4 does not hold
TRIES = 3  # key frames to start from: decoders may need one more than the file says; at last the start of the file


class ClipError(ValueError):
    """Frames that cannot be cut out; the message says why."""


@dataclass(frozen=True)
class Cut:
    """What was cut out.

    Attributes:
        about: First frame, size, rate, codec.
        frames: int64 (n, 5), see `tables_of`.
        packets: int64 (m, 2).
    """

    about: ClipHeader
    frames: np.ndarray
    packets: np.ndarray


def cut_clip(clip: Clip, count: int, folder: Path) -> Cut:
    """Write a video file into a folder, with at least the frames of a clip.

    Args:
        clip: Where they lie.
        count: How many frames, from `clip.first` on.
        folder: Where to write; must not exist.

    Raises:
        ClipError: An MP4 file does not take them, or they do not come out again.
        SourceError: The video is damaged.
    """
    folder.mkdir()
    why = "no frames"
    with Video(clip.path, track=clip.track, index=_index(clip.path, clip.track, *_looks(clip.path))) as video:
        for start in _starts(video.index, clip.first, count):
            for form, name in CONTAINERS.items():
                try:
                    _copy(clip, video.index, start, count, folder / name, form)
                    return _checked(clip, count, video, start, folder / name)
                except (ClipError, SourceError) as error:
                    (folder / name).unlink(missing_ok=True)
                    why = str(error)
    raise ClipError(why)


def _checked(clip: Clip, count: int, video: Video, start: int, file: Path) -> Cut:
    """What was cut out; its first and last frame are looked at here, all by whoever reads it back."""
    with Video(file) as made:
        first, index = _first(video.index, clip.first, start, count, len(made)), made.index
        if not all(_equal(video, clip.first + each, made, first + each) for each in (0, count - 1)):
            raise ClipError("the frames of the copy are not those of the video")
    about = ClipHeader(file.name, first, index.size, index.rate_hz, index.rotation, index.codec, index.colours)
    return Cut(about, *tables_of(index))


@lru_cache(maxsize=8)
def _index(path: Path, track: int, size: int, changed: int) -> VideoIndex:
    with Video(path, track=track) as video:
        return video.index


def _looks(path: Path) -> tuple[int, int]:
    """By which a file is known to be the same."""
    try:
        stat = path.stat()
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}") from error
    return stat.st_size, stat.st_mtime_ns


def _starts(index: VideoIndex, first: int, count: int) -> list[int]:
    """Packets to start from, the nearest first."""
    if not index.seekable:
        return [0]
    nearest = int(index.entry[first : first + count].min())
    entries = np.unique(index.entry)
    place = int(np.searchsorted(entries, nearest))
    return list(dict.fromkeys([*entries[max(0, place - TRIES + 1) : place + 1][::-1].tolist(), 0]))


def _last(index: VideoIndex, first: int, count: int) -> int:
    return int(index.position[first : first + count].max())


def _first(index: VideoIndex, first: int, start: int, count: int, made: int) -> int:
    """Number of the clip's first frame in the new file."""
    last = _last(index, first, count)
    if made != last - start + 1:
        raise ClipError(f"{last - start + 1} packets became {made} frames")
    if not index.seekable:
        return first - start
    ticks = index.packet_ticks[start : last + 1]
    return int((ticks < index.ticks[first]).sum())


def _equal(one: Video, i: int, other: Video, j: int) -> bool:
    try:
        return np.array_equal(one.read(i), other.read(j))
    except SourceError:
        return False


def _copy(clip: Clip, index: VideoIndex, start: int, count: int, file: Path, form: str) -> None:
    av = needs_av()
    container = open_container(clip.path)
    try:
        stream = video_stream(container, clip.track, str(clip.path))
        options = {"fflags": "bitexact", **({"movflags": "faststart"} if form == "mp4" else {})}
        with av.open(str(file), "w", format=form, options=options) as out:
            target = out.add_stream_from_template(stream, opaque=True)
            target.time_base = stream.time_base
            target.metadata.clear()
            base: int | None = None
            for packet in _between(container, stream, index, start, _last(index, clip.first, count)):
                base = (packet.pts if packet.dts is None else packet.dts) if base is None else base
                if base is None or packet.pts is None:
                    raise ClipError("packets say no times")
                packet.pts -= base
                packet.dts = None if packet.dts is None else packet.dts - base
                packet.stream = target
                out.mux(packet)
    except (OSError, ValueError, OverflowError, av.FFmpegError) as error:
        raise ClipError(f"its packets cannot be copied: {error}") from error
    finally:
        container.close()


def _between(
    container: InputContainer, stream: VideoStream, index: VideoIndex, start: int, last: int
) -> Iterator[Packet]:
    """Packets number start to last, in the order of the file."""
    if start and index.seekable:
        container.seek(int(index.seek_ticks[start]), stream=stream)
    number: int | None = None if start and index.seekable else -1
    for packet in container.demux(stream):
        if not packet.size:
            continue
        if number is None:
            if packet.pts == index.packet_ticks[start]:
                number = start - 1
            else:
                continue
        number += 1
        if start <= number <= last:
            yield packet
        if number >= last:
            return
    raise ClipError("the file ends before the last frame")
