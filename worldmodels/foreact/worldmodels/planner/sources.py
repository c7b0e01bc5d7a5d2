"""Where a plan's futures come from: a model as it is, its likeliest future alone, or futures of other chunks.

Shape letters: n = chunks, K = futures, T = control steps, A = action elements, O = observed elements.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foreact.worldmodels.checkpoint import load_model
from foreact.worldmodels.futures import FutureModel, Futures
from foreact.worldmodels.models.signature import SignatureError
from foreact.worldmodels.planner.plan import Imagine

__all__ = ["from_model", "likeliest", "model_of", "rows", "shuffled"]


def model_of(folder: Path, task: str) -> FutureModel:
    """A trained model of a task.

    Raises:
        CheckpointError: Missing, damaged, or not a world model.
        SignatureError: A model of another task.
    """
    model = load_model(folder)
    if model.signature.task != task:
        raise SignatureError(f"{folder} is a model of {model.signature.task}, not of {task}; type scene=...")
    return model


def from_model(model: FutureModel, observed: np.ndarray) -> Imagine:
    """Futures of chunks (n, T, A) from an observation (O,)."""
    context = torch.from_numpy(observed)[None]
    return lambda chunks: model.imagine(context.expand(len(chunks), -1), chunks)


def likeliest(imagine: Imagine) -> Imagine:
    """Only the most probable future of each chunk, as if it were certain."""

    def one(chunks: Tensor) -> Futures:
        futures = imagine(chunks)
        best = futures.log_weights.argmax(1, keepdim=True)
        numbers = torch.arange(len(best))[:, None]
        return Futures(
            values=futures.values[numbers, best],
            log_weights=torch.zeros_like(futures.log_weights[:, :1]),
            success=futures.success[numbers, best],
            contact=futures.contact[numbers, best],
            reward=futures.reward[numbers, best],
        )

    return one


def shuffled(imagine: Imagine, seed: int) -> Imagine:
    """Futures that belong to other chunks of the same call: the control for every claim that futures help."""
    random = np.random.default_rng(seed)

    def others(chunks: Tensor) -> Futures:
        count = len(chunks)
        if count == 1:
            return imagine(chunks)
        order = random.permutation(count)
        # everyone gets the next one's in a random circle, so nobody keeps its own
        givers = np.empty(count, np.int64)
        givers[order] = np.roll(order, 1)
        return rows(imagine(chunks), torch.from_numpy(givers))

    return others


def rows(futures: Futures, chosen: Tensor | slice) -> Futures:
    """Futures of some chunks only, copied if `chosen` is a tensor."""
    return Futures(
        values=futures.values[chosen],
        log_weights=futures.log_weights[chosen],
        success=futures.success[chosen],
        contact=futures.contact[chosen],
        reward=futures.reward[chosen],
    )
