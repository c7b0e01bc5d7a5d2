"""States where something can be collided with, and what chunks that were chosen there are truly worth.

Shape letters: S = states, N = chunks of each, n = samples of the policy, T = control steps, A = action elements,
O = observed elements.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.branching import HORIZON, make_branches
from foreact.worldmodels.planner.measures import clearance
from foreact.worldmodels.planner.oracle import SimulatorOracle
from foreact.worldmodels.planner.policies import PolicyConfig, Situation
from foreact.worldmodels.scenes import Scene

__all__ = ["MEASURES", "RiskStates", "StatesConfig", "Worth", "judge", "risky_states"]

MEASURES = ("collision", "success", "progress")
POLICY_STREAM = 5
TRIED = 8  # states of episodes for each that is wanted


@dataclass(frozen=True)
class StatesConfig:
    """Which states, by nothing but what a robot knows there.

    Attributes:
        count: S.
        left: Least and most that is left to do [m].
        clear: Least distance from what must not be touched [m]; nearer by, no choice is in time.
    """

    count: int = 200
    left: tuple[float, float] = (0.05, 0.25)
    clear: float = 0.02

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError(f"states.count is {self.count}, expected 2 or more: one state gives no interval")
        if not 0 <= self.left[0] < self.left[1]:
            raise ValueError(f"states.left is {self.left}, expected a least and a most that is more [m]")
        if not self.clear >= 0:
            raise ValueError(f"states.clear is {self.clear}, expected 0 or more [m]")


@dataclass(frozen=True)
class RiskStates:
    """States with what a policy would do there.

    Attributes:
        worlds: At the states, live.
        observed: What is seen there, (S, O).
        samples: Chunks of the policy, (S, n, T, A).
    """

    worlds: TaskWorlds
    observed: np.ndarray
    samples: np.ndarray


@dataclass(frozen=True)
class Worth:
    """What one chunk of each state is truly worth, each (S,).

    Attributes:
        collision: Share of the futures with a collision.
        success: Share of the futures that are solved within the chunk and collide nowhere.
        progress: Part of the way to the goal that is made, 0 for a future with a collision; mean.
    """

    collision: np.ndarray
    success: np.ndarray
    progress: np.ndarray


def risky_states(place: Scene, config: StatesConfig, policy: PolicyConfig, samples: int, seed: int) -> RiskStates:
    """States of the benchmark's episodes with something left to do and nothing touched, and a policy's samples there.

    Args:
        place: The task and what is hidden in it.
        config: Which states.
        policy: Whose samples.
        samples: n.
        seed: Of states and samples.

    Raises:
        ValueError: There are too few such states.
    """
    kept: list[TaskWorlds] = []
    tried = TRIED * config.count

    def watch(step: int, worlds: TaskWorlds, states: np.ndarray) -> None:
        if step == 0:
            fit = _fit(place, config, worlds)
            if fit.sum() < config.count:
                raise ValueError(
                    f"{fit.sum()} of {tried} states have left={config.left} m to go and are clear by {config.clear} m; "
                    f"widen states.left"
                )
            first = np.flatnonzero(fit)[np.argsort(states[fit], kind="stable")][: config.count]
            kept.append(worlds.fork(np.sort(first), 1))

    make_branches(place, "test", tried, 1, seed, horizon=1, worlds=tried, watch=watch)
    worlds = kept[0]
    observed = np.array(worlds.restore(worlds.snapshot()))
    every = np.arange(len(worlds))
    seeds = np.array([[POLICY_STREAM, seed, state] for state in every])
    given = policy.build(place, HORIZON, seed).sample(Situation(worlds, every, observed, seeds), samples)
    return RiskStates(worlds, observed, given)


def judge(states: RiskStates, oracle: SimulatorOracle, chunks: np.ndarray) -> list[Worth]:
    """What chunks are worth in the simulator's futures, the same futures for all chunks of a state.

    Args:
        states: Where.
        oracle: Whose futures; nobody may have chosen by them.
        chunks: N of each state, (S, N, T, A).

    Returns:
        One for each of the N.
    """
    place, shape = oracle.scene, chunks.shape[:2]
    before = torch.from_numpy(np.repeat(place.cost(states.observed), shape[1]))[:, None]
    futures = oracle.imagine(states.worlds, np.arange(len(states.worlds)), chunks)
    collided = futures.contact.amax(-1)
    solved = futures.success.amax(-1) * (1 - collided)
    made = (1 - place.cost(futures.values[:, :, -1]) / before) * (1 - collided)
    found = [each.mean(-1).numpy().reshape(shape) for each in (collided, solved, made)]
    return [Worth(*(each[:, number] for each in found)) for number in range(shape[1])]


def _fit(place: Scene, config: StatesConfig, worlds: TaskWorlds) -> np.ndarray:
    seen = np.asarray(worlds.restore(worlds.snapshot()))
    least, most = config.left
    cost = place.cost(seen)
    fit = (cost > least) & (cost < most) & ~place.touching(worlds)
    if place.contact is not None:
        fit &= clearance(place, torch.from_numpy(np.array(seen, np.float32))).numpy() >= config.clear
    return fit
