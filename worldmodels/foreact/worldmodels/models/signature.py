"""What a model was made for: task, observed elements, actions and chunk length, checked against data and callers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from torch import Tensor

from foreact.worldmodels.branches import Branches, BranchSpec

__all__ = ["Signature", "SignatureError"]


class SignatureError(ValueError):
    """Data or arguments are not what a model was made for."""


@dataclass(frozen=True)
class Signature:
    """Names and sizes of what goes in and comes out.

    Attributes:
        task: Name of the task.
        columns: Name of each observed element, length O.
        tracked: Numbers of the elements futures are judged by.
        actions: Name of each action element, length A.
        rate_hz: Control steps per second.
        horizon: T, control steps of a chunk.
    """

    task: str
    columns: tuple[str, ...]
    tracked: tuple[int, ...]
    actions: tuple[str, ...]
    rate_hz: float
    horizon: int

    @classmethod
    def of(cls, branches: Branches) -> Self:
        """That of a set of true futures."""
        spec: BranchSpec = branches.spec
        return cls(spec.task, spec.columns, spec.tracked, spec.actions, spec.rate_hz, branches.actions.shape[1])

    def require(self, other: Signature, where: str) -> None:
        """Refuse what is not of this signature.

        Args:
            other: Of the data.
            where: What the data are, for the message.

        Raises:
            SignatureError: Names each field that differs, with both values.
        """
        names = ("task", "columns", "tracked", "actions", "rate_hz", "horizon")
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        wrong = [f"{name} is {theirs}, expected {ours}" for name, ours, theirs in pairs if ours != theirs]
        if wrong:
            raise SignatureError(f"{where} does not fit: {'; '.join(wrong)}")

    def check(self, context: Tensor, actions: Tensor) -> None:
        """Refuse arguments of another shape or type.

        Args:
            context: (B, O).
            actions: (B, T, A).

        Raises:
            SignatureError: A shape or a type is wrong.
        """
        sizes = (self.horizon, len(self.actions))
        if context.ndim != 2 or context.shape[1] != len(self.columns):
            raise SignatureError(f"context: expected (B, {len(self.columns)}), got {tuple(context.shape)}")
        if actions.ndim != 3 or tuple(actions.shape[1:]) != sizes or len(actions) != len(context):
            raise SignatureError(
                f"actions: expected ({len(context)}, {sizes[0]}, {sizes[1]}), got {tuple(actions.shape)}"
            )
        for name, values in (("context", context), ("actions", actions)):
            if not values.is_floating_point():
                raise SignatureError(f"{name}: expected floating point, got {values.dtype}")
