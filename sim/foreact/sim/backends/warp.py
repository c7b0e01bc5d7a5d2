"""Worlds on MuJoCo Warp: float32 on one device, live torch tensors over the engine's own memory.

The sub-steps of a control step are one captured graph, on CUDA and on Warp's CPU device alike; the latter is for
checking what it computes, not for speed. Kernels run in torch's current stream, so that tensors need no waiting.
Worlds that overflow their room for contacts or constraints go on; `warnings` tells which did.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, override

import numpy as np

from foreact.sim.backends.base import STATE_FIELDS, Fresh, SimBackend, Snapshot, fork_target, on_host, selected

if TYPE_CHECKING:
    import mujoco

__all__ = ["WarpBackend", "warp_device"]

# what `set_const` computes; bounds of geoms too, but only where sizes differ
DERIVED_CONSTANTS = (
    "body_subtreemass", "body_invweight0", "dof_invweight0", "tendon_length0", "tendon_invweight0", "actuator_acc0",
    "cam_pos0", "cam_poscom0", "cam_mat0", "light_pos0", "light_poscom0", "light_dir0", "eq_data",
)  # fmt: skip
BOUNDS = ("geom_aabb", "geom_rbound")


class WarpBackend(SimBackend):
    """See `SimBackend`.

    Args:
        model: Compiled; without sleeping, whose memory is no part of a world's state.
        nworld: N.
        device: Warp device, `cpu` or `cuda:0`.
        contacts: Contacts per world to make room for, shared by all worlds; None lets the engine choose.
        constraints: Constraint rows per world to make room for; None lets the engine choose.

    Raises:
        RuntimeError: The device does not exist.
        ValueError: The model sleeps, or uses what MuJoCo Warp does not have.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        nworld: int,
        device: str = "cpu",
        contacts: int | None = None,
        constraints: int | None = None,
    ) -> None:
        import mujoco
        import mujoco_warp
        import torch
        import warp

        warp.config.log_level = warp.LOG_WARNING
        if model.opt.enableflags & mujoco.mjtEnableBit.mjENBL_SLEEP:
            raise ValueError("the model enables sleep, which worlds on Warp cannot put back; disable it")
        self.xp: Any = torch
        self.model, self.nworld, self.device = model, nworld, warp_device(device)
        self._warp, self._engine, self._mujoco = warp, mujoco_warp, mujoco
        self._torch_device = torch.device(warp.device_to_torch(self.device))
        self._room = {"nconmax": contacts, "njmax": constraints}
        self._views: dict[str, Any] = {}
        self._fields: dict[str, Any] = {}
        self._compiled: dict[str, Any] = {}
        self._starts: dict[int, dict[str, Any]] = {}
        self._graphs: dict[tuple[int, Fresh], Any] = {}
        self._template = mujoco.MjData(model)
        with self._scope():
            self._model: Any = _put(mujoco_warp, model)
            self._model.opt.warn_overflow = 0  # named by world instead of printed
            self._data: Any = mujoco_warp.make_data(model, nworld=nworld, **self._room)
        self._overflow = warp.to_torch(self._data.overflow)
        self._overflowed = torch.zeros(nworld, dtype=torch.int32, device=self._torch_device)
        self.reset()

    @override
    def view(self, field: str) -> Any:
        if field not in self._views:
            array, known = getattr(self._data, field, None), getattr(self._template, field, None)
            if not isinstance(array, self._warp.array) or known is None:
                raise ValueError(f"{field} is not a field that MuJoCo Warp's data has")
            tensor, shape = self._warp.to_torch(array), np.shape(known)
            if tensor.numel() != self.nworld * int(np.prod(shape)):
                raise ValueError(f"MuJoCo Warp lays {field} out in its own way; it cannot be viewed")
            self._views[field] = tensor.view(self.nworld, *shape)
        return self._views[field]

    @override
    def model_field(self, field: str) -> Any:
        if field not in self._fields:
            self._widen(field)
        return self._fields[field]

    @override
    def step(self, substeps: int = 1, ids: np.ndarray | None = None, fresh: Fresh = "none") -> None:
        with self._scope(), self._others_kept(ids):
            self._warp.capture_launch(self._graph(substeps, fresh))
            self._overflowed |= self._overflow

    @override
    def reset(self, ids: np.ndarray | None = None, key: int = -1) -> None:
        chosen = self._index(ids)
        for name, values in self._start(key).items():
            self.view(name)[chosen] = values
        if key < 0 and "qpos0" in self._fields:
            self.view("qpos")[chosen] = self._fields["qpos0"][chosen]
        for pose in ("pos", "quat"):
            if f"body_{pose}" in self._fields and self.model.nmocap and key < 0:
                bodies = np.argsort(np.where(self.model.body_mocapid < 0, self.model.nbody, self.model.body_mocapid))
                of_mocap = self._fields[f"body_{pose}"][:, bodies[: self.model.nmocap]]
                self.view(f"mocap_{pose}")[chosen] = of_mocap[chosen]
        self._overflow[chosen] = 0

    @override
    def forward(self, ids: np.ndarray | None = None, fresh: Fresh = "acceleration") -> None:
        if fresh != "none":
            with self._scope(), self._others_kept(ids):
                self._warp.capture_launch(self._graph(0, fresh))

    @override
    def show(self, field: str, values: Any, ids: np.ndarray | None = None) -> None:
        self.view(field)[slice(None) if ids is None else ids] = values

    @override
    def derive_constants(self, ids: np.ndarray | None = None) -> None:
        names = [*DERIVED_CONSTANTS, *(BOUNDS if "geom_size" in self._fields else ())]
        derived = [self.model_field(name) for name in names if getattr(self.model, name).size]
        others = self._others(ids)
        kept = [values[others] for values in derived]
        with self._scope():
            self._engine.set_const(self._model, self._data)
        for values, before in zip(derived, kept, strict=True):
            values[others] = before

    @override
    def live(self) -> Snapshot:
        return Snapshot({name: self.view(name) for name in STATE_FIELDS}, self._fields)

    @override
    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        chosen = self._index(ids)
        state = {name: self.view(name)[chosen].clone() for name in STATE_FIELDS}
        return Snapshot(state, {name: values[chosen].clone() for name, values in self._fields.items()})

    @override
    def restore(self, snapshot: Snapshot, ids: np.ndarray | None = None) -> None:
        chosen = self._index(ids)
        for name, values in snapshot.state.items():
            self.view(name)[chosen] = values
        for name in {*self._fields, *snapshot.model}:
            values = self.model_field(name)
            values[chosen] = snapshot.model.get(name, self._compiled[name])

    @override
    def fork(self, ids: np.ndarray, copies: int, into: SimBackend | None = None) -> WarpBackend:
        target = fork_target(self, len(ids) * copies, into)
        target.restore(self.snapshot(np.repeat(ids, copies)))
        for counts in (target._overflow, target._overflowed):
            counts[:] = 0
        return target

    @override
    def empty_like(self, nworld: int) -> WarpBackend:
        return WarpBackend(self.model, nworld, self.device, self._room["nconmax"], self._room["njmax"])

    @override
    def warnings(self) -> dict[str, np.ndarray]:
        kinds = {kind.name.lower(): int(kind) for kind in self._engine.OverflowType if kind.name not in ("NONE", "ALL")}
        seen = on_host(self._overflowed)
        return {name: ((seen & bit) != 0).astype(np.int32) for name, bit in kinds.items()}

    def _scope(self) -> Any:
        """Whatever Warp is asked to do goes into torch's current stream."""
        if self.device == "cpu":
            return self._warp.ScopedDevice(self.device)
        stream = self.xp.cuda.current_stream(self._torch_device)
        return self._warp.ScopedStream(self._warp.stream_from_torch(stream))

    @contextmanager
    def _others_kept(self, ids: np.ndarray | None) -> Iterator[None]:
        """Warp computes all worlds; those not asked for are put back, with every field that is viewed."""
        if ids is None:
            yield
            return
        others = self._others(ids)
        watched = [self._overflow, *(self.view(name) for name in {*STATE_FIELDS, *self._views})]
        kept = [values[others] for values in watched]
        yield
        for values, before in zip(watched, kept, strict=True):
            values[others] = before

    def _advance(self, substeps: int, fresh: Fresh) -> None:
        for _ in range(substeps):
            self._engine.step(self._model, self._data)
        if fresh == "position":
            self._engine.fwd_position(self._model, self._data)
            self._engine.sensor_pos(self._model, self._data)
        elif fresh == "velocity":
            self._engine.step1(self._model, self._data)
        elif fresh == "acceleration":
            self._engine.forward(self._model, self._data)

    def _graph(self, substeps: int, fresh: Fresh) -> Any:
        if (substeps, fresh) not in self._graphs:
            before = self.snapshot()
            self._advance(substeps, fresh)  # compiles what a capture must not
            # CUDA cannot capture its default stream, which is torch's own unless the caller chose another
            stream = None if self.device == "cpu" else self._warp.Stream(self.device)
            with self._warp.ScopedStream(stream), self._warp.ScopedCapture(self.device) as capture:
                self._advance(substeps, fresh)
            self.restore(before)
            self._graphs[substeps, fresh] = capture.graph
        return self._graphs[substeps, fresh]

    def _widen(self, field: str) -> None:
        """Give a model field a row per world, in place of the one row that the engine reads for all worlds."""
        of_option = field.startswith("opt.")
        name = field.removeprefix("opt.")
        owner, known = (self._model.opt, self.model.opt) if of_option else (self._model, self.model)
        spec = {each.name: each.type for each in dataclasses.fields(owner)}.get(name)
        if not hasattr(known, name) or getattr(spec, "shape", (None,))[:1] != ("*",):
            raise ValueError(f"{field} is not a field of MjModel that may differ between worlds on Warp")
        array = getattr(owner, name)
        shared = self._warp.to_torch(array)[:1].clone()
        wide = shared.repeat(self.nworld, *[1] * (shared.ndim - 1))
        setattr(owner, name, self._warp.from_torch(wide, dtype=array.dtype))
        shape = np.shape(getattr(known, name))
        self._fields[field], self._compiled[field] = wide.view(self.nworld, *shape), shared.view(shape)
        self._graphs.clear()  # they hold the addresses of the old arrays

    def _start(self, key: int) -> dict[str, Any]:
        """State after a reset, by field."""
        if not -1 <= key < self.model.nkey:
            raise ValueError(f"key={key} is out of range; the model has {self.model.nkey} keyframes")
        if key not in self._starts:
            if key < 0:
                self._mujoco.mj_resetData(self.model, self._template)
            else:
                self._mujoco.mj_resetDataKeyframe(self.model, self._template, key)
            self._starts[key] = {
                name: self.xp.as_tensor(
                    np.array(getattr(self._template, name)), dtype=self.view(name).dtype, device=self._torch_device
                )
                for name in STATE_FIELDS
            }
        return self._starts[key]

    def _index(self, ids: np.ndarray | None) -> Any:
        if ids is None:
            return slice(None)
        return self.xp.as_tensor(selected(ids, self.nworld), device=self._torch_device)

    def _others(self, ids: np.ndarray | None) -> Any:
        return self._index(np.setdiff1d(np.arange(self.nworld), selected(ids, self.nworld)))


def _put(engine: Any, model: mujoco.MjModel) -> Any:
    try:
        return engine.put_model(model)
    except NotImplementedError as error:
        told = "MuJoCo Warp does not have something that this model uses"
        raise ValueError(
            f"{told}: {error} A task can change options, such as options={{'solver': 2}} for Newton's"
        ) from error


def warp_device(name: str) -> str:
    """Warp's own name of a device, such as `cuda:0` for `cuda`.

    Raises:
        RuntimeError: The device does not exist.
    """
    import warp

    try:
        return warp.get_device(name).alias
    except (ValueError, RuntimeError) as error:
        known = ", ".join(each.alias for each in warp.get_devices())
        raise RuntimeError(f"Warp has no device {name!r}; it finds {known}") from error
