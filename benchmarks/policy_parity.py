"""Does a policy trained on one engine score the same on the others?

Linear policies are trained on `cpu` by augmented random search, variant V2-t (Mania, Guy and Recht 2018, "Simple
random search of static linear policies is competitive for continuous control", algorithm 2): all perturbations are one
batch of worlds. An early and the last policy of each run are then scored on `cpu`, `ref` and `warp` from the same
starts, which no training saw, and on `cpu` from starts shaken by a rounding of float32: what chaos alone makes of the
smallest difference. Shape letters: C = candidates, E = episodes of each, A = action elements, O = observation elements.

    nice .venv/bin/python -P benchmarks/policy_parity.py --jobs 2 --out benchmarks/results
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime
import multiprocessing
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.runfolder import describe_machine, write_json_atomic
from foreact.sim.random import WorldRandom
from foreact.sim.registry import sim_task
from foreact.sim.seeds import layout_seed
from foreact.sim.task import SimTask
from foreact.sim.taskworlds import TaskWorlds
from foreact.sim.views import Views

ENGINES = ("cpu", "shaken", "ref", "warp")  # shaken: cpu, from places off by a rounding of float32
ROUNDING = 6e-8
HEADING = ("| task | seed | iterations | cpu | warp | shaken - cpu | ref - cpu | warp - cpu |", "|---" * 8 + "|")
LEAST_SPREAD = 1e-6  # of an observation that never changed, which then counts for nothing


@dataclass(frozen=True)
class Recipe:
    """How a task is trained.

    Attributes:
        seeds: Training runs.
        early: Iterations until the first policy that is scored.
        last: Iterations in all.
        directions: Perturbations of an iteration, each tried with both signs.
        best: How many of them move the policy.
        rate: Step size.
        noise: Size of a perturbation.
        episodes: Starts on which each candidate is tried.
        horizon: Control steps of an episode in training.
        bonus: Reward for being upright, left out in training, per step.
    """

    seeds: int
    early: int
    last: int
    directions: int
    best: int
    rate: float
    noise: float
    episodes: int
    horizon: int
    bonus: float = 0.0


RECIPES = {
    "cartpole": Recipe(3, 1, 6, 16, 8, 0.05, 0.1, 4, 1000),
    "reacher": Recipe(3, 3, 60, 16, 8, 0.05, 0.05, 16, 50),
    "half-cheetah": Recipe(3, 10, 40, 32, 4, 0.02, 0.03, 1, 500),
    "ant": Recipe(1, 20, 36, 40, 16, 0.015, 0.025, 1, 150, bonus=1.0),
}


class Moments:
    """Running mean and standard deviation of all observations, (O,) each."""

    def __init__(self, size: int) -> None:
        self.count, self.total, self.squares = 0, np.zeros(size), np.zeros(size)

    def add(self, observations: np.ndarray) -> None:
        """Count observations, (n, O)."""
        values = observations.astype(np.float64)
        self.count += len(values)
        self.total += values.sum(0)
        self.squares += (values**2).sum(0)

    def normaliser(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and reciprocal standard deviation; 0 and 1 before the first observation."""
        if not self.count:
            return np.zeros_like(self.total), np.ones_like(self.total)
        mean = self.total / self.count
        spread = np.sqrt(np.maximum(self.squares / self.count - mean**2, 0))
        return mean, np.where(spread > LEAST_SPREAD, 1 / np.maximum(spread, LEAST_SPREAD), 0)


@dataclass(frozen=True)
class Policy:
    """action = half range * M diag(1 / std) (observation - mean), clipped; `gain` is M diag(1 / std), (A, O)."""

    gain: np.ndarray
    mean: np.ndarray


@dataclass(frozen=True)
class Trained:
    """A policy and what it took: iterations, control steps of all worlds, CPU time [s]."""

    policy: Policy
    iterations: int
    steps: int
    cpu_s: float


def returns(
    worlds: TaskWorlds,
    gains: np.ndarray,
    mean: np.ndarray,
    seeds: np.ndarray,
    horizon: int,
    bonus: float = 0.0,
    seen: Moments | None = None,
) -> tuple[np.ndarray, int]:
    """Sums of rewards, (C, E), and control steps taken.

    Args:
        worlds: C * E, the episodes of one candidate side by side, without automatic resets.
        gains: One per candidate, (C, A, O).
        mean: Of observations, (O,).
        seeds: Starts, the same for all candidates, (E,).
        horizon: Control steps at most.
        bonus: Taken off every reward.
        seen: Counts the observations.
    """
    candidates, nworld = len(gains), len(worlds)
    total, active, steps = np.zeros(nworld), np.ones(nworld, bool), 0
    middle, half = (worlds.high + worlds.low) / 2, (worlds.high - worlds.low) / 2
    observation = plain(worlds.reset(seeds=np.tile(seeds, candidates)))
    for _ in range(horizon):
        if seen is not None:
            seen.add(observation[active])
        centred = (observation - mean).reshape(candidates, -1, len(mean))
        wanted = (centred @ gains.swapaxes(1, 2)).reshape(nworld, -1)
        actions = (middle + half * np.clip(wanted, -1, 1)).astype(np.float32)
        step = worlds.step(worlds.views.xp.asarray(actions))
        total[active] += plain(step.reward)[active] - bonus
        steps += int(active.sum())
        active &= ~plain(step.terminated | step.truncated)
        if not active.any():
            break
        observation = plain(step.observation)
    return total.reshape(candidates, -1), steps


def plain(values: Any) -> np.ndarray:
    """A NumPy array of what may be a tensor."""
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def train(name: str, seed: int) -> Iterator[Trained]:
    """Algorithm 2, V2-t, on `cpu`: the early policy, then the last one."""
    recipe, task, random = RECIPES[name], found(name), np.random.default_rng(seed)
    candidates = 2 * recipe.directions
    worlds = TaskWorlds(task, candidates * recipe.episodes, autoreset=False, threads=1)
    shape = len(worlds.low), worlds.observation_size
    weights, moments, steps, used = np.zeros(shape), Moments(shape[1]), 0, 0.0
    for iteration in range(recipe.last):
        start = time.process_time()
        mean, scale = moments.normaliser()
        changes = random.normal(size=(recipe.directions, *shape))
        tried = np.concatenate([weights + recipe.noise * changes, weights - recipe.noise * changes])
        seeds = starts("train", seed, recipe.episodes, iteration * recipe.episodes)
        sums, taken = returns(worlds, tried * scale, mean, seeds, recipe.horizon, recipe.bonus, moments)
        up, down = sums.mean(1).reshape(2, -1)
        weights += step_of(recipe, changes, up, down)
        steps, used = steps + taken, used + time.process_time() - start
        if iteration + 1 in (recipe.early, recipe.last):
            mean, scale = moments.normaliser()
            yield Trained(Policy(weights * scale, mean), iteration + 1, steps, used)


def step_of(recipe: Recipe, changes: np.ndarray, up: np.ndarray, down: np.ndarray) -> np.ndarray:
    """Where the best directions point, (A, O)."""
    best = np.argsort(-np.maximum(up, down))[: recipe.best]
    spread = np.concatenate([up[best], down[best]]).std()
    # alpha / (b sigma_R) sum_k (r_k+ - r_k-) delta_k; equal returns point nowhere
    total = np.tensordot(up[best] - down[best], changes[best], 1)
    return recipe.rate / recipe.best / max(spread, LEAST_SPREAD) * total


def found(name: str) -> SimTask:
    """The task of that name."""
    task = sim_task(name)
    assert task is not None
    return task


def starts(split: Any, seed: int, count: int, first: int = 0) -> np.ndarray:
    """Seeds of episodes, (E,)."""
    return np.array([layout_seed(split, seed, first + index) for index in range(count)])


def score(name: str, policy: Policy, engine: str, episodes: int, device: str) -> tuple[np.ndarray, float]:
    """Returns on the evaluation starts, (E,), and CPU time [s]."""
    task = found(name)
    if engine == "shaken":
        task = dataclasses.replace(task, start=(*task.start, shake))
    kind: Any = "cpu" if engine == "shaken" else engine
    options: dict[str, Any] = {"cpu": {"threads": 1}, "ref": {}, "warp": {"device": device}}[kind]
    worlds = TaskWorlds(task, episodes, kind, autoreset=False, **options)
    clock = time.process_time()
    sums, _ = returns(worlds, policy.gain[None], policy.mean, starts("eval", 0, episodes), task.limit)
    return sums[0], time.process_time() - clock


def shake(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
    """Change places by a rounding of float32."""
    views.qpos[ids] *= 1 + ROUNDING


def interval(values: np.ndarray) -> list[float]:
    """Mean and its 95 % interval by Student's t."""
    from scipy.stats import t

    mean, half = values.mean(), t.ppf(0.975, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values))
    return [round(float(each), 7) for each in (mean, mean - half, mean + half)]


def compared(name: str, trained: Trained, episodes: int, device: str) -> dict[str, Any]:
    """A policy's returns on each engine, and differences from `cpu` on the same start."""
    scores, used = {}, {}
    for engine in ENGINES:
        scores[engine], used[engine] = score(name, trained.policy, engine, episodes, device)
    return {
        "iterations": trained.iterations,
        "train_steps": trained.steps,
        "train_cpu_s": round(trained.cpu_s, 1),
        "mean": {engine: interval(values) for engine, values in scores.items()},
        "minus_cpu": {engine: interval(scores[engine] - scores["cpu"]) for engine in ENGINES[1:]},
        "score_cpu_s": {engine: round(seconds, 1) for engine, seconds in used.items()},
    }


def still(name: str, episodes: int) -> list[float]:
    """What training begins with, on `cpu`: mean return and interval of a policy of zeros."""
    worlds = TaskWorlds(found(name), 1)
    size = worlds.observation_size
    return interval(score(name, Policy(np.zeros((len(worlds.low), size)), np.zeros(size)), "cpu", episodes, "cpu")[0])


def row(cell: dict[str, Any]) -> str:
    """A line of the table."""

    def shown(numbers: list[float]) -> str:
        return "{:.4g} ({:.4g} to {:.4g})".format(*numbers)

    columns = [cell["task"], str(cell["seed"]), str(cell["iterations"])]
    columns += [shown(cell["mean"][engine]) for engine in ("cpu", "warp")]
    columns += [shown(cell["minus_cpu"][engine]) for engine in ENGINES[1:]]
    return "| " + " | ".join(columns) + " |"


def run(name: str, seed: int, episodes: int, device: str) -> list[dict[str, Any]]:
    """Train once; what each of its policies scores."""
    trained = train(name, seed)
    return [{"task": name, "seed": seed, **compared(name, each, episodes, device)} for each in trained]


def main() -> None:
    """Print the table; write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--episodes", type=int, default=128)
    parser.add_argument("--jobs", type=int, default=1, help="training runs at a time, a process each")
    parser.add_argument("--device", default="cpu", help="of Warp")
    parser.add_argument("--out", type=Path, help="folder of the results")
    asked = parser.parse_args()
    runs = [(name, seed) for name in asked.tasks for seed in range(RECIPES[name].seeds)]
    cells: list[dict[str, Any]] = []
    with ProcessPoolExecutor(asked.jobs, multiprocessing.get_context("spawn")) as pool:
        # the longest, which are the last, first
        started = [pool.submit(run, *each, asked.episodes, asked.device) for each in reversed(runs)]
        for each in reversed(started):
            cells += each.result()
    print("\n".join([*HEADING, *(row(cell) for cell in cells)]))
    if asked.out:
        write(asked, cells)


def write(asked: argparse.Namespace, cells: list[dict[str, Any]]) -> None:
    """The figures as JSON, with the machine they are from."""
    now = datetime.datetime.now(datetime.UTC)
    asked.out.mkdir(parents=True, exist_ok=True)
    results = {
        "at": now.isoformat(timespec="seconds"),
        "machine": describe_machine(),
        "warp_device": asked.device,
        "episodes": asked.episodes,
        "recipes": {name: dataclasses.asdict(RECIPES[name]) for name in asked.tasks},
        "untrained": {name: still(name, asked.episodes) for name in asked.tasks},
        "cells": cells,
    }
    write_json_atomic(asked.out / f"{now.date()}-policy-parity.json", results)


if __name__ == "__main__":
    main()
