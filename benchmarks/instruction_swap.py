"""Does the instruction decide? The same scenes of two tasks, told one sentence or the other.

`reach` and `push` share their scene: a puck, a goal marker of one colour, the arm. The policy is run on both tasks'
layouts with both tasks' sentences; the table counts how often the hand came to the goal (reach's rule) and how often
the puck did (push's rule), and the picture shows the paths of the hand from above.

    .venv/bin/python -P benchmarks/instruction_swap.py runs/demo/latest/train --out docs/pictures/instruction_swap.png
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foreact.episodes.language import tokenize
from foreact.episodes.runfolder import write_json_atomic
from foreact.episodes.statistics import wilson_interval
from foreact.sim.registry import definition
from foreact.sim.seeds import layout_seed
from foreact.sim.worlds import Worlds
from foreact.vla.actors import TorchActor, chunk_noise

TASKS = ("reach-v3", "push-v3")
RADIUS = 0.05  # [m] both tasks' own rule
HORIZON, EXECUTE = 160, 8


@dataclass(frozen=True)
class Cell:
    """One scene told one sentence: how often hand and puck came to the goal, and the hand's paths (N, T, 3) [m]."""

    scene: str
    sentence: str
    hand: int
    puck: int
    paths: np.ndarray


def run(actor: TorchActor, scene: str, sentence: str, episodes: int, seed: int) -> Cell:
    """Run one cell of the table."""
    worlds = Worlds([scene] * episodes, actor.contract.cameras)
    seeds = [layout_seed("eval", seed, index) for index in range(episodes)]
    worlds.reset(seeds)
    assert actor.contract.language is not None
    tokens = np.tile(tokenize(definition(sentence).text.main, actor.contract.language), (episodes, 1))
    hand, puck = np.zeros(episodes, bool), np.zeros(episodes, bool)
    paths = []
    for decision in range(HORIZON // EXECUTE):
        seen = {**worlds.render(), "state": worlds.states(), "tokens": tokens}
        noise = np.concatenate([chunk_noise(s, decision, actor.contract) for s in seeds])
        chunk = actor.act({name: seen[name] for name in actor.contract.input_names}, noise)
        for step in range(EXECUTE):
            worlds.step(chunk[:, step])
            paths.append(worlds.states()[:, :3])
            touched, arrived = distances(worlds)
            hand |= touched <= RADIUS
            puck |= arrived <= RADIUS
    return Cell(scene, sentence, int(hand.sum()), int(puck.sum()), np.stack(paths, axis=1))


def distances(worlds: Worlds) -> tuple[np.ndarray, np.ndarray]:
    """Distance of the finger tips and of the puck from the goal [m], (N,) each."""
    tips, places = worlds.fingertips(), worlds.landmarks()[..., :3]
    return np.linalg.norm(tips - places[:, 2], axis=1), np.linalg.norm(places[:, 0] - places[:, 2], axis=1)


def draw(cells: list[Cell], out: Path) -> None:
    """Paths of the hand from above, a column for each scene, a colour for each sentence."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2), sharex=True, sharey=True)
    for axis, scene in zip(axes, TASKS, strict=True):
        for cell, colour in zip([c for c in cells if c.scene == scene], ("tab:green", "tab:red"), strict=True):
            for index, path in enumerate(cell.paths[:10]):
                label = f'told "{definition(cell.sentence).text.main}"' if index == 0 else None
                axis.plot(path[:, 0], path[:, 1], color=colour, alpha=0.6, lw=1, label=label)
        axis.set(title=f"scene of {scene}", xlabel="x [m]", aspect="equal")
    axes[0].set_ylabel("y [m]")
    axes[0].legend(fontsize=7, loc="lower left")
    figure.tight_layout()
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=110)


def main() -> None:
    """Print the table; write picture and figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("policy", type=Path)
    parser.add_argument("--episodes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    actor = TorchActor(asked.policy)
    cells = [run(actor, scene, sentence, asked.episodes, asked.seed) for scene in TASKS for sentence in TASKS]
    rows = []
    for cell in cells:
        row = {"scene": cell.scene, "told": cell.sentence, "hand_at_goal": cell.hand, "puck_at_goal": cell.puck}
        row["puck_interval"] = [round(bound, 3) for bound in wilson_interval(cell.puck, asked.episodes)]
        rows.append(row)
        print(json.dumps(row))
    draw(cells, asked.out)
    if asked.json:
        write_json_atomic(asked.json, {"episodes": asked.episodes, "seed": asked.seed, "cells": rows})


if __name__ == "__main__":
    main()
