"""Two ways from a context vector to an action chunk behind one interface: L1 regression and flow matching.

Shape letters: B batch, H chunk length, A action elements, D width of the context, L language width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["ActionHead", "ChunkHead", "FlowHead", "HeadConfig"]

Chunk = Float[Tensor, "b h a"]


@dataclass(frozen=True)
class HeadConfig:
    """Size and kind of the action head.

    Attributes:
        kind: `l1` regresses the median chunk; `flow` samples chunks from noise.
        width: Width of the residual blocks.
        depth: Number of residual blocks.
        steps: Euler steps of the flow at inference.
        hidden: Width inside the residual blocks; `width` if None.
    """

    kind: Literal["l1", "flow"] = "l1"
    width: int = 512
    depth: int = 2
    steps: int = 5
    hidden: int | None = None

    def build(self, context: int, language: int, chunk: int, action: int) -> ActionHead:
        """Make the head."""
        return {"l1": ChunkHead, "flow": FlowHead}[self.kind](self, context, language, chunk, action)


class ActionHead(Protocol):
    """What a policy needs of a head."""

    needs_noise: bool

    def loss(
        self, context: Tensor, language: Tensor, chunk: Tensor, mask: Tensor, noise: Tensor, time: Tensor
    ) -> Tensor:
        """Training loss, a scalar."""
        ...

    def sample(self, context: Tensor, language: Tensor, noise: Tensor | None) -> Tensor:
        """A chunk in normalised action units, (B, H, A)."""
        ...

    def __call__(self, *inputs: Tensor) -> Tensor:
        """nn.Module's call."""
        ...


class LanguageBlock(nn.Module):
    """Residual block whose normalised input is scaled and shifted by the language (adaLN, Peebles and Xie 2023)."""

    def __init__(self, width: int, language: int, hidden: int | None = None) -> None:
        super().__init__()
        inside = width if hidden is None else hidden
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulate = nn.Linear(language, 2 * width)
        self.inner = nn.Sequential(nn.Linear(width, inside), nn.SiLU(), nn.Linear(inside, width))
        nn.init.zeros_(self.modulate.weight)
        nn.init.zeros_(self.modulate.bias)

    def forward(self, x: Float[Tensor, "b d"], language: Float[Tensor, "b l"]) -> Float[Tensor, "b d"]:
        """Return x + inner((1 + scale) norm(x) + shift)."""
        scale, shift = self.modulate(language).chunk(2, dim=-1)
        return x + self.inner(self.norm(x) * (1 + scale) + shift)


class ChunkHead(nn.Module):
    """The whole chunk in one pass, trained with the L1 distance."""

    needs_noise = False

    def __init__(self, config: HeadConfig, context: int, language: int, chunk: int, action: int) -> None:
        super().__init__()
        self.chunk, self.action = chunk, action
        self.enter = nn.Linear(context, config.width)
        self.blocks = nn.ModuleList(LanguageBlock(config.width, language, config.hidden) for _ in range(config.depth))
        self.leave = nn.Linear(config.width, chunk * action)

    def forward(self, context: Float[Tensor, "b d"], language: Float[Tensor, "b l"]) -> Chunk:
        """Predict the chunk."""
        x = torch.nn.functional.silu(self.enter(context))
        for block in self.blocks:
            x = block(x, language)
        return self.leave(x).unflatten(-1, (self.chunk, self.action))

    def loss(
        self, context: Tensor, language: Tensor, chunk: Chunk, mask: Tensor, noise: Tensor, time: Tensor
    ) -> Tensor:
        """Mean absolute error over the steps that exist; `mask` is (B, H), noise and time are not used."""
        error = (self(context, language).float() - chunk).abs().mean(-1)
        return (error * mask).sum() / mask.sum().clamp(min=1)

    def sample(self, context: Tensor, language: Tensor, noise: Tensor | None) -> Chunk:
        """The predicted chunk; `noise` is not used."""
        return self(context, language)


class FlowHead(nn.Module):
    """Conditional flow matching from Gaussian noise to chunks (Lipman et al. 2023, equation 23, sigma_min = 0)."""

    needs_noise = True
    frequencies: Tensor

    def __init__(self, config: HeadConfig, context: int, language: int, chunk: int, action: int) -> None:
        super().__init__()
        self.chunk, self.action, self.steps = chunk, action, config.steps
        self.enter = nn.Linear(context, config.width)
        self.enter_chunk = nn.Linear(chunk * action, config.width)
        self.enter_time = nn.Linear(32, config.width)
        self.blocks = nn.ModuleList(LanguageBlock(config.width, language, config.hidden) for _ in range(config.depth))
        self.leave = nn.Linear(config.width, chunk * action)
        self.register_buffer("frequencies", torch.exp(torch.linspace(0.0, math.log(100.0), 16)), persistent=False)

    def forward(self, context: Tensor, language: Tensor, chunk: Chunk, time: Float[Tensor, "b 1"]) -> Chunk:
        """Velocity of the flow at `chunk` and `time` in [0, 1]."""
        return self._velocity(self.enter(context), language, chunk, time)

    def loss(
        self, context: Tensor, language: Tensor, chunk: Chunk, mask: Tensor, noise: Tensor, time: Tensor
    ) -> Tensor:
        """Squared error of the velocity at x_t = (1 - t) noise + t chunk; `time` is (B, 1), `mask` is (B, H)."""
        t = time[:, :, None]
        # x_t = (1 - t) x_0 + t x_1,  u_t = x_1 - x_0
        velocity = self(context, language, (1 - t) * noise + t * chunk, time).float()
        error = (velocity - (chunk - noise)).square().mean(-1)
        return (error * mask).sum() / mask.sum().clamp(min=1)

    def sample(self, context: Tensor, language: Tensor, noise: Tensor | None) -> Chunk:
        """Integrate the flow with Euler steps from `noise`, (B, H, A)."""
        if noise is None:
            raise ValueError("a flow policy needs noise of shape (B, H, A)")
        entered, x = self.enter(context), noise
        for step in range(self.steps):
            time = torch.full_like(noise[:, 0, :1], step / self.steps)
            x = x + self._velocity(entered, language, x, time) / self.steps
        return x

    def _velocity(self, entered: Tensor, language: Tensor, chunk: Chunk, time: Tensor) -> Chunk:
        angles = time * self.frequencies
        clock = self.enter_time(torch.cat([angles.sin(), angles.cos()], dim=-1))
        x = torch.nn.functional.silu(entered + self.enter_chunk(chunk.flatten(1)) + clock)
        for block in self.blocks:
            x = block(x, language)
        return self.leave(x).unflatten(-1, (self.chunk, self.action))
