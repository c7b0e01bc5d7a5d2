"""A picture to look at: true futures of some states, and below them those that the model imagines, decoded.

Shape letters: S = states, P = pictured futures, F = pictured moments, K = imagined futures, W = side [px].
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from foreact.episodes.runfolder import write_bytes_atomic
from foreact.worldmodels.pixels.latents import Forecast
from foreact.worldmodels.pixels.model import PixelModel
from foreact.worldmodels.pixels.pictures import PixelBranches

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

__all__ = ["Row", "write_sheet"]

SCALE = 2  # drawn side over W
GAP, LABEL = 6, 96  # [px]
INK, PAPER = (20, 20, 20), (255, 255, 255)
NEAR, FAR = 300.0, 2500.0  # [mm] white to black
GOLDEN = 0.61803


@dataclass(frozen=True)
class Row:
    """One strip of pictures with a word at its left.

    Attributes:
        text: The word.
        frames: uint8 (W, W, 3) each.
    """

    text: str
    frames: tuple[np.ndarray, ...]


def write_sheet(
    path: Path, model: PixelModel, data: PixelBranches, found: Forecast, states: Sequence[int], shown: int = 3
) -> None:
    """Write a PNG, whole or not at all.

    For each state, side by side with the others: the frames seen, then colours of true futures and of the most likely
    imagined ones; of the first of each depth and segments too.

    Args:
        path: Ends in .png.
        model: Whose decoder is used.
        data: The states.
        found: What it forecasts for all of them.
        states: Which are shown.
        shown: True and imagined futures of each.

    Raises:
        ValueError: The path does not end in .png, or there is no state.
    """
    if path.suffix.lower() != ".png":
        raise ValueError(f"the picture {path} must end in .png")
    if not len(states):
        raise ValueError("give one state or more to draw")
    blocks = [_rows(model, data, found, state, shown) for state in states]
    write_bytes_atomic(path, _drawn(blocks, data.spec.side * SCALE))


def _rows(model: PixelModel, data: PixelBranches, found: Forecast, state: int, shown: int) -> list[Row]:
    seen = tuple(data.seen["rgb"][state])
    order = torch.argsort(found.log_weights[state], descending=True)[:shown]
    drawn = model.decode(found.latents[state, order])
    chances = found.log_weights[state, order].exp()
    rows = [Row(f"state {state}: seen, true", (*seen, *data.later["rgb"][state, 0]))]
    rows += [Row("also true", (*seen, *frames)) for frames in data.later["rgb"][state, 1:shown]]
    rows += [
        Row(f"imagined {float(chance):.2f}", (*seen, *frames))
        for chance, frames in zip(chances, drawn["rgb"], strict=True)
    ]
    for kind, colour in (("depth", _grey), ("segmentation", _coloured)):
        true, ours = ({name: each[kind] for name, each in part.items()} for part in _kinds(data, drawn, state))
        rows.append(Row(f"{kind}, true", tuple(colour(each) for each in (*true["seen"], *true["later"]))))
        rows.append(Row(f"{kind}, imagined", tuple(colour(each) for each in (*ours["seen"], *ours["later"]))))
    return rows


def _kinds(data: PixelBranches, drawn: Mapping[str, np.ndarray], state: int) -> tuple[dict, dict]:
    """Frames seen, then the first true future or the likeliest imagined one, all kinds of pictures."""
    seen = {name: values[state] for name, values in data.seen.items()}
    true = {name: values[state, 0] for name, values in data.later.items()}
    return {"seen": seen, "later": true}, {"seen": seen, "later": {name: values[0] for name, values in drawn.items()}}


def _grey(depth: np.ndarray) -> np.ndarray:
    near = 255 * (1 - (depth.astype(np.float32) - NEAR) / (FAR - NEAR))
    return np.repeat(np.where(depth > 0, near, 0).clip(0, 255).astype(np.uint8)[..., None], 3, -1)


def _coloured(numbers: np.ndarray) -> np.ndarray:
    # neighbouring numbers get hues that are far apart
    hue = (numbers.astype(np.float32) * GOLDEN) % 1
    parts = [np.abs((hue * 6 + shift) % 6 - 3) - 1 for shift in (0.0, 4.0, 2.0)]
    colours = (np.stack(parts, axis=-1).clip(0, 1) * 200 + 40).astype(np.uint8)
    return np.where((numbers == 0)[..., None], np.uint8(0), colours)


def _drawn(blocks: Sequence[Sequence[Row]], side: int) -> bytes:
    from PIL import Image, ImageDraw

    wide = LABEL + max(len(row.frames) for rows in blocks for row in rows) * (side + 2) + 2 * GAP
    tall = max(len(rows) for rows in blocks) * (side + 2) + GAP
    sheet = Image.new("RGB", (len(blocks) * wide, tall), PAPER)
    pen: ImageDraw = ImageDraw.Draw(sheet)
    for block, rows in enumerate(blocks):
        for number, row in enumerate(rows):
            _draw_row(sheet, pen, row, (block * wide, number * (side + 2) + GAP // 2), side)
    content = io.BytesIO()
    sheet.save(content, format="PNG", optimize=True)
    return content.getvalue()


def _draw_row(sheet: Image, pen: ImageDraw, row: Row, corner: tuple[int, int], side: int) -> None:
    from PIL import Image

    left, top = corner
    pen.text((left + 2, top + 2), row.text.replace(": ", ":\n").replace(", ", ",\n"), INK)
    for place, frame in enumerate(row.frames):
        # what was seen stands apart from what comes
        start = left + LABEL + place * (side + 2) + (GAP if place > 1 else 0)
        tile = Image.fromarray(np.ascontiguousarray(frame)).resize((side, side), Image.Resampling.NEAREST)
        sheet.paste(tile, (start, top))
