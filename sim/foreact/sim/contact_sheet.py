"""One picture of many tasks: each task's views side by side with its name and instruction."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["Panel", "write_contact_sheet"]

MARGIN = 8  # [px]
CAPTION = 34  # [px] two lines of text
TILE = 192  # [px] shown side of a view
INK, PAPER, GREY = (20, 20, 20), (255, 255, 255), (110, 110, 110)


@dataclass(frozen=True)
class Panel:
    """One task on the sheet.

    Attributes:
        title: First line.
        text: Second line.
        views: RGB pictures, uint8 (H, W, 3) each, drawn side by side at one size.
    """

    title: str
    text: str
    views: tuple[np.ndarray, ...]


def write_contact_sheet(path: Path, panels: Sequence[Panel], columns: int = 3) -> None:
    """Write the panels row by row into one PNG, atomically.

    Args:
        path: Where to write; ends in .png.
        panels: At least one, all with the same number of views.
        columns: Panels per row.

    Raises:
        ValueError: The path does not end in .png, or there is no panel.
    """
    from PIL import Image

    if path.suffix.lower() != ".png":
        raise ValueError(f"the contact sheet {path} must end in .png")
    if not panels:
        raise ValueError("a contact sheet needs at least one task")
    columns = min(columns, len(panels))
    pictures = [_panel(panel) for panel in panels]
    width, height = pictures[0].size
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (width + MARGIN) + MARGIN, rows * (height + MARGIN) + MARGIN), PAPER)
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        sheet.paste(picture, (MARGIN + column * (width + MARGIN), MARGIN + row * (height + MARGIN)))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    sheet.save(temporary, format="PNG")
    os.replace(temporary, path)


def _panel(panel: Panel) -> Image:
    from PIL import Image, ImageDraw

    picture = Image.new("RGB", (len(panel.views) * TILE + (len(panel.views) - 1) * 2, TILE + CAPTION), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((0, 0), panel.title, INK)
    draw.text((0, CAPTION // 2 - 2), panel.text, GREY)
    for index, view in enumerate(panel.views):
        # nearest: the sheet shows the pixels a policy gets, not a smoothed version of them
        tile = Image.fromarray(view).resize((TILE, TILE), Image.Resampling.NEAREST)
        picture.paste(tile, (index * (TILE + 2), CAPTION))
    return picture
