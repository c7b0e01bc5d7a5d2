"""Pictures of VRS records: raw pixels, JPEG and PNG.

Shape letters: H, W = height and width, C = channels.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.episodes.sources.protocol import Kind, SourceError
from foreact.episodes.sources.stills import decode_still
from foreact.episodes.sources.vrs_layout import Block, whole

__all__ = ["Picture", "decode", "looks", "picture_of"]

FORMATS = (
    *("undefined", "grey8", "bgr8", "depth32f", "rgb8", "yuv_i420_split", "rgba8", "rgb10", "rgb12", "grey10"),
    *("grey12", "grey16", "rgb32F", "scalar64F", "yuy2", "rgb_ir_4x4", "rgba32F", "bayer8_rggb", "raw10"),
    *("raw10_bayer_rggb", "raw10_bayer_bggr", "yuv_420_nv21", "yuv_420_nv12", "grey10packed", "bayer8_bggr"),
    *("bayer10_gbrg", "bayer8_gbrg"),
)
"""Names of pixel formats by their number in the file."""
PIXELS = (
    {name: ("u1", 1) for name in ("grey8", "rgb_ir_4x4", "bayer8_rggb", "bayer8_bggr", "bayer8_gbrg")}
    | {name: ("<u2", 1) for name in ("grey10", "grey12", "grey16", "bayer10_gbrg")}
    | {"bgr8": ("u1", 3), "rgb8": ("u1", 3), "rgba8": ("u1", 4), "rgb10": ("<u2", 3), "rgb12": ("<u2", 3)}
    | {"depth32f": ("<f4", 1), "scalar64F": ("<f8", 1), "rgb32F": ("<f4", 3), "rgba32F": ("<f4", 4)}
)
"""Type and channels of formats whose pixels follow each other."""
YUV = {"yuv_i420_split": "yuv420p", "yuv_420_nv21": "nv12", "yuv_420_nv12": "nv12", "yuy2": "yuyv422"}
"""Names that FFmpeg has for formats that are converted to RGB."""
TEN_BITS = ("raw10", "raw10_bayer_rggb", "raw10_bayer_bggr")
SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
MOST_PIXELS = 1 << 27


@dataclass(frozen=True)
class Picture:
    """What the pictures of a stream are.

    Attributes:
        coding: `raw`, `jpg`, `png`, `video`, or another word of the format.
        pixels: Name of the pixel format; empty if not said.
        height, width: [px]; 0 if not said.
        stride: Bytes of a row; 0 where they follow from the width.
        codec: Of a video.
    """

    coding: str
    pixels: str
    height: int
    width: int
    stride: int
    codec: str

    @property
    def kind(self) -> Kind:
        """What a sample is, so far as the coding tells."""
        if self.coding in ("jpg", "png", "video") or self.pixels in YUV:
            return "image"
        form = PIXELS.get(self.pixels)
        if self.coding != "raw" or (form is None and self.pixels not in TEN_BITS):
            return "bytes"
        if self.pixels == "depth32f":
            return "depth"
        return "image" if form is not None and form[0] == "u1" else "vector"

    @property
    def dtype(self) -> str:
        """Of a sample."""
        if self.kind in ("image", "bytes"):
            return "uint8" if self.kind == "image" else "bytes"
        return np.dtype(PIXELS[self.pixels][0]).name if self.pixels in PIXELS else "uint16"

    @property
    def shape(self) -> tuple[int | None, ...]:
        """Of a sample; None where the tags do not say."""
        size = (self.height or None, self.width or None)
        if self.coding == "raw":
            channels = 3 if self.pixels in YUV else min(PIXELS.get(self.pixels, ("", 1))[1], self.most_channels)
        else:
            channels = 1 if self.pixels == "grey8" else 3
        return () if self.kind == "bytes" else size if channels == 1 else (*size, channels)

    @property
    def most_channels(self) -> int:
        """The fourth channel of an 8-bit picture is left out."""
        return 3 if self.kind == "image" else 4


def picture_of(block: Block, *fields: dict[str, Any]) -> Picture:
    """What the pictures of a block are.

    Args:
        block: An image block.
        fields: Data layouts that may tell more, the first that does counts.
    """

    def said(name: str) -> int:
        return next((number for each in fields if (number := whole(each.get(name))) > 0), 0)

    size = next((match.groups() for word in block.words if (match := SIZE.fullmatch(word))), ("0", "0"))
    number = said("image_pixel_format")
    pixels = block.option("pixel") or (FORMATS[number] if 0 < number < len(FORMATS) else "")
    if not pixels:
        pixels = {1: "grey8", 3: "rgb8", 4: "depth32f", 8: "scalar64F"}.get(said("image_bytes_per_pixel"), "")
    width, height = said("image_width") or int(size[0]), said("image_height") or int(size[-1])
    told = block.option("stride")
    stride = said("image_stride") or (int(told) if told.isdecimal() else 0)
    codec = next((name for each in fields if (name := str(each.get("image_codec_name", "")))), block.option("codec"))
    return Picture(block.words[0] if block.words else "", pixels, height, width, stride, codec)


def decode(picture: Picture, data: bytes) -> np.ndarray | bytes:
    """One picture.

    Returns:
        (H, W) or (H, W, C) as `Picture.dtype` says; the bytes where the format is not understood.

    Raises:
        SourceError: It is damaged.
    """
    if picture.kind == "bytes":
        return data
    if picture.coding in ("jpg", "png"):
        return _unpack(picture, data)
    if picture.height * picture.width > MOST_PIXELS:
        raise SourceError(f"a picture of {picture.width} x {picture.height}")
    if picture.pixels in YUV:
        return _yuv(picture, data)
    if picture.pixels in TEN_BITS:
        return _ten_bits(picture, data)
    form, channels = PIXELS[picture.pixels]
    row = picture.width * channels * np.dtype(form).itemsize
    pixels = _rows(picture, data, row).view(form)
    if channels == 1:
        return pixels
    pixels = pixels.reshape(picture.height, picture.width, channels)
    if picture.pixels == "bgr8":
        pixels = pixels[..., ::-1]
    return np.ascontiguousarray(pixels[..., : picture.most_channels])


def _rows(picture: Picture, data: bytes, row: int) -> np.ndarray:
    """Bytes of pixels, uint8 (H, row), without what pads each row."""
    stride = picture.stride or row
    if stride < row or not picture.height or len(data) < stride * (picture.height - 1) + row:
        raise SourceError(f"{len(data)} bytes are too few for {picture.width} x {picture.height} {picture.pixels}")
    raw = np.frombuffer(data, np.uint8)
    rows = np.lib.stride_tricks.as_strided(raw, (picture.height, row), (stride, 1), writeable=False)
    return np.ascontiguousarray(rows)


def _ten_bits(picture: Picture, data: bytes) -> np.ndarray:
    """Four pixels in five bytes: the upper eight bits of each, then the lower two of all."""
    groups = -(-picture.width // 4)
    packed = _rows(picture, data, groups * 5).reshape(picture.height, groups, 5).astype(np.uint16)
    low = packed[..., 4:] >> np.array([0, 2, 4, 6], np.uint16) & 3
    return ((packed[..., :4] << 2) | low).reshape(picture.height, -1)[:, : picture.width]


def _yuv(picture: Picture, data: bytes) -> np.ndarray:
    try:
        import av
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("YUV pictures need PyAV: pip install 'foreact[data]'") from error
    height, width = picture.height, picture.width
    if height % 2 or width % 2 or not width or not height:
        raise SourceError(f"YUV pictures of odd size, {width} x {height}")
    if picture.pixels == "yuy2":
        array = _rows(picture, data, 2 * width).reshape(height, width, 2)
    else:
        if picture.stride not in (0, width):
            raise SourceError(f"rows of {picture.stride} bytes for {width} pixels of {picture.pixels}")
        if len(data) < height * width * 3 // 2:
            raise SourceError(f"{len(data)} bytes are too few for {width} x {height} {picture.pixels}")
        array = np.frombuffer(data, np.uint8, height * width * 3 // 2).reshape(height * 3 // 2, width)
    if picture.pixels == "yuv_420_nv21":  # as nv12 with its two colours swapped
        colours = array[height:].reshape(height // 2, width // 2, 2)[..., ::-1].reshape(height // 2, width)
        array = np.concatenate([array[:height], colours])
    return av.VideoFrame.from_ndarray(np.ascontiguousarray(array), YUV[picture.pixels]).to_ndarray(format="rgb24")


def _unpack(picture: Picture, data: bytes) -> np.ndarray:
    pixels = decode_still(data, f"{picture.coding} picture")
    said = (picture.height, picture.width)
    if all(said) and said != pixels.shape[:2]:
        raise SourceError(f"a picture of {pixels.shape[:2]}, its stream says {said}")
    return pixels


def looks(data: bytes) -> tuple[tuple[int, ...], int] | None:
    """Size and channels of a JPEG or PNG by its header, None if it is none."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data), formats=["JPEG", "PNG"]) as image:
            return (image.height, image.width), len(image.getbands())
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
        return None
