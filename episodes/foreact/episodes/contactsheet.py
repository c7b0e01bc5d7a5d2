"""One PNG with the first frames of a store: a look at the data before anything is trained on it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.episodes.store import EpisodeStore, StoreError

if TYPE_CHECKING:
    from PIL.Image import Image

_BAR = 14  # height of the caption above each image [px]


def write_contact_sheet(store: EpisodeStore, path: Path, episodes_per_task: int) -> None:
    """Write one row per task, with the first frame of every image stream of its first episodes.

    Depth is shown in grey from near (bright) to far, 0 = no return in black; segmentation in distinct colours.

    Args:
        store: with at least one camera stream.
        path: PNG file; replaced if it exists.
        episodes_per_task: how many episodes of each task.

    Raises:
        StoreError: the store holds no images.
    """
    rows: dict[str, list[tuple[str, np.ndarray]]] = {}
    shown: dict[str, int] = {}
    for key in store.keys():
        header = store.header(key)
        shown[header.task] = shown.get(header.task, 0) + 1
        if shown[header.task] <= episodes_per_task:
            names = [name for name in sorted(header.streams) if name.startswith("camera.")]
            episode = store.read(key, names)
            tiles = [(_caption(key, name), _visible(name, episode.streams[name].data[0])) for name in names]
            rows.setdefault(header.task, []).extend(tiles)
    if not any(rows.values()):
        raise StoreError(f"{store.path} holds no images, so there is no sheet to write")
    sheet = _arrange(list(rows.values()))
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(temporary, format="PNG")
    os.replace(temporary, path)


def _caption(key: str, stream: str) -> str:
    """The last part of the key and the camera stream: "00012 front.rgb" for reach-v3-00012."""
    return f"{key.rsplit('-', 1)[-1]} {stream.removeprefix('camera.')}"


def _visible(name: str, image: np.ndarray) -> np.ndarray:
    """Any camera stream as uint8 RGB (H, W, 3)."""
    if name.endswith(".rgb"):
        return image
    if name.endswith(".depth"):
        seen = image[image > 0]
        near, far = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
        # grey = 255 at the nearest return, 40 at the farthest
        grey = 255.0 - 215.0 * (image.astype(np.float32) - near) / max(far - near, 1.0)
        return np.repeat(np.where(image > 0, grey, 0.0).astype(np.uint8)[..., None], 3, axis=-1)
    # Odd multipliers spread neighbouring ids over the colour range; id 0 stays black.
    return (image[..., None].astype(np.uint32) * np.array([67, 151, 211], np.uint32) % 256).astype(np.uint8)


def _arrange(rows: list[list[tuple[str, np.ndarray]]]) -> "Image":
    from PIL import Image, ImageDraw

    width = max(tile.shape[1] for row in rows for _, tile in row) + 2
    height = max(tile.shape[0] for row in rows for _, tile in row) + _BAR + 2
    sheet = Image.new("RGB", (width * max(map(len, rows)), height * len(rows)), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    for y, row in enumerate(rows):
        for x, (caption, tile) in enumerate(row):
            fits = caption[: width // 6]  # the default font is about 6 px wide
            draw.text((x * width, y * height), fits, fill=(220, 220, 220))
            sheet.paste(Image.fromarray(tile), (x * width, y * height + _BAR))
    return sheet
