"""The boxes of an MP4 or QuickTime file that must be looked at before a library reads it.

Source: ISO/IEC 14496-12, sections 4.2 (boxes), 8.3.2 (track header), 8.7.3 (sample sizes).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from foreact.episodes.sources.protocol import SourceError

__all__ = ["Mp4", "check_mp4"]

FOLDERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}
MOST_BOXES = 10_000


@dataclass(frozen=True)
class Mp4:
    """What was found.

    Attributes:
        rotations: Clockwise turn [degree] that a track asks players to make, by number of the track; 0 if none.
    """

    rotations: dict[int, int]


def check_mp4(file: Path | BinaryIO) -> Mp4:
    """Look at the boxes of a file; a file of another kind has none.

    Raises:
        OSError: It cannot be read.
        SourceError: It claims more samples than it has bytes, which a library would make room for.
    """
    if isinstance(file, Path):
        with file.open("rb") as stream:
            return _check(stream, str(file))
    return _check(file, str(getattr(file, "name", "video in memory")))


def _check(file: BinaryIO, name: str) -> Mp4:
    size = file.seek(0, os.SEEK_END)
    rotations: dict[int, int] = {}
    track = -1
    for kind, start, end in _boxes(file, 0, size):
        if kind == b"trak":
            track += 1
        elif kind == b"tkhd":
            rotations[track] = _rotation(_read(file, start, min(end, start + 96)))
        elif kind == b"stsz":
            count = int.from_bytes(_read(file, start, end)[8:12], "big")
            if count > size:
                raise SourceError(f"{name}: claims {count} samples in {size} bytes; the file is damaged")
        elif kind == b"cmov":
            raise SourceError(f"{name}: its header is compressed, which is not read; rewrite it with ffmpeg -c copy")
    return Mp4(rotations)


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Kind, begin and end of what is in each box, folders before what they hold."""
    waiting = [(start, end)]
    for _ in range(MOST_BOXES):
        if not waiting:
            return
        start, end = waiting.pop()
        head = _read(file, start, start + 16)
        if end - start < 8 or len(head) < 8:
            continue
        length, kind, skip = int.from_bytes(head[:4], "big"), head[4:8], 8
        if length == 1 and len(head) == 16:
            length, skip = int.from_bytes(head[8:], "big"), 16
        stop = end if length == 0 else start + length
        if length and length < skip:
            continue
        inside = (start + skip, min(stop, end))
        yield kind, *inside
        waiting.append((stop, end))
        if kind in FOLDERS:
            waiting.append(inside)


def _read(file: BinaryIO, start: int, stop: int) -> bytes:
    file.seek(start)
    return file.read(min(max(stop - start, 0), 96))


def _rotation(header: bytes) -> int:
    """Of a track header's matrix (a b u; c d v; x y w), rows of 16.16 fixed point numbers."""
    begin = 52 if header[:1] == b"\x01" else 40
    if len(header) < begin + 20:
        return 0
    a, b, _, c, d = struct.unpack(">5i", header[begin : begin + 20])
    one = 1 << 16
    turns = {(one, 0, 0, one): 0, (0, one, -one, 0): 90, (-one, 0, 0, -one): 180, (0, -one, one, 0): 270}
    return turns.get((a, b, c, d), 0)
