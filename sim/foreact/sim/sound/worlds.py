"""What one world of a task sounds like while the task is done: its steps are done once more, listening."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.sim.backends.base import STATE_FIELDS, Fresh, on_host, selected
from foreact.sim.sound.impacts import Impact, ImpactListener
from foreact.sim.sound.ringing import ContactSound

if TYPE_CHECKING:
    from foreact.sim.taskworlds import TaskWorlds

__all__ = ["WorldEar"]


class WorldEar:
    """An ear in one world: takes the place of the worlds' backend, and passes everything on to it.

    Backends do many sub-steps at once and keep no contacts, so the ear does the sub-steps of its world again, from the
    same state with the same commands, on plain MuJoCo.

    Args:
        worlds: Where to listen; from now on every step is heard.
        materials: Of each geom, by `geom_materials`.
        world: Number of the world.
        rate: Samples per second [Hz].
        least: Smallest impulse that is told [N s].

    Attributes:
        impacts: All so far; times count from the first step that was heard, whatever resets lie between [s].
        apart: Largest difference between a joint position after a step and the backend's, over all steps.
    """

    def __init__(
        self, worlds: TaskWorlds, materials: tuple[str, ...], world: int = 0, rate: int = 16_000, least: float = 1e-3
    ) -> None:
        import mujoco

        if not 0 <= world < worlds.nworld:
            raise ValueError(f"world={world}: there are {worlds.nworld}")
        self._inner, self._world, self._mujoco = worlds.backend, world, mujoco
        self._model = worlds.backend.model.__copy__()
        self._data = mujoco.MjData(self._model)
        self._listener, self._sound = ImpactListener(self._model, least), ContactSound(self._model, materials, rate)
        self.impacts: list[Impact] = []
        self._steps, self.apart = 0, 0.0
        self._after: np.ndarray | None = None
        worlds.backend = self  # pyright: ignore[reportAttributeAccessIssue] it has all that a backend has

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_inner"], name)

    def step(self, substeps: int = 1, ids: np.ndarray | None = None, fresh: Fresh = "none") -> None:
        """As `SimBackend.step`."""
        heard = self._world in selected(ids, self._inner.nworld)
        if heard:
            self._take_state()
        self._inner.step(substeps, ids, fresh)
        if heard:
            self._listen(substeps)

    def sound(self) -> np.ndarray:
        """Samples since the last call, or since the beginning, float32 (S,), up to 10 ms ago: blows are gathered."""
        known = self._steps * self._model.opt.timestep - 0.02
        return self._sound.ringing.render(max(0, int(known * self._sound.ringing.rate) - self._sound.ringing.position))

    def _take_state(self) -> None:
        data, row = self._data, self._world
        for field in STATE_FIELDS:
            values = np.asarray(getattr(data, field)) if field != "time" else None
            here = on_host(self._inner.view(field)[row])
            if values is None:
                data.time = float(here)
            elif values.size:
                values[...] = here.reshape(values.shape)
        if self._after is None or not np.array_equal(self._after, data.qpos):
            self._listener.forget()  # a reset, or a state put in by hand
            for field, values in self._inner.snapshot(np.array([row])).model.items():
                np.asarray(getattr(self._model, field))[...] = on_host(values)[0]

    def _listen(self, substeps: int) -> None:
        step = self._model.opt.timestep
        for _ in range(substeps):
            self._mujoco.mj_step(self._model, self._data)
            for impact in self._listener.observe(self._data, self._steps * step):
                self.impacts.append(impact)
                self._sound.strike(impact)
            self._steps += 1
        self._after = on_host(self._inner.view("qpos")[self._world]).copy()
        self.apart = max(self.apart, float(np.abs(self._data.qpos - self._after).max(initial=0.0)))
