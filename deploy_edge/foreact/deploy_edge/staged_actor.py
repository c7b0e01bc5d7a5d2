"""Policies exported in stages for the closed-loop evaluation: entry point `json` of the group `foreact.policies`.

Shape letters: B batch, H chunk length, A action elements.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foreact.deploy_edge.runtime.refusal import EngineError
from foreact.deploy_edge.runtime.stages import StagedPolicy

__all__ = ["StagedActor"]


class StagedActor:
    """A policy exported in stages, as the evaluation sees it.

    Args:
        path: `stages.json` of a folder written by `foreact export to=stages`.
        device: Only `cpu`.

    Raises:
        EngineError: A file cannot be used, or another device was asked for.
        GoldenError: The stages do not compute on this machine what was exported.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        if device != "cpu":
            raise EngineError(f"{path}: exported policies run on the CPU here; type device=cpu instead of {device}")
        self._policy = StagedPolicy(path)
        self.contract, self.prefix = self._policy.contract, self._policy.prefix

    def act(
        self,
        observation: Mapping[str, np.ndarray],
        noise: np.ndarray,
        prefix: np.ndarray | None = None,
        delay: np.ndarray | None = None,
    ) -> np.ndarray:
        """Chunks (B, H, A) float32 in action units.

        Args:
            observation: One array for each of `contract.input_names`, with leading B.
            noise: Gaussian noise (B, H, A) float32; used by policies that sample.
            prefix: Decided actions, float32 (B, H, A) in action units; None for none.
            delay: How many of them, int64 (B,); given with `prefix`.

        Raises:
            ContractError: The observation is not what the contract says.
        """
        chunks = []
        for row in range(len(noise)):
            one = {name: values[row] for name, values in observation.items()}
            told = None if prefix is None else prefix[row]
            chunks.append(self._policy.infer(one, noise[row], told, 0 if delay is None else int(delay[row])))
        return np.stack(chunks)
