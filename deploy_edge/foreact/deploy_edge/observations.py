"""Observations out of an episode store, for calibration and for parity, from episodes of their own each.

Shape letters: A action elements, H chunk length.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from foreact.deploy_edge.runtime.compatibility import require_provided
from foreact.deploy_edge.runtime.signature import DELAY, NOISE, PREFIX
from foreact.episodes.contract import PolicyContract
from foreact.episodes.language import tokenize
from foreact.episodes.store import EpisodeStore, StoreError

__all__ = ["Inputs", "Part", "draw_observations", "half"]

type Inputs = dict[str, np.ndarray]
Part = Literal["calibration", "held out"]
PER_EPISODE = 4


def draw_observations(
    path: Path, contract: PolicyContract, count: int, seed: int, part: Part, longest_delay: int = 0
) -> list[Inputs]:
    """Draw observations of one half of a store's episodes, at random frames of the first camera if there is one.

    Of each task, every second episode is for calibration and the others are held out, so no episode is in both.

    Args:
        path: The episode store.
        contract: Of the policy; the store must provide what it takes.
        count: How many.
        seed: Of the draw.
        part: Which half.
        longest_delay: Decided actions per observation run through 0 to this number, for policies that take a prefix.

    Returns:
        Model inputs, each array with a batch axis of 1; also `noise` (1, H, A), for policies that sample, and `prefix`
        (1, H, A), what was done next, with `delay` (1,), how much of it is decided.

    Raises:
        StoreError: Not a store, or this half of it has no episode.
        ContractMismatch: Recorded with another robot, camera or rate.
    """
    store = EpisodeStore.open(path)
    require_provided(contract, store.contract, f"policy and store {path}")
    keys = half(store, part)
    generator = np.random.default_rng([seed, ("calibration", "held out").index(part)])
    chosen = [keys[index] for index in generator.permutation(len(keys))[: -(-count // PER_EPISODE)]]
    drawn: list[Inputs] = []
    for done, key in enumerate(chosen):
        share = -(-(count - len(drawn)) // (len(chosen) - done))
        drawn += _from_episode(store, key, contract, share, generator)
    for number, inputs in enumerate(drawn):
        inputs[DELAY] = np.array([number % (longest_delay + 1)], np.int64)
    return drawn[:count]


def half(store: EpisodeStore, part: Part) -> list[str]:
    """Keys of the episodes of one half: of each task, every second episode.

    Raises:
        StoreError: This half has no episode.
    """
    places: dict[str, int] = {}
    halves: dict[str, list[str]] = {"calibration": [], "held out": []}
    for key in store.keys():
        place = places.get(task := store.header(key).task, 0)
        halves["calibration" if place % 2 == 0 else "held out"].append(key)
        places[task] = place + 1
    if not halves[part]:
        found = f"{store.path} has {len(store)} episode(s)"
        raise StoreError(
            f"{found}: parity needs two of one task at least; record more: foreact record out={store.path}"
        )
    return halves[part]


def _from_episode(
    store: EpisodeStore, key: str, contract: PolicyContract, count: int, generator: np.random.Generator
) -> list[Inputs]:
    cameras = [name for name in contract.input_names if name.startswith("camera.")]
    episode = store.read(key, [*cameras, "state", "action"])
    done, control = episode.streams["action"], episode.streams["state"].time_ns
    clock = episode.streams[cameras[0]].time_ns if cameras else control
    frames = np.sort(generator.permutation(len(clock))[:count])
    drawn: list[Inputs] = []
    for frame in frames:
        now = int(clock[frame])
        inputs = {name: episode.streams[name].data[_at(episode.streams[name].time_ns, now, key)] for name in cameras}
        inputs["state"] = episode.streams["state"].data[_at(control, now, key)]
        if contract.language is not None:
            inputs["tokens"] = tokenize(episode.instruction, contract.language)
        shape = (contract.chunk_length, *contract.action.shape)
        inputs[NOISE] = generator.standard_normal(shape).astype(np.float32)
        following = int(np.searchsorted(done.time_ns, now)) + np.arange(contract.chunk_length)
        inputs[PREFIX] = done.data[np.minimum(following, len(done.data) - 1)]
        # a copy: numpy gives a new axis the stride 0, which torch keeps and exporters refuse
        drawn.append({name: value[None].copy(order="C") for name, value in inputs.items()})
    return drawn


def _at(clock: np.ndarray, time_ns: int, key: str) -> int:
    """Index of the sample at exactly this time."""
    index = int(np.searchsorted(clock, time_ns))
    if index == len(clock) or clock[index] != time_ns:
        raise StoreError(f"episode {key}: no sample at {time_ns} ns, where the first camera has a frame")
    return index


def only(inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> Inputs:
    """The inputs with these names, in this order."""
    return {name: inputs[name] for name in names}
