"""Many tokens become a few, which learned queries collect; language says what is worth collecting.

Shape letters: B scenes, N tokens, M queries, D width, L width of a language vector. Sources: Jaegle et al. 2021,
"Perceiver" (queries); Perez et al. 2018, "FiLM" (queries scaled and shifted by language); Peebles and Xie 2023 (the
same of normed activations, starting as no change).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from foreact.perception.attention import Attention, FeedForward

__all__ = ["Modulation", "Resampler", "ResamplerConfig"]


@dataclass(frozen=True)
class ResamplerConfig:
    """Sizes of the resampler.

    Attributes:
        tokens: M.
        layers: Rounds of looking at the tokens.
        heads: Of attention.
        language: L; 0 for none.

    Raises:
        ValueError: A number is out of range.
    """

    tokens: int = 16
    layers: int = 1
    heads: int = 4
    language: int = 0

    def __post_init__(self) -> None:
        if min(self.tokens, self.layers, self.heads) < 1 or self.language < 0:
            raise ValueError(f"resampler: expected positive numbers, got {self}")

    def build(self, width: int) -> Resampler:
        """Make it, for tokens of D = `width`."""
        if width % self.heads:
            raise ValueError(f"resampler: width {width} is no multiple of heads={self.heads}")
        return Resampler(self, width)


class Modulation(nn.Module):
    """Scale and shift of features by language, which starts as no change at all.

    Args:
        language: L.
        width: D.
    """

    def __init__(self, language: int, width: int) -> None:
        super().__init__()
        self.project = nn.Linear(language, 2 * width)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, x: Float[Tensor, "b m d"], language: Float[Tensor, "b l"]) -> Float[Tensor, "b m d"]:
        """Return (1 + scale) x + shift."""
        scale, shift = self.project(language)[:, None].chunk(2, dim=-1)
        return x * (1 + scale) + shift


class Resampler(nn.Module):
    """Learned queries that look at tokens.

    Args:
        config: Sizes.
        width: D.
    """

    def __init__(self, config: ResamplerConfig, width: int) -> None:
        super().__init__()
        self.config = config
        self.queries = nn.Parameter(torch.randn(config.tokens, width) / width**0.5)
        self.memory_norm = nn.LayerNorm(width)
        self.layers = nn.ModuleList(_Round(config, width) for _ in range(config.layers))
        self.steer = Modulation(config.language, width) if config.language else None
        self.norm = nn.LayerNorm(width)

    def forward(
        self, tokens: Float[Tensor, "b n d"], language: Float[Tensor, "b l"] | None = None
    ) -> Float[Tensor, "b m d"]:
        """Collect.

        Args:
            tokens: Of a scene.
            language: What is asked for; given if and only if it was configured.

        Raises:
            ValueError: Language is missing, or nobody can use it.
        """
        if (language is None) != (self.steer is None):
            raise ValueError(
                "resampler: language is missing"
                if language is None
                else "resampler: it was made without language; type resampler.language=WIDTH"
            )
        found, memory = self.queries.expand(len(tokens), -1, -1), self.memory_norm(tokens)
        if self.steer is not None and language is not None:
            found = self.steer(found, language)
        for layer in self.layers:
            found = layer(found, memory, language)
        return self.norm(found)


class _Round(nn.Module):
    def __init__(self, config: ResamplerConfig, width: int) -> None:
        super().__init__()
        self.attention_norm, self.feed_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, config.heads, width // config.heads)
        self.feed = FeedForward(width, 2 * width)
        self.steer = nn.ModuleList(Modulation(config.language, width) for _ in range(2 if config.language else 0))

    def forward(self, x: Tensor, memory: Tensor, language: Tensor | None) -> Tensor:
        x = x + self.attention(self._normed(0, x, language), memory)
        return x + self.feed(self._normed(1, x, language))

    def _normed(self, part: int, x: Tensor, language: Tensor | None) -> Tensor:
        x = (self.attention_norm, self.feed_norm)[part](x)
        return x if language is None else self.steer[part](x, language)
