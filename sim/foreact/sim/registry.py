"""Tasks by name: built-in ones, those of installed plug-ins, aliases, and near matches for a name nobody has.

A task is registered as `package.module:attribute`; the attribute is called with the task's name and returns either a
`TaskDefinition` (a Meta-World kind of task, with demonstrations and pictures) or a `SimTask` (terms over many worlds).
Nothing heavy is imported before a task is asked for. A third party adds tasks in its `pyproject.toml`:

    [project.entry-points."foreact.tasks"]
    stack-cubes = "their_package.tasks:definition"
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING

from foreact.sim.instructions import metaworld_task_names

if TYPE_CHECKING:
    from foreact.sim.definitions import TaskDefinition
    from foreact.sim.task import SimTask

__all__ = [
    "ENTRY_POINT_GROUP",
    "TaskRegistry",
    "UnknownTask",
    "WrongKind",
    "aliases",
    "definition",
    "names",
    "resolve",
    "sim_task",
]

ENTRY_POINT_GROUP = "foreact.tasks"
METAWORLD_TARGET = "foreact.sim.definitions:metaworld_definition"
SIM_TARGET = "foreact.sim.families:sim_task"


class UnknownTask(ValueError):
    """No task has this name; the message lists near matches."""


class WrongKind(ValueError):
    """The task exists, but not as what was asked for."""


class TaskRegistry:
    """A map from task name to import path."""

    def __init__(self) -> None:
        self._targets: dict[str, str] = {}
        self._aliases: dict[str, str] = {}

    def register(self, name: str, target: str, alias: str | None = None) -> None:
        """Add a task.

        Args:
            name: The full name, unique.
            target: `package.module:attribute`, a function of the name that returns a `TaskDefinition`.
            alias: A second, shorter name.

        Raises:
            ValueError: A name is taken, or the target is not of that form.
        """
        module, colon, attribute = target.partition(":")
        if not (module and colon and attribute):
            raise ValueError(f"task {name!r}: target {target!r} is not of the form package.module:attribute")
        for label in filter(None, (name, alias)):
            if label in self._targets or label in self._aliases:
                owner = self._targets.get(label) or f"the alias of {self._aliases[label]}"
                raise ValueError(f"task {label!r} is already registered ({owner}); {target} must choose another name")
        self._targets[name] = target
        if alias is not None:
            self._aliases[alias] = name

    @property
    def names(self) -> tuple[str, ...]:
        """All full names, in order of registration."""
        return tuple(self._targets)

    @property
    def aliases(self) -> dict[str, str]:
        """Alias to full name."""
        return dict(self._aliases)

    def resolve(self, name: str) -> str:
        """The full name of a task.

        Args:
            name: A full name or an alias.

        Raises:
            UnknownTask: Nothing has that name; near matches are listed.
        """
        if name in self._targets:
            return name
        if name in self._aliases:
            return self._aliases[name]
        near = self._near(name)
        guess = f"did you mean {', '.join(near)}?" if near else "nothing comes near it."
        raise UnknownTask(f"unknown task {name!r}: {guess} `foreact tasks` lists all {len(self._targets)}")

    def definition(self, name: str) -> TaskDefinition | SimTask:
        """Import what was registered under a name and call it.

        Args:
            name: A full name or an alias.

        Raises:
            UnknownTask: Nothing has that name.
            ImportError: The import path leads nowhere.
        """
        full = self.resolve(name)
        module, _, attribute = self._targets[full].partition(":")
        try:
            build = getattr(importlib.import_module(module), attribute)
        except AttributeError as error:
            raise ImportError(
                f"task {full!r}: {module} has no {attribute!r} (registered as {self._targets[full]})"
            ) from error
        return build(full)

    def _near(self, name: str) -> list[str]:
        wanted = name.lower().replace("_", "-").replace(" ", "-")
        labels = [*self._targets, *self._aliases]
        close = difflib.get_close_matches(wanted, labels, n=8, cutoff=0.6)
        parts = [label for label in labels if wanted and wanted in label]
        # an alias and its full name are one task
        found = dict.fromkeys(self._aliases.get(label, label) for label in [*close, *parts])
        return list(found)[:5]


@cache
def _registry() -> TaskRegistry:
    registry = TaskRegistry()
    for name in metaworld_task_names():
        registry.register(name, METAWORLD_TARGET, alias=name.removesuffix("-v3"))
    from foreact.sim.families import sim_task_names

    for name in sim_task_names():
        registry.register(name, SIM_TARGET)
    for point in sorted(metadata.entry_points(group=ENTRY_POINT_GROUP), key=lambda p: p.name):
        registry.register(point.name, point.value)
    return registry


def names() -> tuple[str, ...]:
    """Full names of all tasks: the built-in ones, then those of plug-ins."""
    return _registry().names


def aliases() -> dict[str, str]:
    """Short name to full name, for example `reach` to `reach-v3`."""
    return _registry().aliases


def resolve(labels: Iterable[str]) -> tuple[str, ...]:
    """Full names of several tasks, in the order given.

    Args:
        labels: Names or aliases.

    Raises:
        UnknownTask: One of them is unknown; near matches are listed.
        ValueError: None was given, or one twice.
    """
    full = tuple(_registry().resolve(label) for label in labels)
    if not full:
        raise ValueError("no task given: name at least one, for example tasks=[reach,push]")
    twice = sorted({name for name in full if full.count(name) > 1})
    if twice:
        raise ValueError(f"task {', '.join(twice)} is given more than once (an alias counts as the task)")
    return full


def definition(name: str) -> TaskDefinition:
    """The definition of a task with demonstrations and pictures.

    Args:
        name: A full name or an alias.

    Raises:
        UnknownTask: Nothing has that name; near matches are listed.
        WrongKind: It is a `SimTask`.
    """
    from foreact.sim.task import SimTask

    found = _registry().definition(name)
    if isinstance(found, SimTask):
        raise WrongKind(
            f"task {name!r} has no demonstrations and no pictures for a policy; "
            f"try it with: foreact eval --agent random tasks=[{name}] out=runs/x"
        )
    return found


def sim_task(name: str) -> SimTask | None:
    """A task over many worlds; None if the name is that of a task with demonstrations and pictures.

    Args:
        name: A full name or an alias.

    Raises:
        UnknownTask: Nothing has that name; near matches are listed.
    """
    from foreact.sim.task import SimTask

    found = _registry().definition(name)
    return found if isinstance(found, SimTask) else None
