"""Action tokens that look at each other and at what was seen, one token for each action of the chunk.

Time enters by adaptive normalisation with one projection for all blocks and a table for each (adaLN: Peebles and Xie
2023; shared projection: Chen et al. 2023, "PixArt-alpha", section 2.3). Each token has a time of its own, so that the
given beginning of a chunk can be at its end time already (Black et al. 2025, arXiv 2512.05964).
Shape letters: B batch, H chunk length, M tokens of the memory, A action elements, D width, G heads, E width of a head.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foreact.perception.attention import Attention, FeedForward
from foreact.vla.prefix import Given

__all__ = ["ActionBlock", "ActionDecoder", "Memory"]

LAYERS = 3  # of a block: self-attention, attention to the memory, feed-forward

Memory = list[tuple[Tensor, Tensor]]
"""Keys and values of each block, (B, G, M, E) each."""


class ActionBlock(nn.Module):
    """Self-attention, attention to the memory and feed-forward, each scaled, shifted and gated.

    Args:
        width: D.
        heads: Of the self-attention.
        context_heads: Of the attention to the memory.
        head_width: E.
        hidden: Inner width of the feed-forward layer.
    """

    def __init__(self, width: int, heads: int, context_heads: int, head_width: int, hidden: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(LAYERS))
        self.attention = Attention(width, heads, head_width)
        self.context = Attention(width, context_heads, head_width)
        self.feed = FeedForward(width, hidden)
        # for each layer: scale, shift and gate, before time adds to them
        table = torch.zeros(LAYERS, 3, width)
        table[:, 2] = 1.0
        self.table = nn.Parameter(table)

    def forward(
        self,
        x: Float[Tensor, "b h d"],
        memory: tuple[Tensor, Tensor],
        clock: Float[Tensor, "b h n d"] | None,
        maps: list[Tensor] | None = None,
    ) -> Float[Tensor, "b h d"]:
        """One block.

        Args:
            x: Action tokens.
            memory: Keys and values of this block.
            clock: What time adds to the table, (B, H, 9, D); None for a decoder without time.
            maps: Takes the attention from action tokens to the memory, (B, G, H, M), if not None.
        """
        scale, shift, gate = self._modulation(clock)
        normed = self.norms[0](x) * (1 + scale[0]) + shift[0]
        x = x + gate[0] * self.attention(normed, normed)
        normed = self.norms[1](x) * (1 + scale[1]) + shift[1]
        if maps is not None:
            maps.append(self.context.weights(normed, memory[0]))
        x = x + gate[1] * self.context.attend(normed, *memory)
        normed = self.norms[2](x) * (1 + scale[2]) + shift[2]
        return x + gate[2] * self.feed(normed)

    def _modulation(self, clock: Tensor | None) -> tuple[Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]:
        table = self.table.flatten(0, 1) if clock is None else self.table.flatten(0, 1) + clock
        parts = table.unbind(-2)
        return parts[0::3], parts[1::3], parts[2::3]


class ActionDecoder(nn.Module):
    """Action tokens to a chunk: a velocity of a flow at a time, or the chunk itself.

    Args:
        width: D.
        head_width: E.
        heads: Heads of each block's self-attention.
        context_heads: Heads of each block's attention to the memory.
        hidden: Inner width of each block's feed-forward layer.
        chunk: H.
        action: A.
        timed: Whether it is a flow's.
        prefix: Whether the beginning of a chunk can be given.
    """

    frequencies: Tensor

    def __init__(
        self,
        width: int,
        head_width: int,
        heads: Sequence[int],
        context_heads: Sequence[int],
        hidden: Sequence[int],
        chunk: int,
        action: int,
        timed: bool,
        prefix: bool,
    ) -> None:
        super().__init__()
        self.places = nn.Parameter(torch.randn(chunk, width) * 0.02)
        self.blocks = nn.ModuleList(
            ActionBlock(width, own, context, head_width, inner)
            for own, context, inner in zip(heads, context_heads, hidden, strict=True)
        )
        self.norm, self.leave = nn.LayerNorm(width), nn.Linear(width, action)
        self.enter = nn.Linear(action, width) if timed else None
        self.clock = _clock(width) if timed else None
        # without a bias nothing given adds nothing: a delay of 0 is the same as a policy told nothing
        self.enter_given = nn.Linear(action + 1, width, bias=False) if prefix else None
        self.register_buffer("frequencies", torch.exp(torch.linspace(0.0, math.log(100.0), 16)), persistent=False)

    def remember(self, memory: Float[Tensor, "b m d"]) -> Memory:
        """Keys and values of every block, once per observation."""
        return [block.context.remember(memory) for block in self._blocks()]

    def forward(
        self,
        memory: Memory,
        chunk: Float[Tensor, "b h a"] | None,
        time: Float[Tensor, "b 1"] | None,
        given: Given | None = None,
        maps: list[Tensor] | None = None,
    ) -> Float[Tensor, "b h a"]:
        """The velocity at `chunk` and `time`, or, without them, the chunk.

        Args:
            memory: From `remember`.
            chunk: Where the flow is; its given rows are replaced.
            time: In [0, 1].
            given: The decided beginning of the chunk.
            maps: Takes each block's attention to the memory, (B, G, H, M), if not None.
        """
        tokens = self.places.expand(memory[0][0].shape[0], -1, -1)
        if self.enter is not None and chunk is not None:
            tokens = tokens + self.enter(chunk if given is None else given.placed(chunk))
        if self.enter_given is not None and given is not None:
            known = given.known.to(given.chunk.dtype)
            tokens = tokens + self.enter_given(torch.cat([given.chunk, known], dim=-1))
        clock = None if time is None else self._time(time, given)
        for block, remembered in zip(self._blocks(), memory, strict=True):
            tokens = block(tokens, remembered, clock, maps)
        return self.leave(self.norm(tokens))

    def _time(self, time: Float[Tensor, "b 1"], given: Given | None) -> Tensor | None:
        """What time adds to the modulation, (B, H or 1, 9, D): given tokens are at the end of the flow."""
        if self.clock is None:
            return None
        moment = time[:, :, None] if given is None else torch.where(given.known, 1.0, time[:, :, None])
        angles = moment * self.frequencies
        return self.clock(torch.cat([angles.sin(), angles.cos()], dim=-1)).unflatten(-1, (LAYERS * 3, -1))

    def _blocks(self) -> list[ActionBlock]:
        return [block for block in self.blocks if isinstance(block, ActionBlock)]


def _clock(width: int) -> nn.Sequential:
    last = nn.Linear(width, LAYERS * 3 * width)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(32, width), nn.SiLU(), last)
