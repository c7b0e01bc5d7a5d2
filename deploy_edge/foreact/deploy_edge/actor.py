"""Exported policies for the closed-loop evaluation: entry point `onnx` of the group `foreact.policies`.

Shape letters: B batch, H chunk length, A action elements.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from foreact.deploy_edge.runtime.engine import EngineError, PolicyEngine, open_policy
from foreact.deploy_edge.runtime.stages import StagedPolicy

__all__ = ["ExportedActor", "OnnxActor"]


class ExportedActor:
    """An exported policy as the evaluation sees it.

    Args:
        path: The policy.
        device: Only `cpu`.
        opened: Opens the policy at a path.

    Attributes:
        prefix: The longest delay [control steps] it was trained for; 0 for a policy that cannot be told.

    Raises:
        EngineError: The file cannot be used, or another device was asked for.
    """

    def __init__(self, path: Path, device: str, opened: Callable[[Path], PolicyEngine | StagedPolicy]) -> None:
        if device != "cpu":
            raise EngineError(f"{path}: exported policies run on the CPU here; type device=cpu instead of {device}")
        self._engine = opened(path)
        self.contract, self.prefix = self._engine.contract, self._engine.prefix

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
            prefix: The actions that are being executed, float32 (B, H, A) in action units; None for none.
            delay: How many of them, int64 (B,); given with `prefix`.

        Raises:
            ContractError: The observation is not what the contract says, or the policy cannot be told such a prefix.
        """
        return np.stack([self._row(row, observation, noise, prefix, delay) for row in range(len(noise))])

    def _row(
        self,
        row: int,
        observation: Mapping[str, np.ndarray],
        noise: np.ndarray,
        prefix: np.ndarray | None,
        delay: np.ndarray | None,
    ) -> np.ndarray:
        one = {name: values[row] for name, values in observation.items()}
        if prefix is None or delay is None:
            return self._engine.infer(one, noise[row])
        return self._engine.infer(one, noise[row], prefix[row], int(delay[row]))


class OnnxActor(ExportedActor):
    """A file as the evaluation sees it: the very engine that runs on the robot.

    Golden inputs are checked if the model names them, as on the robot; a model that names none can be evaluated, but
    not run.

    Args:
        path: A file written by `foreact export` or `foreact compress`.
        device: Only `cpu`.

    Raises:
        EngineError: The file cannot be used, or another device was asked for.
    """

    def __init__(self, path: Path, device: str = "cpu") -> None:
        super().__init__(path, device, partial(open_policy, gate="named"))
