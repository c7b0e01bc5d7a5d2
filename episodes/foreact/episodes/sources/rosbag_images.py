"""Pictures in ROS messages: raw, JPEG and PNG; depth as 16UC1 [mm] and 32FC1 [m] (REP 118).

Shape letters: H and W = image height and width.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from foreact.episodes.sources.protocol import Kind
from foreact.episodes.sources.rosbag_cdr import CdrError

__all__ = ["Picture", "compressed", "raw"]

Message = Mapping[str, Any]
Picture = tuple[Kind, tuple[int | None, ...], str, str, str, Callable[[Message], np.ndarray]]
"""Kind, shape, dtype, unit, description, and how it is read."""

ENCODINGS: dict[str, tuple[str, int, str]] = {
    # NumPy type, channels, what is done with them
    "rgb8": ("u1", 3, "rgb"),
    "bgr8": ("u1", 3, "bgr"),
    "rgba8": ("u1", 4, "rgb"),
    "bgra8": ("u1", 4, "bgr"),
    "8UC3": ("u1", 3, "bgr"),  # OpenCV's order
    "mono8": ("u1", 1, ""),
    "8UC1": ("u1", 1, ""),
    "mono16": ("u2", 1, "wide"),
    "16UC1": ("u2", 1, "mm"),
    "32FC1": ("f4", 1, "m"),
    **{f"bayer_{order}8": ("u1", 1, "bayer") for order in ("rggb", "bggr", "gbrg", "grbg")},
}
BROKEN = (OSError, ValueError, SyntaxError, LookupError, TypeError, EOFError, ArithmeticError, MemoryError)
LEAD = 12  # bytes of parameters before the picture of a compressedDepth message


def raw(first: Message) -> Picture | None:
    """How a `sensor_msgs/msg/Image` is read; None if its pixels are not understood.

    Args:
        first: The first message of the topic.
    """
    encoding = str(first["encoding"])
    if encoding not in ENCODINGS:
        return None
    kind, _, use = ENCODINGS[encoding]
    size = (int(first["height"]), int(first["width"]))
    dtype = np.dtype(kind).name
    says = encoding + (", alpha left out" if encoding in ("rgba8", "bgra8") else "")

    def read(message: Message) -> np.ndarray:
        if message["encoding"] != encoding:
            raise CdrError(f"the encoding turns from {encoding} to {message['encoding']}")
        return _pixels(message)

    if use in ("mm", "m"):
        return "depth", size, dtype, use, says, read
    if use == "wide":
        return "vector", size, dtype, "", f"{says}: grey in 16 bits", read
    return "image", (*size, 3) if use in ("rgb", "bgr") else size, dtype, "", says, read


def compressed(first: Message) -> Picture | None:
    """How a `sensor_msgs/msg/CompressedImage` is read; None if it is no JPEG, PNG or WebP.

    Args:
        first: The first message of the topic; only the head of its picture is looked at.
    """
    says = str(first["format"])
    lead = LEAD if "compressedDepth" in says else 0
    if lead and says.startswith("32FC1"):  # packed as inverse depth, which is not undone here
        return None
    try:
        width, height, mode = _head(bytes(first["data"])[lead:])
    except CdrError:
        return None
    if mode.startswith("I"):
        depth = lead or says.startswith("16UC1")
        kind: Kind = "depth" if depth else "vector"
        unit = "mm" if depth else ""
        return kind, (height, width), "uint16", unit, says, lambda message: _opened(message, lead, "uint16")
    shape = (height, width) if mode in ("L", "1") else (height, width, 3)
    return "image", shape, "uint8", "", says, lambda message: _opened(message, lead, "uint8")


def _pixels(message: Message) -> np.ndarray:
    kind, channels, use = ENCODINGS[message["encoding"]]
    dtype = np.dtype(kind).newbyteorder(">" if message["is_bigendian"] else "<")
    height, width, step = int(message["height"]), int(message["width"]), int(message["step"])
    data, row = message["data"], width * channels * dtype.itemsize
    if step < row or height * step > len(data):
        raise CdrError(f"{len(data)} bytes are too few for {width} x {height} pixels in rows of {step} bytes")
    rows = data[: height * step].reshape(height, step)[:, :row]
    pixels = np.ascontiguousarray(rows).view(dtype).astype(dtype.newbyteorder("="), copy=False)
    if channels == 1:
        return pixels.reshape(height, width)
    pixels = pixels.reshape(height, width, channels)[..., :3]
    return np.ascontiguousarray(pixels[..., ::-1] if use == "bgr" else pixels)


def _open(data: bytes) -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise ModuleNotFoundError("pictures need Pillow: pip install 'foreact[data]'") from None
    try:
        return Image.open(io.BytesIO(data), formats=("JPEG", "PNG", "WEBP"))
    except (*BROKEN, struct.error, zlib.error, Image.DecompressionBombError) as error:
        raise CdrError(f"not a picture: {error}") from None


def _head(data: bytes) -> tuple[int, int, str]:
    image = _open(data)
    return *image.size, image.mode


def _opened(message: Message, lead: int, dtype: str) -> np.ndarray:
    image = _open(bytes(message["data"])[lead:])
    try:
        if dtype == "uint8" and image.mode not in ("L", "RGB"):
            image = image.convert("L" if image.mode == "1" else "RGB")
        pixels = np.array(image)
    except (*BROKEN, struct.error, zlib.error) as error:
        raise CdrError(f"a damaged picture: {error}") from None
    if dtype == "uint16" and (pixels.dtype == np.uint8 or pixels.min(initial=0) < 0 or pixels.max(initial=0) > 65535):
        raise CdrError(f"a picture of {pixels.dtype}, not of 16 bits")
    return pixels.astype(dtype, copy=False)
