"""Families of simulated tasks that come with foreact, and where their factories are.

A family is a module with `TASKS`, task name to a function that returns a `SimTask`, and, if it has scripted experts,
`EXPERTS`, task name to a function that returns an `Expert`.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from foreact.sim.task import SimTask
    from foreact.sim.views import Views

__all__ = ["FAMILIES", "Expert", "expert", "sim_task", "sim_task_names"]

FAMILIES = ("foreact.sim.classic", "foreact.sim.tabletop", "foreact.sim.quadruped", "foreact.sim.aloha")


class Expert(Protocol):
    """A script that solves a task in all worlds at once."""

    def reset(self, views: Views, ids: np.ndarray) -> None:
        """Start anew in some worlds, int (n,), whose layouts were just drawn."""
        ...

    def __call__(self, views: Views) -> Any:
        """Actions (N, A) for the present states."""
        ...


def sim_task_names() -> tuple[str, ...]:
    """Names of all tasks of all families."""
    return tuple(name for family in FAMILIES for name in _attribute(family, "TASKS"))


def sim_task(name: str) -> SimTask:
    """Make a task.

    Raises:
        KeyError: No family has it.
    """
    return _find(name, "TASKS")()


def expert(name: str) -> Expert | None:
    """The scripted expert of a task, or None if it has none."""
    try:
        return _find(name, "EXPERTS")()
    except KeyError:
        return None


def _find(name: str, attribute: str) -> Callable[[], Any]:
    for family in FAMILIES:
        known = _attribute(family, attribute)
        if name in known:
            return known[name]
    raise KeyError(name)


def _attribute(family: str, attribute: str) -> Mapping[str, Callable[[], Any]]:
    return getattr(importlib.import_module(family), attribute, {})
