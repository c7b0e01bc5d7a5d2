"""Rectangles of a picture made unrecognisable.

Shape letters: H and W = picture height and width, N = boxes, h and w = height and width of a rectangle.
"""

from __future__ import annotations

import numpy as np

__all__ = ["BLOCKS", "GROWN", "blurred"]

GROWN = 1.4  # a box is made this much wider and higher: detectors cut off hair, chin and ears
BLOCKS = 4  # mean values that are left along the longer side
SOFT = 0.5  # standard deviation of the Gaussian, in blocks


def blurred(picture: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """A copy in which every box, made 1.4 times as large, holds no more than 4 by 4 mean values.

    The rectangle is averaged over blocks and the blocks are blended by a Gaussian, so that what lay inside a block is
    gone and cannot be computed back. Pixels outside the rectangles stay as they are, bit for bit.

    Args:
        picture: (H, W) or (H, W, channels), numbers.
        boxes: Left, top, right, bottom [px], (N, 4).
    """
    picture = picture.copy()
    height, width = picture.shape[:2]
    for left, top, right, bottom in boxes.tolist():
        x, y = (left + right) / 2, (top + bottom) / 2
        half_w, half_h = GROWN * (right - left) / 2, GROWN * (bottom - top) / 2
        x0, x1 = max(int(np.floor(x - half_w)), 0), min(int(np.ceil(x + half_w)), width)
        y0, y1 = max(int(np.floor(y - half_h)), 0), min(int(np.ceil(y + half_h)), height)
        if x1 > x0 and y1 > y0:
            picture[y0:y1, x0:x1] = _smeared(picture[y0:y1, x0:x1])
    return picture


def _smeared(part: np.ndarray) -> np.ndarray:
    """The rectangle as a blend of its block means, (h, w) or (h, w, channels)."""
    block = max(part.shape[:2]) / BLOCKS
    rows, columns = (_weights(length, max(round(length / block), 1)) for length in part.shape[:2])
    means = np.einsum("by,yx...->bx...", rows[0], part.astype(np.float64))
    means = np.einsum("cx,bx...->bc...", columns[0], means)
    whole = np.einsum("yb,bc...->yc...", rows[1], means)
    whole = np.einsum("xc,yc...->yx...", columns[1], whole)
    return np.rint(whole).astype(part.dtype) if part.dtype.kind in "iu" else whole.astype(part.dtype)


def _weights(length: int, blocks: int) -> tuple[np.ndarray, np.ndarray]:
    """How blocks are averaged along one side, (blocks, length), and how they are blended again, (length, blocks)."""
    place = np.minimum((np.arange(length) * blocks) // length, blocks - 1)
    average = (place == np.arange(blocks)[:, None]).astype(np.float64)
    average /= average.sum(1, keepdims=True)
    centre = (np.arange(blocks) + 0.5) * length / blocks
    # w = exp(-(x - c)^2 / (2 s^2)), s = half a block
    distance = (np.arange(length)[:, None] + 0.5 - centre) / (SOFT * length / blocks)
    blend = np.exp(-0.5 * distance**2)
    return average, blend / blend.sum(1, keepdims=True)
