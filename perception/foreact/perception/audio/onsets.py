"""When something strikes something: a small causal network on log-mel frames, and the score of what it finds.

The network has no positions, so that it hears the last second of a long recording as it hears the first; with
`positions="learned"` it is the control that has them. Shape letters: B batch, S samples, T frames (100 a second).
Sources: onsets within 50 ms and merged within 30 ms as MIREX scores them (Boeck, Krebs and Schedl 2012); the claim
about lengths never trained on is that of "Echoes Over Time" (arXiv 2602.20981), whose networks make sound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from foreact.perception.audio.mel import HOP, LogMel
from foreact.perception.audio.waveform import RATE

__all__ = ["OnsetConfig", "OnsetNetwork", "OnsetScore", "merged_onsets", "onset_frames", "onsets_found", "score_onsets"]

Positions = Literal["none", "learned"]
TOLERANCE = 0.05  # [s]
MERGED = 0.03  # onsets that follow one so closely are not told from it [s]
DILATIONS = (1, 2, 4, 8)


@dataclass(frozen=True)
class OnsetConfig:
    """Sizes of the network.

    Attributes:
        mels: Bands.
        width: Channels.
        positions: `none`, or `learned`: a vector for each frame since the beginning.
        longest: Frames that have such a vector.

    Raises:
        ValueError: A value is out of range.
    """

    mels: int = 40
    width: int = 48
    positions: Positions = "none"
    longest: int = 6400

    def __post_init__(self) -> None:
        if min(self.mels, self.width, self.longest) < 1 or self.positions not in get_args(Positions):
            raise ValueError(f"expected positive sizes, and positions none or learned; got {self}")

    def build(self) -> OnsetNetwork:
        """Make the network."""
        return OnsetNetwork(self)


class _Layer(nn.Module):
    """Two causal taps a dilation apart, added to the input."""

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.back = 2 * dilation
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.conv, self.mix = nn.Conv1d(width, width, 3, dilation=dilation), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        known = nn.functional.pad(self.norm(x).transpose(1, 2), (self.back, 0))
        return x + self.mix(nn.functional.gelu(self.conv(known).transpose(1, 2)))


class OnsetNetwork(nn.Module):
    """Logit of "something strikes here" for each frame of 10 ms, from this frame and the 0.3 s before it.

    Args:
        config: Sizes.
    """

    def __init__(self, config: OnsetConfig) -> None:
        super().__init__()
        self.config, self.mel = config, LogMel(config.mels)
        self.enter = nn.Linear(2 * config.mels, config.width)
        self.places = nn.Embedding(config.longest, config.width) if config.positions == "learned" else None
        self.layers = nn.ModuleList(_Layer(config.width, dilation) for dilation in DILATIONS)
        self.head = nn.Linear(config.width, 1)

    def forward(self, audio: Float[Tensor, "b s"], rate: int) -> Float[Tensor, "b t"]:
        """Logits of whole recordings.

        Args:
            audio: Between -1 and 1.
            rate: Samples per second [Hz].

        Raises:
            AudioError: It is not sound at 16 kHz.
            ValueError: It is longer than positions were made for.
        """
        frames = self.mel(audio, rate)
        before = nn.functional.pad(frames[:, :-1], (0, 0, 1, 0)) if frames.shape[1] else frames
        # what is new in a frame, beside the frame: a blow is a rise in many bands
        x = self.enter(torch.cat([frames, (frames - before).clamp(min=0)], dim=-1))
        if self.places is not None:
            if x.shape[1] > self.config.longest:
                raise ValueError(
                    f"{x.shape[1]} frames, but positions for {self.config.longest}; give longest={x.shape[1]}"
                )
            x = x + self.places.weight[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.head(x).squeeze(-1)


def onset_frames(times: np.ndarray, count: int) -> np.ndarray:
    """Frames that hold an onset: 1 there, 0 elsewhere, float32 (count,).

    Args:
        times: [samples].
        count: Frames.
    """
    found = np.zeros(count, np.float32)
    frames = merged_onsets(times / RATE) * RATE // HOP
    found[frames[frames < count].astype(np.int64)] = 1.0
    return found


def merged_onsets(times: np.ndarray) -> np.ndarray:
    """Onsets of which each is more than 30 ms after the one before; what follows more closely is left out.

    Args:
        times: Ascending [s].
    """
    kept: list[float] = []
    for time in times.tolist():
        if not kept or time - kept[-1] > MERGED:
            kept.append(time)
    return np.array(kept)


def onsets_found(logits: np.ndarray, threshold: float = 0.0) -> np.ndarray:
    """Times of peaks above a threshold [s]: largest of the frames 20 ms around, 30 ms apart.

    Args:
        logits: (T,).
        threshold: Smallest logit.
    """
    if not len(logits):
        return np.zeros(0)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(logits, 2, constant_values=-np.inf), 5).max(1)
    frames = np.flatnonzero((logits >= threshold) & (logits == around))
    return merged_onsets((frames + 0.5) * HOP / RATE)


@dataclass(frozen=True)
class OnsetScore:
    """Onsets found, missed and made up."""

    right: int
    missed: int
    wrong: int

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 1 if there was nothing to find and nothing was found."""
        whole = 2 * self.right + self.missed + self.wrong
        # F1 = 2 TP / (2 TP + FN + FP)
        return 2 * self.right / whole if whole else 1.0

    def __add__(self, other: OnsetScore) -> OnsetScore:
        return OnsetScore(self.right + other.right, self.missed + other.missed, self.wrong + other.wrong)


def score_onsets(found: Sequence[float], true: Sequence[float], tolerance: float = TOLERANCE) -> OnsetScore:
    """Match each onset with at most one that was found, in order of time: as many as can be.

    Args:
        found: Ascending [s].
        true: Ascending [s].
        tolerance: Largest distance of a match [s].
    """
    right, place = 0, 0
    for time in true:
        while place < len(found) and found[place] < time - tolerance:
            place += 1
        if place < len(found) and found[place] <= time + tolerance:
            right, place = right + 1, place + 1
    return OnsetScore(right, len(true) - right, len(found) - right)
