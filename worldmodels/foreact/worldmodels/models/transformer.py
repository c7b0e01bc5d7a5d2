"""The large predictor: a causal transformer over the steps of a chunk, still one forward pass for all of them.

Shape letters as in `predictor`; N = rows of states, or of states and codes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foreact.worldmodels.models.layers import AdaptiveBlock, Gate, perceptron
from foreact.worldmodels.models.predictor import Prediction, PredictorConfig, PredictorSizes

__all__ = ["CausalBlock", "TransformerPredictor"]


class CausalBlock(nn.Module):
    """Attention to this and earlier steps, then an `AdaptiveBlock`; both conditioned by context and action.

    Args:
        width: W.
        heads: Of attention.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 3 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)
        self.mix = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.inner = AdaptiveBlock(width, width, 4)

    def forward(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Next tokens, (N, T, W)."""
        shift, scale, gate = self.modulation(condition).chunk(3, -1)
        queries, keys, values = self.mix(torch.addcmul(shift, self.norm(tokens), 1 + scale)).chunk(3, -1)
        split = (each.unflatten(-1, (self.heads, -1)).transpose(1, 2) for each in (queries, keys, values))
        seen = nn.functional.scaled_dot_product_attention(*split, is_causal=True)
        tokens = tokens + (1 + gate) * self.out(seen.transpose(1, 2).flatten(2))
        return self.inner(tokens, condition)


class TransformerPredictor(nn.Module):
    """One token for each step of the chunk; each code passes the last blocks alone.

    Args:
        config: Sizes of the network.
        sizes: Of the data; the F predicted steps lie evenly in the chunk.
        gated: Each code tells of each step and element whether it moves at all.
    """

    def __init__(self, config: PredictorConfig, sizes: PredictorSizes, gated: bool = False) -> None:
        super().__init__()
        if sizes.steps > sizes.chunk:
            raise ValueError(f"transformer: {sizes.steps} steps of a chunk of {sizes.chunk}")
        width = config.width
        self.codes = config.codes
        self.taken = [round((step + 1) * sizes.chunk / sizes.steps) - 1 for step in range(sizes.steps)]
        self.context = perceptron(sizes.context, width, width)
        self.action = perceptron(sizes.actions, width, width)
        self.position = nn.Parameter(torch.randn(sizes.chunk, width) / 10)
        self.code = nn.Parameter(torch.randn(config.codes, width))
        self.blocks = nn.ModuleList(CausalBlock(width, config.heads) for _ in range(config.depth))
        self.code_blocks = nn.ModuleList(CausalBlock(width, config.heads) for _ in range(config.code_depth))
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, config.codes)
        self.values = nn.Linear(width, sizes.elements)
        self.gate = Gate(width, sizes.elements) if gated else None

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
        state = self.context(context)[:, None]
        condition = nn.functional.silu(state + self.action(actions))
        tokens = state + self.position + self.action(actions)
        for block in self.blocks:
            tokens = block(tokens, condition)
        hidden = self.norm(tokens).mean(1)
        parted = self._parted(tokens, condition)
        values = self.values(parted) if start is None else self.values(parted) + start[:, None]
        if self.gate is not None and still is not None:
            values = self.gate(parted, values, still)
        return Prediction(values, self.logits(hidden), hidden)

    def _parted(self, tokens: Tensor, condition: Tensor) -> Tensor:
        """Tokens of each code at the predicted steps, (B, K, F, W)."""
        parted = (tokens[:, None] + self.code[:, None]).flatten(0, 1)
        repeated = condition.repeat_interleave(self.codes, 0)
        for block in self.code_blocks:
            parted = block(parted, repeated)
        return self.norm(parted[:, self.taken]).unflatten(0, (-1, self.codes))
