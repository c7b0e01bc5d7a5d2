"""An ONNX model as a function from observation to chunk.

Shape letters: H chunk length, A action elements.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from foreact.deploy_edge.observations import Inputs, only
from foreact.deploy_edge.runtime.engine import session_of

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["Chunk", "chunk_of"]

Chunk = Callable[[Inputs], np.ndarray]
"""A policy as a function of model inputs that returns (H, A)."""


def chunk_of(model: "ModelProto") -> Chunk:
    """A model as a function of its inputs, run by onnxruntime on one thread.

    Args:
        model: Its first result is a chunk (1, H, A).

    Raises:
        EngineError: onnxruntime cannot load it.
    """
    session = session_of(model.SerializeToString())
    names = [each.name for each in session.get_inputs()]
    return lambda inputs: session.run(None, only(inputs, names))[0][0]
