"""Named live arrays over a backend's worlds: what terms of a task read and write.

Shape letters: N = worlds, n = selected worlds, k = parts named.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.sim.backends.base import STATE_FIELDS

if TYPE_CHECKING:
    import mujoco

    from foreact.sim.backends import SimBackend

__all__ = ["Named", "Views"]


class Views:
    """`views.qpos` is the live (N, nq) array, `views.body("torso").xpos` the live (N, 3) part of `xpos`.

    Args:
        backend: The worlds.
        control_dt: Time of one control step [s].
        at_once: Derived fields show the present state from their first lookup; otherwise from the next call after it.

    Attributes:
        derived: Live derived fields that were looked up, by name.
    """

    def __init__(self, backend: SimBackend, control_dt: float, *, at_once: bool = False) -> None:
        self.backend, self.xp, self.dt = backend, backend.xp, control_dt
        self._at_once = at_once
        self.derived: dict[str, Any] = {}
        self.before: dict[str, Any] = {}
        self.command: dict[str, Any] = {}
        self.hidden: dict[str, Any] = {}
        self.action: Any = None
        self.last_action: Any = None
        self.nworld = backend.nworld
        self._parts: dict[tuple[str, str], Named] = {}

    def __getattr__(self, field: str) -> Any:
        if field.startswith("_"):
            raise AttributeError(field)
        values = self.backend.view(field)
        self.__dict__[field] = values  # looked up once
        if field not in STATE_FIELDS:
            self.derived[field] = values
            if self._at_once:
                self.backend.forward(None, "acceleration")
        return values

    def model(self, field: str) -> Any:
        """A live (N, ...) array of a model field with one value per world."""
        return self.backend.model_field(field)

    def numbers(self, kind: str, names: Sequence[int | str]) -> np.ndarray:
        """Numbers of some bodies, geoms, actuators, ... of the model, int (k,).

        Raises:
            ValueError: No such part.
        """
        try:
            return np.array([getattr(self.backend.model, kind)(name).id for name in names], np.int64)
        except (KeyError, IndexError) as error:
            raise ValueError(f"the model has no such {kind}: {error.args[0]}") from None

    def set_model(self, field: str, ids: np.ndarray, parts: np.ndarray, values: Any) -> None:
        """Give some worlds, int (n,), values of their own, (n, k, ...), in some parts of a model field, int (k,)."""
        own = self.model(field)
        own[ids[:, None], parts] = self.like(values, own)

    def like(self, values: Any, array: Any = None) -> Any:
        """Values as the backend's kind of array, of the type and on the device of another one, by default of `qpos`."""
        array = self.qpos if array is None else array
        return self.xp.asarray(values, dtype=array.dtype, device=array.device)

    def zeros(self, *shape: int, dtype: str = "float32") -> Any:
        """Zeros of a type by its name, such as `int32`, where the worlds are."""
        return self.xp.zeros(shape, dtype=getattr(self.xp, dtype), device=self.qpos.device)

    def joint(self, name: str) -> Named:
        """Parts of arrays that belong to a joint: `qpos`, `qvel`, `xanchor`, ..."""
        return self._named("joint", name)

    def body(self, name: str) -> Named:
        """Parts of arrays that belong to a body: `xpos`, `xquat`, `cvel`, ..."""
        return self._named("body", name)

    def geom(self, name: str) -> Named:
        """Parts of arrays that belong to a geom: `xpos`, `xmat`."""
        return self._named("geom", name)

    def site(self, name: str) -> Named:
        """Parts of arrays that belong to a site: `xpos`, `xmat`."""
        return self._named("site", name)

    def sensor(self, name: str) -> Named:
        """Parts of arrays that belong to a sensor: `data`."""
        return self._named("sensor", name)

    def actuator(self, name: str) -> Named:
        """Parts of arrays that belong to an actuator: `ctrl`, `force`, ..."""
        return self._named("actuator", name)

    def _named(self, kind: str, name: str) -> Named:
        # terms ask in every step
        key = kind, name
        if key not in self._parts:
            self._parts[key] = Named(self, kind, name)
        return self._parts[key]

    @cached_property
    def template(self) -> mujoco.MjData:
        """One MjData of the model, for the shapes and places of named parts."""
        import mujoco

        return mujoco.MjData(self.backend.model)


class Named:
    """The parts of the backend's arrays that belong to one named object."""

    def __init__(self, views: Views, kind: str, name: str) -> None:
        try:
            self.__dict__["_part"] = getattr(views.template, kind)(name)
        except KeyError as error:
            raise ValueError(f"the model has no {kind} {name!r}: {error.args[0]}") from None
        self.__dict__["_views"] = views

    def __getattr__(self, attribute: str) -> Any:
        part = getattr(self._part, attribute)
        field, start = _place(self._views.template, part)
        values = getattr(self._views, field)
        flat = values.reshape(values.shape[0], -1)[:, start : start + part.size]
        found = flat.reshape(values.shape[0], *part.shape)
        self.__dict__[attribute] = found
        return found


def _place(data: mujoco.MjData, part: np.ndarray) -> tuple[str, int]:
    """The field of MjData that holds an array, and where it begins there [elements]."""
    from mujoco.batch import DATA_FIELDS

    for field in DATA_FIELDS:
        whole = getattr(data, field, None)
        if not isinstance(whole, np.ndarray) or whole.dtype != part.dtype:
            continue
        offset = part.ctypes.data - whole.ctypes.data
        if 0 <= offset and offset + part.nbytes <= whole.nbytes:
            return field, offset // whole.itemsize
    raise ValueError("no field that a backend shows holds this part")
