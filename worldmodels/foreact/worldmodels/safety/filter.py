"""The least restrictive filter: a policy does as it likes while that stays safe, and else the safest thing is done.

It is as good as the model, the margin and the value it is given: no guarantee reaches further than their errors.
Source: Nakamura, Peters and Bajcsy 2025 (2502.00935), equation 7. Shape letters: B = batch, n = choices, Z = latent
elements, A = action elements, K = futures, T = control steps, O = observed elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from foreact.worldmodels.futures import FutureModel
from foreact.worldmodels.planner.objective import cvar
from foreact.worldmodels.safety.uncertainty import AugmentedMargin

__all__ = ["ActionScore", "Filtered", "FuturePenalty", "FutureScore", "SafetyFilter", "ValueScore"]

ActionScore = Callable[[Tensor, Tensor], Tensor]
"""How safe actions (B, A) or chunks (B, T, A) are from (B, ...), (B,); what lies above 0 is held for safe."""


@dataclass(frozen=True)
class Filtered:
    """What the filter let through.

    Attributes:
        actions: As proposed or replaced, the proposal's shape.
        intervened: Which were replaced, bool (B,).
        proposed: How safe the proposals are, (B,).
        taken: How safe what is done is, (B,).
    """

    actions: Tensor
    intervened: Tensor
    proposed: Tensor
    taken: Tensor


@dataclass(frozen=True)
class SafetyFilter:
    """Replaces actions that lead where failure can no longer be avoided.

    Attributes:
        score: How safe an action is.
        choices: What may be done instead, (n, A) or chunks (n, T, A).
        delta: Proposals need a score above this.

    Raises:
        ValueError: There is no choice.
    """

    score: ActionScore
    choices: Tensor
    delta: float = 0.0

    def __post_init__(self) -> None:
        if self.choices.ndim < 2 or not len(self.choices):
            raise ValueError(f"filter: expected choices (n, A) or (n, T, A), got {tuple(self.choices.shape)}")

    @torch.no_grad()
    def __call__(self, states: Tensor, proposed: Tensor) -> Filtered:
        """Let proposals through, or replace them.

        Args:
            states: Latents or observations, whatever `score` takes, (B, ...).
            proposed: Actions (B, A) or chunks (B, T, A).

        Raises:
            ValueError: The proposals are not shaped like the choices, or something is not finite.
        """
        if proposed.shape[1:] != self.choices.shape[1:] or len(proposed) != len(states):
            wanted = (len(states), *self.choices.shape[1:])
            raise ValueError(f"filter: expected proposals {wanted}, got {tuple(proposed.shape)}")
        own = self.score(states, proposed)
        every = [self.score(states, choice.expand(len(states), *choice.shape)) for choice in self.choices]
        scores, best = torch.stack(every).max(dim=0)
        if not (torch.isfinite(own).all() and torch.isfinite(scores).all() and torch.isfinite(proposed).all()):
            raise ValueError("filter: a proposal or its score is not finite; do not act on it")
        # a = a_task if V(f(z, a_task)) > delta, else argmax_a V(f(z, a))
        intervened = own <= self.delta
        shaped = intervened.view(-1, *[1] * (proposed.ndim - 1))
        actions = torch.where(shaped, self.choices[best], proposed)
        return Filtered(actions, intervened, own, torch.where(intervened, scores, own))


@dataclass(frozen=True)
class ValueScore:
    """min{V(f(z, a)), kappa (eps - u(z, a))}: the value of where one step leads, as far as the model knows.

    Attributes:
        value: V of latents; the margin in its place makes a filter that sees one step ahead.
        margin: Holds the model f, and the limit on what it does not know.
    """

    value: Callable[[Tensor], Tensor]
    margin: AugmentedMargin

    @torch.no_grad()
    def __call__(self, latents: Tensor, actions: Tensor) -> Tensor:
        """Scores (B,) of latents (B, Z) and actions (B, A)."""
        reached = self.value(self.margin.model.step(latents, actions))
        known = self.margin.known(latents, actions)
        return reached if known is None else torch.minimum(reached, known)


@dataclass(frozen=True)
class FutureScore:
    """V over the futures that any model imagines of a chunk: the mean of the worst of their smallest values.

    Attributes:
        model: Imagines K futures of a chunk.
        value: V of observed elements, (..., O) to (...).
        alpha: Share of the worst futures that count; 1 is the mean over all.
    """

    model: FutureModel
    value: Callable[[Tensor], Tensor]
    alpha: float = 0.25

    @torch.no_grad()
    def __call__(self, context: Tensor, chunks: Tensor) -> Tensor:
        """Scores (B,) of contexts (B, C) and chunks (B, T, A)."""
        futures = self.model.imagine(context, chunks)
        # CVaR_alpha over k of min_t V(x_{k, t})
        return cvar(self.value(futures.values).amin(dim=-1), futures.log_weights.exp(), self.alpha)


@dataclass(frozen=True)
class FuturePenalty:
    """How far each future leaves the safe set: what a planner takes off its score.

    Attributes:
        value: V of observed elements, (..., O) to (...).
        delta: Values above this cost nothing.
        every: V is asked after each so manyth step, the last included.
    """

    value: Callable[[Tensor], Tensor]
    delta: float = 0.0
    every: int = 1

    @torch.no_grad()
    def __call__(self, futures: Tensor) -> Tensor:
        """Penalties (B, K) of futures (B, K, T, O)."""
        # max{0, delta - min_t V(x_t)}
        asked = futures[:, :, (futures.shape[2] - 1) % self.every :: self.every]
        return (self.delta - self.value(asked).amin(dim=-1)).clamp_min(0)
