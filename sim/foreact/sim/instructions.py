"""What the tasks are called in plain language: training sentences, a held-out paraphrase, the rule of success."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib import resources

__all__ = ["TaskText", "metaworld_task_names", "metaworld_text"]


@dataclass(frozen=True)
class TaskText:
    """The sentences of one task.

    Attributes:
        train: Instructions that training episodes draw from; the first is the main one, shown in tables.
        held_out: A paraphrase no training episode uses, to measure how a policy takes a new sentence.
        success: The rule that decides success, in words.
    """

    train: tuple[str, ...]
    held_out: str
    success: str

    @property
    def main(self) -> str:
        """The instruction that stands for the task."""
        return self.train[0]


def metaworld_task_names() -> tuple[str, ...]:
    """The 50 Meta-World v3 tasks in alphabetical order."""
    return tuple(sorted(_texts()))


def metaworld_text(task_name: str) -> TaskText:
    """The sentences of a Meta-World task.

    Args:
        task_name: A full task name, for example `reach-v3`.

    Raises:
        KeyError: There is no such task.
    """
    return _texts()[task_name]


@cache
def _texts() -> dict[str, TaskText]:
    tables = tomllib.loads(resources.files("foreact.sim").joinpath("task_texts.toml").read_text(encoding="utf-8"))
    return {name: TaskText(tuple(t["train"]), t["held_out"], t["success"]) for name, t in tables.items()}
