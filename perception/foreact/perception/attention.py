"""Attention and feed-forward layers whose heads and inner width can differ from block to block.

Attention is one call of `scaled_dot_product_attention`, which the ONNX exporter writes as elementary operators at opset
18 and as one `Attention` at opset 23. Shape letters: B batch, N queries, M keys, D width, G heads, E width of a head.
Source: Vaswani et al. 2017, with the normalisation before each layer (Xiong et al. 2020).
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Attention", "EncoderBlock", "FeedForward"]


class Attention(nn.Module):
    """Multi-head attention from N tokens to M tokens; each head owns `head_width` rows of the projections.

    Args:
        width: D.
        heads: G; the projections' inner width is heads * head_width, whatever D is.
        head_width: E.
    """

    def __init__(self, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        inner = heads * head_width
        self.heads, self.head_width = heads, head_width
        self.query, self.key, self.value = (nn.Linear(width, inner) for _ in range(3))
        self.out = nn.Linear(inner, width)

    def forward(self, x: Float[Tensor, "b n d"], memory: Float[Tensor, "b m d"]) -> Float[Tensor, "b n d"]:
        """Attend from `x` to `memory`."""
        return self.attend(x, *self.remember(memory))

    def remember(self, memory: Float[Tensor, "b m d"]) -> tuple[Tensor, Tensor]:
        """Keys and values, (B, G, M, E) each: computed once for a memory that many queries look at."""
        return self._split(self.key(memory)), self._split(self.value(memory))

    def attend(self, x: Float[Tensor, "b n d"], keys: Tensor, values: Tensor) -> Float[Tensor, "b n d"]:
        """Attend from `x` to remembered keys and values."""
        # softmax(Q K^T / sqrt(E)) V
        seen = nn.functional.scaled_dot_product_attention(self._split(self.query(x)), keys, values)
        return self.out(seen.transpose(1, 2).flatten(2))

    def weights(self, x: Float[Tensor, "b n d"], keys: Tensor) -> Float[Tensor, "b g n m"]:
        """How much each query looks at each key; what `attend` does not keep."""
        scores = self._split(self.query(x)) @ keys.transpose(2, 3) / math.sqrt(self.head_width)
        return torch.softmax(scores, dim=-1)

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, self.head_width)).transpose(1, 2)


class FeedForward(nn.Module):
    """Two linear layers with a GELU between.

    Args:
        width: D.
        hidden: Width between the layers.
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.enter, self.leave = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return leave(gelu(enter(x)))."""
        return self.leave(nn.functional.gelu(self.enter(x)))


class EncoderBlock(nn.Module):
    """Self-attention, then feed-forward, each added to its input and with its input normalised.

    Args:
        width: D.
        heads: G.
        head_width: E.
        hidden: Inner width of the feed-forward layer.
    """

    def __init__(self, width: int, heads: int, head_width: int, hidden: int) -> None:
        super().__init__()
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads, head_width)
        self.feed = FeedForward(width, hidden)

    def forward(self, x: Float[Tensor, "b n d"]) -> Float[Tensor, "b n d"]:
        """Return the tokens after both layers."""
        normed = self.attention_norm(x)
        x = x + self.attention(normed, normed)
        return x + self.feed(self.feed_norm(x))
