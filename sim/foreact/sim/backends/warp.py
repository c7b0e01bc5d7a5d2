"""Worlds on MuJoCo Warp: float32 on one device, live torch tensors over the engine's own memory.

On CUDA the sub-steps of a control step are one captured graph. On Warp's CPU device it is for checking what it
computes, not for speed. Warp keeps going where worlds overflow its contact budget; `warnings` tells which did.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, override

import numpy as np

from foreact.sim.backends.base import Fresh, SimBackend, Snapshot

if TYPE_CHECKING:
    import mujoco

__all__ = ["WarpBackend"]


class WarpBackend(SimBackend):
    """See `SimBackend`.

    Args:
        model: Compiled.
        nworld: N.
        device: Warp device, `cpu` or `cuda:0`.
        contacts: Contacts per world to make room for; None lets the engine choose.
        constraints: Constraint rows per world to make room for; None lets the engine choose.

    Raises:
        RuntimeError: The device does not exist.
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
        self.xp: Any = torch
        self.model, self.nworld, self.device = model, nworld, device
        self._warp, self._engine = warp, mujoco_warp
        self._room = {"nconmax": contacts, "njmax": constraints}
        self._views: dict[str, Any] = {}
        self._batched: dict[str, int] = {}
        self._graphs: dict[tuple[int, Fresh], Any] = {}
        self._template = mujoco.MjData(model)
        self._all_state = int(mujoco.mjtState.mjSTATE_INTEGRATION)
        self._row = mujoco.mj_stateSize(model, mujoco.mjtState.mjSTATE_INTEGRATION)
        with warp.ScopedDevice(device):
            self._model = mujoco_warp.put_model(model)
            self._model.opt.warn_overflow = 0  # counted and named by world instead of printed
            self._data = mujoco_warp.make_data(model, nworld=nworld, **self._room)
            mujoco_warp.reset_data(self._model, self._data)
        self._overflowed = torch.zeros(nworld, dtype=torch.int32, device=self._torch_device)

    @property
    def _torch_device(self) -> str:
        return "cpu" if self.device == "cpu" else self.device

    @override
    def view(self, field: str) -> Any:
        if field not in self._views:
            array = getattr(self._data, field, None)
            shape = getattr(self._template, field, None)
            if array is None or shape is None:
                raise ValueError(f"{field} is not a field that MuJoCo Warp's data has")
            tensor = self._warp.to_torch(array)
            self._views[field] = tensor.view(self.nworld, *np.shape(shape))
        return self._views[field]

    @override
    def model_field(self, field: str) -> Any:
        if not hasattr(self._model, field) or not hasattr(self.model, field):
            raise ValueError(f"{field} is not a field of MjModel that may differ between worlds")
        if field not in self._batched:
            self._widen(field)
        shape = np.shape(getattr(self.model, field))
        return self._warp.to_torch(getattr(self._model, field)).view(self.nworld, *shape)

    @override
    def step(self, substeps: int = 1, ids: np.ndarray | None = None, fresh: Fresh = "none") -> None:
        kept = None if ids is None else (self._others(ids), self.snapshot(self._others(ids)))
        with self._warp.ScopedDevice(self.device):
            if self.device == "cpu":
                self._advance(substeps, fresh)
            else:
                self._warp.capture_launch(self._graph(substeps, fresh))
        self._overflowed |= self._warp.to_torch(self._data.overflow)
        if kept is not None:
            self.restore(kept[1], kept[0])

    @override
    def reset(self, ids: np.ndarray | None = None, key: int = -1) -> None:
        mask = self._mask(ids)
        with self._warp.ScopedDevice(self.device):
            chosen = self._warp.from_torch(mask, dtype=self._warp.bool)
            if key < 0:
                self._engine.reset_data(self._model, self._data, chosen)
            else:
                self._engine.reset_data_keyframe(self._model, self._data, key, chosen)

    @override
    def forward(self, ids: np.ndarray | None = None, fresh: Fresh = "acceleration") -> None:
        with self._warp.ScopedDevice(self.device):
            self._compute(fresh)

    @override
    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        chosen = self._index(ids)
        rows = self._rows()
        with self._warp.ScopedDevice(self.device):
            self._engine.get_state(self._model, self._data, self._warp.from_torch(rows), self._all_state)
        fields = {name: self.model_field(name)[chosen].clone() for name in self._batched}
        return Snapshot({"rows": rows[chosen].clone()}, fields)

    @override
    def restore(self, snapshot: Snapshot, ids: np.ndarray | None = None) -> None:
        chosen = self._index(ids)
        for name, values in snapshot.model.items():
            self.model_field(name)[chosen] = values
        rows = self._rows()
        rows[chosen] = snapshot.state["rows"]
        mask = self._mask(ids)
        with self._warp.ScopedDevice(self.device):
            chosen = self._warp.from_torch(mask, dtype=self._warp.bool)
            self._engine.set_state(self._model, self._data, self._warp.from_torch(rows), self._all_state, chosen)

    @override
    def fork(self, ids: np.ndarray, copies: int, into: SimBackend | None = None) -> WarpBackend:
        nworld = len(ids) * copies
        target: Any = self.empty_like(nworld) if into is None else into
        if not isinstance(target, WarpBackend) or target.model is not self.model or target.nworld != nworld:
            raise ValueError(f"fork: `into` must be a fork of the same worlds with {nworld} worlds")
        target.restore(self.snapshot(np.repeat(ids, copies)))
        return target

    def empty_like(self, nworld: int) -> WarpBackend:
        """A backend of another size on the same model, device and budget."""
        return WarpBackend(self.model, nworld, self.device, self._room["nconmax"], self._room["njmax"])

    @override
    def warnings(self) -> dict[str, np.ndarray]:
        kinds = {kind.name.lower(): int(kind) for kind in self._engine.OverflowType if kind.name not in ("NONE", "ALL")}
        seen = self._overflowed.cpu().numpy()
        return {name: ((seen & bit) != 0).astype(np.int32) for name, bit in kinds.items()}

    def _advance(self, substeps: int, fresh: Fresh) -> None:
        for _ in range(substeps):
            self._engine.step(self._model, self._data)
        self._compute(fresh)

    def _compute(self, fresh: Fresh) -> None:
        if fresh == "velocity":
            self._engine.step1(self._model, self._data)
        elif fresh == "acceleration":
            self._engine.forward(self._model, self._data)

    def _graph(self, substeps: int, fresh: Fresh) -> Any:
        if (substeps, fresh) not in self._graphs:
            before = self.snapshot()
            self._advance(substeps, fresh)  # compiles what a capture must not
            with self._warp.ScopedCapture() as capture:
                self._advance(substeps, fresh)
            self.restore(before)
            self._graphs[substeps, fresh] = capture.graph
        return self._graphs[substeps, fresh]

    def _widen(self, field: str) -> None:
        """Give a model field a row per world; the engine lays arrays out when it makes the model."""
        kept = {name: self.model_field(name).clone() for name in self._batched}
        self._batched[field] = self.nworld
        with self._warp.ScopedDevice(self.device):
            self._model = self._engine.put_model(self.model, batch_sizes=self._batched)
            self._model.opt.warn_overflow = 0
        for name, values in kept.items():
            self.model_field(name)[:] = values
        self._graphs.clear()

    def _rows(self) -> Any:
        return self.xp.zeros(
            (self.nworld, self._row),
            dtype=self.xp.float32,
            device=self._torch_device,
        )

    def _index(self, ids: np.ndarray | None) -> Any:
        if ids is None:
            return slice(None)
        chosen = np.flatnonzero(ids) if np.asarray(ids).dtype == bool else np.asarray(ids)
        return self.xp.as_tensor(chosen.astype(np.int64), device=self._torch_device)

    def _mask(self, ids: np.ndarray | None) -> Any:
        mask = self.xp.zeros(self.nworld, dtype=self.xp.bool, device=self._torch_device)
        mask[self._index(ids)] = True
        return mask

    def _others(self, ids: np.ndarray) -> np.ndarray:
        chosen = np.asarray(ids) if np.asarray(ids).dtype == bool else np.isin(np.arange(self.nworld), ids)
        return np.flatnonzero(~chosen)
