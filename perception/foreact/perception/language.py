"""Instruction tokens become one vector: embeddings, optional self-attention, masked mean.

Shape letters: B batch, T tokens, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

__all__ = ["InstructionEncoder"]


class InstructionEncoder(nn.Module):
    """Encodes padded token ids (0 = padding) into one vector.

    Args:
        vocabulary: Number of token ids, padding included.
        embedding: Width of a token's embedding.
        width: D, width of the result.
        layers: Self-attention layers; 0 leaves a bag of words.
        heads: Attention heads of each layer.
        length: T.
    """

    @dataclass(frozen=True)
    class Config:
        """Size of the instruction encoder."""

        embedding: int = 32
        width: int = 64
        layers: int = 0
        heads: int = 4

        def build(self, vocabulary: int, length: int) -> InstructionEncoder:
            """Make the encoder."""
            return InstructionEncoder(vocabulary, self.embedding, self.width, self.layers, self.heads, length)

    def __init__(self, vocabulary: int, embedding: int, width: int, layers: int, heads: int, length: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, embedding)
        self.places = nn.Parameter(torch.zeros(length, embedding)) if layers else None
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(embedding, heads, 4 * embedding, dropout=0.0, batch_first=True, norm_first=True)
            for _ in range(layers)
        )
        self.project = nn.Sequential(nn.Linear(embedding, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, tokens: Int[Tensor, "b t"]) -> Float[Tensor, "b d"]:
        """Embed the instruction."""
        present = (tokens > 0).to(self.tokens.weight.dtype).unsqueeze(-1)
        words = self.tokens(tokens)
        if self.places is not None:
            words = words + self.places
        for layer in self.layers:
            words = layer(words, src_key_padding_mask=present.squeeze(-1) == 0)
        mean = (words * present).sum(1) / present.sum(1).clamp(min=1)
        return self.project(mean)
