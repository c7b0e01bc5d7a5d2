"""Single encoded pictures (JPEG, PNG) as they lie in tables of other formats."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from foreact.episodes.sources.protocol import SourceError

__all__ = ["decode_still", "media_type", "still_size"]

PIXELS = 1 << 26  # 8192 x 8192: a header that asks for more is damaged or hostile
FORMATS = ("JPEG", "PNG")
MODES = {"RGB": np.uint8, "L": np.uint8, "I;16": np.uint16, "I;16B": np.uint16, "I": np.int32}


def decode_still(payload: bytes, where: str) -> np.ndarray:
    """Decode one JPEG or PNG.

    Args:
        payload: As it lies in the file; what follows the picture (padding) does not matter.
        where: For the message.

    Returns:
        uint8 (H, W, 3) RGB or (H, W) grey; uint16 (H, W) from a PNG of 16 bits.

    Raises:
        SourceError: Not such a picture, cut off, larger than 67 million pixels, or of another colour model.
    """
    image = _opened(payload, where)
    if image.mode not in MODES:
        raise SourceError(f"{where}: a picture of mode {image.mode}; RGB, grey and 16-bit grey are read")
    try:
        values = np.asarray(image)
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # Pillow raises SyntaxError on broken PNG chunks
        raise SourceError(f"{where}: the picture cannot be decoded: {error}") from error
    if image.mode == "I":  # older Pillow opens 16-bit PNG so
        if values.min() < 0 or values.max() > 65535:
            raise SourceError(f"{where}: the picture does not fit 16 bits")
        return values.astype(np.uint16)
    return values.astype(MODES[image.mode], copy=False)


def still_size(payload: bytes, where: str) -> tuple[int, int]:
    """Height and width by the header of a JPEG or PNG, without decoding.

    Raises:
        SourceError: Not such a picture.
    """
    image = _opened(payload, where)
    return image.height, image.width


def media_type(payload: bytes) -> str:
    """`image/jpeg` or `image/png` by the first bytes; empty if it is neither."""
    if payload.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    return "image/jpeg" if payload.startswith(b"\xff\xd8\xff") else ""


def _opened(payload: bytes, where: str) -> Any:
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("reading pictures needs Pillow: pip install 'foreact[data]'", name="PIL") from error
    try:
        image = Image.open(io.BytesIO(payload), formats=FORMATS)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise SourceError(f"{where}: not a JPEG or PNG picture ({len(payload)} bytes): {error}") from error
    if image.width * image.height > PIXELS:
        raise SourceError(f"{where}: the picture says it has {image.width} x {image.height} pixels")
    return image
