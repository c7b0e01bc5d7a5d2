"""What a model of pictures was made for: task, camera, what the robot knows of itself, actions, labels of segments."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

import numpy as np

from foreact.worldmodels.branches import Branches
from foreact.worldmodels.models.signature import Signature, SignatureError
from foreact.worldmodels.pixels.pictures import PictureSpec, PixelBranches

__all__ = ["LAST_OF_ROBOT", "PixelSignature", "proprioception"]

LAST_OF_ROBOT = "aim_z"
"""Observed elements up to this one are the robot's own; what comes after are things, which it only sees."""


@dataclass(frozen=True)
class PixelSignature:
    """Names and sizes of what goes in and comes out.

    Attributes:
        task: Name of the task.
        pictures: Camera, side and moments.
        robot: Names of the observed elements that are the robot's own, length Q.
        actions: Names of the action elements, length A.
        rate_hz: Control steps per second.
        horizon: T, control steps of a chunk.
        labels: Segments' numbers that the training pictures show, sorted.
    """

    task: str
    pictures: PictureSpec
    robot: tuple[str, ...]
    actions: tuple[str, ...]
    rate_hz: float
    horizon: int
    labels: tuple[int, ...]

    @property
    def moments(self) -> tuple[int, ...]:
        """After which control steps there is a picture, length F."""
        return self.pictures.moments(self.horizon)

    @classmethod
    def of(cls, data: PixelBranches) -> Self:
        """That of a set of pictured futures."""
        spec = data.branches.spec
        # counted state by state, not sorted: a set has 10^8 pixels
        shown = np.zeros(256, np.int64)
        for pictures in (data.seen["segmentation"], data.later["segmentation"]):
            for each in pictures:
                shown += np.bincount(each.ravel(), minlength=256)
        labels = tuple(int(each) for each in np.flatnonzero(shown))
        horizon = data.branches.actions.shape[1]
        return cls(spec.task, data.spec, _robot(data.branches), spec.actions, spec.rate_hz, horizon, labels)

    def context(self, latent: int) -> Signature:
        """What `FutureModel.imagine` takes: latents of both frames, latest first, then the robot's own elements.

        Args:
            latent: Elements of a latent.
        """
        seen = [f"{name}_{number}" for name in ("latent", "earlier") for number in range(latent)]
        columns = (*seen, *self.robot)
        return Signature(self.task, columns, tuple(range(latent)), self.actions, self.rate_hz, self.horizon)

    def require(self, data: PixelBranches, where: str) -> None:
        """Refuse a set that is not of this signature; its labels may differ.

        Args:
            data: The set.
            where: What it is, for the message.

        Raises:
            SignatureError: Names each field that differs, with both values.
        """
        other = PixelSignature.of(data)
        names = [each.name for each in fields(self) if each.name != "labels"]
        pairs = [(name, getattr(self, name), getattr(other, name)) for name in names]
        wrong = [f"{name} is {theirs}, expected {ours}" for name, ours, theirs in pairs if ours != theirs]
        if wrong:
            raise SignatureError(f"{where} does not fit: {'; '.join(wrong)}")


def proprioception(branches: Branches) -> np.ndarray:
    """What the robot knows of itself at the fork, float32 (S, Q).

    Raises:
        SignatureError: The observation does not name the robot's part.
    """
    return branches.context[:, : len(_robot(branches))]


def _robot(branches: Branches) -> tuple[str, ...]:
    columns = branches.spec.columns
    if LAST_OF_ROBOT not in columns:
        raise SignatureError(f"{branches.spec.task}: no observed element is called {LAST_OF_ROBOT}")
    return columns[: columns.index(LAST_OF_ROBOT) + 1]
