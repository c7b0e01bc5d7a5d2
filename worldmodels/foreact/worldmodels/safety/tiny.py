"""The filter in plain NumPy, one observation at a time: for a control loop that must not wait for torch.

Reads what `foreact.worldmodels.safety.parts.save_parts` wrote for observed states. Shape letters: F = observed
elements, A = action elements, n = choices, M = members.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

__all__ = ["TinyFilter"]

SLOPE = 5.0  # as in `uncertainty`, which imports torch


class TinyFilter:
    """A least restrictive filter of saved weights.

    Args:
        described: Content of `safety.json`.
        weights: Arrays by name.
        delta: Proposals need a score above this.

    Raises:
        ValueError: The filter sees pictures.
    """

    def __init__(self, described: dict[str, Any], weights: dict[str, np.ndarray], delta: float = 0.0) -> None:
        if len(described["observed"]) != 1:
            raise ValueError("this filter sees pictures; load it with foreact.worldmodels.safety.parts.load_parts")
        self.delta, self.limit, self.prior = delta, described["limit"], described["latent"]["prior"]
        self.doubt, self.choices = described["doubt"], weights["choices"]
        self._w = weights
        self._members = [[weights[f"model.members.{kind}.{i}"] for kind in ("weights", "biases")] for i in range(3)]
        names = sorted({int(name.split(".")[2]) for name in weights if name.startswith("value.layers.")})
        self._value = [(weights[f"value.layers.{i}.weight"], weights[f"value.layers.{i}.bias"]) for i in names]

    @classmethod
    def load(cls, path: Path, delta: float = 0.0) -> TinyFilter:
        """Read a folder.

        Raises:
            FileNotFoundError: Its `safety.json` or `safety.safetensors` is missing.
            ValueError: The weights are truncated or altered, or see pictures.
        """
        from safetensors.numpy import load

        described = json.loads((path / "safety.json").read_text(encoding="utf-8"))
        content = (path / "safety.safetensors").read_bytes()
        if hashlib.sha256(content).hexdigest() != described["sha256"]:
            raise ValueError(f"{path / 'safety.safetensors'} is truncated or altered")
        return cls(described, load(content), delta)

    def __call__(self, observation: np.ndarray, proposed: np.ndarray) -> tuple[np.ndarray, bool]:
        """What to do, and whether that is not what was proposed.

        Args:
            observation: float32 (F,).
            proposed: float32 (A,).

        Raises:
            ValueError: A shape is wrong, or a number is not finite.
        """
        if observation.shape != self._w["model.encoder.mean"].shape or proposed.shape != self.choices.shape[1:]:
            raise ValueError(f"filter: got observation {observation.shape} and action {proposed.shape}")
        actions = np.concatenate([proposed[None], self.choices]).astype(np.float32)
        scores = self.scores(observation, actions)
        if not np.isfinite(scores).all():
            raise ValueError("filter: an observation or an action is not finite; do not act on it")
        if scores[0] > self.delta:
            return proposed, False
        return self.choices[int(scores[1:].argmax())], True

    def scores(self, observation: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """How safe actions (n, A) are from one observation (F,), (n,)."""
        latent = (observation - self._w["model.encoder.mean"]) / self._w["model.encoder.deviation"]
        predictions = latent + self._imagine(np.concatenate([np.tile(latent, (len(actions), 1)), actions], axis=1))
        hidden = predictions.mean(axis=0)
        for index, (weight, bias) in enumerate(self._value):
            hidden = (silu(hidden) if index else hidden) @ weight.T + bias
        if self.limit is None:
            return hidden[:, 0]
        unsure = np.sqrt(predictions.var(axis=0, ddof=1).sum(axis=1)) if self.doubt is None else self._doubt(latent)
        return np.minimum(hidden[:, 0], np.clip(SLOPE * (1 - unsure / self.limit), -1, 1))

    def _doubt(self, latent: np.ndarray) -> np.ndarray:
        size = self._w["doubt.phases"].size
        values = np.sqrt(2 / size) * np.cos(latent @ self._w["doubt.waves"] + self._w["doubt.phases"])
        return np.sqrt(np.maximum(values @ self._w["doubt.covariance"] @ values, 0.0))

    def _imagine(self, inputs: np.ndarray) -> np.ndarray:
        hidden = inputs[None]
        for index, (weight, bias) in enumerate(self._members):
            hidden = (silu(hidden) if index else hidden) @ weight + bias
        if self.prior:
            waves = np.cos(inputs[None] @ self._w["model.members.waves"] + self._w["model.members.phases"])
            hidden = hidden + self.prior * waves @ self._w["model.members.mixing"]
        return hidden


def silu(values: np.ndarray) -> np.ndarray:
    """Elements times their logistic function."""
    return values / (1 + np.exp(-values))
