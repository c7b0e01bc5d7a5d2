"""A policy and a model as functions of one observation, to compare one with the other.

Shape letters: H chunk length, A action elements.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.observations import Inputs, only
from foreact.deploy_edge.runtime.engine import session_of

if TYPE_CHECKING:
    from foreact.vla.chunk_policy import ChunkPolicy

__all__ = ["input_names", "onnx_policy", "policy_hash", "run_chunks", "torch_policy"]


def input_names(policy: ChunkPolicy) -> tuple[str, ...]:
    """Inputs of the exported model: the contract's, noise for a policy that samples, the prefix where there is one."""
    return policy.input_names


def policy_hash(policy: ChunkPolicy) -> str:
    """sha256 of a policy's weights, by name."""
    digest = hashlib.sha256()
    for name, tensor in sorted(policy.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def torch_policy(policy: ChunkPolicy) -> Callable[[Inputs], np.ndarray]:
    """The original as a function of model inputs, run eagerly on one thread; it returns (H, A)."""
    import torch

    torch.set_num_threads(1)
    names = input_names(policy)

    def chunk(inputs: Inputs) -> np.ndarray:
        with torch.no_grad():
            return policy(*(torch.from_numpy(inputs[name]) for name in names)).numpy()[0]

    return chunk


def onnx_policy(content: bytes) -> Callable[[Mapping[str, np.ndarray]], np.ndarray]:
    """A model as a function of its inputs, run by onnxruntime on one thread; it returns (H, A)."""
    session = session_of(content)
    names = [each.name for each in session.get_inputs()]
    return lambda inputs: session.run(None, only(inputs, names))[0][0]


def run_chunks(chunk: Callable[[Inputs], np.ndarray], observations: list[Inputs]) -> list[np.ndarray]:
    """The chunk of each observation, (H, A)."""
    return [chunk(inputs) for inputs in observations]
