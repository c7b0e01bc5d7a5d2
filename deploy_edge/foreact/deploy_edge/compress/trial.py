"""Closed loop of every step on the same layouts, so that steps can be compared layout by layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreact.episodes.outcome import JSON, ProgressFn
from foreact.episodes.statistics import paired_difference, wilson_interval
from foreact.episodes.store import EpisodeStore

if TYPE_CHECKING:
    from foreact.deploy_edge.compress.recipe import Recipe, TrialConfig

__all__ = ["Result", "compared", "episodes_of", "run_trial", "tasks_of"]

STRUCTURAL = 20  # layouts per task where a recipe changes the policy and nothing else was typed


@dataclass(frozen=True)
class Result:
    """Which layouts were solved.

    Attributes:
        solved: By task and index of the layout.
    """

    solved: Mapping[tuple[str, int], bool]

    def figures(self) -> dict[str, JSON]:
        """Success with its interval, in all and by task."""
        tasks = dict.fromkeys(task for task, _ in self.solved)
        count = sum(self.solved.values())
        return {
            "episodes": len(self.solved),
            "success": round(count / len(self.solved), 4),
            "interval": [round(end, 4) for end in wilson_interval(count, len(self.solved))],
            "per_task": {task: self._mean(task) for task in tasks},
        }

    def _mean(self, task: str) -> float:
        mine = [solved for (name, _), solved in self.solved.items() if name == task]
        return round(sum(mine) / len(mine), 4)


def episodes_of(recipe: Recipe, trial: TrialConfig) -> int:
    """Layouts per task: what was typed, or 20 for a recipe with steps before quantisation and 0 for others."""
    if trial.episodes is not None:
        return trial.episodes
    return STRUCTURAL if recipe.torch_steps() else 0


def tasks_of(trial: TrialConfig, data: Path) -> tuple[str, ...]:
    """The tasks that were typed, or those of a store."""
    if trial.tasks:
        return trial.tasks
    store = EpisodeStore.open(data)
    return tuple(dict.fromkeys(store.header(key).task for key in store.keys()))


def run_trial(
    policy: Path, tasks: tuple[str, ...], trial: TrialConfig, episodes: int, out: Path, progress: ProgressFn
) -> Result:
    """Evaluate a policy on development layouts, or continue its evaluation.

    Args:
        policy: Folder of a policy, or an exported model's file.
        tasks: Names.
        trial: Which layouts, how many processes.
        episodes: Layouts per task.
        out: Run folder of the evaluation.
        progress: Told of each episode.

    Raises:
        UnknownTask: A task is not one of the simulator; type trial.episodes=0.
    """
    from foreact.vla.evaluate import EvalConfig, evaluate, load_results

    config = EvalConfig(
        out,
        tasks,
        policy,
        episodes=episodes,
        seed=trial.seed,
        worlds=trial.worlds,
        workers=trial.workers,
        videos=0,
    )
    evaluate(config, progress)
    return Result({(row["task"], row["index"]): bool(row["success"]) for row in load_results(out)})


def compared(original: Result, result: Result) -> dict[str, JSON]:
    """Success of a step beside the original's on the same layouts.

    Args:
        original: Of the policy before all steps.
        result: Of the step.
    """
    keys = sorted(original.solved)
    paired: Any = paired_difference([original.solved[key] for key in keys], [result.solved[key] for key in keys])
    return {
        **result.figures(),
        "loss": round(paired.difference, 4),
        "loss_interval": [round(paired.low, 4), round(paired.high, 4)],
        "only_original": paired.only_first,
        "only_this": paired.only_second,
        "p_value": round(paired.p_value, 4),
    }
