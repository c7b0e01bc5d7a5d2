"""Units in, numbers around one out, and back; the numbers come from training data and are kept in the checkpoint.

Shape letters: B = states, M or K = futures, T = control steps, O = observed elements, A = action elements.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from foreact.worldmodels.models.batch import Batch
from foreact.worldmodels.models.signature import Signature

__all__ = ["Normaliser"]

SMALLEST = 1e-5  # an element that varies less is a constant


class Normaliser(nn.Module):
    """Means and deviations of contexts, of actions, and of changes since the context per step and element.

    Args:
        signature: Sizes, and which elements are tracked.

    Attributes:
        tracked: Numbers of the tracked elements.
        unit: Typical tracked deviation of a future from the mean one [m]; losses in metres are divided by it.
    """

    context_mean: Tensor
    context_scale: Tensor
    action_mean: Tensor
    action_scale: Tensor
    change_mean: Tensor
    change_scale: Tensor
    change_varies: Tensor
    reward_mean: Tensor
    reward_scale: Tensor
    unit: Tensor

    def __init__(self, signature: Signature) -> None:
        super().__init__()
        elements, actions, steps = len(signature.columns), len(signature.actions), signature.horizon
        self.tracked = list(signature.tracked)
        shapes = {"context": (elements,), "action": (actions,), "change": (steps, elements), "reward": ()}
        for name, shape in shapes.items():
            self.register_buffer(f"{name}_mean", torch.zeros(shape))
            self.register_buffer(f"{name}_scale", torch.ones(shape))
        self.register_buffer("change_varies", torch.ones(steps, elements))
        self.register_buffer("unit", torch.ones(()))

    @torch.no_grad()
    def fit(self, data: Batch) -> None:
        """Take the numbers from training data."""
        self._set("context", data.context, (0,))
        self._set("action", data.actions, (0, 1))
        self._set("reward", data.reward, (0, 1, 2))
        changes = data.futures - data.context[:, None, None]
        self._set("change", changes, (0, 1))
        self.change_varies.copy_((changes.double().std((0, 1)) >= SMALLEST).float())
        tracked = changes[..., self.tracked].double()
        self.unit.fill_(max(SMALLEST, float((tracked - tracked.mean((0, 1))).norm(dim=-1).mean())))

    @property
    def still(self) -> Tensor:
        """What nothing moving is around one, (T, O)."""
        return -self.change_mean / self.change_scale

    def context(self, context: Tensor) -> Tensor:
        """Contexts around one, (B, O)."""
        return (context - self.context_mean) / self.context_scale

    def actions(self, actions: Tensor) -> Tensor:
        """Chunks around one, (B, T, A)."""
        return (actions - self.action_mean) / self.action_scale

    def targets(self, context: Tensor, futures: Tensor) -> Tensor:
        """Changes around one, (B, M, T, O); constants are 0."""
        return (futures - context[:, None, None] - self.change_mean) / self.change_scale * self.change_varies

    def values(self, context: Tensor, changes: Tensor, out: Tensor | None = None) -> Tensor:
        """Back to units: the observation after each step, (B, K, T, O); written to `out`, which may be `changes`."""
        offset = (context[:, None] + self.change_mean)[:, None]
        return torch.addcmul(offset, changes, self.change_scale * self.change_varies, out=out)

    def positions(self, changes: Tensor) -> Tensor:
        """Tracked changes in multiples of `unit`, (B, K, T, D): what distances are measured in while fitting."""
        scale = self.change_scale[:, self.tracked] * self.change_varies[:, self.tracked] / self.unit
        return changes[..., self.tracked] * scale

    def reward(self, reward: Tensor) -> Tensor:
        """Rewards around one."""
        return (reward - self.reward_mean) / self.reward_scale

    def _set(self, name: str, values: Tensor, axes: tuple[int, ...]) -> None:
        exact = values.double()  # float32 sums over millions of numbers would depend on their order
        scale = exact.std(axes)
        getattr(self, f"{name}_mean").copy_(exact.mean(axes))
        getattr(self, f"{name}_scale").copy_(torch.where(scale < SMALLEST, 1.0, scale))
