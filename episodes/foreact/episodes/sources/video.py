"""Frames of a video file, any one fast: decoded forward where that is near, sought by key frames where it is far.

Shape letters: n = frames in the order in which they are shown, H and W = height and width.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Self

import numpy as np

from foreact.episodes.sources.protocol import SourceError
from foreact.episodes.sources.video_index import (
    VideoIndex,
    needs_av,
    open_container,
    scan_video,
    shown_name,
    video_stream,
)

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame

__all__ = ["Video", "VideoPool"]

ENTRIES = 2  # key frames tried, from the nearest back
INDICES_PER_DECODER = 16  # indices are small: kept longer than decoders, so that reopening needs no scan

type Looks = tuple[int, int]  # by which a file is known to be the same: bytes, time of change


class Video:
    """One track of a video file. Frame i is, bit for bit, what decoding the whole file gives as frame i.

    Threads may share one; they wait for each other. One thread decodes. Colours become RGB by BT.601 whatever the file
    says, as PyAV does. A turn that the file asks for (`index.rotation`) is not made.

    Args:
        file: A path, or an open file that can be sought, which stays the caller's.
        track: Number among the video tracks, without cover pictures.
        index: What an earlier `Video` of this track found; saves the scan.

    Raises:
        SourceError: Missing, empty, damaged, or not a video.
        ModuleNotFoundError: PyAV is not installed.
    """

    def __init__(self, file: Path | BinaryIO, *, track: int = 0, index: VideoIndex | None = None) -> None:
        self.name = shown_name(file)
        self._lock, self._file, self._track, self._closed = threading.Lock(), file, track, False
        self._container = open_container(file)
        try:
            self._stream = video_stream(self._container, track, self.name)
            self.index = scan_video(self._container, self._stream, file) if index is None else index
        except BaseException:
            self._container.close()
            raise
        av = needs_av()
        self._errors: tuple[type[Exception], ...] = (OSError, ValueError, av.FFmpegError)
        self._colours = av.video.reformatter.VideoReformatter()
        self._order = np.argsort(self.index.packet_ticks, kind="stable")
        self._sorted, self._starts = self.index.packet_ticks[self._order], np.unique(self.index.entry)
        self._place = np.searchsorted(self._starts, self.index.entry)  # of each frame's entry among them
        self._by_pts = "matroska" in self._container.format.name  # which time it seeks by
        self._packets: Iterator[Packet] | None = None
        self._damaged = np.zeros(len(self), bool)
        self._last: tuple[int, VideoFrame] | None = None
        self._begin(-1, 0)
        self._ended = True  # at the end of the scan, or nowhere: the first read seeks

    def __len__(self) -> int:
        """Number of frames."""
        return len(self.index.stamps)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def stamps(self) -> np.ndarray:
        """When each frame is shown, int64 (n,) [ns], rising."""
        return self.index.stamps

    @property
    def shape(self) -> tuple[int, int, int]:
        """(H, W, 3)."""
        return (*self.index.size, 3)

    @property
    def rate_hz(self) -> float | None:
        """Mean rate, if the file says it."""
        return self.index.rate_hz

    @property
    def keyframes(self) -> np.ndarray:
        """Numbers of the frames that need no other, rising."""
        return self.index.keyframes

    def read(self, index: int, out: np.ndarray | None = None) -> np.ndarray:
        """Frame `index` as uint8 (H, W, 3) RGB, in `out` if it is given.

        Raises:
            IndexError: No such frame.
            SourceError: It cannot be decoded, or the video was closed.
            ValueError: `out` is not uint8 (H, W, 3).
        """
        if out is not None:
            _check_out(out, self.shape)
        with self._lock:
            rgb = self._rgb(index)
        if out is None:
            return np.ascontiguousarray(rgb)
        out[...] = rgb
        return out

    def read_range(self, start: int, stop: int, out: np.ndarray | None = None) -> np.ndarray:
        """Frames start to stop - 1 as uint8 (stop - start, H, W, 3), in `out` if it is given.

        Raises:
            IndexError: No such frames.
            SourceError: One cannot be decoded, or the video was closed.
            ValueError: `out` is not uint8 (stop - start, H, W, 3).
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"{self.name} has {len(self)} frames, asked for {start} to {stop}")
        shape = (stop - start, *self.shape)
        out = np.empty(shape, np.uint8) if out is None else _check_out(out, shape)
        with self._lock:
            for number in range(start, stop):
                out[number - start] = self._rgb(number)
        return out

    def close(self) -> None:
        """Let go of the decoder; reading is an error from then on."""
        with self._lock:
            if not self._closed:
                self._closed, self._last = True, None
                self._pending.clear()
                self._container.close()

    def _rgb(self, index: int) -> np.ndarray:
        if self._closed:
            raise SourceError(f"{self.name} was closed")
        if not 0 <= index < len(self):
            raise IndexError(f"{self.name} has {len(self)} frames, asked for number {index}")
        frame = self._frame(index)
        height, width = self.index.size
        if (frame.height, frame.width) != (height, width):
            raise SourceError(f"{self.name}: frame {index} is {frame.height} x {frame.width}, not {height} x {width}")
        try:
            rgb = self._colours.reformat(frame, format="rgb24")
        except self._errors as error:
            raise SourceError(f"{self.name}: frame {index} cannot be turned to RGB: {error}") from error
        plane = rgb.planes[0]
        rows = np.frombuffer(plane, np.uint8).reshape(height, plane.line_size)
        pixels = rows[:, : 3 * width].reshape(height, width, 3)
        return pixels.copy() if rgb is frame else pixels  # the decoder still looks at its own frames

    def _frame(self, index: int) -> VideoFrame:
        if self._last is not None and self._last[0] == index:
            return self._last[1]
        if not self._damaged[index]:
            frame = self._decode_until(index) if self._is_ahead(index) else None
            entries = self._entries(index)
            while frame is None and (entry := next(entries, None)) is not None:
                self._seek(entry)
                frame = self._decode_until(index)
            if frame is not None:
                self._last = (index, frame)
                return frame
            self._ended = True  # what comes next was too far: start anew
            self._pending.clear()
        raise SourceError(f"{self.name}: frame {index} of {len(self)} is damaged and cannot be decoded")

    def _is_ahead(self, index: int) -> bool:
        """Whether decoding on is cheaper than seeking."""
        if self._shown > index or (self._ended and not self._pending):
            return False
        # a seek costs less than one frame: no packet is decoded that could have been left out
        return not self.index.seekable or int(self.index.entry[index]) <= self._packet + 1

    def _entries(self, index: int) -> Iterator[int]:
        """Packets to decode from, the nearest first: decoders may need a key frame more than the file says."""
        if not self.index.seekable:
            yield 0
            return
        place = int(self._place[index])
        yield from self._starts[max(0, place - ENTRIES + 1) : place + 1][::-1].tolist()

    def _begin(self, sent: int, shown: int) -> None:
        """Start to read packets: `sent` is the last that the decoder need not be given, `shown` the first frame."""
        if self._packets is None:  # after a seek the old one gives what comes there
            self._packets = self._container.demux(self._stream)
        self._pending: deque[tuple[int, VideoFrame]] = deque()
        self._packet = sent  # number of the last packet that was sent
        self._counted = 0  # frames that came out since the start of the file
        self._shown = shown  # number of the next frame that may come out
        self._ended = False

    def _seek(self, entry: int) -> None:
        """Make packet number `entry` the first that the decoder is given."""
        if not self.index.seekable:
            self._reopen()
            return
        tick = int(self.index.packet_ticks[entry])
        shown = int(self.index.ticks.searchsorted(tick))
        target = tick if self._by_pts else int(self.index.seek_ticks[entry])
        try:
            self._container.seek(target, stream=self._stream)
        except self._errors:
            landed = False
        else:
            self._begin(entry - 1, shown)
            landed = self._skip_to(entry)
        if not landed:  # the container cannot seek there: walk from the start, without decoding
            self._reopen()
            self._begin(entry - 1, shown)
            self._skip_to(entry)

    def _skip_to(self, entry: int) -> bool:
        """Drop packets before `entry` and send that one; False if it was passed already."""
        while (packet := self._next_packet()) is not None and packet.pts is not None:
            number = entry if packet.pts == self.index.packet_ticks[entry] else self._packet_at(packet.pts)
            if number == entry:
                self._send(packet)
                return True
            if number is None or number > entry:
                break
        return False

    def _packet_at(self, pts: int) -> int | None:
        place = int(self._sorted.searchsorted(pts))
        return int(self._order[place]) if place < len(self._order) and self._sorted[place] == pts else None

    def _next_packet(self) -> Packet | None:
        if self._packets is None:
            return None
        try:
            return next(self._packets, None)
        except self._errors:
            return None  # the scan ended here as well, and noted it

    def _reopen(self) -> None:
        old = self._container
        self._container = open_container(self._file)
        old.close()
        self._stream = video_stream(self._container, self._track, self.name)
        self._packets = None
        self._begin(-1, 0)

    def _decode_until(self, index: int) -> VideoFrame | None:
        """Decode on until a frame comes out; None if the file ends or goes past it without."""
        while True:
            while self._pending:
                number, frame = self._pending[0]
                if number > index:
                    return None
                self._pending.popleft()
                self._shown = number + 1
                if number == index:
                    return frame
            if self._ended or self._damaged[index]:
                return None
            self._send(self._next_packet())

    def _send(self, packet: Packet | None) -> None:
        """Give the decoder a packet, none at the end of the file, and take the frames that are ready."""
        whole = packet is not None and packet.size > 0
        self._ended = not whole
        self._packet += whole
        if self._ended:
            self._packets = None  # it gives nothing after the end, wherever is sought to
        if packet is not None and packet.is_corrupt:
            self._damage(self._packet)  # what comes behind it would lean on a frame that is not there
            return
        try:
            frames = self._stream.codec_context.decode(packet if whole else None)
        except self._errors:
            # frames shown before the key frame that was sought may lack what they lean on: none of them is wanted
            if packet is not None and (
                packet.pts is None or packet.pts >= self.index.ticks[min(self._shown, len(self) - 1)]
            ):
                self._damage(self._packet)
            return
        for frame in frames:
            number = self._number(frame)
            if number is None or number < self._shown:
                continue
            if frame.is_corrupt:
                self._damage(int(self.index.position[number]))
            if not self._damaged[number]:
                self._pending.append((number, frame))

    def _number(self, frame: VideoFrame) -> int | None:
        """Which frame it is; None if it is none that is to be shown."""
        if self.index.seekable:
            ticks, pts, place = self.index.ticks, frame.pts, self._shown + len(self._pending)
            if pts is None:
                return None
            if place >= len(ticks) or ticks[place] != pts:  # most often it is the next
                place = int(ticks.searchsorted(pts))
            return place if place < len(ticks) and ticks[place] == pts else None
        self._counted += 1
        return self._counted - 1 if self._counted <= len(self) else None

    def _damage(self, packet: int) -> None:
        """No frame from `packet` to the next key frame is trusted."""
        keys = self.index.position[self.index.keyframes]
        later = keys[keys > packet]
        stop = later.min() if len(later) else np.iinfo(np.int64).max
        self._damaged |= (self.index.position >= packet) & (self.index.position < stop)


def _check_out(out: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    if out.shape != shape or out.dtype != np.uint8:
        raise ValueError(f"out is {out.dtype} {out.shape}, needed is uint8 {shape}")
    return out


class VideoPool:
    """Open videos, the ones used longest ago closed first; threads may share one.

    Two threads that read one video wait for each other, and opening a video lets others wait.

    Args:
        most: Decoders kept open; more only while more are in use at once.

    Raises:
        ValueError: Fewer than one.
    """

    def __init__(self, most: int = 8) -> None:
        if most < 1:
            raise ValueError(f"most = {most}: at least one decoder is needed")
        self._most, self._lock = most, threading.Lock()
        self._videos: OrderedDict[tuple[Path, int], Video] = OrderedDict()
        self._users: dict[tuple[Path, int], int] = {}
        self._indices: OrderedDict[tuple[Path, int], tuple[Looks | None, VideoIndex]] = OrderedDict()

    @contextmanager
    def video(self, path: Path, track: int = 0) -> Iterator[Video]:
        """A video that stays open for the length of a block.

        Raises:
            SourceError: It cannot be opened.
        """
        key = (path, track)
        with self._lock:
            video = self._take(key)
            self._users[key] = self._users.get(key, 0) + 1
            self._shrink()
        try:
            yield video
        finally:
            with self._lock:
                self._users[key] -= 1
                if not self._users[key]:
                    del self._users[key]
                self._shrink()

    def index(self, path: Path, track: int = 0) -> VideoIndex:
        """Times and key frames of a video.

        Raises:
            SourceError: It cannot be opened.
        """
        with self.video(path, track) as video:
            return video.index

    def __len__(self) -> int:
        """Decoders that are open now."""
        return len(self._videos)

    def close(self) -> None:
        """Close all; a video that is in use is closed when its read ends. The pool can be used again."""
        with self._lock:
            for video in self._videos.values():
                video.close()
            self._videos.clear()

    def _take(self, key: tuple[Path, int]) -> Video:
        video, known = self._videos.pop(key, None), self._indices.pop(key, None)
        if video is None:
            looks = _looks(key[0])
            index = known[1] if known is not None and known[0] == looks else None
            video = Video(key[0], track=key[1], index=index)
            known = (looks, video.index)
        assert known is not None
        self._videos[key], self._indices[key] = video, known
        while len(self._indices) > INDICES_PER_DECODER * self._most:
            self._indices.popitem(last=False)
        return video

    def _shrink(self) -> None:
        idle = [key for key in self._videos if key not in self._users]
        for key in idle[: max(0, len(self._videos) - self._most)]:
            self._videos.pop(key).close()


def _looks(path: Path) -> Looks | None:
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns
