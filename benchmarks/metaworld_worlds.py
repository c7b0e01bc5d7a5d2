"""How much faster many Meta-World worlds step than Meta-World's own environment, per CPU second.

Every round plays the same episodes three ways, so that all see the same states and contacts: Meta-World's own
`env.step`; five plain `mj_step` of one simulation, which is the physics alone; and N worlds at once. The commands are
random or the scripted expert's, drawn beforehand. Nobody's reset is timed. The best ratio that exact physics allows is
that of the physics alone.

    .venv/bin/python -P benchmarks/metaworld_worlds.py --out benchmarks/results
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.runfolder import describe_machine
from foreact.sim.metaworld_worlds import VectorMetaWorld
from foreact.sim.metaworld_worlds.own import begin, seeded_environment

TASKS = ("reach-v3", "pick-place-v3")
SEEDS = tuple(range(8))
STEPS = 150


def commands(name: str, kind: str) -> np.ndarray:
    """Commands of one episode of each seed, (seeds, T, 4)."""
    episodes = np.random.default_rng(0).uniform(-1, 1, (len(SEEDS), STEPS, 4))
    if kind == "expert":
        worlds = VectorMetaWorld(name, len(SEEDS))
        worlds.reset(SEEDS)
        for step in range(STEPS):
            episodes[:, step] = worlds.expert_actions()
            worlds.step(episodes[:, step])
    return episodes


def own(name: str, episodes: np.ndarray) -> float:
    """CPU time of a control step of Meta-World's own environment [us]."""
    env = seeded_environment(name)
    return _each_step(env, episodes, env.step)


def physics(name: str, episodes: np.ndarray) -> float:
    """CPU time of the five engine steps of a control step alone [us]."""
    import mujoco

    env = seeded_environment(name)

    def step(action: np.ndarray) -> None:
        mujoco.mj_step(env.model, env.data, env.frame_skip)

    def prepare(action: np.ndarray) -> None:
        env.set_xyz_action(action[:3])
        env.data.ctrl[:] = (action[3], -action[3])

    return _each_step(env, episodes, step, prepare)


def _each_step(
    env: Any, episodes: np.ndarray, step: Callable[..., Any], prepare: Callable[..., Any] | None = None
) -> float:
    used = 0.0
    for seed, actions in zip(SEEDS, episodes, strict=True):
        begin(env, seed)
        for action in actions:
            if prepare is not None:
                prepare(action)
            start = time.process_time()
            step(action)
            used += time.process_time() - start
    return used / episodes.shape[0] / STEPS * 1e6


def vectors(worlds: VectorMetaWorld, episodes: np.ndarray) -> tuple[float, float]:
    """CPU and wall time of a control step of one of N worlds [us]; each seed fills an equal share of the worlds."""
    copies = worlds.nworld // len(SEEDS)
    worlds.reset(np.repeat(SEEDS, copies))
    actions = np.repeat(episodes, copies, axis=0).swapaxes(0, 1).copy()
    start, clock = time.process_time(), time.perf_counter()
    for each in actions:
        worlds.step(each)
    scale = 1e6 / STEPS / worlds.nworld
    return (time.process_time() - start) * scale, (time.perf_counter() - clock) * scale


def measure(name: str, kind: str, nworld: int, rounds: int, threads: int) -> dict[str, Any]:
    """Medians over rounds in which the sides take turns."""
    episodes = commands(name, kind)
    whole, bare = (VectorMetaWorld(name, nworld, threads, reward=reward) for reward in (True, False))
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        cpu, wall = vectors(whole, episodes)
        row = {"own": own(name, episodes), "physics": physics(name, episodes), "vector": cpu, "vector_wall": wall}
        row["vector_without_reward"] = vectors(bare, episodes)[0]
        for side, value in row.items():
            times.setdefault(side, []).append(value)
    median = {f"{side}_us": round(statistics.median(values), 1) for side, values in times.items()}
    ratios = {
        f"own_over_{side}": round(statistics.median(a / b for a, b in zip(times["own"], times[side], strict=True)), 2)
        for side in ("vector", "vector_without_reward", "physics")
    }
    return {"task": name, "commands": kind, "nworld": nworld, "threads": threads, **ratios, **median}


def main() -> None:
    """Print ratios and times; append them to a dated file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nworld", type=int, default=128, help="a multiple of 8")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="folder of the results")
    asked = parser.parse_args()
    if asked.nworld % len(SEEDS):
        parser.error(f"--nworld {asked.nworld} is no multiple of {len(SEEDS)}")
    cells = []
    for name in TASKS:
        for kind in ("random", "expert"):
            cells.append(measure(name, kind, asked.nworld, asked.rounds, asked.threads))
            print(json.dumps(cells[-1]), flush=True)
    if asked.out:
        now = datetime.datetime.now(datetime.UTC)
        row = {"at": now.isoformat(timespec="seconds"), "machine": describe_machine(), "cells": cells}
        asked.out.mkdir(parents=True, exist_ok=True)
        with (asked.out / f"{now.date()}-metaworld-worlds.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
