"""Pictures and films of a demo as data URIs, so that the page needs no other file.

Shape letters: H and W = image height and width.
"""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

    from foreact.episodes.store import EpisodeStore

__all__ = ["Strip", "data_uri", "depth_picture", "file_uri", "poster", "training_strips"]

FRAMES = 8  # pictures per view and task


@dataclass(frozen=True)
class Strip:
    """Some training pictures of one task and one camera stream side by side.

    Attributes:
        task: Task name.
        stream: Such as `camera.front.rgb`.
        uri: PNG as data URI.
        width: Of the whole strip [px].
        height: Of the whole strip [px].
        text: What it shows, for a reader who cannot see it.
    """

    task: str
    stream: str
    uri: str
    width: int
    height: int
    text: str


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as a data URI.

    Args:
        content: The bytes.
        kind: Their MIME type.
    """
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


def file_uri(path: Path, kind: str) -> str:
    """A file as a data URI.

    Args:
        path: The file.
        kind: Its MIME type.
    """
    return data_uri(path.read_bytes(), kind)


def training_strips(store: "EpisodeStore", task: str) -> list[Strip]:
    """Pictures that a policy is trained on, from episodes spread over the store and times spread over an episode.

    Args:
        store: The training demonstrations.
        task: A task name.
    """
    keys = [key for key in store.keys() if store.header(key).task == task]
    places = np.linspace(0, len(keys) - 1, min(FRAMES, len(keys))).round().astype(int)
    chosen = [keys[place] for place in places]
    streams = [name for name in store.contract.input_names if name.startswith("camera.")]
    return [_strip(store, task, stream, chosen) for stream in streams]


def _strip(store: "EpisodeStore", task: str, stream: str, keys: list[str]) -> Strip:
    pictures = []
    for place, key in enumerate(keys):
        frames = store.read(key, [stream]).streams[stream].data
        pictures.append(frames[round(place / max(1, len(keys) - 1) * (len(frames) - 1))])
    row = np.concatenate([depth_picture(p) if p.ndim == 2 else p for p in pictures], axis=1)
    view = stream.removeprefix("camera.").replace(".", " ")
    text = f"{task}, {view}: {len(keys)} training pictures, from the start of an episode to its end"
    return Strip(task, stream, _png(row), row.shape[1], row.shape[0], text)


def depth_picture(depth: np.ndarray) -> np.ndarray:
    """Depth as grey values, near is light: uint16 (H, W) [mm] to uint8 (H, W, 3)."""
    seen = depth[depth > 0]
    low, high = np.percentile(seen, (2, 98)) if len(seen) else (0, 1)
    grey = 255 * (1 - np.clip((depth.astype(np.float32) - low) / max(high - low, 1), 0, 1))
    grey[depth == 0] = 0  # nothing was hit
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=2)


def poster(frame: np.ndarray) -> str:
    """One picture, uint8 (H, W, 3), as a JPEG data URI."""
    return _encoded(frame, "JPEG", "image/jpeg")


def _png(picture: np.ndarray) -> str:
    return _encoded(picture, "PNG", "image/png")


def _encoded(picture: np.ndarray, kind: str, mime: str) -> str:
    from PIL import Image as Images

    buffer = io.BytesIO()
    image: Image = Images.fromarray(picture)
    image.save(buffer, format=kind, optimize=True, quality=80)
    return data_uri(buffer.getvalue(), mime)
