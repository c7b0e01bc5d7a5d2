"""Exported policies for the closed-loop evaluation: entry point `onnx` of the group `foreact.policies`.

Shape letters: B batch, H chunk length, A action elements.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from foreact.deploy_edge.runtime.engine import EngineError, OnnxEngine

__all__ = ["OnnxActor"]


class OnnxActor:
    """An exported policy as the evaluation sees it: the very engine that runs on the robot.

    Args:
        path: A file written by `foreact export` or `foreact compress`.
        device: Only `cpu`.

    Raises:
        EngineError: The file cannot be used, or another device was asked for.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        if device != "cpu":
            raise EngineError(f"{path}: exported policies run on the CPU here; type device=cpu instead of {device}")
        self._engine = OnnxEngine(path)
        self.contract = self._engine.contract

    def act(self, observation: Mapping[str, np.ndarray], noise: np.ndarray) -> np.ndarray:
        """Chunks (B, H, A) float32 in action units.

        Args:
            observation: One array for each of `contract.input_names`, with leading B.
            noise: Gaussian noise (B, H, A) float32; used by policies that sample.

        Raises:
            ContractError: The observation is not what the contract says.
        """
        rows = range(len(noise))
        one = [{name: values[row] for name, values in observation.items()} for row in rows]
        return np.stack([self._engine.infer(each, noise[row]) for row, each in zip(rows, one, strict=True)])
