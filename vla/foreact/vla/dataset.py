"""Demonstrations of an episode store as training samples in memory.

A sample is one camera frame, or one control step for a policy without cameras, with the state at that time, the
instruction and the next H actions.
Shape letters: N samples, H chunk length, A action elements, S state elements, T tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.episodes.contract import PolicyContract
from foreact.episodes.language import tokenize
from foreact.episodes.outcome import ProgressFn, quiet
from foreact.episodes.store import EpisodeStore, StoreError

__all__ = ["LANDMARKS", "Demonstrations", "load_demonstrations"]

LANDMARKS = "landmarks"


@dataclass(frozen=True)
class Demonstrations:
    """Samples ready to be drawn.

    Attributes:
        inputs: For each camera stream of the contract (N, ...) as stored; `state` (N, S); `tokens` int64 (N, T) if it
            has language.
        chunk: The next H clean actions in action units, (N, H, A); the last one repeats past the episode's end.
        mask: 1 where the action was recorded, 0 past the end, (N, H).
        landmarks: For each camera, position of named places in its frame [m] and presence, (N, L, 4); empty if the
            demonstrations have none.
    """

    inputs: dict[str, Tensor]
    chunk: Tensor
    mask: Tensor
    landmarks: dict[str, Tensor]

    def __len__(self) -> int:
        return len(self.chunk)


def load_demonstrations(
    store: EpisodeStore, keys: Sequence[str], contract: PolicyContract, progress: ProgressFn = quiet
) -> Demonstrations:
    """Read episodes into memory.

    Args:
        store: Where they are.
        keys: Which.
        contract: What the policy sees; its cameras and streams must be among the store's.
        progress: Told of each stream read.

    Raises:
        StoreError: No episode, or one that cannot be read or whose frames do not fall on control steps.
    """
    if not keys:
        raise StoreError(f"{store.path} has no episode to train on; record some with: foreact record out={store.path}")
    names = [name for name in contract.input_names if name.startswith("camera.")]
    inputs: dict[str, Tensor] = {}
    for done, name in enumerate(names):
        progress(done, len(names) + 1, "load demonstrations")
        header = store.header(keys[0]).streams[name]
        frames = np.empty((int(store.lengths(keys, name).sum()), *header.shape[1:]), header.dtype)
        store.read_into(keys, name, frames)
        inputs[name] = torch.from_numpy(frames)
    progress(len(names), len(names) + 1, "load demonstrations")
    rows = [_episode_samples(store, key, names[0] if names else None, contract) for key in keys]
    stacked = {name: torch.from_numpy(np.concatenate([row[name] for row in rows])) for name in rows[0]}
    chunk, mask = stacked.pop("chunk"), stacked.pop("mask")
    landmarks = {camera.name: stacked.pop(f"{LANDMARKS}.{camera.name}", None) for camera in contract.cameras}
    progress(len(names) + 1, len(names) + 1, "load demonstrations")
    known = {name: values for name, values in landmarks.items() if values is not None}
    return Demonstrations({**inputs, **stacked}, chunk, mask, known if len(known) == len(landmarks) else {})


def _episode_samples(
    store: EpisodeStore, key: str, camera: str | None, contract: PolicyContract
) -> dict[str, np.ndarray]:
    """State, tokens if there is language, chunk and mask at each frame of one episode, or at each control step."""
    known = {f"{LANDMARKS}.{camera.name}" for camera in contract.cameras}
    named = [name for name in store.header(key).streams if name in known]
    episode = store.read(key, ["state", "action", *named])
    actions, count = episode.streams["action"].data, len(episode.streams["state"].data)
    # the last state of an episode may have no action any more
    steps = np.arange(min(count, len(actions)))
    if camera is not None:
        steps = _frame_steps(store, key, camera, contract.control_rate_hz, count)
    # row k of a chunk is the action k steps after the frame
    future = steps[:, None] + np.arange(contract.chunk_length)[None, :]
    language = contract.language
    told = {} if language is None else {"tokens": np.tile(tokenize(episode.instruction, language), (len(steps), 1))}
    return {
        **{name: episode.streams[name].data for name in named},
        "state": episode.streams["state"].data[steps],
        **told,
        "chunk": actions[np.minimum(future, len(actions) - 1)],
        "mask": (future < len(actions)).astype(np.float32),
    }


def _frame_steps(store: EpisodeStore, key: str, camera: str, rate_hz: float, count: int) -> np.ndarray:
    """Control step of each frame."""
    clock = store.read_clock(key, camera)
    steps = np.rint(clock * (rate_hz / 1e9)).astype(np.int64)
    off = np.abs(steps * (1e9 / rate_hz) - clock).max() if len(clock) else 0
    if off > 1000 or (len(steps) and steps.max() >= count):
        raise StoreError(f"{store.path}: frames of {camera} in {key} do not fall on the {count} control steps")
    return steps
