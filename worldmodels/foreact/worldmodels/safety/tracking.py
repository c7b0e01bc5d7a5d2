"""Latents over time: what is seen now, held against what the step before was expected to lead to.

One picture is read with an error of its own every time; what the model expects of the picture before and of what was
done since does not share it. Source: Luenberger 1971, "An introduction to observers". Shape letters: E = episodes,
N = those that are asked about, Z = latent elements, A = action elements.
"""

from __future__ import annotations

import torch
from torch import Tensor

from foreact.worldmodels.safety.latent import LatentModel

__all__ = ["Tracker"]


class Tracker:
    """Follows the latents of several episodes at once.

    Args:
        model: f.
        count: E.
        gain: k, what a new observation counts; 1 forgets what was before.

    Raises:
        ValueError: The gain is not above 0 and at most 1.
    """

    def __init__(self, model: LatentModel, count: int, gain: float) -> None:
        if not 0 < gain <= 1:
            raise ValueError(f"tracker: gain is {gain}, expected a number above 0 and at most 1")
        self.model, self.gain = model, gain
        self._expected = torch.zeros(count, model.latent)
        self._begun = torch.zeros(count, dtype=torch.bool)

    def see(self, episodes: Tensor, encoded: Tensor) -> Tensor:
        """Latents (N, Z) as they are believed now.

        Args:
            episodes: Their numbers, int (N,).
            encoded: Of what is seen of them now, (N, Z).
        """
        # z = (1 - k) f(z, a) + k enc(x); the first picture is all there is
        mixed = torch.lerp(self._expected[episodes], encoded, self.gain)
        return torch.where(self._begun[episodes, None], mixed, encoded)

    @torch.no_grad()
    def act(self, episodes: Tensor, latents: Tensor, actions: Tensor) -> None:
        """Expect what is done now.

        Args:
            episodes: Their numbers, int (N,).
            latents: As `see` gave them, (N, Z).
            actions: (N, A).
        """
        self._expected[episodes] = self.model.step(latents, actions)
        self._begun[episodes] = True
