"""Pictures of a VRS stream as a part of a recording."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from foreact.episodes.sources.encoded import Packets, Stills
from foreact.episodes.sources.parts import Part
from foreact.episodes.sources.protocol import SourceError, Stream, Value
from foreact.episodes.sources.vrs_aria import generation
from foreact.episodes.sources.vrs_image import Picture, decode, looks, picture_of
from foreact.episodes.sources.vrs_stream import VrsStream
from foreact.episodes.sources.vrs_video import Video

__all__ = ["camera_part"]

type Reading = Callable[[int], tuple[Picture, bytes]]

DEPTH, MASKS = 345, 400
"""Types of Aria Digital Twin."""
TURNED = (214, 1201)
"""Cameras of the first generation that were mounted on their sides: RGB, SLAM."""


def camera_part(stream: VrsStream, shown: Stream) -> Part:
    """The pictures of a stream, decoded when read.

    Raises:
        SourceError: They are coded in a way that is not known.
    """
    number = next(index for index, block in enumerate(stream.blocks) if block.kind == "image")
    block = stream.blocks[number]

    def picture(index: int) -> tuple[Picture, bytes]:
        pieces = stream.pieces(index)
        fields = [piece.fields for piece in pieces]
        return picture_of(block, *fields, stream.config), pieces[number].data

    first = picture_of(block, stream.config)
    if stream.kind == MASKS:
        return _masks(stream, shown, picture)
    if first.coding == "video":
        return _video(stream, shown, first, picture)
    about = replace(
        shown, kind=first.kind, shape=first.shape, dtype=first.dtype, description=_about(stream, shown, first)
    )
    if first.coding in ("jpg", "png"):
        about = replace(about, shape=_seen(picture(0)[1], first.shape))
    if stream.kind == DEPTH and first.pixels == "grey16":
        text = f"{about.description}; along the optical axis, 0 where there is none"
        about = replace(about, kind="depth", unit="mm", description=text)

    def read(index: int) -> Value:
        found, data = picture(index)
        try:
            return decode(found, data)
        except SourceError as error:
            raise stream.fault(index, error) from error

    packed = Stills(lambda index: picture(index)[1]) if first.coding in ("jpg", "png") else None
    return Part(about, stream.stamps, read, encoded=packed)


def _about(stream: VrsStream, shown: Stream, picture: Picture) -> str:
    text = f"{shown.description}; {picture.coding} {picture.pixels or picture.codec}".rstrip()
    if picture.pixels == "rgba8":
        text += ", alpha is left out"
    if (generation(stream.flavour) == 1 and stream.kind in TURNED) or stream.kind in (DEPTH, MASKS):
        text += "; as it lies in the file, upright after a turn of 90 degrees clockwise"
    return text


def _seen(data: bytes, said: tuple[int | None, ...]) -> tuple[int | None, ...]:
    found = looks(data)
    if found is None:
        return said
    return found[0] if found[1] == 1 else (*found[0], found[1])


def _masks(stream: VrsStream, shown: Stream, picture: Reading) -> Part:
    first = picture_of(next(block for block in stream.blocks if block.kind == "image"), stream.config)
    text = f"{shown.description}; number of the instance at each pixel, 0 for none"
    about = replace(shown, kind="segmentation", shape=(first.height, first.width), dtype="uint64", description=text)

    def read(index: int) -> Value:
        found, data = picture(index)
        try:
            values = decode(found, data)
        except SourceError as error:
            raise stream.fault(index, error) from error
        if not isinstance(values, np.ndarray) or values.dtype != np.float64:
            raise stream.fault(index, SourceError("not 8 bytes a pixel"))
        return values.view(np.uint64)  # the format has no name for 64-bit integers and calls them scalar64F

    return Part(about, stream.stamps, read)


def _video(stream: VrsStream, shown: Stream, first: Picture, picture: Reading) -> Part:
    if stream.has("image_key_frame_index"):
        since_key = stream.columns("image_key_frame_index")[0].astype(np.int64)
    else:
        raise SourceError("its records do not say which frames are key frames")
    grey = first.pixels == "grey8"
    video: list[Video] = []

    def read(index: int) -> Value:
        if not video:
            video.append(Video(first.codec, lambda number: picture(number)[1], since_key, grey=grey))
        try:
            return video[0].frame(index)
        except SourceError as error:
            raise stream.fault(index, error) from error

    shape = (first.height or None, first.width or None) if grey else (first.height or None, first.width or None, 3)
    text = f"{shown.description}; {first.codec} {first.pixels}"
    about = replace(shown, kind="image", shape=shape, dtype="uint8", description=text)
    packed = Packets(first.codec, lambda index: picture(index)[1], since_key, grey)
    return Part(about, stream.stamps, read, encoded=packed)
