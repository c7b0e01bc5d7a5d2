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

from foreact.vla.prefix import Given

__all__ = ["ActionHead", "ChunkHead", "FlowHead", "HeadConfig", "later", "mean_over_steps"]

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
        prefix: Longest delay [control steps] to train for: so many actions of a chunk can be given; 0 for none.
        prefix_noise: Standard deviation of noise on given actions in training [network units], against copying them.
    """

    kind: Literal["l1", "flow"] = "l1"
    width: int = 512
    depth: int = 2
    steps: int = 5
    hidden: int | None = None
    prefix: int = 0
    prefix_noise: float = 0.0

    def build(self, context: int, language: int, chunk: int, action: int) -> ActionHead:
        """Make the head.

        Raises:
            ValueError: The prefix leaves nothing of the chunk to decide.
        """
        if not 0 <= self.prefix < chunk:
            raise ValueError(f"prefix={self.prefix} must be 0 to {chunk - 1}: chunks have {chunk} actions")
        return {"l1": ChunkHead, "flow": FlowHead}[self.kind](self, context, language, chunk, action)


class ActionHead(Protocol):
    """What a policy needs of a head."""

    needs_noise: bool
    steps: int

    def loss(
        self,
        context: Tensor,
        language: Tensor,
        chunk: Tensor,
        mask: Tensor,
        noise: Tensor,
        time: Tensor,
        given: Given | None = None,
    ) -> Tensor:
        """Training loss over what is not given, a scalar."""
        ...

    def features(self, context: Tensor, given: Given | None = None) -> Tensor:
        """What is computed once per observation, (B, width)."""
        ...

    def decide(self, features: Tensor, language: Tensor, noise: Tensor | None, given: Given | None = None) -> Tensor:
        """A chunk in normalised action units from `features`, (B, H, A)."""
        ...

    def sample(self, context: Tensor, language: Tensor, noise: Tensor | None, given: Given | None = None) -> Tensor:
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
    steps = 1

    def __init__(self, config: HeadConfig, context: int, language: int, chunk: int, action: int) -> None:
        super().__init__()
        self.chunk, self.action = chunk, action
        self.enter = nn.Linear(context, config.width)
        self.blocks = nn.ModuleList(LanguageBlock(config.width, language, config.hidden) for _ in range(config.depth))
        self.leave = nn.Linear(config.width, chunk * action)
        self.enter_prefix = _prefix_layer(config, chunk, action)

    def forward(
        self, context: Float[Tensor, "b d"], language: Float[Tensor, "b l"], given: Given | None = None
    ) -> Chunk:
        """Predict the chunk."""
        return self.decide(self.features(context, given), language, None)

    def features(self, context: Float[Tensor, "b d"], given: Given | None = None) -> Tensor:
        """Enter the context and what is given."""
        return _entered(self.enter(context), self.enter_prefix, given)

    def decide(self, features: Tensor, language: Tensor, noise: Tensor | None, given: Given | None = None) -> Chunk:
        """The predicted chunk; `noise` is not used, and what is given is in the features."""
        x = torch.nn.functional.silu(features)
        for block in self.blocks:
            x = block(x, language)
        return self.leave(x).unflatten(-1, (self.chunk, self.action))

    def loss(
        self,
        context: Tensor,
        language: Tensor,
        chunk: Chunk,
        mask: Tensor,
        noise: Tensor,
        time: Tensor,
        given: Given | None = None,
    ) -> Tensor:
        """Mean absolute error over the steps that exist; `mask` is (B, H), noise and time are not used."""
        error = (self(context, language, given).float() - chunk).abs().mean(-1)
        return mean_over_steps(error, mask, given)

    def sample(self, context: Tensor, language: Tensor, noise: Tensor | None, given: Given | None = None) -> Chunk:
        """The predicted chunk; `noise` is not used."""
        return self(context, language, given)


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
        self.enter_prefix = _prefix_layer(config, chunk, action)
        self.register_buffer("frequencies", torch.exp(torch.linspace(0.0, math.log(100.0), 16)), persistent=False)

    def forward(
        self,
        context: Tensor,
        language: Tensor,
        chunk: Chunk,
        time: Float[Tensor, "b 1"],
        given: Given | None = None,
    ) -> Chunk:
        """Velocity of the flow at `chunk`, whose given rows are what is given, and `time` in [0, 1]."""
        return self._velocity(self.features(context, given), language, chunk, time)

    def features(self, context: Tensor, given: Given | None = None) -> Tensor:
        """Enter the context and what is given."""
        return _entered(self.enter(context), self.enter_prefix, given)

    def loss(
        self,
        context: Tensor,
        language: Tensor,
        chunk: Chunk,
        mask: Tensor,
        noise: Tensor,
        time: Tensor,
        given: Given | None = None,
    ) -> Tensor:
        """Squared error of the velocity at x_t = (1 - t) noise + t chunk; `time` is (B, 1), `mask` is (B, H)."""
        t = time[:, :, None]
        # x_t = (1 - t) x_0 + t x_1,  u_t = x_1 - x_0
        x = _placed((1 - t) * noise + t * chunk, given)
        velocity = self(context, language, x, time, given).float()
        error = (velocity - (chunk - noise)).square().mean(-1)
        return mean_over_steps(error, mask, given)

    def sample(self, context: Tensor, language: Tensor, noise: Tensor | None, given: Given | None = None) -> Chunk:
        """Integrate the flow with Euler steps from `noise`, (B, H, A)."""
        return self.decide(self.features(context, given), language, noise, given)

    def decide(self, features: Tensor, language: Tensor, noise: Tensor | None, given: Given | None = None) -> Chunk:
        """Integrate the flow with Euler steps from `noise`, (B, H, A)."""
        if noise is None:
            raise ValueError("a flow policy needs noise of shape (B, H, A)")
        x = noise
        for step in range(self.steps):
            time = torch.full_like(noise[:, 0, :1], step / self.steps)
            x = self.step(features, language, x, time, given)
        return x

    def step(self, features: Tensor, language: Tensor, x: Chunk, time: Tensor, given: Given | None = None) -> Chunk:
        """One Euler step from `x` at `time`, (B, 1)."""
        return x + self._velocity(features, language, _placed(x, given), time) / self.steps

    def _velocity(self, features: Tensor, language: Tensor, chunk: Chunk, time: Tensor) -> Chunk:
        angles = time * self.frequencies
        clock = self.enter_time(torch.cat([angles.sin(), angles.cos()], dim=-1))
        x = torch.nn.functional.silu(features + self.enter_chunk(chunk.flatten(1)) + clock)
        for block in self.blocks:
            x = block(x, language)
        return self.leave(x).unflatten(-1, (self.chunk, self.action))


def later(time: Tensor, steps: int) -> Tensor:
    """The time of the next Euler step, with the very bits of (n + 1) / steps."""
    return (torch.round(time * steps) + 1) / steps


def _prefix_layer(config: HeadConfig, chunk: int, action: int) -> nn.Linear | None:
    # without a bias nothing given adds nothing: a delay of 0 is the same as a policy told nothing
    return nn.Linear(chunk * (action + 1), config.width, bias=False) if config.prefix else None


def _entered(entered: Tensor, layer: nn.Linear | None, given: Given | None) -> Tensor:
    return entered if layer is None or given is None else entered + layer(given.vector())


def _placed(chunk: Chunk, given: Given | None) -> Chunk:
    return chunk if given is None else given.placed(chunk)


def mean_over_steps(error: Tensor, mask: Tensor, given: Given | None) -> Tensor:
    """Mean of an error (B, H) over the steps that exist, mask (B, H), and are not given."""
    counted = mask if given is None else given.open(mask)
    return (error * counted).sum() / counted.sum().clamp(min=1)
