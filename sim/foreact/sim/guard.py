"""A guard against worlds that blow up: it keeps the last states, and writes those that led to a failure.

It stands between the worlds and their engine, so it sees what the engine got and what came of it, before a task resets
the world. `replay_dump` steps the same states again. Shape letters: N = worlds, n = failed worlds, K = steps kept.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.sim.backends import Fresh, Snapshot, WorldError, WorldsFailed, make_backend

if TYPE_CHECKING:
    from foreact.sim.taskworlds import TaskWorlds

__all__ = ["DumpedFailure", "Guard", "Replay", "replay_dump"]

ARRAYS, MODEL, ABOUT = "steps.npz", "model.mjb", "about.json"
BAD = ("bad_qpos", "bad_qvel", "bad_qacc", "bad_ctrl")


class DumpedFailure(WorldsFailed):
    """Worlds failed; `folder` holds what led to it."""

    def __init__(self, failure: WorldsFailed, folder: Path) -> None:
        super().__init__(failure.errors)
        self.folder = folder

    def __str__(self) -> str:
        return f"{super().__str__()}; replay_dump({str(self.folder)!r}) steps them again"


@dataclass(frozen=True)
class Replay:
    """What came of stepping a dump again.

    Attributes:
        worlds: Numbers the failed worlds had, int (n,).
        messages: What went wrong in each.
        before: State before every kept step by field, (K, n, ...) each.
        after: State after the failing step, (n, ...) each.
        same: The failing step gave the dumped bits again.
    """

    worlds: np.ndarray
    messages: tuple[str, ...]
    before: Mapping[str, np.ndarray]
    after: Mapping[str, np.ndarray]
    same: bool


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
        time, counts = _numpy(self.engine.view("time")).copy(), self._counts()
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
        live = _named(self.engine.live())
        if live.keys() != self._kept.keys():  # a model field has become one of each world: what was kept lacks it
            self._kept = {name: [_copied(values) for _ in range(self.keep)] for name, values in live.items()}
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
        reached = _numpy(self.engine.view("time"))
        stepped = np.ones(len(time), bool) if ids is None else _mask(ids, len(time))
        for world in np.flatnonzero(stepped & (reached < time)):
            messages.setdefault(int(world), f"the engine put it back to its start at {time[world]:.4g} s")
        for world in self._not_finite():
            messages.setdefault(int(world), "its state is not finite")
        return [WorldError(world, messages[world]) for world in sorted(messages)]

    def _not_finite(self) -> np.ndarray:
        # a sum is finite only if every part is
        total: Any = 0.0
        for values in self.engine.live().state.values():
            total = total + values.reshape(len(values), -1).sum(-1)
        return np.flatnonzero(~np.isfinite(_numpy(total)))

    def _dumped(self, failure: WorldsFailed) -> DumpedFailure:
        errors = failure.errors[: self.most]
        worlds = np.array([each.world for each in errors])
        arrays = {}
        for name, slots in self._kept.items():
            arrays[f"before.{name}"] = np.stack([_numpy(slot)[worlds] for slot in slots[-len(self._calls) :]])
        for name, values in _named(self.engine.live()).items():
            arrays[f"after.{name}"] = _numpy(values)[worlds]
        about = {
            "backend": type(self.engine).__name__.removesuffix("Backend").lower(),
            "worlds": worlds.tolist(),
            "messages": [each.message for each in errors],
            "calls": list(self._calls),
        }
        folder = self.folder / f"failure-{os.getpid()}-{self._failures:03d}"
        self._failures += 1
        _write(folder, self.engine.model, arrays, about)
        return DumpedFailure(failure, folder)


def replay_dump(folder: str | Path, **options: Any) -> Replay:
    """Step the worlds of a dump again, from each of the kept states.

    Args:
        folder: One folder that a guard wrote.
        options: Of the backend, such as `device`.

    Raises:
        ValueError: It is no dump, or written by another version of MuJoCo.
    """
    import mujoco

    folder = Path(folder)
    if not all((folder / name).is_file() for name in (ARRAYS, MODEL, ABOUT)):
        raise ValueError(f"{folder} is no dump: expected {ARRAYS}, {MODEL} and {ABOUT}")
    about = json.loads((folder / ABOUT).read_text())
    if about["mujoco"] != mujoco.__version__:
        raise ValueError(f"{folder} was written with MuJoCo {about['mujoco']}, this is {mujoco.__version__}")
    with np.load(folder / ARRAYS, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    before, after = (_without(arrays, prefix) for prefix in ("before.", "after."))
    model = mujoco.MjModel.from_binary_path(str(folder / MODEL))
    backend: Any = make_backend(about["backend"], model, len(about["worlds"]), **options)
    errors: tuple[WorldError, ...] = ()
    for step, (substeps, fresh) in enumerate(about["calls"]):
        backend.restore(_snapshot({name: values[step] for name, values in before.items()}, backend))
        try:
            backend.step(substeps, None, fresh)
        except WorldsFailed as failure:
            errors = failure.errors
    found = {name: _numpy(values) for name, values in _named(backend.live()).items()}
    same = all(
        np.array_equal(found[name], values, equal_nan=values.dtype.kind == "f") for name, values in after.items()
    )
    messages = about["messages"] if not errors else [each.message for each in errors]
    return Replay(np.array(about["worlds"]), tuple(messages), before, after, same)


def _write(folder: Path, model: Any, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Write a dump beside its place, then move it there."""
    import mujoco

    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.savez(partial / ARRAYS, **arrays)  # pyright: ignore[reportArgumentType]
    mujoco.mj_saveModel(model, str(partial / MODEL))
    (partial / ABOUT).write_text(json.dumps({**about, "mujoco": mujoco.__version__}, indent=1))
    partial.rename(folder)


def _named(snapshot: Snapshot) -> dict[str, Any]:
    state = {f"state.{name}": values for name, values in snapshot.state.items()}
    return state | {f"model.{name}": values for name, values in snapshot.model.items()}


def _snapshot(arrays: dict[str, np.ndarray], backend: Any) -> Snapshot:
    given = {name: backend.xp.asarray(values) for name, values in arrays.items()}
    return Snapshot(_without(given, "state."), _without(given, "model."))


def _without(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


def _numpy(values: Any) -> np.ndarray:
    return values if isinstance(values, np.ndarray) else values.cpu().numpy()


def _copied(values: Any) -> Any:
    return values.copy() if isinstance(values, np.ndarray) else values.clone()


def _mask(ids: np.ndarray, nworld: int) -> np.ndarray:
    mask = np.zeros(nworld, bool)
    mask[ids] = True
    return mask
