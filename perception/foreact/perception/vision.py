"""A camera image becomes a few named places and features: convolutions, then spatial attention over 3-D points.

Each of K heads looks at one place of the picture (a softmax over pixels) and reports where that place is: in metres in
the frame of the rays when the camera has depth, in picture coordinates when it has not. Attention is computed at half
the image's resolution from quarter-resolution features, so that a marker four pixels wide still has several cells.
Shape letters: B batch, P planes, H and W image size, C channels, K keypoints, L language width.
Source of the spatial soft-argmax: Levine et al. 2016, "End-to-end training of deep visuomotor policies", section 5.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["KeypointEncoder", "KeypointFeatures"]

INITIAL_GAIN = 5.0
GAIN_RATE = 5.0


@dataclass(frozen=True)
class KeypointFeatures:
    """What one camera tells the policy.

    Attributes:
        points: Attended places, (B, K, 3): [m] with depth, picture coordinates in [-1, 1] and 0 without.
        strength: How much the attended place stands out: the largest standardised logit, (B, K), without gradient.
        summary: Largest value of each of C features anywhere in the picture, (B, C).
    """

    points: Float[Tensor, "b k 3"]
    strength: Float[Tensor, "b k"]
    summary: Float[Tensor, "b c"]


class FeatureModulation(nn.Module):
    """FiLM: scale and shift of channels by language (Perez et al. 2018), starting as the identity."""

    def __init__(self, language: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(language, 2 * channels)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, features: Float[Tensor, "b c h w"], language: Float[Tensor, "b l"]) -> Float[Tensor, "b c h w"]:
        """Return (1 + scale) * features + shift."""
        scale, shift = self.project(language)[:, :, None, None].chunk(2, dim=1)
        return features * (1 + scale) + shift


class KeypointEncoder(nn.Module):
    """Overlapping patches of stride 4, convolutions, language modulation, K attended places.

    Args:
        planes: Input planes P: 3 (RGB) or 6 (RGB and 3-D points).
        channels: Width after the patches and after each further convolution.
        keypoints: K.
        language: L.
    """

    @dataclass(frozen=True)
    class Config:
        """Widths of the encoder of one camera."""

        channels: tuple[int, ...] = (32, 48, 48)
        keypoints: int = 24
        summary: int = 128

        def build(self, planes: int, language: int) -> KeypointEncoder:
            """Make the encoder."""
            return KeypointEncoder(planes, self.channels, self.keypoints, self.summary, language)

    def __init__(self, planes: int, channels: Sequence[int], keypoints: int, summary: int, language: int) -> None:
        super().__init__()
        first, *rest = channels
        self.keypoints = keypoints
        self.stem = nn.Conv2d(planes, first, 6, stride=4, padding=1)
        widths = [first, *rest]
        self.layers = nn.ModuleList(
            nn.Conv2d(before, after, 3, padding=1) for before, after in zip(widths, widths[1:], strict=False)
        )
        self.modulation = FeatureModulation(language, widths[-1])
        # four logits a quarter-resolution cell: one for each half-resolution cell inside it
        self.attention = nn.Conv2d(widths[-1], 4 * keypoints, 1)
        self.log_gain = nn.Parameter(torch.zeros(keypoints, 1))
        self.summary = nn.Conv2d(widths[-1], summary, 1)

    def forward(self, planes: Float[Tensor, "b p h w"], language: Float[Tensor, "b l"]) -> KeypointFeatures:
        """Attend.

        Args:
            planes: RGB in [-1, 1], then, with depth, 3-D points [m].
            language: Instruction embedding.
        """
        features = torch.relu(self.stem(planes))
        for layer in self.layers:
            features = torch.relu(layer(features))
        features = self.modulation(features, language)
        # (B, 4 K, y, x) -> (B, K, 4 y x): the four cells of `_places`, then the quarter-resolution grid
        logits = self.attention(features).unflatten(1, (self.keypoints, 4)).flatten(2).float()
        # standardised over the picture, what stands out in a few cells of thousands dominates from the first update on
        salience = nn.functional.layer_norm(logits, logits.shape[-1:])
        weights = torch.softmax(salience * self._gain(), dim=-1)
        # p_k = sum_i softmax(a_k)_i x_i; engines multiply three long rows faster than three long columns
        points = torch.matmul(self._places(planes), weights.transpose(1, 2)).transpose(1, 2)
        strength = salience.detach().amax(-1)
        summary = self.summary(features).flatten(2).amax(-1).float()
        return KeypointFeatures(points, strength, summary)

    def _gain(self) -> Float[Tensor, "k 1"]:
        # steps of Adam are all alike small: in the exponent, and scaled, they can still sharpen a head tenfold
        return INITIAL_GAIN * torch.exp(GAIN_RATE * self.log_gain)

    def _places(self, planes: Float[Tensor, "b p h w"]) -> Float[Tensor, "b 3 n"]:
        """What each half-resolution cell stands for: the 3-D point of its first pixel, or its picture coordinates."""
        if planes.shape[1] == 6:
            places = planes[:, 3:].float()
        else:
            height, width = planes.shape[2:]
            y = torch.linspace(-1, 1, height, device=planes.device)[:, None].expand(height, width)
            x = torch.linspace(-1, 1, width, device=planes.device)[None, :].expand(height, width)
            places = torch.stack([x, y, torch.zeros_like(x)]).expand(planes.shape[0], -1, -1, -1)
        # channel c, then the four half-resolution cells of a patch, then patches: the order of the logits
        cells = nn.functional.pixel_unshuffle(places[:, :, ::2, ::2], 2)
        return cells.unflatten(1, (3, 4)).flatten(2)
