"""What a guard writes of a failure, and stepping it again. Shape letters: n = failed worlds, K = steps kept."""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from foreact.episodes.strictjson import decode, loads
from foreact.sim.backends import Fresh, SimBackend, Snapshot, WorldError, WorldsFailed, make_backend
from foreact.sim.backends.base import on_host

if TYPE_CHECKING:
    import mujoco

__all__ = ["About", "Dump", "Replay", "named", "read_dump", "replay_dump", "write_dump"]

ARRAYS, MODEL, ABOUT = "steps.npz", "model.mjb", "about.json"
MOST_SUBSTEPS = 100_000  # of one call; a file that asks for more is damaged, and the engine could not be interrupted


@dataclass(frozen=True)
class Replay:
    """What came of stepping a dump again.

    Attributes:
        worlds: Numbers the failed worlds had, int (n,).
        messages: What went wrong in each.
        before: State before every kept step by field, (K, n, ...) each.
        after: State after the failing step, (n, ...) each.
        repeated: The failing step gave the world's dumped bits again, bool (n,).
    """

    worlds: np.ndarray
    messages: tuple[str, ...]
    before: Mapping[str, np.ndarray]
    after: Mapping[str, np.ndarray]
    repeated: np.ndarray

    @property
    def same(self) -> bool:
        """The failing step gave the dumped bits of all worlds again."""
        return bool(self.repeated.all())


@dataclass(frozen=True)
class About:
    """What `about.json` of a dump says.

    Attributes:
        backend: The engine.
        worlds: Numbers the failed worlds had (n,).
        messages: What went wrong in each (n,).
        calls: Sub-steps and freshness of each of the K steps.
        mujoco: Version that wrote the model.
        model_crc32: Of the model's file.

    Raises:
        ValueError: The parts do not fit each other.
    """

    backend: Literal["cpu", "ref", "warp"]
    worlds: tuple[int, ...]
    messages: tuple[str, ...]
    calls: tuple[tuple[int, Fresh], ...]
    mujoco: str
    model_crc32: int

    def __post_init__(self) -> None:
        if not self.worlds or len(set(self.worlds)) < len(self.worlds) or min(self.worlds) < 0:
            raise ValueError(f"expected different numbers of worlds, got {list(self.worlds)}")
        if len(self.messages) != len(self.worlds):
            raise ValueError(f"{len(self.messages)} messages for {len(self.worlds)} worlds")
        if not self.calls or not all(0 <= substeps <= MOST_SUBSTEPS for substeps, _ in self.calls):
            raise ValueError(f"expected calls of 0 to {MOST_SUBSTEPS} sub-steps, got {self.calls}")


@dataclass(frozen=True)
class Dump:
    """What a guard wrote of one failure.

    Attributes:
        folder: Where it lies.
        about: Engine, worlds and calls.
        model: Compiled.
        before: State before every kept step by field, (K, n, ...) each.
        after: State after the failing step, (n, ...) each.
    """

    folder: Path
    about: About
    model: mujoco.MjModel
    before: Mapping[str, np.ndarray]
    after: Mapping[str, np.ndarray]

    def make(self, **options: Any) -> SimBackend:
        """The n worlds on the engine they failed on.

        Args:
            options: Of the backend, such as `device`.

        Raises:
            ValueError: The states do not belong to the model.
            ModuleNotFoundError: A package of the engine is not installed.
        """
        backend = make_backend(self.about.backend, self.model, len(self.about.worlds), **options)
        for name in _without(self.before, "model."):
            try:
                backend.model_field(name)
            except ValueError as error:
                raise ValueError(f"{self.folder / ARRAYS} does not fit {MODEL}: {error}") from error
        live = {name: on_host(values) for name, values in named(backend.live()).items()}
        if live.keys() != self.before.keys():
            differing = ", ".join(sorted(live.keys() ^ self.before.keys()))
            raise ValueError(f"{self.folder / ARRAYS} does not fit {MODEL}: only one of them has {differing}")
        for name, values in live.items():
            found = self.before[name][0]
            if (found.shape, found.dtype) != (values.shape, values.dtype):
                raise ValueError(
                    f"{self.folder / ARRAYS} does not fit {MODEL}: {name} is {found.dtype} {found.shape},"
                    f" expected {values.dtype} {values.shape}"
                )
        return backend

    def restore(self, backend: SimBackend, step: int) -> None:
        """Put the worlds where they were before kept step `step`, 0 <= step < K.

        Args:
            backend: That `make` made.
            step: Which.
        """
        given = {name: backend.xp.asarray(values[step]) for name, values in self.before.items()}
        backend.restore(Snapshot(_without(given, "state."), _without(given, "model.")))

    def replay(self, backend: SimBackend) -> Replay:
        """Step the worlds again, from each of the kept states.

        Args:
            backend: That `make` made.
        """
        errors: tuple[WorldError, ...] = ()
        for step, (substeps, fresh) in enumerate(self.about.calls):
            self.restore(backend, step)
            errors = ()
            try:
                backend.step(substeps, None, fresh)
            except WorldsFailed as failure:
                errors = failure.errors
        messages = dict(enumerate(self.about.messages)) | {each.world: each.message for each in errors}
        repeated = np.ones(len(messages), bool)
        for name, values in named(backend.live()).items():
            repeated &= [_equal(*pair) for pair in zip(on_host(values), self.after[name], strict=True)]
        return Replay(np.array(self.about.worlds), tuple(messages.values()), self.before, self.after, repeated)


def replay_dump(folder: str | Path, **options: Any) -> Replay:
    """Step the worlds of a dump again, from each of the kept states.

    Args:
        folder: One folder that a guard wrote.
        options: Of the backend, such as `device`.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It is no dump, damaged, or written by another version of MuJoCo.
    """
    dump = read_dump(folder)
    return dump.replay(dump.make(**options))


def read_dump(folder: str | Path) -> Dump:
    """Read what a guard wrote, and check that its parts fit.

    Args:
        folder: One folder that a guard wrote.

    Raises:
        FileNotFoundError: There is no such folder.
        ValueError: It is no dump, damaged, or written by another version of MuJoCo.
    """
    folder = Path(folder)
    _require_dump(folder)
    about = _read_about(folder)
    model = _read_model(folder, about)
    arrays = _read_arrays(folder / ARRAYS)
    before, after = (_without(arrays, prefix) for prefix in ("before.", "after."))
    kept, worlds = len(about.calls), len(about.worlds)
    fits = all(values.shape[:2] == (kept, worlds) for values in before.values()) and all(
        values.shape == (worlds, *before[name].shape[2:]) for name, values in after.items() if name in before
    )
    if not fits or before.keys() != after.keys():
        raise ValueError(f"{folder / ARRAYS} does not hold {kept} steps of {worlds} worlds, which {ABOUT} tells of")
    return Dump(folder, about, model, before, after)


def _require_dump(folder: Path) -> None:
    found = {each.name for each in folder.iterdir()}
    if {ARRAYS, MODEL, ABOUT} <= found:
        return
    inside = sorted(name for name in found if (folder / name / ABOUT).is_file())
    hint = f"; it holds {len(inside)} dumps, give one: {folder / inside[0]}" if inside else ""
    raise ValueError(f"{folder} is no dump: expected {ARRAYS}, {MODEL} and {ABOUT}{hint}")


def _read_about(folder: Path) -> About:
    import mujoco

    try:
        about = decode(About, loads((folder / ABOUT).read_text(encoding="utf-8")), ABOUT)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{folder / ABOUT} is damaged: {error}") from error
    if about.mujoco != mujoco.__version__:
        raise ValueError(f"{folder} was written with MuJoCo {about.mujoco}, this is {mujoco.__version__}")
    return about


def _read_model(folder: Path, about: About) -> mujoco.MjModel:
    import mujoco

    file = folder / MODEL
    if zlib.crc32(file.read_bytes()) != about.model_crc32:  # before the engine sees it, which would log to a file
        raise ValueError(f"{file} is damaged: it is not the file that was written")
    try:
        return mujoco.MjModel.from_binary_path(str(file))
    except ValueError as error:
        raise ValueError(f"{file} is damaged: {error}") from error


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
    with file.open("rb") as stream:
        try:
            if not zipfile.is_zipfile(stream):
                raise ValueError("it is no zip file, or was cut short")
            stream.seek(0)
            with np.load(stream, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
        except Exception as error:  # on bytes it did not write, numpy raises nearly anything
            raise ValueError(f"{file} is damaged: {error}") from error


def write_dump(folder: Path, model: mujoco.MjModel, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Write a dump beside its place, then move it there.

    Args:
        folder: Must not exist.
        model: Compiled.
        arrays: `before.FIELD` (K, n, ...) and `after.FIELD` (n, ...), fields as `named` names them.
        about: Parts of `About` but the version and the check sum.
    """
    import mujoco

    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    np.savez(partial / ARRAYS, **arrays)  # pyright: ignore[reportArgumentType]
    mujoco.mj_saveModel(model, str(partial / MODEL))
    written = {"mujoco": mujoco.__version__, "model_crc32": zlib.crc32((partial / MODEL).read_bytes())}
    (partial / ABOUT).write_text(json.dumps(about | written, indent=1), encoding="utf-8")
    partial.rename(folder)


def named(snapshot: Snapshot) -> dict[str, Any]:
    """Arrays of a snapshot by `state.FIELD` and `model.FIELD`."""
    state = {f"state.{name}": values for name, values in snapshot.state.items()}
    return state | {f"model.{name}": values for name, values in snapshot.model.items()}


def _without(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): values for name, values in arrays.items() if name.startswith(prefix)}


def _equal(found: np.ndarray, wanted: np.ndarray) -> bool:
    return np.array_equal(found, wanted, equal_nan=wanted.dtype.kind == "f")
