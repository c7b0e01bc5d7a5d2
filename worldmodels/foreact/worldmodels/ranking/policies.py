"""Policies of graded quality for a scene: clones of its expert at several stages of training, and deliberate faults.

A policy here is a function of observations alone, so that it can act in a simulator and inside a world model alike.
Shape letters: B = observations, n = samples, T = control steps of a chunk, O = observed elements, A = action elements.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from foreact.sim.tabletop.experts import EXPERTS
from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.scenes import Scene

__all__ = ["CloneConfig", "ClonedPolicy", "Demonstrations", "Policy", "clone", "demonstrate", "faulty"]

Policy = Callable[[Tensor], Tensor]
"""Observations (B, O) to chunks of commands in [-1, 1], (B, T, A)."""


@dataclass(frozen=True)
class CloneConfig:
    """How an expert is copied.

    Attributes:
        episodes: Demonstrations.
        noise: Standard deviation of the noise that is executed; labels stay clean.
        horizon: T.
        width: Units of each of two hidden layers.
        batch: Samples per update.
        learning_rate: Adam's.
        seed: Of everything random.
    """

    episodes: int = 512
    noise: float = 0.3
    horizon: int = 16
    width: int = 128
    batch: int = 256
    learning_rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class Demonstrations:
    """What an expert saw and would have done next: observations (n, O) and chunks (n, T, A), float32."""

    observations: np.ndarray
    chunks: np.ndarray


class ClonedPolicy(nn.Module):
    """A chunk of commands from one observation.

    Args:
        demonstrations: Decide scales.
        width: Units of each hidden layer.
    """

    def __init__(self, demonstrations: Demonstrations, width: int) -> None:
        super().__init__()
        observations, (_, self.horizon, self.actions) = demonstrations.observations, demonstrations.chunks.shape
        self.mean: Tensor
        self.scale: Tensor
        self.register_buffer("mean", torch.from_numpy(observations.mean(0)))
        self.register_buffer("scale", torch.from_numpy(observations.std(0) + 1e-3))
        self.net = nn.Sequential(
            nn.Linear(observations.shape[1], width), nn.SiLU(),
            nn.Linear(width, width), nn.SiLU(),
            nn.Linear(width, self.horizon * self.actions),
        )  # fmt: skip

    def forward(self, observation: Tensor) -> Tensor:
        """Chunks (B, T, A) for observations (B, O)."""
        # scales keep what hardly ever moved from being blown up
        seen = ((observation - self.mean) / self.scale).clamp(-5, 5)
        return self.net(seen).unflatten(-1, (self.horizon, self.actions)).clamp(-1, 1)

    @torch.no_grad()
    def sample(self, observation: Tensor, count: int, generator: torch.Generator, noise: float = 0.3) -> Tensor:
        """Chunks around the copied one.

        Args:
            observation: (B, O).
            count: n.
            generator: Of the noise.
            noise: Standard deviation of a push that lasts for the whole chunk, on the motion.

        Returns:
            (B, n, T, A); the first of each is the policy's own.
        """
        chunk = self(observation)[:, None].repeat(1, count, 1, 1)
        push = noise * torch.randn(len(chunk), count, 1, self.actions, generator=generator)
        push[:, 0], push[..., -1] = 0, 0
        return (chunk + push).clamp(-1, 1)


def demonstrate(scene: Scene, config: CloneConfig) -> Demonstrations:
    """Let the scene's expert act in worlds with hidden parameters.

    Args:
        scene: Where.
        config: How often, how noisily.
    """
    start = TaskWorlds(scene.task, config.episodes, seed=config.seed, autoreset=False)
    first = start.reset().copy()
    worlds = start.fork(np.arange(config.episodes), 1, scene.hidden, seed=config.seed)
    expert, steps = EXPERTS[scene.name](), scene.task.limit
    seen = np.empty((config.episodes, steps + 1, first.shape[1]), np.float32)
    labels = np.empty((config.episodes, steps, 4), np.float32)
    alive = np.ones((config.episodes, steps + 1), bool)
    seen[:, 0], pushes = first, _pushes(config, steps)
    for step in range(steps):
        labels[:, step] = expert(worlds.views)
        result = worlds.step(np.clip(labels[:, step] + pushes[:, step], -1, 1))
        seen[:, step + 1] = result.observation
        alive[:, step + 1] = alive[:, step] & ~np.asarray(result.success)
    return _windows(seen[:, :-1], np.clip(labels, -1, 1), alive[:, :-1], config.horizon)


def _pushes(config: CloneConfig, steps: int) -> np.ndarray:
    """Noise on the motion that lasts four steps each, float32 (episodes, steps, A)."""
    rng, shape = np.random.default_rng(config.seed), (config.episodes, -(-steps // 4), 3)
    held = np.repeat(rng.normal(0, config.noise, shape), 4, axis=1)[:, :steps]
    return np.pad(held, ((0, 0), (0, 0), (0, 1))).astype(np.float32)


def clone(demonstrations: Demonstrations, config: CloneConfig, updates: Sequence[int]) -> Mapping[int, ClonedPolicy]:
    """Copy an expert and keep the copy at several stages.

    Args:
        demonstrations: What it did.
        config: How to train.
        updates: After so many updates each, increasing.

    Returns:
        The policy after each of these numbers of updates.
    """
    import copy

    generator = torch.Generator().manual_seed(config.seed)
    torch.manual_seed(config.seed)
    policy = ClonedPolicy(demonstrations, config.width)
    optimiser = torch.optim.Adam(policy.parameters(), lr=config.learning_rate)
    seen, chunks = torch.from_numpy(demonstrations.observations), torch.from_numpy(demonstrations.chunks)
    kept: dict[int, ClonedPolicy] = {}
    for update in range(max(updates) + 1):
        if update in updates:
            kept[update] = copy.deepcopy(policy).eval()
        rows = torch.randint(0, len(seen), (config.batch,), generator=generator)
        loss = (policy(seen[rows]) - chunks[rows]).abs().mean()
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
    return kept


def faulty(policy: Policy, fault: str) -> Policy:
    """The same policy with something wrong with it.

    Args:
        policy: A good one.
        fault: `weak` (half the motion), `late` (four steps behind), `pulled` (always a little to the left), `mirrored`
            (left for right), `jaws-open`, or `asleep` (no motion).

    Raises:
        ValueError: No such fault.
    """
    if fault not in FAULTS:
        raise ValueError(f"no fault {fault!r}: choose from {', '.join(FAULTS)}")
    change = FAULTS[fault]
    return lambda observation: change(policy(observation).clone()).clamp(-1, 1)


def _weak(chunk: Tensor) -> Tensor:
    chunk[..., :3] *= 0.5
    return chunk


def _late(chunk: Tensor) -> Tensor:
    behind = torch.cat([chunk[:, :1].expand(-1, 4, -1), chunk[:, :-4]], dim=1).clone()
    behind[:, :4, :3] = 0
    return behind


def _pulled(chunk: Tensor) -> Tensor:
    chunk[..., 1] += 0.3
    return chunk


def _mirrored(chunk: Tensor) -> Tensor:
    chunk[..., 1] *= -1
    return chunk


def _jaws_open(chunk: Tensor) -> Tensor:
    chunk[..., 3] = -1
    return chunk


def _asleep(chunk: Tensor) -> Tensor:
    chunk[..., :3] = 0
    return chunk


FAULTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "weak": _weak, "late": _late, "pulled": _pulled, "mirrored": _mirrored, "jaws-open": _jaws_open, "asleep": _asleep,
}  # fmt: skip


def _windows(seen: np.ndarray, labels: np.ndarray, alive: np.ndarray, horizon: int) -> Demonstrations:
    """Every step of every episode until it is solved, with the labels that follow; the last one is held."""
    episodes, steps, _ = seen.shape
    ahead = np.minimum(np.arange(steps)[:, None] + np.arange(horizon), steps - 1)
    chunks = labels[:, ahead]
    return Demonstrations(np.ascontiguousarray(seen[alive]), np.ascontiguousarray(chunks[alive], np.float32))
