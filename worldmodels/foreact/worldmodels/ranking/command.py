"""Rank policies by the success that a world model imagines, and compare with the simulator: sim-to-model agreement.

The simulator is the truth here; nothing is said about a real robot.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.ranges import require_at_least
from foreact.episodes.runfolder import write_bytes_atomic, write_json_atomic
from foreact.episodes.statistics import wilson_interval
from foreact.worldmodels.futures import FutureModel, Futures
from foreact.worldmodels.planner.sources import model_of
from foreact.worldmodels.ranking.correlation import Agreement, agreement
from foreact.worldmodels.ranking.episodes import EpisodeRules, imagined_success, simulated_success, starts_of
from foreact.worldmodels.ranking.policies import FAULTS, CloneConfig, Policy, clone, demonstrate, faulty
from foreact.worldmodels.scenes import Scene, scene

__all__ = ["RankingConfig", "RankingRow", "rank_policies", "ranking", "roster"]


@dataclass(frozen=True)
class RankingConfig:
    """Which policies, in which scene, by which models.

    Attributes:
        target: `ranking`.
        models: Folders of trained world models of the scene, such as one per training seed.
        scene: Name of the scene.
        out: Folder of the figures and the picture.
        episodes: Episodes of each policy, the same starts for all.
        repeats: Imagined episodes from each start.
        persistent: What is hidden stays in an imagined episode; if not, it is drawn anew with every chunk.
        execute: Steps of a chunk that are executed before the next.
        stages: Updates after which a clone of the expert is kept.
        clones: Training seeds of clones.
        seed: Of starts and hidden parameters.
    """

    target: str = "ranking"
    models: tuple[Path, ...] = ()
    out: Path = Path("runs/ranking")
    scene: str = "arm-push"
    episodes: int = 100
    repeats: int = 4
    persistent: bool = True
    execute: int = 8
    stages: tuple[int, ...] = (100, 300, 600, 1500, 4000)
    clones: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        require_at_least(self, episodes=1, repeats=1, execute=1, clones=1, seed=0)
        if self.target != "ranking":
            raise ValueError(f"target is {self.target!r}, expected ranking")
        if not self.models:
            raise ValueError("ranking: models= names no folder of a trained world model")
        if not self.stages or min(self.stages) < 0:
            raise ValueError(f"ranking: stages={list(self.stages)}: give numbers of updates, such as [40,250,600]")


@dataclass(frozen=True)
class RankingRow:
    """One policy: its name, its true rate, and the rate that each model imagined."""

    policy: str
    solved: int
    imagined: tuple[float, ...]


def ranking(config: RankingConfig, progress: ProgressFn = quiet) -> Outcome:
    """Run every policy in the simulator and in every model.

    Args:
        config: What to compare.
        progress: Told of each policy.

    Raises:
        ValueError: A model is missing, damaged or of another scene, or the policies are too few or all alike.
    """
    place = scene(config.scene)
    models = [model_of(folder, config.scene) for folder in config.models]
    rules = EpisodeRules(config.episodes, config.execute, config.repeats, config.persistent, config.seed)
    policies = roster(place, config)
    shuffled = [_Shuffled(model, _pool(place, policies, rules), config.seed) for model in models]
    rows = rank_policies(place, [*models, *shuffled], policies, rules, progress)
    true = [row.solved / config.episodes for row in rows]
    found = [agreement([row.imagined[index] for row in rows], true) for index in range(2 * len(models))]
    figures = _figures(config, rows, found[: len(models)], found[len(models) :])
    path = config.out / "ranking.json"
    config.out.mkdir(parents=True, exist_ok=True)
    write_json_atomic(path, figures)
    _draw(config, rows, config.out / "ranking.png")
    lines = (*(_text(row, config) for row in rows), *_summary(found[: len(models)], found[len(models) :]))
    return Outcome(path, figures, ("policy", "simulator", *_names(config)), lines)


def roster(place: Scene, config: RankingConfig) -> dict[str, Policy]:
    """At least 12 policies: clones at several stages and seeds, and faults in the best of them.

    Args:
        place: Their scene.
        config: Which.
    """
    policies: dict[str, Policy] = {}
    best: Policy | None = None
    for seed in range(config.clones):
        # no start of an evaluation is among the demonstrations
        rules = CloneConfig(seed=1000 + seed)
        stages = clone(demonstrate(place, rules), rules, config.stages)
        policies |= {f"clone {seed}, {count} updates": policy for count, policy in stages.items()}
        best = best or stages[max(config.stages)]
    assert best is not None
    return policies | {fault: faulty(best, fault) for fault in FAULTS}


def rank_policies(
    place: Scene,
    models: Sequence[FutureModel],
    policies: Mapping[str, Policy],
    rules: EpisodeRules,
    progress: ProgressFn = quiet,
) -> list[RankingRow]:
    """Success of each policy in the simulator and in each model, from the same starts.

    Args:
        place: The scene.
        models: World models.
        policies: By name.
        rules: How episodes are run.
        progress: Told of each policy.
    """
    starts, rows = starts_of(place, rules), []
    for index, (name, policy) in enumerate(policies.items()):
        progress(index, len(policies), "rank policies")
        solved = int(simulated_success(place, starts, policy, rules).sum())
        imagined = (imagined_success(model, place, starts, policy, rules).mean() for model in models)
        rows.append(RankingRow(name, solved, tuple(float(rate) for rate in imagined)))
    progress(len(policies), len(policies), "rank policies")
    return rows


@torch.no_grad()
def _pool(place: Scene, policies: Mapping[str, Policy], rules: EpisodeRules) -> Tensor:
    """What all policies would begin with, in one heap."""
    seen = torch.from_numpy(starts_of(place, rules).observation)
    return torch.cat([policy(seen) for policy in policies.values()])


class _Shuffled:
    """The control: a model that is told a chunk of any policy, so that what the present one does cannot matter."""

    def __init__(self, model: FutureModel, pool: Tensor, seed: int) -> None:
        self._model, self._pool, self._generator = model, pool, torch.Generator().manual_seed(seed)
        self.horizon, self.futures = model.horizon, model.futures

    def imagine(self, context: Tensor, actions: Tensor) -> Futures:
        rows = torch.randint(0, len(self._pool), (len(actions),), generator=self._generator)
        return self._model.imagine(context, self._pool[rows])


def _figures(
    config: RankingConfig, rows: Sequence[RankingRow], found: Sequence[Agreement], shuffled: Sequence[Agreement]
) -> dict[str, JSON]:
    by_rank = min(found, key=lambda each: each.spearman)
    return {
        "scene": config.scene,
        "policies": len(rows),
        "episodes": config.episodes,
        "ranking_spearman": by_rank.spearman,
        "spearman_interval": list(by_rank.spearman_interval),
        "bias": float(np.mean([each.bias for each in found])),
        "models": [asdict(each) for each in found],
        "shuffled_actions": [asdict(each) for each in shuffled],
        "rows": [asdict(row) for row in rows],
    }


def _names(config: RankingConfig) -> tuple[str, ...]:
    return tuple(f"model {index}" for index in range(len(config.models)))


def _text(row: RankingRow, config: RankingConfig) -> tuple[str, ...]:
    low, high = wilson_interval(row.solved, config.episodes)
    rates = (f"{rate:.2f}" for rate in row.imagined[: len(config.models)])
    return (row.policy, f"{row.solved / config.episodes:.2f} ({low:.2f} to {high:.2f})", *rates)


def _summary(found: Sequence[Agreement], shuffled: Sequence[Agreement]) -> list[tuple[str, ...]]:
    """Lines below the rates: how each model agrees, and how its control does."""

    def ranked(each: Agreement) -> str:
        low, high = each.spearman_interval
        return f"{each.spearman:.2f} ({low:.2f} to {high:.2f})"

    return [
        ("Spearman (95 %)", "", *map(ranked, found)),
        ("Pearson", "", *(f"{each.pearson:.2f}" for each in found)),
        ("MMRV", "", *(f"{each.mmrv:.3f}" for each in found)),
        ("bias of the rate", "", *(f"{each.bias:+.2f}" for each in found)),
        ("control: Spearman (95 %)", "", *map(ranked, shuffled)),
    ]


def _draw(config: RankingConfig, rows: Sequence[RankingRow], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="0.8", zorder=0)
    true = [row.solved / config.episodes for row in rows]
    for index, name in enumerate(_names(config)):
        axes.scatter(true, [row.imagined[index] for row in rows], s=18, label=name, alpha=0.8)
    axes.set(xlabel="success in the simulator", ylabel="success in the model", xlim=(-0.03, 1.03), ylim=(-0.03, 1.03))
    axes.set_title(f"{config.scene}: {len(rows)} policies, {config.episodes} episodes each")
    axes.legend()
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_bytes_atomic(path, content.getvalue())
