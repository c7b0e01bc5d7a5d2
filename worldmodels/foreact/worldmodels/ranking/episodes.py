"""Whole episodes of a policy: in the simulator, and from the same starts inside a world model.

Shape letters: B = episodes, R = imagined repeats of each, T = control steps of a chunk, O = observed elements,
A = action elements, K = futures.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.futures import FutureModel
from foreact.worldmodels.ranking.policies import Policy
from foreact.worldmodels.scenes import Scene

__all__ = ["EpisodeRules", "Starts", "imagined_success", "simulated_success", "starts_of"]


@dataclass(frozen=True)
class EpisodeRules:
    """How episodes are run.

    Attributes:
        episodes: B.
        execute: Steps of each chunk that are executed before the next.
        repeats: R, imagined episodes from each start.
        persistent: What is hidden stays in an imagined episode; if not, it is drawn anew with every chunk.
        seed: Of starts, of hidden parameters and of the futures that are chosen.
    """

    episodes: int = 100
    execute: int = 8
    repeats: int = 4
    persistent: bool = True
    seed: int = 0


@dataclass(frozen=True)
class Starts:
    """Worlds at the beginning of their episodes, and what is seen of them, (B, O) float32."""

    worlds: TaskWorlds
    observation: np.ndarray


def starts_of(scene: Scene, rules: EpisodeRules) -> Starts:
    """Draw the beginnings of episodes; the same seed gives the same.

    Args:
        scene: Where.
        rules: How many, and their seed.
    """
    worlds = TaskWorlds(scene.task, rules.episodes, seed=rules.seed, autoreset=False)
    return Starts(worlds, worlds.reset().copy())


@torch.no_grad()
def simulated_success(scene: Scene, starts: Starts, policy: Policy, rules: EpisodeRules) -> np.ndarray:
    """Whether the policy solves each episode in the simulator, bool (B,), with hidden parameters of their own.

    Args:
        scene: Where.
        starts: Beginnings; they are not changed.
        policy: What acts.
        rules: How.
    """
    worlds = starts.worlds.fork(np.arange(rules.episodes), 1, scene.hidden, seed=rules.seed)
    seen, solved = starts.observation, np.zeros(rules.episodes, bool)
    for start in range(0, scene.task.limit, rules.execute):
        chunk = policy(torch.from_numpy(seen)).numpy()
        for step in range(min(rules.execute, scene.task.limit - start)):
            result = worlds.step(chunk[:, step])
            solved |= np.asarray(result.success)
            seen = np.array(result.observation)
    return solved


@torch.no_grad()
def imagined_success(
    model: FutureModel, scene: Scene, starts: Starts, policy: Policy, rules: EpisodeRules
) -> np.ndarray:
    """How often the policy solves each episode inside the model, float64 (B,).

    Each repeat follows one future of every chunk, drawn by its probability, and goes on from where that ends. What is
    hidden stays the same for an episode of the simulator; so a repeat draws its chance once, and with it the same code
    in all chunks for as long as its probability lasts. One step whose imagined positions solve the task solves an
    episode. The model's own head of success is not asked: far from the actions of its training set it promises too
    much (docs/methods/policy_ranking.md).

    Args:
        model: Imagines chunks of T steps, T >= `rules.execute`.
        scene: Where; its task says how long an episode is.
        starts: Beginnings.
        policy: What acts.
        rules: How.

    Raises:
        ValueError: The model imagines fewer steps than are executed.
    """
    if model.horizon < rules.execute:
        raise ValueError(f"execute={rules.execute} is more than the {model.horizon} steps that the model imagines")
    generator = torch.Generator().manual_seed(rules.seed)
    seen = torch.from_numpy(starts.observation).repeat_interleave(rules.repeats, 0)
    solved = torch.zeros(len(seen), dtype=torch.bool)
    chance = _gumbel(len(seen), model.futures, generator)
    for step in range(0, scene.task.limit, rules.execute):
        ahead = min(rules.execute, scene.task.limit - step)
        chance = chance if rules.persistent else _gumbel(len(seen), model.futures, generator)
        futures = _followed(model, seen, policy(seen)[:, : model.horizon], chance)[:, :ahead]
        solved |= (scene.short(futures) < 0).any(1)
        seen = futures[:, -1]
    return solved.reshape(-1, rules.repeats).double().mean(1).numpy()


def _gumbel(rows: int, futures: int, generator: torch.Generator) -> Tensor:
    """Chance for draws among futures, (B R, K)."""
    return -torch.empty(rows, futures).exponential_(generator=generator).log()


def _followed(model: FutureModel, seen: Tensor, chunk: Tensor, chance: Tensor) -> Tensor:
    """One drawn future of each state, (B R, T, O)."""
    futures = model.imagine(seen, chunk)
    # argmax_k log p_k + g_k is k with probability p_k, and with the same g mostly the same k
    chosen = (futures.log_weights + chance).argmax(1)
    return futures.values[torch.arange(len(seen)), chosen]
