"""Which states are forked, and which chunks are commanded there.

States lie in episodes that are driven by the scripted expert, the expert with noise, the expert always off by the
same, noise alone or held random actions, in worlds with hidden parameters. Chunks are what an expert would do in a
world with nothing hidden, that with noise, that always off by the same, noise alone, held actions, and straight moves
as a planner proposes them. Everything drawn for a state follows from purpose, seed and the state's number: not from
how many states are made at once.

Noise is an Ornstein-Uhlenbeck process (Uhlenbeck and Ornstein 1930, "On the theory of the Brownian motion").
Shape letters: N = worlds, one state each; n = selected worlds, T = control steps of a chunk, A = action elements.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, get_args

import numpy as np

from foreact.sim.families import Expert
from foreact.sim.random import WorldRandom
from foreact.sim.seeds import Split, layout_seed
from foreact.sim.tabletop.arm import STEP, WORKSPACE, aim
from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.scenes import Scene

__all__ = [
    "CHUNK_KINDS", "DRIVERS", "Driver", "Purpose", "chunks", "drifting_noise", "state_keys", "warm_up",
]  # fmt: skip

Purpose = Literal["train", "calibrate", "test"]
SPLITS: Mapping[str, Split] = {"train": "train", "calibrate": "calibration", "test": "eval"}

DRIVERS: Mapping[str, float] = {"expert": 0.35, "noisy expert": 0.3, "leaning expert": 0.2, "noise": 0.1, "held": 0.05}
"""Who drives an episode up to the fork, and how often."""

CHUNK_KINDS: Mapping[str, float] = {
    "expert": 0.2, "noisy expert": 0.2, "leaning expert": 0.2, "noise": 0.1, "held": 0.1, "straight": 0.2,
}  # fmt: skip
"""What is commanded after the fork, and how often."""

DRIVER_SIZES = (0.1, 0.3, 0.6)  # standard deviations of a driver's noise
SIZES = (0.2, 0.5, 1.0)  # and of a chunk's
RETURN = 0.15  # share of a control step by which noise returns to zero
HOLD = 8  # control steps for which a driver holds a random action
FEWEST = 4  # control steps before the fork
SHARE = 0.8  # of the task's time limit within which states lie
KEY_BITS, COPY_BITS = 50, 10
LAYOUT, DRIVE, CHUNK, FUTURE = 0, 1, 2, 3


def state_keys(purpose: Purpose, seed: int, states: np.ndarray, stream: int, copies: int = 1) -> np.ndarray:
    """Keys of random streams: no two of another purpose, seed, state, stream or copy are equal.

    Args:
        purpose: What the states are for.
        seed: The user's.
        states: Their numbers, int (n,).
        stream: `LAYOUT`, `DRIVE`, `CHUNK` or `FUTURE`.
        copies: How many keys of each state.

    Returns:
        Keys, uint64 (n * copies,), those of one state side by side.

    Raises:
        ValueError: An argument is out of range.
    """
    if purpose not in get_args(Purpose):
        raise ValueError(f"purpose is {purpose!r}, expected one of {', '.join(get_args(Purpose))}")
    if not 0 < copies <= 1 << COPY_BITS:
        raise ValueError(f"copies={copies} is out of range; give 1 to {1 << COPY_BITS}")
    base = np.array([layout_seed(SPLITS[purpose], seed, int(each)) for each in states], np.uint64)
    copy = np.arange(copies, dtype=np.uint64) << np.uint64(KEY_BITS)
    return (base[:, None] | copy).ravel() | np.uint64(stream << (KEY_BITS + COPY_BITS))


def warm_up(scene: Scene, purpose: Purpose, seed: int, states: np.ndarray) -> np.ndarray:
    """How many control steps of an episode lie before each state, int (n,)."""
    random = _keyed(state_keys(purpose, seed, states, DRIVE))
    most = max(int(SHARE * scene.task.limit), FEWEST)
    return np.floor(random.uniform(np.arange(len(states)), 1, FEWEST, most + 1))[:, 0].astype(np.int64)


class Driver:
    """Acts in all worlds up to the fork, in each as its state's number says.

    Args:
        expert: The task's.
        worlds: The worlds.
        keys: Of the states' streams, (N,).
    """

    def __init__(self, expert: Expert, worlds: TaskWorlds, keys: np.ndarray) -> None:
        self._expert, self._worlds, self._keys = expert, worlds, keys
        self._every = np.arange(len(worlds))
        self._random = WorldRandom(0, len(worlds))
        self.kind = np.zeros(len(worlds), np.int64)
        self._steps = np.zeros(len(worlds), np.int64)
        self._size = np.zeros((len(worlds), 1))
        self._noise, self._held = (np.zeros((len(worlds), len(worlds.low))) for _ in range(2))

    def begin(self, ids: np.ndarray) -> None:
        """New episodes begin in some worlds, int (n,)."""
        self._random.seed(ids, self._keys[ids])
        draw = self._random.uniform(ids, 3)  # the first is that of `warm_up`
        self.kind[ids] = _chosen(draw[:, 1], DRIVERS)
        self._size[ids, 0] = np.array(DRIVER_SIZES)[(draw[:, 2] * len(DRIVER_SIZES)).astype(int)]
        self._noise[ids] = self._size[ids] * self._random.normal(ids, self._noise.shape[1])
        self._steps[ids] = 0
        self._expert.reset(self._worlds.views, ids)

    def actions(self) -> np.ndarray:
        """What to do now, float32 (N, A)."""
        kinds, size = list(DRIVERS), self._noise.shape[1]
        planned = np.asarray(self._expert(self._worlds.views))
        held = self._random.uniform(self._every, size, self._worlds.low, self._worlds.high)
        self._held = np.where((self._steps % HOLD == 0)[:, None], held, self._held)
        kind = self.kind[:, None]
        drifted = _next(self._noise, self._size * self._random.normal(self._every, size))
        self._noise = np.where(kind == kinds.index("leaning expert"), self._noise, drifted)
        self._steps += 1
        action = np.where(kind == kinds.index("noise"), self._noise, planned)
        noisy = (kind == kinds.index("noisy expert")) | (kind == kinds.index("leaning expert"))
        action = action + np.where(noisy, self._noise, 0.0)
        action = np.where(kind == kinds.index("held"), self._held, action)
        return np.clip(action, self._worlds.low, self._worlds.high).astype(np.float32)


def chunks(
    expert: Expert, worlds: TaskWorlds, nominal: TaskWorlds, keys: np.ndarray, horizon: int
) -> tuple[np.ndarray, np.ndarray]:
    """What is commanded after the fork.

    Args:
        expert: The task's.
        worlds: The states.
        nominal: A fork of them with nothing hidden, one copy each; it is used up.
        keys: Of the states' streams, (N,).
        horizon: T.

    Returns:
        Chunks, float32 (N, T, A), and their kinds as numbers in `CHUNK_KINDS`, int (N,).
    """
    every, kinds, size = np.arange(len(worlds)), list(CHUNK_KINDS), len(worlds.low)
    random = _keyed(keys)
    draw = random.uniform(every, 2)
    kind = _chosen(draw[:, 0], CHUNK_KINDS)
    scale = np.array(SIZES)[(draw[:, 1] * len(SIZES)).astype(int)]
    held = random.uniform(every, size, worlds.low, worlds.high)
    noise = drifting_noise(random, horizon, size, scale)
    straight = _straight(np.asarray(aim(worlds.views)), random, horizon)
    planned = _run_ahead(expert, nominal, horizon)
    shape = kind[:, None, None]
    found = np.where(shape == kinds.index("noise"), noise, planned)
    found = found + np.where(shape == kinds.index("noisy expert"), noise, 0.0)
    found = np.where(shape == kinds.index("leaning expert"), planned + noise[:, :1], found)
    found = np.where(shape == kinds.index("held"), held[:, None], found)
    found = np.where(shape == kinds.index("straight"), straight, found)
    return np.clip(found, worlds.low, worlds.high).astype(np.float32), kind


def drifting_noise(random: WorldRandom, horizon: int, size: int, scale: np.ndarray) -> np.ndarray:
    """Noise that returns to zero slowly, of a standard deviation per world, (N,); (N, T, A)."""
    every = np.arange(len(scale))
    values = [scale[:, None] * random.normal(every, size)]
    for _ in range(horizon - 1):
        values.append(_next(values[-1], scale[:, None] * random.normal(every, size)))
    return np.stack(values, axis=1)


def _next(noise: np.ndarray, fresh: np.ndarray) -> np.ndarray:
    # x' = (1 - theta) x + sqrt(1 - (1 - theta)^2) sigma z keeps the standard deviation at sigma
    return (1 - RETURN) * noise + np.sqrt(1 - (1 - RETURN) ** 2) * fresh


def _straight(start: np.ndarray, random: WorldRandom, horizon: int) -> np.ndarray:
    """Straight to a place at an even speed, then wait there; the jaws open or closed, (N, T, A)."""
    every = np.arange(len(start))
    low, high = (np.array(each) for each in WORKSPACE)
    draw = random.uniform(every, 5, -1.0, 1.0)
    place = np.clip(start + 0.3 * draw[:, :3], low, high)
    way = (place - start) / STEP
    fastest = 0.65 + 0.35 * draw[:, 3]  # share of the largest step
    steps = np.maximum(np.abs(way).max(-1) / fastest, 1.0)[:, None]
    # so much of the way lies in step t: 1 / steps each, and what is left in the last
    share = np.clip(steps - np.arange(horizon), 0.0, 1.0) / steps
    jaws = np.broadcast_to(np.sign(draw[:, 4])[:, None, None], (len(start), horizon, 1))
    return np.concatenate([share[:, :, None] * way[:, None], jaws], axis=2)


def _run_ahead(expert: Expert, nominal: TaskWorlds, horizon: int) -> np.ndarray:
    """What the expert does if nothing is hidden, (N, T, A)."""
    expert.reset(nominal.views, np.arange(len(nominal)))
    planned = []
    for _ in range(horizon):
        planned.append(np.array(expert(nominal.views)))
        nominal.step(planned[-1])
    return np.stack(planned, axis=1)


def _keyed(keys: np.ndarray) -> WorldRandom:
    random = WorldRandom(0, len(keys))
    random.seed(np.arange(len(keys)), keys)
    return random


def _chosen(draw: np.ndarray, shares: Mapping[str, float]) -> Any:
    """Numbers of kinds by their shares, int (N,)."""
    ends = np.cumsum(list(shares.values()))
    return np.minimum(np.searchsorted(ends, draw, side="right"), len(ends) - 1)
