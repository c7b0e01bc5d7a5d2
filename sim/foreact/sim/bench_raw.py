"""Raw stepping on the very states and controls of a task's worlds: what the engine alone would have needed.

A window of control steps is logged first: every world's state, warm start and inputs before physics. The raw side then
does the same physics in MuJoCo's C loop `mujoco.rollout`, which records nothing here. A piece is a run of control steps
of one world that nothing but physics changed, so resets start a new one; pieces of one length are one call.
Shape letters: N = worlds, T = control steps, S = elements of a state, P = pieces, k = control steps of a piece.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.sim.backends.cpu import ROWS, CpuBackend
from foreact.sim.taskworlds import TaskWorlds

if TYPE_CHECKING:
    import mujoco

__all__ = ["Log", "RawDiffers", "RawWindow", "log_window"]


class RawDiffers(RuntimeError):
    """Raw stepping did not reach the logged states, so the two sides would not have done the same work."""


@dataclass(frozen=True)
class Log:
    """Rows of the engine's whole state around the physics of every control step.

    Attributes:
        before: With the inputs of the step, float64 (T, N, S).
        after: float64 (T, N, S).
        substeps: Engine steps per control step.
    """

    before: np.ndarray
    after: np.ndarray
    substeps: int


class _Logging:
    """Stands in for the backend while a window is logged."""

    def __init__(self, backend: CpuBackend) -> None:
        self._backend = backend
        self.before: list[np.ndarray] = []
        self.after: list[np.ndarray] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def step(self, substeps: int = 1, ids: np.ndarray | None = None, fresh: Any = "none") -> None:
        self.before.append(self._backend.snapshot().state[ROWS])
        self._backend.step(substeps, ids, fresh)
        self.after.append(self._backend.snapshot().state[ROWS])


def log_window(worlds: TaskWorlds, actions: Sequence[np.ndarray]) -> Log:
    """Step worlds on the `cpu` backend and keep what the engine saw; the worlds end where they would have anyway."""
    backend = worlds.backend
    assert isinstance(backend, CpuBackend)
    logging = _Logging(backend)
    worlds.backend = logging  # type: ignore[assignment]
    try:
        for action in actions:
            worlds.step(action)
    finally:
        worlds.backend = backend
    return Log(np.stack(logging.before), np.stack(logging.after), worlds.task.substeps)


@dataclass(frozen=True)
class _Pieces:
    """Pieces of one length: start (P, .), warm start (P, nv), inputs (P, k * substeps, .), end (P, .)."""

    start: np.ndarray
    warm: np.ndarray
    inputs: np.ndarray
    end: np.ndarray
    models: list[Any]


class RawWindow:
    """The pieces of a log, ready to be stepped.

    Args:
        worlds: On the `cpu` backend; their model, or models if fields differ between worlds.
        log: Of these worlds.
    """

    def __init__(self, worlds: TaskWorlds, log: Log) -> None:
        import mujoco
        from mujoco.rollout import Rollout

        assert isinstance(worlds.backend, CpuBackend)
        self._model = worlds.backend.engine_model  # with the flags that our worlds set for themselves
        self._rollout, self._data = Rollout(nthread=0), mujoco.MjData(self._model)
        state = mujoco.mjtState
        self._spec = _inputs_in_use(self._model, log)
        self._physics = _columns(self._model, state.mjSTATE_FULLPHYSICS)
        warm, inputs = _columns(self._model, state.mjSTATE_WARMSTART), _columns(self._model, self._spec)
        self._pieces = []
        models = _models(worlds)
        for length, places in sorted(_runs(log, np.concatenate([self._physics, warm])).items()):
            step, world = np.array(places).T
            each = np.stack([log.before[step + t, world][:, inputs] for t in range(length)], axis=1)
            first = log.before[step, world]
            end = log.after[step + length - 1, world][:, self._physics]
            held = np.ascontiguousarray(np.repeat(each, log.substeps, axis=1))
            chosen = [models[index] for index in world]
            self._pieces.append(_Pieces(_packed(first, self._physics), _packed(first, warm), held, end, chosen))

    def step(self) -> None:
        """Do the physics of the whole window once, on the calling thread, recording nothing."""
        for each in self._pieces:
            self._run(each, None)

    def check(self) -> None:
        """Compare the end of every piece with the log, bit for bit.

        Raises:
            RawDiffers: They differ.
        """
        for each in self._pieces:
            states = np.empty((len(each.start), each.inputs.shape[1], each.start.shape[1]))
            self._run(each, states)
            if not np.array_equal(states[:, -1], each.end):
                worst = np.abs(states[:, -1] - each.end).max()
                raise RawDiffers(f"raw stepping ends {worst:.3g} away from the worlds' own states")

    def _run(self, piece: _Pieces, states: np.ndarray | None) -> None:
        self._rollout.rollout(
            piece.models,
            [self._data],
            piece.start,
            piece.inputs,
            control_spec=self._spec,
            skip_checks=True,
            nstep=piece.inputs.shape[1],
            initial_warmstart=piece.warm,
            state=states,
        )


def _runs(log: Log, columns: np.ndarray) -> dict[int, list[tuple[int, int]]]:
    """Length to the (first step, world) of pieces: they break where a state is not what physics left."""
    steps, nworld = log.before.shape[:2]
    goes_on = (log.before[1:][:, :, columns] == log.after[:-1][:, :, columns]).all(-1)
    found: dict[int, list[tuple[int, int]]] = {}
    for world in range(nworld):
        edges = [0, *(np.flatnonzero(~goes_on[:, world]) + 1), steps]
        for start, stop in zip(edges[:-1], edges[1:], strict=True):
            found.setdefault(int(stop - start), []).append((int(start), world))
    return found


def _inputs_in_use(model: mujoco.MjModel, log: Log) -> int:
    """The controls, and those other inputs that are anywhere not the model's defaults."""
    import mujoco

    fresh = mujoco.MjData(model)
    spec = int(mujoco.mjtState.mjSTATE_CTRL)
    for bit in _bits(mujoco.mjtState.mjSTATE_USER):
        default = np.empty(mujoco.mj_stateSize(model, bit))
        mujoco.mj_getState(model, fresh, default, bit)
        if (log.before[:, :, _columns(model, bit)] != default).any():
            spec |= bit
    return spec


def _columns(model: mujoco.MjModel, spec: int) -> np.ndarray:
    """Where the parts of a state are in a row of the backend, which holds all parts in order, int (S,)."""
    import mujoco

    places, start = [np.zeros(0, int)], 0
    for bit in _bits(mujoco.mjtState.mjSTATE_INTEGRATION):
        size = mujoco.mj_stateSize(model, bit)
        if bit & int(spec):
            places.append(np.arange(start, start + size))
        start += size
    return np.concatenate(places)


def _bits(spec: int) -> list[int]:
    return [1 << place for place in range(int(spec).bit_length()) if int(spec) >> place & 1]


def _packed(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(rows[:, columns])


def _models(worlds: TaskWorlds) -> list[Any]:
    """The model of every world: one for all, or copies where worlds have values of their own."""
    assert isinstance(worlds.backend, CpuBackend)
    model, fields = worlds.backend.engine_model, worlds.backend.snapshot().model
    models = [copy.copy(model) if fields else model for _ in range(len(worlds))]
    for name, values in fields.items():
        for each, value in zip(models, values, strict=True):
            getattr(each, name)[:] = value
    return models
