"""Where each segment is in a picture, and a linear map that reads it off a latent.

In training its error reaches the encoder: a thing of twenty pixels counts as much as one of a thousand, which neither
the forecast of latents nor SIGReg asks for. A segment counts the less the better its place is known from the robot's
joints, and the less it moves; otherwise the many parts of the arm would outweigh the things. Shape letters: N = frames,
W = side [px], D = latent elements, L = labels, Q = elements the robot knows of itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from foreact.worldmodels.pixels.encoder import centres
from foreact.worldmodels.pixels.measures import fit_linear

__all__ = ["PlaceReader", "segment_places"]

LEAST = 0.05  # weight of a segment whose place the joints tell, or that stays where it is
FEWEST = 64  # frames that a segment must be seen in, to tell


def segment_places(segments: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Mean places of the pixels of each segment, and which segments are there.

    Args:
        segments: Places of pixels in the list of labels, int64 (N, W, W).
        count: L.

    Returns:
        (x, y) from -1 to 1, x to the right and y down, 0 for what is not there, (N, L, 2); bool (N, L).
    """
    frames, side = len(segments), segments.shape[-1]
    numbers = (segments.flatten(1) + torch.arange(frames, device=segments.device)[:, None] * count).flatten()
    pixels = torch.bincount(numbers, minlength=frames * count).view(frames, count)
    along = centres(side).to(segments.device)
    sums = [torch.bincount(numbers, each.repeat(frames), frames * count).view(frames, count) for each in along.T]
    return torch.stack(sums, dim=-1) / pixels.clamp(min=1)[..., None], pixels > 0


class PlaceReader(nn.Module):
    """A linear map from latents to places of segments.

    Args:
        latent: D.
        labels: Segments' numbers as they stand in pictures, sorted.
    """

    mean: Tensor
    unit: Tensor
    share: Tensor
    label_of: Tensor

    def __init__(self, latent: int, labels: tuple[int, ...]) -> None:
        super().__init__()
        self.count = len(labels)
        self.read = nn.Linear(latent, 2 * self.count)
        self.register_buffer("mean", torch.zeros(self.count, 2))
        self.register_buffer("unit", torch.ones(()))
        self.register_buffer("share", torch.ones(self.count))
        found = torch.zeros(256, dtype=torch.int64)
        found[list(labels)] = torch.arange(self.count)
        self.register_buffer("label_of", found)

    @torch.no_grad()
    def know(self, pictures: Mapping[str, Tensor], robot: Tensor) -> None:
        """Take from some frames where segments are on average, how far they go, and what the joints tell of it.

        Args:
            pictures: As `planes` gives them, N frames.
            robot: What the robot knows of itself in them, around one, (N, Q).
        """
        places, there = self._places(pictures["segmentation"])
        counts = there.sum(0).clamp(min=1)[:, None]
        self.mean.copy_(places.sum(0) / counts)
        away = (places - self.mean).square() * there[..., None]
        self.unit.copy_((away.sum() / (2 * there.sum())).sqrt().clamp(min=1e-3))
        self.share.fill_(LEAST)
        for label, seen in enumerate(there.T):
            if seen.sum() >= FEWEST:
                known = fit_linear(robot[seen], places[seen, label])(robot[seen])
                left = (places[seen, label] - known).square().mean()
                self.share[label] = (left / self.unit**2).clamp(LEAST, 1)

    def loss(self, latents: Tensor, segments: Tensor) -> Tensor:
        """Mean squared error of the places of what is there, over their mean variance.

        Args:
            latents: (N, D).
            segments: As they stand in pictures, int64 (N, W, W).
        """
        places, there = self._places(segments)
        read = self.read(latents).view(-1, self.count, 2)
        wrong = ((places - self.mean) / self.unit - read).square().mean(-1)
        share = self.share * there
        return ((share * wrong).sum(1) / share.sum(1).clamp(min=1e-6)).mean()

    def _places(self, segments: Tensor) -> tuple[Tensor, Tensor]:
        places, there = segment_places(self.label_of[segments], self.count)
        return places.to(self.mean), there
