"""Sound becomes 12.5 tokens a second, as it comes in: causal convolutions, then attention that knows the delay.

A token at time t may be asked what was said up to t - delay: the delay scales every norm (Ada-RMSNorm), and, by
`echo`, the token from just then is added to the newest one. Source: Voxtral Realtime (arXiv 2602.11298), which
conditions the text decoder so; the echo is our own, for small models.
Shape letters: B batch, T log-mel frames (100 a second), N tokens, M mel bands, D width, K width of a condition.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from foreact.perception.attention import FeedForward
from foreact.perception.audio.layers import AdaptiveNorm, CausalConv, Ring, SlidingAttention
from foreact.perception.audio.mel import HOP
from foreact.perception.audio.waveform import RATE

__all__ = ["FRAMES", "LONGEST_DELAY", "TOKEN_MS", "EncoderConfig", "EncoderState", "SpeechEncoder", "delay_tokens"]

STRIDES = (2, 2, 2)
FRAMES = 8
"""Log-mel frames of a token."""

TOKEN_MS = FRAMES * HOP * 1000 // RATE
"""Time of a token [ms]: 80."""

LONGEST_DELAY = 30
"""Longest delay [tokens]: 2400 ms."""

CONDITION = 32  # K
SIZES = {
    "tiny": {"channels": 64, "width": 128, "layers": 3, "heads": 4},
    "small": {"channels": 128, "width": 256, "layers": 6, "heads": 4},
    "base": {"channels": 256, "width": 512, "layers": 12, "heads": 8},
}


@dataclass(frozen=True)
class EncoderConfig:
    """Sizes of an encoder.

    Attributes:
        size: `tiny` (minutes of one CPU core), `small` or `base`.
        mels: M.
        window: How far a token looks back [tokens].
        echo: Add the token from `delay` ago to the newest one.

    Raises:
        ValueError: A value is out of range.
    """

    size: str = "tiny"
    mels: int = 80
    window: int = 125
    echo: bool = True

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ValueError(f"size={self.size!r}: choose from {', '.join(SIZES)}")
        if min(self.mels, self.window) < 1:
            raise ValueError(f"mels={self.mels}, window={self.window}: give 1 or more")

    @property
    def width(self) -> int:
        """D."""
        return SIZES[self.size]["width"]

    def build(self) -> SpeechEncoder:
        """Make the encoder."""
        return SpeechEncoder(self.mels, window=self.window, echo=self.echo, **SIZES[self.size])


@dataclass
class EncoderState:
    """What an encoder remembers of a stream.

    Attributes:
        frames: Log-mel frames that do not yet make a token, (B, T, M).
        convolutions: Of each convolution.
        recent: The last tokens before attention, (B, LONGEST_DELAY, D).
        rings: Of each block.
        position: Tokens so far.
    """

    frames: Tensor
    convolutions: list[Tensor]
    recent: Tensor
    rings: list[Ring]
    position: int = 0


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.attention_norm, self.feed_norm = AdaptiveNorm(width, CONDITION), AdaptiveNorm(width, CONDITION)
        self.attention, self.feed = SlidingAttention(width, heads, window), FeedForward(width, 4 * width)

    def forward(self, x: Tensor, condition: Tensor, ring: Ring | None, first: int) -> Tensor:
        normed = self.attention_norm(x, condition)
        x = x + (self.attention(normed) if ring is None else self.attention.step(normed, ring, first))
        return x + self.feed(self.feed_norm(x, condition))


class SpeechEncoder(nn.Module):
    """Tokens of log-mel frames; whole sequences and streams give the same numbers.

    Args:
        mels: M.
        channels: Between the convolutions.
        width: D.
        layers: Blocks of attention.
        heads: Heads of each.
        window: How far a token looks back [tokens].
        echo: Add the token from `delay` ago to the newest one.
    """

    def __init__(
        self, mels: int, channels: int, width: int, layers: int, heads: int, window: int, echo: bool = True
    ) -> None:
        super().__init__()
        widths = [mels, *[channels] * (len(STRIDES) - 1), width]
        self.stem = nn.ModuleList(
            CausalConv(inside, outside, stride)
            for inside, outside, stride in zip(widths, widths[1:], STRIDES, strict=False)
        )
        self.echo = nn.Linear(width, width) if echo else None
        self.blocks = nn.ModuleList(_Block(width, heads, window) for _ in range(layers))
        self.norm = AdaptiveNorm(width, CONDITION)
        self.mels, self.width = mels, width

    def start(self, batch: int) -> EncoderState:
        """What a stream begins with."""
        weight = self.norm.norm.weight
        empty, silent = weight.new_zeros(batch, 0, self.mels), weight.new_zeros(batch, LONGEST_DELAY, self.width)
        rings = [each.attention.start(batch) for each in self._attending()]
        return EncoderState(empty, [each.start(batch) for each in self._convolving()], silent, rings)

    def forward(self, frames: Float[Tensor, "b t m"], delay: Int[Tensor, " b"]) -> Float[Tensor, "b n d"]:
        """Tokens of whole sequences, N = T // 8.

        Args:
            frames: Log-mel frames.
            delay: How long after it was said the answer is due [tokens], 1 to `LONGEST_DELAY`.

        Raises:
            ValueError: A delay is out of range.
        """
        state = self.start(len(frames))
        state.rings = []
        return self._tokens(frames, delay, state)

    def step(
        self, frames: Float[Tensor, "b t m"], delay: Int[Tensor, " b"], state: EncoderState
    ) -> Float[Tensor, "b n d"]:
        """Tokens that the next frames complete.

        Args:
            frames: Any number of them.
            delay: As `forward`; the same for a whole stream.
            state: From `start`; changed in place.
        """
        return self._tokens(frames, delay, state)

    def _convolving(self) -> list[CausalConv]:
        return [each for each in self.stem if isinstance(each, CausalConv)]

    def _attending(self) -> list[_Block]:
        return [each for each in self.blocks if isinstance(each, _Block)]

    def _tokens(self, frames: Tensor, delay: Tensor, state: EncoderState) -> Tensor:
        condition = delay_condition(delay)
        known = torch.cat([state.frames, frames], dim=1)
        ready = known.shape[1] // FRAMES * FRAMES
        x, state.frames = known[:, :ready], known[:, ready:]
        if not ready:
            return x.new_zeros(len(x), 0, self.width)
        for index, layer in enumerate(self._convolving()):
            x, state.convolutions[index] = layer.step(x, state.convolutions[index])
            x = nn.functional.gelu(x)
        x = self._echoed(x, delay, state)
        first, state.position = state.position, state.position + x.shape[1]
        for index, block in enumerate(self._attending()):
            x = block(x, condition, state.rings[index] if state.rings else None, first)
        return self.norm(x, condition)

    def _echoed(self, x: Tensor, delay: Tensor, state: EncoderState) -> Tensor:
        if self.echo is None:
            return x
        known, count = torch.cat([state.recent, x], dim=1), x.shape[1]
        # y_t = x_t + U x_(t - delay)
        places = torch.arange(count, device=x.device) + LONGEST_DELAY - delay[:, None]
        asked = known.gather(1, places[..., None].expand(-1, -1, self.width))
        state.recent = known[:, count:]
        return x + self.echo(asked)


def delay_condition(delay: Int[Tensor, " b"]) -> Float[Tensor, "b k"]:
    """Sines and cosines of the logarithm of the delay.

    Args:
        delay: [tokens].

    Raises:
        ValueError: Out of range.
    """
    if delay.ndim != 1 or bool(((delay < 1) | (delay > LONGEST_DELAY)).any()):
        raise ValueError(f"delay={delay.tolist()}: give 1 to {LONGEST_DELAY} tokens of {TOKEN_MS} ms for each sequence")
    turns = torch.arange(1, CONDITION // 2 + 1, device=delay.device) * math.pi
    angles = (delay.float().log() / math.log(LONGEST_DELAY))[:, None] * turns
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def delay_tokens(milliseconds: int) -> int:
    """A delay in tokens.

    Args:
        milliseconds: A multiple of 80, 80 to 2400.

    Raises:
        ValueError: It is none of these.
    """
    tokens, rest = divmod(milliseconds, TOKEN_MS)
    if rest or not 1 <= tokens <= LONGEST_DELAY:
        raise ValueError(f"delay={milliseconds} ms: give a multiple of {TOKEN_MS}, at most {LONGEST_DELAY * TOKEN_MS}")
    return tokens
