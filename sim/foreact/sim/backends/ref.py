"""Worlds stepped one after the other by plain `mj_step`, as MuJoCo's manual does it: what the others must equal."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, override

import numpy as np

from foreact.sim.backends.base import (
    STATE_FIELDS,
    Fresh,
    SimBackend,
    Snapshot,
    WorldError,
    WorldsFailed,
    fork_target,
    selected,
)
from foreact.sim.backends.cpu import compiled_values, derived_fields, warning_names

if TYPE_CHECKING:
    import mujoco

__all__ = ["RefBackend"]

STATE = (*STATE_FIELDS, "plugin_state")  # all of `mjSTATE_INTEGRATION`


class RefBackend(SimBackend):
    """See `SimBackend`. Views are copied to and from each world's own MjData, so every call costs a loop.

    Args:
        model: Compiled.
        nworld: N.
    """

    xp: Any = np

    def __init__(self, model: mujoco.MjModel, nworld: int) -> None:
        import mujoco
        from mujoco import batch

        self.model, self.nworld = model, nworld
        self._mujoco, self._known = mujoco, batch
        self._models = [copy.copy(model) for _ in range(nworld)]
        self._data = [mujoco.MjData(each) for each in self._models]
        self._views: dict[str, np.ndarray] = {}
        self._fields: dict[str, np.ndarray] = {}
        for name in STATE:
            self.view(name)

    @override
    def view(self, field: str) -> np.ndarray:
        if field not in self._known.DATA_FIELDS:
            raise ValueError(f"{field} is not a field of MjData that can be viewed")
        if field not in self._views:
            first = np.asarray(getattr(self._data[0], field))
            dtype = np.float64 if field in STATE else first.dtype
            self._views[field] = np.zeros((self.nworld, *first.shape), dtype)
            if field in STATE:
                self._collect(range(self.nworld), (field,))
        return self._views[field]

    @override
    def model_field(self, field: str) -> np.ndarray:
        if field not in self._known.MODEL_FIELDS:
            raise ValueError(f"{field} is not a field of MjModel that may differ between worlds")
        if field not in self._fields:
            self._fields[field] = np.stack([np.array(compiled_values(each, field)) for each in self._models])
        return self._fields[field]

    @override
    def step(self, substeps: int = 1, ids: np.ndarray | None = None, fresh: Fresh = "none") -> None:
        def advance(model: mujoco.MjModel, data: mujoco.MjData) -> None:
            self._mujoco.mj_step(model, data, substeps)
            _compute(model, data, fresh)

        self._each(ids, advance)

    @override
    def reset(self, ids: np.ndarray | None = None, key: int = -1) -> None:
        for world in selected(ids, self.nworld):
            counts = [warning.number for warning in self._data[world].warning]
            if key < 0:
                self._mujoco.mj_resetData(self._models[world], self._data[world])
            else:
                self._mujoco.mj_resetDataKeyframe(self._models[world], self._data[world], key)
            for warning, count in zip(self._data[world].warning, counts, strict=True):
                warning.number = count  # those since the worlds were made
        self._collect(selected(ids, self.nworld), STATE)

    @override
    def forward(self, ids: np.ndarray | None = None, fresh: Fresh = "acceleration") -> None:
        self._each(ids, lambda model, data: _compute(model, data, fresh))

    @override
    def show(self, field: str, values: Any, ids: np.ndarray | None = None) -> None:
        self.view(field)[slice(None) if ids is None else ids] = values

    @override
    def derive_constants(self, ids: np.ndarray | None = None) -> None:
        chosen = selected(ids, self.nworld)
        for world in chosen:
            model = self._models[world]
            self._put_model(world)
            self._mujoco.mj_setConst(model, self._mujoco.MjData(model))  # which overwrites the state it is given
        for field in derived_fields():
            before = compiled_values(self.model, field)
            if field in self._fields or any((compiled_values(self._models[w], field) != before).any() for w in chosen):
                own = self.model_field(field)
                own[chosen] = [compiled_values(self._models[world], field) for world in chosen]

    @override
    def live(self) -> Snapshot:
        return Snapshot({name: self._views[name] for name in STATE}, self._fields)

    @override
    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        chosen = selected(ids, self.nworld)
        state = {name: self._views[name][chosen].copy() for name in STATE}
        return Snapshot(state, {name: values[chosen].copy() for name, values in self._fields.items()})

    @override
    def restore(self, snapshot: Snapshot, ids: np.ndarray | None = None) -> None:
        chosen = selected(ids, self.nworld)
        for name, values in snapshot.state.items():
            self._views[name][chosen] = values
        for name in {*self._fields, *snapshot.model}:
            values = snapshot.model.get(name)
            self.model_field(name)[chosen] = compiled_values(self.model, name) if values is None else values

    @override
    def fork(self, ids: np.ndarray, copies: int, into: SimBackend | None = None) -> RefBackend:
        target = fork_target(self, len(ids) * copies, into)
        target.restore(self.snapshot(np.repeat(ids, copies)))
        for data in target._data:
            for warning in data.warning:
                warning.number = 0
        return target

    @override
    def empty_like(self, nworld: int) -> RefBackend:
        return RefBackend(self.model, nworld)

    @override
    def warnings(self) -> dict[str, np.ndarray]:
        counts = np.array([[each.number for each in data.warning] for data in self._data])
        return {name: counts[:, index] for index, name in enumerate(warning_names())}

    def _each(self, ids: np.ndarray | None, call: Any) -> None:
        failed: list[WorldError] = []
        done: list[int] = []
        for world in selected(ids, self.nworld):
            model, data = self._models[world], self._data[world]
            self._put_model(world)
            for name in STATE:
                _assign(data, name, self._views[name][world])
            try:
                call(model, data)
            except self._mujoco.FatalError as error:
                failed.append(WorldError(int(world), str(error)))
                continue
            done.append(int(world))
        self._collect(done, tuple(self._views))
        if failed:
            raise WorldsFailed(failed)

    def _put_model(self, world: int) -> None:
        """Give a world's model the values of its own."""
        model = self._models[world]
        for field, values in self._fields.items():
            owner, name = (model.opt, field[4:]) if field.startswith("opt.") else (model, field)
            if isinstance(getattr(owner, name), np.ndarray):
                getattr(owner, name)[...] = values[world]
            else:
                setattr(owner, name, values[world].item())

    def _collect(self, worlds: Any, names: tuple[str, ...]) -> None:
        for name in names:
            values = self._views[name]
            for world in worlds:
                values[world] = getattr(self._data[world], name)


def _compute(model: mujoco.MjModel, data: mujoco.MjData, fresh: Fresh) -> None:
    import mujoco

    if fresh == "position":
        mujoco.mj_fwdPosition(model, data)
        mujoco.mj_sensorPos(model, data)
    elif fresh == "velocity":
        mujoco.mj_step1(model, data)
    elif fresh == "acceleration":
        mujoco.mj_forward(model, data)


def _assign(data: mujoco.MjData, name: str, value: np.ndarray) -> None:
    if name == "time":
        data.time = float(value)
    else:
        getattr(data, name)[...] = value
