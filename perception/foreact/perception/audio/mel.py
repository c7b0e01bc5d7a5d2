"""Log-mel frames, 100 a second, that never look ahead: of a whole recording, or as it comes in.

Frame t ends with sample (t + 1) * hop, so it is known the moment that sample is. Nothing is normalised over a clip.
Shape letters: B batch, S samples, T frames, M mel bands.
Source of the scale and of its filters: Slaney 1998, "Auditory Toolbox"; sizes as in Radford et al. 2022 (Whisper).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foreact.perception.audio.waveform import RATE, AudioError

__all__ = ["HOP", "LogMel"]

HOP = 160
"""Samples from frame to frame: 10 ms."""

WINDOW = 400  # 25 ms
BINS = 512  # of the Fourier transform
FLOOR = 1e-7  # power below which all is silence
LINEAR, KNEE, STEP = 200 / 3, 1000.0, math.log(6.4) / 27  # Slaney's scale: linear to 1 kHz, logarithmic above


class LogMel(nn.Module):
    """Log-mel frames of sound at 16 kHz.

    Args:
        mels: M.
        low: Lower end of the first band [Hz].
        high: Upper end of the last band [Hz].
    """

    window: Tensor
    filters: Tensor

    @dataclass(frozen=True)
    class Config:
        """Bands: 80 or 128 are usual."""

        mels: int = 80
        low: float = 0.0
        high: float = 8000.0

        def build(self) -> LogMel:
            """Make the frames' maker."""
            return LogMel(self.mels, self.low, self.high)

    def __init__(self, mels: int = 80, low: float = 0.0, high: float = 8000.0) -> None:
        super().__init__()
        if mels < 1 or not 0 <= low < high <= RATE / 2:
            raise ValueError(f"mels={mels}, low={low}, high={high}: give bands within 0 to {RATE // 2} Hz")
        self.mels = mels
        self.register_buffer("window", torch.hann_window(WINDOW), persistent=False)
        self.register_buffer("filters", mel_filters(mels, low, high), persistent=False)

    def forward(self, audio: Float[Tensor, "b s"], rate: int) -> Float[Tensor, "b t m"]:
        """Frames of a whole recording, T = S // 160.

        Args:
            audio: Between -1 and 1.
            rate: Its samples per second [Hz].

        Raises:
            AudioError: Another rate, type or shape, or not finite.
        """
        self._check(audio, rate)
        return self._frames(nn.functional.pad(audio, (WINDOW - HOP, 0)))

    def start(self, batch: int) -> Float[Tensor, "b n"]:
        """What `step` remembers before the first sample: silence."""
        return self.window.new_zeros(batch, WINDOW - HOP)

    def step(
        self, chunk: Float[Tensor, "b s"], state: Float[Tensor, "b n"], rate: int
    ) -> tuple[Float[Tensor, "b t m"], Float[Tensor, "b n"]]:
        """Frames that a chunk of any length completes, and what to remember.

        Args:
            chunk: The next samples.
            state: From `start` or the step before.
            rate: Samples per second [Hz].

        Raises:
            AudioError: As `forward`.
        """
        self._check(chunk, rate)
        known = torch.cat([state, chunk], dim=1)
        ready = (known.shape[1] - (WINDOW - HOP)) // HOP
        if not ready:
            return chunk.new_zeros(len(chunk), 0, self.mels), known
        return self._frames(known[:, : ready * HOP + WINDOW - HOP]), known[:, ready * HOP :]

    def _frames(self, padded: Tensor) -> Tensor:
        if padded.shape[1] < WINDOW:
            return padded.new_zeros(len(padded), 0, self.mels)
        pieces = padded.unfold(1, WINDOW, HOP) * self.window
        power = torch.fft.rfft(pieces, n=BINS).abs().square()
        # (log10 max(F |X|^2, floor) + 3) / 3: between -1.3 and about 1
        return (torch.log10((power @ self.filters).clamp(min=FLOOR)) + 3) / 3

    @staticmethod
    def _check(audio: Tensor, rate: int) -> None:
        if rate != RATE:
            raise AudioError(f"this sound has {rate} samples a second, expected {RATE}; type resample(audio, {rate})")
        if audio.ndim != 2 or not audio.is_floating_point():
            raise AudioError(f"expected floating-point sound (B, S), got {audio.dtype} {tuple(audio.shape)}")
        if not torch.isfinite(audio).all():
            raise AudioError("the sound holds NaN or infinity; look for a broken recording")


def mel_filters(mels: int, low: float, high: float) -> Float[Tensor, "f m"]:
    """Triangles on the bins of the transform; each sums to 1.

    Args:
        mels: M.
        low: [Hz].
        high: [Hz].

    Raises:
        ValueError: A triangle lies between two bins.
    """
    ends = torch.linspace(_to_mel(low), _to_mel(high), mels + 2, dtype=torch.float64)
    edges = torch.tensor([_to_hertz(float(each)) for each in ends], dtype=torch.float64)
    bins = torch.arange(BINS // 2 + 1, dtype=torch.float64)[:, None] * RATE / BINS
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    triangles = torch.minimum(rising, falling).clamp(min=0)
    sums = triangles.sum(0)
    if (sums <= 0).any():
        raise ValueError(f"mels={mels} from {low} to {high} Hz are narrower than {RATE / BINS} Hz; give fewer")
    return (triangles / sums).float()


def _to_mel(hertz: float) -> float:
    return hertz / LINEAR if hertz < KNEE else KNEE / LINEAR + math.log(hertz / KNEE) / STEP


def _to_hertz(mel: float) -> float:
    return mel * LINEAR if mel < KNEE / LINEAR else KNEE * math.exp((mel - KNEE / LINEAR) * STEP)
