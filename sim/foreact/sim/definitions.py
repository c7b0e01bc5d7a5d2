"""What a task consists of, for the registry: its texts, its world, and a description without building a world.

Shape letter: D = numbers drawn at reset.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from foreact.sim.instructions import TaskText, metaworld_text

if TYPE_CHECKING:
    from foreact.sim.metaworld import MetaWorldTask

__all__ = ["SceneFacts", "TaskDefinition", "metaworld_definition"]


@dataclass(frozen=True)
class SceneFacts:
    """What a task's scene is made of.

    Attributes:
        scene: File name of the MJCF scene.
        horizon: Most control steps of an episode.
        reset_low: Lower ends of the numbers drawn at reset [m], length D.
        reset_high: Upper ends [m], length D.
    """

    scene: str
    horizon: int
    reset_low: tuple[float, ...]
    reset_high: tuple[float, ...]


@dataclass(frozen=True)
class TaskDefinition:
    """One registered task.

    Attributes:
        name: Full name.
        text: Its sentences and its rule of success.
        make: Builds a world of this task; a plug-in derives its world from `MetaWorldTask`.
        facts: Reads the scene's facts; may load the simulator.
    """

    name: str
    text: TaskText
    make: Callable[[], MetaWorldTask]
    facts: Callable[[], SceneFacts]


def metaworld_definition(name: str) -> TaskDefinition:
    """The definition of a Meta-World v3 task.

    Args:
        name: Full name, for example `reach-v3`.
    """
    return TaskDefinition(name, metaworld_text(name), lambda: _metaworld_task(name), lambda: _metaworld_facts(name))


def _metaworld_task(name: str) -> MetaWorldTask:
    from foreact.sim.metaworld import MetaWorldTask

    return MetaWorldTask(name)


def _metaworld_facts(name: str) -> SceneFacts:
    task = _metaworld_task(name)
    box = task._env._random_reset_space
    low, high = ([round(float(x), 4) for x in end] for end in (box.low, box.high))
    return SceneFacts(Path(task.model_path()).name, task.time_limit, tuple(low), tuple(high))
