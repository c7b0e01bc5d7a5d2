"""Built-in agents on simulated tasks, all episodes at once: standing still, random actions, the scripted expert.

Shape letters: E = episodes, each in a world of its own, A = action elements.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from foreact.sim.controllers import ControllerName
from foreact.sim.families import expert
from foreact.sim.random import WorldRandom
from foreact.sim.registry import sim_task
from foreact.sim.seeds import layout_seed
from foreact.sim.task import SimTask
from foreact.sim.taskworlds import TaskWorlds

__all__ = ["AgentEpisodes", "check_agent", "run_agent"]

RANDOM_STREAM = 1 << 32  # keeps an agent's draws apart from those of its world's layout


@dataclass(frozen=True)
class AgentEpisodes:
    """What an agent achieved.

    Attributes:
        returns: Sum of rewards, float64 (E,).
        steps: Length, int (E,).
        success: Solved at any step, bool (E,); None where the task has no such thing.
    """

    returns: np.ndarray
    steps: np.ndarray
    success: np.ndarray | None


def check_agent(name: str, agent: ControllerName) -> None:
    """Refuse an agent that the task does not have.

    Raises:
        ValueError: The task has no scripted expert.
    """
    if agent == "expert" and expert(name) is None:
        raise ValueError(f"task {name} has no scripted expert; try --agent random")


def run_agent(name: str, agent: ControllerName, episodes: int, seed: int, horizon: int | None = None) -> AgentEpisodes:
    """Run one episode on each of the first evaluation layouts of a seed.

    Args:
        name: A simulated task.
        agent: `zero`, `random` or `expert`.
        episodes: E.
        seed: Which layouts.
        horizon: Most control steps; the task's limit if None.

    Raises:
        UnknownTask: No such task.
        ValueError: The task is none of many worlds, or it has no scripted expert.
    """
    task = sim_task(name)
    if task is None:
        raise ValueError(f"task {name!r} has no worlds to be run together")
    check_agent(name, agent)
    worlds = TaskWorlds(task, episodes, autoreset=False)
    seeds = np.array([layout_seed("eval", seed, index) for index in range(episodes)])
    worlds.reset(seeds=seeds)
    act = _agent(task, agent, worlds, seeds)
    returns, steps = np.zeros(episodes), np.zeros(episodes, np.int64)
    success, active = np.zeros(episodes, bool), np.ones(episodes, bool)
    for _ in range(min(task.limit, horizon or task.limit)):
        step = worlds.step(act())
        returns[active] += step.reward[active]
        steps[active] += 1
        success |= step.success & active
        active &= ~(step.terminated | step.truncated)
        if not active.any():
            break
    return AgentEpisodes(returns, steps, None if task.success is None else success)


def _agent(task: SimTask, agent: ControllerName, worlds: TaskWorlds, seeds: np.ndarray) -> Any:
    every = np.arange(len(worlds))
    if agent == "zero":
        still = np.clip(np.zeros((len(worlds), len(worlds.low)), np.float32), worlds.low, worlds.high)
        return lambda: still
    if agent == "random":
        stream = WorldRandom(0, len(worlds))
        stream.seed(every, seeds + RANDOM_STREAM)
        return lambda: stream.uniform(every, len(worlds.low), worlds.low, worlds.high).astype(np.float32)
    script = expert(task.name)
    assert script is not None
    script.reset(worlds.views, every)
    return lambda: script(worlds.views)
