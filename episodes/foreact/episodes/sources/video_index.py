"""What a video file holds, by its packets alone: when each frame is shown and from where it can be decoded.

Shape letters: n = frames in the order in which they are shown, m = packets in the order of the file.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from foreact.episodes.sources.mp4_boxes import check_mp4
from foreact.episodes.sources.protocol import SourceError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream

__all__ = ["VideoIndex", "needs_av", "open_container", "scan_video", "shown_name", "ticks_to_ns", "video_stream"]

# Containers that hold what they say in one file: no playlists, no lists of files, nothing that names an address.
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi"
MOST_PIXELS = 1 << 26  # of one frame: what a damaged header may ask for at most


@dataclass(frozen=True)
class VideoIndex:
    """Frames of one video track.

    Attributes:
        stamps: int64 (n,) [ns], when each frame is shown, rising.
        ticks: int64 (n,), the same in units of the file's time base.
        position: int64 (n,), number of each frame's packet in the file.
        entry: int64 (n,), number of the packet from which a frame can be decoded, at most `position`.
        packet_ticks: int64 (m,), when each packet is shown; empty if frames can only be counted from the start.
        seek_ticks: int64 (m,), decoding time of each packet, by which it is sought.
        keyframes: int64, numbers of the frames that need no other, rising.
        size: (H, W) [px], as stored.
        rate_hz: Mean rate that the file states, if any.
        rotation: Clockwise turn [degree] that the file asks players to make, 0, 90, 180 or 270; never made here.
        codec: Such as `h264`.
        colours: What the file says of its colours, such as `bt709`; empty if nothing.
        notes: What the file lacks.
    """

    stamps: np.ndarray
    ticks: np.ndarray
    position: np.ndarray
    entry: np.ndarray
    packet_ticks: np.ndarray
    seek_ticks: np.ndarray
    keyframes: np.ndarray
    size: tuple[int, int]
    rate_hz: float | None
    rotation: int
    codec: str
    colours: str
    notes: tuple[str, ...]

    @property
    def seekable(self) -> bool:
        """Whether frames are known by their times; if not, they are counted from the start of the file."""
        return len(self.packet_ticks) > 0


def needs_av() -> Any:
    """PyAV.

    Raises:
        ModuleNotFoundError: It is not installed; the message says what to type.
    """
    try:
        return importlib.import_module("av")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("video needs PyAV: pip install 'foreact[data]'") from error


def shown_name(file: Path | BinaryIO) -> str:
    """How a message calls a file."""
    return str(file) if isinstance(file, Path) else str(getattr(file, "name", "video in memory"))


def open_container(file: Path | BinaryIO) -> InputContainer:
    """Open a video file for reading.

    Raises:
        SourceError: Missing, empty, damaged, or no container that is read here.
    """
    av, name = needs_av(), shown_name(file)
    try:
        size = os.stat(file).st_size if isinstance(file, Path) else file.seek(0, os.SEEK_END)
        if size == 0:
            raise SourceError(f"{name}: the file is empty")
        check_mp4(file)
        if not isinstance(file, Path):
            file.seek(0)
        options = {"protocol_whitelist": "file", "format_whitelist": CONTAINERS}
        target = os.path.abspath(file) if isinstance(file, Path) else file
        return av.open(target, "r", container_options=options, metadata_errors="replace")
    except (OSError, ValueError, av.FFmpegError) as error:
        if isinstance(error, SourceError):
            raise
        raise SourceError(f"{name}: not a video that can be opened: {error}") from error


def video_stream(container: InputContainer, track: int, name: str) -> VideoStream:
    """One of the video tracks; pictures of a cover do not count.

    Raises:
        SourceError: There is none of this number, or it cannot be decoded.
    """
    av = needs_av()
    cover = av.stream.Disposition.attached_pic
    tracks = [stream for stream in container.streams.video if not stream.disposition & cover]
    if not 0 <= track < len(tracks):
        raise SourceError(f"{name}: {len(tracks)} video tracks, asked for number {track}")
    stream = tracks[track]
    context = stream.codec_context
    if context is None or not (context.width and context.height):
        raise SourceError(f"{name}: video track {track} has no size or a codec that is not known")
    if context.width * context.height > MOST_PIXELS:
        raise SourceError(f"{name}: {context.width} x {context.height} is more than is decoded here")
    context.thread_count = 1
    context.thread_type = "NONE"
    context.options = {"max_pixels": str(MOST_PIXELS)}
    return stream


def ticks_to_ns(ticks: list[int] | np.ndarray, time_base: Fraction) -> np.ndarray:
    """Times in units of a time base [s], rounded to whole [ns], int64 of the same length.

    Raises:
        OverflowError: Outside of int64.
    """
    num, den = time_base.numerator * 2_000_000_000, time_base.denominator
    return np.array([(int(tick) * num + den) // (2 * den) for tick in ticks], np.int64)


def scan_video(container: InputContainer, stream: VideoStream, file: Path | BinaryIO) -> VideoIndex:
    """Walk over the packets of a track once, decoding nothing.

    Raises:
        SourceError: There is no frame.
    """
    name = shown_name(file)
    packets, notes = _packets(container, stream)
    shown = [number for number, packet in enumerate(packets) if not (packet.discard or packet.corrupt)]
    if not shown:
        raise SourceError(f"{name}: no whole frame")
    if stream.frames > len(packets):
        notes.append(f"{stream.frames - len(packets)} of {stream.frames} frames are not in the file")
    if corrupt := sum(packet.corrupt for packet in packets):
        notes.append(f"{corrupt} frames are not whole and left out")
    times = [packet.pts for packet in packets]
    if container.format.name == "avi" and stream.codec_context.has_b_frames:
        packets = [replace(packet, pts=None) for packet in packets]  # AVI says when to decode, not when to show
        times = [None]
    if None in times or len(set(times)) < len(times):
        index = _counted(packets, shown, stream, notes, name)
    else:
        index = _timed(packets, shown, stream, name)
    rotation = check_mp4(file).rotations.get(stream.index, 0)
    return replace(index, rotation=rotation, notes=tuple(notes))


@dataclass(frozen=True)
class _Packet:
    pts: int | None
    dts: int | None
    key: bool
    discard: bool
    corrupt: bool


def _packets(container: InputContainer, stream: VideoStream) -> tuple[list[_Packet], list[str]]:
    found: list[_Packet] = []
    try:
        for each in container.demux(stream):
            if each.size:
                found.append(_Packet(each.pts, each.dts, each.is_keyframe, each.is_discard, each.is_corrupt))
    except (OSError, ValueError, needs_av().FFmpegError) as error:
        return found, [f"the file is damaged behind frame {len(found)}: {error}"]
    return found, []


def _timed(packets: list[_Packet], shown: list[int], stream: VideoStream, name: str) -> VideoIndex:
    pts = np.array([packet.pts for packet in packets], np.int64)
    dts = np.array([packet.pts if packet.dts is None else packet.dts for packet in packets], np.int64)
    keys = np.flatnonzero([packet.key for packet in packets])
    position = np.array(shown, np.int64)
    position = position[np.argsort(pts[position], kind="stable")]
    entry = _entries(pts, keys, position)
    ticks, is_key = pts[position], np.isin(position, keys)
    return VideoIndex(
        stamps=_stamps(ticks, stream, name),
        ticks=ticks,
        position=position,
        entry=entry,
        packet_ticks=pts,
        seek_ticks=dts,
        keyframes=np.flatnonzero(is_key),
        **_looks(stream),
    )


def _entries(pts: np.ndarray, keys: np.ndarray, position: np.ndarray) -> np.ndarray:
    """The last key packet that comes before a frame in the file and is shown no later; the first packet if none is."""
    which = np.searchsorted(keys, position, side="right") - 1
    starts = np.append(keys, 0)  # number -1 finds the last element
    late = (which >= 0) & (pts[starts[which]] > pts[position])
    while late.any():  # a frame shown before the key frame that precedes it leans on the one before that
        which[late] -= 1
        late = (which >= 0) & (pts[starts[which]] > pts[position])
    return starts[which]


def _counted(packets: list[_Packet], shown: list[int], stream: VideoStream, notes: list[str], name: str) -> VideoIndex:
    """Frames are known by their number alone: packets say no times, or two say the same."""
    count = np.arange(len(shown))
    times = [packets[number].pts for number in shown]
    if None not in times:
        ticks = np.sort(np.array(times, np.int64))
        notes.append("frames repeat times; they are counted from the start of the file, which makes seeking slow")
        stamps = _stamps(ticks, stream, name)
    elif stream.average_rate:
        ticks, stamps = count, ticks_to_ns(count, 1 / stream.average_rate)
        notes.append(f"frames say no times; they are taken from the rate of {stream.average_rate} Hz")
    else:
        raise SourceError(f"{name}: frames say neither times nor a rate")
    none = np.empty(0, np.int64)
    zero = np.zeros(len(shown), np.int64)
    position = np.array(shown, np.int64)
    return VideoIndex(stamps, ticks, position, zero, none, none, zero[:1], **_looks(stream))


def _stamps(ticks: np.ndarray, stream: VideoStream, name: str) -> np.ndarray:
    try:
        return ticks_to_ns(ticks, Fraction(stream.time_base or 0))
    except OverflowError:
        raise SourceError(f"{name}: times of frames are outside of what 64 bits hold") from None


COLOURS = {1: "bt709", 5: "bt470bg", 6: "smpte170m", 9: "bt2020nc", 10: "bt2020c"}


def _looks(stream: VideoStream) -> dict[str, Any]:
    context = stream.codec_context
    rate = stream.average_rate or stream.guessed_rate
    return {
        "size": (context.height, context.width),
        "rate_hz": float(rate) if rate else None,
        "rotation": 0,
        "codec": context.codec.canonical_name,
        "colours": COLOURS.get(int(context.colorspace), ""),
        "notes": (),
    }
