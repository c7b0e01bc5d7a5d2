"""What a world model answers: several futures of each state under a chunk of actions, with probabilities.

Shape letters: B = states, T = control steps of a chunk, A = action elements, C = context elements, K = futures,
D = predicted elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FutureModel", "Futures"]


@dataclass(frozen=True)
class Futures:
    """Imagined futures.

    Attributes:
        values: What is predicted after each control step, in its own units, (B, K, T, D).
        log_weights: Logarithms of the futures' probabilities, (B, K); their exponentials add up to 1.
        success: Probability that the task is solved after each step, (B, K, T).
        contact: Probability that the robot touches what it must not, after each step, (B, K, T).
        reward: Expected reward of each step, (B, K, T).
    """

    values: Tensor
    log_weights: Tensor
    success: Tensor
    contact: Tensor
    reward: Tensor


class FutureModel(Protocol):
    """Anything that imagines; trained models and baselines alike.

    Attributes:
        horizon: T, control steps of a chunk.
        futures: K, how many futures it gives of a state.
    """

    horizon: int
    futures: int

    def imagine(self, context: Tensor, actions: Tensor) -> Futures:
        """Futures of some states under chunks of actions.

        Args:
            context: What is seen at the start, in its own units, (B, C).
            actions: Commanded chunks, (B, T, A).
        """
        ...
