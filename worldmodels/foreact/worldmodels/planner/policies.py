"""Policies that a planner starts from: an expert's under-trained clone, and an expert whose errors can be dialled.

Shape letters: S = states, n = samples of each, T = control steps, A = action elements, O = observed elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch

from foreact.sim.families import expert
from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.planner.proposals import coloured_noise
from foreact.worldmodels.ranking.policies import CloneConfig, ClonedPolicy, clone, demonstrate
from foreact.worldmodels.scenes import Scene

__all__ = [
    "ClonedConfig", "PolicyConfig", "SamplingPolicy", "ScriptedConfig", "ScriptedPolicy", "Situation",
    "UnderTrainedPolicy",
]  # fmt: skip


@dataclass(frozen=True)
class Situation:
    """Worlds that need chunks.

    Attributes:
        worlds: Live; they stay as they are.
        ids: Which of them, int (S,).
        observed: What is seen there, (S, O).
        seeds: Of each one's samples, int (S, k): the same seeds give the same errors.
    """

    worlds: TaskWorlds
    ids: np.ndarray
    observed: np.ndarray
    seeds: np.ndarray


class SamplingPolicy(Protocol):
    """Anything that gives several chunks for a state."""

    def sample(self, situation: Situation, count: int) -> np.ndarray:
        """Chunks, float32 (S, n, T, A); the first of each state is the policy's plain answer."""
        ...


@dataclass(frozen=True)
class ClonedConfig:
    """A clone of the scene's expert, stopped early.

    Attributes:
        kind: Its name.
        updates: Of its training.
        demonstrations: Episodes it learns from.
        spread: Standard deviation of a push that its samples get for the whole chunk [action units].
        seed: Of demonstrations and training; the seed of the episodes is added.
    """

    kind: Literal["cloned"] = "cloned"
    updates: int = 250
    demonstrations: int = 32
    spread: float = 0.3
    seed: int = 100_000

    def __post_init__(self) -> None:
        if self.updates < 0 or self.demonstrations < 1 or not self.spread >= 0:
            raise ValueError(f"policy: expected updates >= 0, demonstrations >= 1 and spread >= 0, got {self}")

    def build(self, scene: Scene, horizon: int, seed: int) -> SamplingPolicy:
        """Record the expert and train the clone."""
        config = CloneConfig(episodes=self.demonstrations, horizon=horizon, seed=self.seed + seed)
        return UnderTrainedPolicy(clone(demonstrate(scene, config), config, [self.updates])[self.updates], self.spread)


@dataclass(frozen=True)
class ScriptedConfig:
    """The scene's expert with errors.

    Attributes:
        kind: Its name.
        bias: Standard deviation of an offset that a whole chunk shares [action units].
        noise: Standard deviation of noise that changes slowly within a chunk [action units].
        memory: Correlation of that noise from one step to the next.
        strength: What the expert's actions are multiplied with.
        moving: Action elements that are wrong; the others are the expert's.
    """

    kind: Literal["scripted"] = "scripted"
    bias: float = 0.3
    noise: float = 0.3
    memory: float = 0.9
    strength: float = 1.0
    moving: tuple[int, ...] = (0, 1, 2)

    def __post_init__(self) -> None:
        for name in ("bias", "noise", "strength"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, expected 0 or more")
        if not 0 <= self.memory < 1:
            raise ValueError(f"memory is {self.memory}, expected from 0 to below 1")

    def build(self, scene: Scene, horizon: int, seed: int) -> SamplingPolicy:
        """The policy; its errors follow from the seeds of each call."""
        return ScriptedPolicy(scene, self, horizon)


PolicyConfig = ClonedConfig | ScriptedConfig
"""The policies, told apart by their `kind`; without one it is the first."""


class UnderTrainedPolicy:
    """Chunks of a clone, which sees observations alone.

    Args:
        policy: The clone.
        spread: Standard deviation of the push on all samples but the first.
    """

    def __init__(self, policy: ClonedPolicy, spread: float) -> None:
        self._policy, self._spread = policy, spread

    def sample(self, situation: Situation, count: int) -> np.ndarray:
        """Chunks, float32 (S, n, T, A)."""
        parts = []
        for seen, seed in zip(situation.observed, situation.seeds, strict=True):
            generator = torch.Generator().manual_seed(int(np.random.SeedSequence(seed).generate_state(1)[0]))
            parts.append(self._policy.sample(torch.from_numpy(seen)[None], count, generator, self._spread)[0].numpy())
        return np.stack(parts).astype(np.float32)


class ScriptedPolicy:
    """What the expert would do if nothing hidden acted, with errors.

    Args:
        scene: The task and what is hidden in it.
        config: How wrong.
        horizon: T.

    Raises:
        ValueError: The task has no scripted expert.
    """

    def __init__(self, scene: Scene, config: ScriptedConfig, horizon: int = 16) -> None:
        script = expert(scene.task.name)
        if script is None:
            raise ValueError(f"task {scene.task.name} has no scripted expert, so there is no policy to plan with")
        self._scene, self._script, self.config, self.horizon = scene, script, config, horizon
        self._forks: dict[tuple[int, int], TaskWorlds] = {}

    def sample(self, situation: Situation, count: int) -> np.ndarray:
        """Chunks, float32 (S, n, T, A)."""
        worlds = situation.worlds
        streams = [np.random.default_rng(seed) for seed in situation.seeds]
        plain = self._intended(worlds, situation.ids)
        chunks = [self._wrong(chunk, count, stream) for chunk, stream in zip(plain, streams, strict=True)]
        return np.clip(np.stack(chunks), worlds.low, worlds.high).astype(np.float32)

    def _intended(self, worlds: TaskWorlds, ids: np.ndarray) -> np.ndarray:
        """The expert's own chunks, (S, T, A)."""
        key = id(worlds.backend.model), len(ids)
        # a policy does not know what is hidden
        forks = worlds.fork(ids, 1, self._scene.nominal, into=self._forks.get(key))
        self._forks = {key: forks}
        self._script.reset(forks.views, np.arange(len(ids)))
        chunk = np.empty((len(ids), self.horizon, len(worlds.low)), np.float32)
        for step in range(self.horizon):
            chunk[:, step] = self._script(forks.views)
            forks.step(chunk[:, step].copy())
        return chunk

    def _wrong(self, chunk: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
        own, moving = self.config, list(self.config.moving)
        error = coloured_noise((count, len(chunk), len(moving)), own.noise, own.memory, random)
        error = error + own.bias * random.standard_normal((count, 1, len(moving)), np.float32)
        samples = np.repeat(chunk[None], count, axis=0)
        samples[:, :, moving] = own.strength * samples[:, :, moving] + error
        return samples
