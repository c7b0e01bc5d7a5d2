"""Layers that give the same numbers for a whole sequence and for one that comes in piece by piece.

Shape letters: B batch, N tokens, D width, G heads, E width of a head, W window, C channels, K width of a condition.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["AdaptiveNorm", "CausalConv", "Ring", "SlidingAttention"]

TURNS = 10_000.0  # the slowest turn of a rotary embedding, in positions over 2 pi
EMPTY = -(2**40)  # the position of a place of a ring that nothing was written to


class CausalConv(nn.Module):
    """Convolution over time with a stride; output j is known with input (j + 1) * stride - 1, and sees 2 stride back.

    Args:
        inside: Channels that come in.
        outside: Channels that go out.
        stride: Inputs for each output.
    """

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.stride, self.context = stride, stride
        self.conv = nn.Conv1d(inside, outside, 2 * stride, stride)

    def start(self, batch: int) -> Float[Tensor, "b s c"]:
        """What came before the first input: zeros."""
        return self.conv.weight.new_zeros(batch, self.context, self.conv.in_channels)

    def forward(self, x: Float[Tensor, "b n c"]) -> Float[Tensor, "b m c"]:
        """Convolve a whole sequence."""
        return self.step(x, self.start(len(x)))[0]

    def step(self, x: Float[Tensor, "b n c"], state: Float[Tensor, "b s c"]) -> tuple[Tensor, Tensor]:
        """Convolve the next inputs, a multiple of the stride; outputs, and what to remember."""
        known = torch.cat([state, x], dim=1)
        return self.conv(known.transpose(1, 2)).transpose(1, 2), known[:, known.shape[1] - self.context :]


class AdaptiveNorm(nn.Module):
    """RMS norm whose scale depends on a condition, as the condition starts out to do nothing.

    Args:
        width: D.
        condition: K.
        inner: Width between the two layers that read the condition.
    """

    def __init__(self, width: int, condition: int, inner: int = 32) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.enter, self.leave = nn.Linear(condition, inner), nn.Linear(inner, width)
        nn.init.zeros_(self.leave.weight)
        nn.init.zeros_(self.leave.bias)

    def forward(self, x: Float[Tensor, "b n d"], condition: Float[Tensor, "b k"]) -> Float[Tensor, "b n d"]:
        """Return norm(x) (1 + g(condition))."""
        return self.norm(x) * (1 + self.leave(nn.functional.gelu(self.enter(condition))))[:, None]


@dataclass
class Ring:
    """The last W keys and values; the newest takes the place of the oldest, in place.

    Attributes:
        keys: (B, G, W, E), turned by their positions.
        values: (B, G, W, E).
        positions: (W,); far below zero where nothing was written.
    """

    keys: Tensor
    values: Tensor
    positions: Int[Tensor, " w"]

    def push(self, keys: Tensor, values: Tensor, positions: Tensor) -> None:
        """Remember the newest."""
        window = len(self.positions)
        keys, values, positions = keys[:, :, -window:], values[:, :, -window:], positions[-window:]
        places = positions % window
        self.keys[:, :, places], self.values[:, :, places] = keys, values
        self.positions[places] = positions


class SlidingAttention(nn.Module):
    """Causal self-attention to the last W tokens, the token itself among them; only distances matter (RoPE).

    Args:
        width: D, a multiple of 2 * heads.
        heads: G.
        window: W.
    """

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        if width % (2 * heads) or window < 1:
            raise ValueError(f"width={width}, heads={heads}, window={window}: width must be a multiple of 2 * heads")
        self.heads, self.window = heads, window
        self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def start(self, batch: int) -> Ring:
        """A ring that remembers nothing."""
        shape = (batch, self.heads, self.window, self.out.in_features // self.heads)
        weight = self.out.weight
        positions = torch.full((self.window,), EMPTY, dtype=torch.int64, device=weight.device)
        return Ring(weight.new_zeros(shape), weight.new_zeros(shape), positions)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Attend within a whole sequence; memory grows with N^2, so step through what lasts longer than minutes."""
        positions = torch.arange(x.shape[1], device=x.device)
        queries, keys, values = self._turned(x, positions)
        return self._attended(queries, keys, values, positions, positions)

    def step(self, x: Float[Tensor, "b n d"], ring: Ring, first: int) -> Float[Tensor, "b n d"]:
        """Attend from the next tokens to what the ring remembers and to themselves; the ring then holds them.

        Args:
            x: The next tokens.
            ring: From `start`; changed in place.
            first: Position of the first of them.
        """
        positions = torch.arange(first, first + x.shape[1], device=x.device)
        queries, keys, values = self._turned(x, positions)
        known = (torch.cat([ring.keys, keys], 2), torch.cat([ring.values, values], 2))
        seen = self._attended(queries, *known, positions, torch.cat([ring.positions, positions]))
        ring.push(keys, values, positions)
        return seen

    def _turned(self, x: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        parts = self.project(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return rotated(parts[0], positions), rotated(parts[1], positions), parts[2]

    def _attended(self, queries: Tensor, keys: Tensor, values: Tensor, at: Tensor, of: Tensor) -> Tensor:
        back = at[:, None] - of[None, :]
        mask = (back >= 0) & (back < self.window)
        seen = nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=mask)
        return self.out(seen.transpose(1, 2).flatten(2))


def rotated(x: Float[Tensor, "b g n e"], positions: Int[Tensor, " n"]) -> Float[Tensor, "b g n e"]:
    """Turn pairs of elements by angles that grow with the position (RoPE, Su et al. 2021).

    Args:
        x: Queries or keys.
        positions: Theirs.
    """
    half = x.shape[-1] // 2
    # theta_i = p TURNS^(-i / half); in float64, so that the millionth position is as exact as the first
    speeds = TURNS ** (-torch.arange(half, device=x.device, dtype=torch.float64) / half)
    angles = positions.double()[:, None] * speeds
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x[..., :half], x[..., half:]
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
