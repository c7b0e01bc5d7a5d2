"""A picture of a set of aligned pictures, to look at before training on it."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from foreact.episodes.aligned import BLOCK, AlignedPictures
from foreact.episodes.runfolder import write_bytes_atomic

__all__ = ["write_sheet"]

COLUMNS = 8
ROWS = 3  # of scenes, each in three kinds
FARTHEST = 5000  # [mm] that is drawn white


def write_sheet(path: Path, made: AlignedPictures) -> None:
    """Write a PNG, atomically: scenes of several blocks in colours, depth and segments.

    Args:
        path: Ends in .png.
        made: What to show.
    """
    from PIL import Image

    blocks = len(made) // BLOCK
    count = COLUMNS * min(ROWS, blocks)
    scenes = np.linspace(0, len(made) - 1, count).astype(int)
    palette = np.random.default_rng(0).integers(40, 255, (256, 3)).astype(np.uint8)
    depth = (made.read("depth", scenes).clip(0, FARTHEST) * (255 / FARTHEST)).astype(np.uint8)
    kinds = (made.read("rgb", scenes), depth[..., None].repeat(3, -1), palette[made.read("segmentation", scenes)])
    rows = [
        np.concatenate(list(kind[start : start + COLUMNS]), axis=1)
        for start in range(0, count, COLUMNS)
        for kind in kinds
    ]
    found = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(found, format="png")
    write_bytes_atomic(path, found.getvalue())
