"""All pictures of a set in memory, as they are on disk, and batches drawn from them.

Shape letters: N scenes, B scenes of a batch, H and W height and width, C classes.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from foreact.episodes.aligned import KINDS, AlignedPictures
from foreact.perception.omnivorous.augment import Window, windows
from foreact.perception.omnivorous.palette import SEGMENTS, unit_depth, unit_segments

__all__ = ["AlignedBatch", "PictureMemory"]

PIXEL_BYTES = 7  # colours, depth, segment, class


@dataclass(frozen=True)
class AlignedBatch:
    """Scenes, each in all kinds of pictures.

    Attributes:
        rgb: In [0, 1].
        depth: In [0, 1], see `unit_depth`.
        segments: In [0, 1], see `unit_segments`.
        classes: What each pixel is.
    """

    rgb: Float[Tensor, "b 3 h w"]
    depth: Float[Tensor, "b h w"]
    segments: Float[Tensor, "b h w"]
    classes: Int[Tensor, "b h w"]


class PictureMemory:
    """A set of aligned pictures, read once.

    Args:
        data: The set.
        device: Where batches go.

    Raises:
        ValueError: It is larger than the memory of this machine.
    """

    def __init__(self, data: AlignedPictures, device: str | torch.device = "cpu") -> None:
        needed, there = len(data) * data.side**2 * PIXEL_BYTES, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        if needed > 0.8 * there:
            raise ValueError(f"{data.path} takes {needed >> 20} MiB, this machine has {there >> 20}; use fewer scenes")
        self.classes, self.side, self.device = data.classes, data.side, torch.device(device)
        self._arrays = {kind: data.read(kind) for kind in KINDS}
        seen = np.bincount(self._arrays["classes"].ravel(), minlength=len(self.classes))
        if len(seen) > len(self.classes):
            raise ValueError(f"{data.path}: class {len(seen) - 1} has no name; the set is damaged, make it again")
        self.counts = torch.from_numpy(seen).float()

    def __len__(self) -> int:
        return len(self._arrays["rgb"])

    def draw(self, count: int, zoom: float, generator: torch.Generator) -> AlignedBatch:
        """Scenes drawn at random, through windows that are drawn with them, segments in random order.

        Args:
            count: B.
            zoom: Least edge of a window over that of a picture; 1 for whole pictures, mirrored or not.
            generator: Where they are drawn from, on CPU.
        """
        scenes = torch.randint(0, len(self), (count,), generator=generator)
        window = windows(count, self.side, zoom, True, generator)
        return self._batch(scenes, window, torch.rand(count, SEGMENTS, generator=generator))

    def take(self, scenes: slice, seed: int = 0) -> AlignedBatch:
        """Some scenes as they are, segments in an order that follows from each scene's number and a seed."""
        numbers = torch.arange(len(self))[scenes]
        keys = torch.rand(len(self), SEGMENTS, generator=torch.Generator().manual_seed(seed))[scenes]
        plain = torch.arange(self.side).expand(len(numbers), -1)
        return self._batch(numbers, Window(plain, plain), keys)

    def raw(self, kind: str, scenes: slice) -> Tensor:
        """Pictures of one kind as a camera gave them."""
        return torch.from_numpy(self._arrays[kind][scenes].astype(np.int32 if kind == "depth" else np.uint8))

    def _batch(self, scenes: Tensor, window: Window, keys: Tensor) -> AlignedBatch:
        where = (scenes.numpy()[:, None, None], window.rows.numpy()[:, :, None], window.columns.numpy()[:, None])
        rgb, depth, segments, classes = (torch.from_numpy(self._cut(kind, where)).to(self.device) for kind in KINDS)
        return AlignedBatch(
            rgb.permute(0, 3, 1, 2).float() / 255, unit_depth(depth), unit_segments(segments, keys.to(self.device)),
            classes.long(),
        )  # fmt: skip

    def _cut(self, kind: str, where: tuple[np.ndarray, ...]) -> np.ndarray:
        found = self._arrays[kind][where]
        return found.astype(np.int32) if kind == "depth" else found
