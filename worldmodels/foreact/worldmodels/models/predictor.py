"""The chunk-parallel predictor: one forward pass gives all steps of K futures under a chunk of actions.

Shape letters: B = states, C = context elements, T = control steps of the chunk, A = action elements, K = codes,
F = predicted steps, D = elements of each, W = width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from foreact.worldmodels.models.layers import AdaptiveBlock, Gate, perceptron

__all__ = ["ChunkPredictor", "PredictorConfig", "PredictorSizes", "Prediction", "build_predictor"]


@dataclass(frozen=True)
class PredictorConfig:
    """Sizes of a predictor.

    Attributes:
        architecture: A perceptron over the whole chunk, or a causal transformer over its steps.
        width: Of the trunk that all codes share.
        depth: Blocks of the trunk.
        codes: K.
        code_width: Of the layers that each code passes alone; the transformer's has the trunk's width.
        code_depth: Blocks that each code passes alone.
        heads: Of attention; the transformer's.
    """

    architecture: Literal["mlp", "transformer"] = "mlp"
    width: int = 192
    depth: int = 2
    codes: int = 8
    code_width: int = 96
    code_depth: int = 1
    heads: int = 6

    def __post_init__(self) -> None:
        sizes = (self.width, self.codes, self.code_width, self.heads)
        if min(sizes) < 1 or min(self.depth, self.code_depth) < 0:
            raise ValueError(f"predictor: sizes must be positive, got {self}")
        if self.architecture == "transformer" and self.width % self.heads:
            raise ValueError(f"predictor: width={self.width} does not divide among heads={self.heads}")


class PredictorSizes(NamedTuple):
    """Sizes that come from the data: C, T, A, F, D."""

    context: int
    chunk: int
    actions: int
    steps: int
    elements: int


class Prediction(NamedTuple):
    """What a predictor gives.

    Attributes:
        values: (B, K, F, D).
        logits: Of the codes, (B, K); not normalised.
        hidden: What the trunk made of context and chunk, (B, W).
    """

    values: Tensor
    logits: Tensor
    hidden: Tensor


class ChunkPredictor(nn.Module):
    """A perceptron over the whole chunk; codes part only in the last layers.

    Args:
        config: Sizes of the network.
        sizes: Of the data.
        gated: Each code tells of each element whether it moves at all.
    """

    def __init__(self, config: PredictorConfig, sizes: PredictorSizes, gated: bool = False) -> None:
        super().__init__()
        self.sizes = sizes
        width, narrow = config.width, config.code_width
        self.context = nn.Linear(sizes.context, width)
        self.chunk = perceptron(sizes.chunk * sizes.actions, width, width)
        self.blocks = nn.ModuleList(AdaptiveBlock(width, width) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, config.codes)
        self.narrow = nn.Linear(width, narrow)
        self.code_scale = nn.Parameter(torch.randn(config.codes, narrow) / 2)
        self.code_shift = nn.Parameter(torch.randn(config.codes, narrow))
        self.code_blocks = nn.ModuleList(nn.Linear(narrow, narrow) for _ in range(config.code_depth))
        self.base = nn.Linear(width, sizes.steps * sizes.elements)
        nn.init.zeros_(self.base.weight)
        nn.init.zeros_(self.base.bias)
        self.apart = nn.Linear(narrow, sizes.steps * sizes.elements, bias=False)
        self.gate = Gate(narrow, sizes.elements) if gated else None

    def forward(
        self, context: Tensor, actions: Tensor, start: Tensor | None = None, still: Tensor | None = None
    ) -> Prediction:
        """Futures of some states.

        Args:
            context: (B, C), around one.
            actions: (B, T, A), around one.
            start: What all codes of a state start from, (B, F, D); zero without it.
            still: What nothing moving is, (F, D); needed if gated.
        """
        chunk = self.chunk(actions.flatten(1))
        hidden, condition = self.context(context) + chunk, nn.functional.silu(chunk)
        for block in self.blocks:
            hidden = block(hidden, condition)
        hidden = nn.functional.silu(self.norm(hidden))
        codes = self._codes(self.narrow(hidden))
        count, (steps, elements) = codes.shape[1], self.sizes[3:]
        # x_k = base(h) + apart(g_k(h)): what the codes have in common is computed once
        base = self.base(hidden).view(-1, 1, steps, elements)
        base = base if start is None else base + start[:, None]
        values = self.apart(codes).view(-1, count, steps, elements).add_(base)  # in place: memory is what takes time
        if self.gate is not None and still is not None:
            values = self.gate(codes[:, :, None], values, still)
        return Prediction(values, self.logits(hidden), hidden)

    def _codes(self, narrow: Tensor) -> Tensor:
        codes = nn.functional.silu(torch.addcmul(self.code_shift, narrow[:, None], 1 + self.code_scale))
        for block in self.code_blocks:
            codes = codes + nn.functional.silu(block(codes))
        return codes


def build_predictor(config: PredictorConfig, sizes: PredictorSizes, gated: bool = False) -> nn.Module:
    """The predictor of a configuration; both architectures answer the same."""
    if config.architecture == "transformer":
        from foreact.worldmodels.models.transformer import TransformerPredictor

        return TransformerPredictor(config, sizes, gated)
    return ChunkPredictor(config, sizes, gated)
