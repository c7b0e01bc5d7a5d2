"""Anything that turns observations into action chunks: trained policies, exported models, third-party policies.

Shape letters: B batch, H chunk length, A action elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from foreact.episodes.contract import PolicyContract

__all__ = ["Actor", "ActorError", "PrefixActor", "TorchActor", "chunk_noise", "longest_prefix", "open_actor"]

GROUP = "foreact.policies"


class ActorError(ValueError):
    """There is no policy at a path, or none that this installation can open."""


class Actor(Protocol):
    """A policy as the evaluation and the robot see it."""

    contract: PolicyContract

    def act(self, observation: Mapping[str, np.ndarray], noise: np.ndarray) -> np.ndarray:
        """Chunks (B, H, A) float32 in action units for raw observations with leading B.

        Args:
            observation: One array for each of `contract.input_names`.
            noise: Gaussian noise (B, H, A) float32, for policies that sample; others leave it.
        """
        ...


@runtime_checkable
class PrefixActor(Actor, Protocol):
    """An actor that can be told which actions are being executed while it decides.

    Attributes:
        prefix: The longest delay [control steps] it was trained for; 0 for a policy that cannot be told.
    """

    prefix: int

    def act(
        self,
        observation: Mapping[str, np.ndarray],
        noise: np.ndarray,
        prefix: np.ndarray | None = None,
        delay: np.ndarray | None = None,
    ) -> np.ndarray:
        """As `Actor.act`.

        Args:
            observation: One array for each of `contract.input_names`.
            noise: Gaussian noise (B, H, A) float32.
            prefix: The actions that are being executed, float32 (B, H, A) in action units; None for none.
            delay: How many of them, int64 (B,); given with `prefix`.
        """
        ...


class TorchActor:
    """A trained policy run by torch.

    One observation at a time on CPU, so that an episode does not depend on how many others run beside it: batched
    matrix products round differently for different batch sizes.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        import torch

        from foreact.vla.checkpoint import load_policy

        self._policy = load_policy(path, device)
        self._device = torch.device(device)
        self.contract, self.prefix = self._policy.contract, self._policy.prefix

    def act(
        self,
        observation: Mapping[str, np.ndarray],
        noise: np.ndarray,
        prefix: np.ndarray | None = None,
        delay: np.ndarray | None = None,
    ) -> np.ndarray:
        """See `PrefixActor`."""
        self.contract.check_observation(observation, "act")
        told = {"noise": noise, "prefix": prefix, "delay": delay}
        given = {**observation, **{name: values for name, values in told.items() if values is not None}}
        rows = [slice(row, row + 1) for row in range(len(noise))] if self._device.type == "cpu" else [slice(None)]
        return np.concatenate([self._act(given, row) for row in rows])

    def _act(self, given: Mapping[str, np.ndarray], row: slice) -> np.ndarray:
        import torch

        inputs = {name: torch.from_numpy(values[row]).to(self._device) for name, values in given.items()}
        chunk = self._policy.act(inputs, inputs["noise"], inputs.get("prefix"), inputs.get("delay"))
        return chunk.cpu().numpy()


def open_actor(path: Path, device: str = "cpu") -> Actor:
    """Open the policy at a path.

    A folder is a trained policy. A file is opened by the entry point of group `foreact.policies` whose name is the
    file's suffix without the dot, called as factory(path, device).

    Args:
        path: A folder written by training, or a file.
        device: Where to run.

    Raises:
        ActorError: Nothing there, or no entry point for the suffix.
    """
    if not path.exists():
        raise ActorError(f"no policy at {path}; train one with: foreact train, or give another path with policy=...")
    if path.is_dir():
        return TorchActor(path, device)
    found = entry_points(group=GROUP, name=path.suffix.removeprefix("."))
    if not found:
        known = sorted({f".{point.name}" for point in entry_points(group=GROUP)})
        raise ActorError(f"{path}: no policy reader for {path.suffix or 'a file without suffix'}; known: {known}")
    factory: Callable[[Path, str], Actor] = next(iter(found)).load()
    return factory(path, device)


def longest_prefix(actor: Actor) -> int:
    """The longest delay [control steps] whose actions this actor can be told; 0 for one that cannot be told."""
    return actor.prefix if isinstance(actor, PrefixActor) else 0


def chunk_noise(seed: int, decision: int, contract: PolicyContract) -> np.ndarray:
    """Noise of one decision of one episode, (1, H, A) float32: the same whoever asks, in whatever order."""
    generator = np.random.default_rng([seed, decision])
    return generator.standard_normal((1, contract.chunk_length, *contract.action.shape)).astype(np.float32)
