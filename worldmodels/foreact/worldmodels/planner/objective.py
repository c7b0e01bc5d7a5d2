"""How good a chunk is by its imagined futures: the mean of the worst of them, less what must not happen.

Shape letters: B = chunks, K = futures, T = control steps, O = observed elements.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from foreact.worldmodels.futures import Futures

__all__ = ["Objective", "ObjectiveConfig", "Penalty", "cvar"]

Penalty = Callable[[Tensor], Tensor]
"""Futures (B, K, T, O) to how far each leaves what is safe, (B, K); 0 where it stays inside."""


@dataclass(frozen=True)
class ObjectiveConfig:
    """What counts, and how much.

    Attributes:
        alpha: Share of the worst futures that count; 1 is the plain mean.
        reward: Of the mean reward of the steps.
        final: Of the last step's reward.
        success: Of the highest probability of success of any step.
        collision: Lost by a future that touches what it must not.
        reachability: Of the penalty of the safety filter.
        uncertainty: Of the model's doubt about itself.
    """

    alpha: float = 1.0
    reward: float = 1.0
    final: float = 1.0
    success: float = 3.0
    collision: float = 8.0
    reachability: float = 1.0
    uncertainty: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise ValueError(f"alpha is {self.alpha}, expected above 0 and at most 1 (1 is the mean)")
        for name in ("collision", "reachability", "uncertainty"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more: it is taken off the score")


def cvar(values: Tensor, weights: Tensor, alpha: float) -> Tensor:
    """Mean of the worst values that together weigh alpha (Rockafellar and Uryasev 2002, proposition 8).

    The value at the edge counts with the part of its weight that is still missing.

    Args:
        values: More is better, (..., K).
        weights: Add up to 1, (..., K).
        alpha: In (0, 1].
    """
    ordered, order = values.sort(-1)
    own = weights.gather(-1, order)
    # CVaR = 1/alpha sum_i u_(i) min(w_(i), max(0, alpha - sum_{j<i} w_(j)))
    taken = (alpha - (own.cumsum(-1) - own)).clamp_(min=0).minimum(own)
    return (taken * ordered).sum(-1) / taken.sum(-1)


class Objective:
    """Scores chunks by their futures.

    Args:
        config: What counts.
        penalty: Of the safety filter, if there is one.
    """

    def __init__(self, config: ObjectiveConfig, penalty: Penalty | None = None) -> None:
        self.config, self.penalty = config, penalty

    def __call__(self, futures: Futures, doubt: Tensor | None = None) -> Tensor:
        """Scores, (B,); more is better.

        Args:
            futures: Of B chunks.
            doubt: How unsure the model is of each, (B,); needed if `uncertainty` counts.

        Raises:
            ValueError: A score is not finite, or `uncertainty` counts and there is no doubt to weigh.
        """
        values, weights = self._atoms(futures)
        # score = CVaR_alpha(u) - w_u doubt
        scores = cvar(values, weights, self.config.alpha)
        if self.config.uncertainty:
            if doubt is None:
                raise ValueError(f"uncertainty={self.config.uncertainty}, but the model gives none; set it to 0")
            scores = scores - self.config.uncertainty * doubt
        if not bool(torch.isfinite(scores).all()):
            raise ValueError("the imagined futures give scores that are not finite; the model is damaged or diverged")
        return scores

    def _atoms(self, futures: Futures) -> tuple[Tensor, Tensor]:
        """Utilities and weights, (B, 2K): each future once without a contact and once with one."""
        own = self.config
        # u_k = w_r mean_t r + w_f r_T + w_s max_t p(success) - w_h h_k, and w_c less with probability max_t p(contact)
        utility = own.reward * futures.reward.mean(-1) + own.success * futures.success.amax(-1)
        if own.final:
            utility = utility + own.final * futures.reward[..., -1]
        if self.penalty is not None and own.reachability:
            utility = utility - own.reachability * self.penalty(futures.values)
        touched = futures.contact.amax(-1)
        weights = futures.log_weights.exp()
        both = torch.cat([utility, utility - own.collision], -1)
        return both, torch.cat([weights * (1 - touched), weights * touched], -1)
