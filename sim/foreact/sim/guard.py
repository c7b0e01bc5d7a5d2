"""A guard against worlds that blow up: it keeps the last states, and writes those that led to a failure.

It stands between the worlds and their engine, so it sees what the engine got and what came of it, before a task resets
the world. `foreact.sim.dump` reads what it writes, `foreact replay` plays it. Shape letters: N = worlds, n = failed
worlds, K = steps kept.
"""

from __future__ import annotations

import os
import shlex
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.sim.backends import Fresh, WorldError, WorldsFailed
from foreact.sim.backends.base import on_host, selected
from foreact.sim.dump import named, write_dump

if TYPE_CHECKING:
    from foreact.sim.taskworlds import TaskWorlds

__all__ = ["DumpedFailure", "Guard"]

BAD = ("bad_qpos", "bad_qvel", "bad_qacc", "bad_ctrl")


class DumpedFailure(WorldsFailed):
    """Worlds failed; `folder` holds what led to it."""

    def __init__(self, failure: WorldsFailed, folder: Path) -> None:
        super().__init__(failure.errors)
        self.folder = folder

    def __str__(self) -> str:
        return f"{super().__str__()}. Type: foreact replay {shlex.quote(str(self.folder))}"


class Guard:
    """Watches every step of some worlds until it is closed.

    A world fails if its state is not finite after a step, if the engine warns of it, if the engine put it back to its
    start (which MuJoCo does where numbers grow too large), or if the engine reports an error.

    Args:
        worlds: To watch; `worlds.step` raises `DumpedFailure` where it would have gone on.
        folder: Gets one folder for each failure.
        keep: K, the steps that are kept and written.
        warnings: Warnings of the engine that count as failures; on Warp for instance `nefc`.
        most: Worlds written at most, the first that failed.
    """

    def __init__(
        self,
        worlds: TaskWorlds,
        folder: str | Path,
        keep: int = 8,
        warnings: tuple[str, ...] = BAD,
        most: int = 32,
    ) -> None:
        if keep < 1:
            raise ValueError(f"keep={keep} is out of range; give 1 or more")
        self.engine: Any = worlds.backend
        self.folder, self.keep, self.most = Path(folder), keep, most
        self._worlds, self._warnings = worlds, warnings
        self._kept: dict[str, Any] = {}
        self._calls: deque[tuple[int, Fresh]] = deque(maxlen=keep)
        self._failures = 0
        worlds.backend = self  # pyright: ignore[reportAttributeAccessIssue]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["engine"], name)

    def close(self) -> None:
        """Stop watching."""
        self._worlds.backend = self.engine

    def step(self, substeps: int = 1, ids: np.ndarray | None = None, fresh: Fresh = "none") -> None:
        """Step the engine, and look at what came of it.

        Raises:
            DumpedFailure: Worlds failed; the others were stepped.
        """
        self._record(substeps, fresh)
        time, counts = on_host(self.engine.view("time")).copy(), self._counts()
        try:
            self.engine.step(substeps, ids, fresh)
        except WorldsFailed as failure:
            raise self._dumped(failure) from failure
        errors = self._errors(time, counts, substeps, ids)
        if errors:
            raise self._dumped(WorldsFailed(errors))

    def fork(self, ids: np.ndarray, copies: int, into: Any = None) -> Any:
        """Worlds of their own, which are not watched."""
        return self.engine.fork(ids, copies, into.engine if isinstance(into, Guard) else into)

    def _record(self, substeps: int, fresh: Fresh) -> None:
        live = named(self.engine.live())
        if live.keys() != self._kept.keys():  # a model field has become one of each world: what was kept lacks it
            self._kept = {
                name: [self.engine.xp.zeros_like(each) for _ in range(self.keep)] for name, each in live.items()
            }
            self._calls.clear()
        for name, values in live.items():
            slots = self._kept[name]
            slots.append(slots.pop(0))  # the oldest becomes the newest
            slots[-1][:] = values
        self._calls.append((substeps, fresh))

    def _counts(self) -> dict[str, np.ndarray]:
        found = self.engine.warnings()
        return {name: found[name] for name in self._warnings if name in found}

    def _errors(
        self, time: np.ndarray, counts: dict[str, np.ndarray], substeps: int, ids: np.ndarray | None
    ) -> list[WorldError]:
        messages: dict[int, str] = {}
        for name, count in self._counts().items():
            messages |= {int(world): f"warning {name}" for world in np.flatnonzero(count > counts[name])}
        reached = on_host(self.engine.view("time"))
        stepped = selected(ids, len(time))
        for world in stepped[reached[stepped] < time[stepped]]:
            messages.setdefault(int(world), f"the engine put it back to its start at {time[world]:.4g} s")
        for world in self._not_finite():
            messages.setdefault(int(world), "its state is not finite")
        return [WorldError(world, messages[world]) for world in sorted(messages)]

    def _not_finite(self) -> np.ndarray:
        # a sum is finite only if every part is
        total: Any = 0.0
        for values in self.engine.live().state.values():
            total = total + values.reshape(len(values), -1).sum(-1)
        return np.flatnonzero(~np.isfinite(on_host(total)))

    def _dumped(self, failure: WorldsFailed) -> DumpedFailure:
        errors = failure.errors[: self.most]
        worlds = np.array([each.world for each in errors])
        arrays = {}
        for name, slots in self._kept.items():
            arrays[f"before.{name}"] = np.stack([on_host(slot)[worlds] for slot in slots[-len(self._calls) :]])
        for name, values in named(self.engine.live()).items():
            arrays[f"after.{name}"] = on_host(values)[worlds]
        about = {
            "backend": type(self.engine).__name__.removesuffix("Backend").lower(),
            "worlds": worlds.tolist(),
            "messages": [each.message for each in errors],
            "calls": list(self._calls),
        }
        folder = self.folder / f"failure-{os.getpid()}-{self._failures:03d}"
        self._failures += 1
        write_dump(folder, self.engine.model, arrays, about)
        return DumpedFailure(failure, folder)
