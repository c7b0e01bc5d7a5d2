"""Impacts: when two bodies strike each other, and how hard, from the normal forces of MuJoCo's contacts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import mujoco

__all__ = ["Impact", "ImpactListener", "normal_forces"]

GATHERED = 0.01  # the impulse of an impact is that of its first 10 ms [s]
SLOW = 0.03  # time in which the force that is usual for a pair follows its force [s]
RISE = 3.0  # an impact is a force so many times the usual one ...
FORCE = 0.05  # ... and more than this [N]
APART = 0.03  # impacts of a pair are so far apart [s]


@dataclass(frozen=True)
class Impact:
    """One blow.

    Attributes:
        time: When it began [s].
        impulse: Of the normal force [N s].
        geoms: Numbers of the two geoms with the largest force.
        bodies: Numbers of their bodies, the lower one first.
    """

    time: float
    impulse: float
    geoms: tuple[int, int]
    bodies: tuple[int, int]


@dataclass
class _Pair:
    """What is known of two bodies."""

    usual: float = 0.0
    since: float = math.inf  # time since the last impact began [s]
    impulse: float | None = None  # of the impact that is being gathered
    began: float = 0.0
    geoms: tuple[int, int] = (-1, -1)


class ImpactListener:
    """Tells impacts from contact forces, one step of the engine at a time.

    What rests or slides on something has a force that changes slowly; an impact is a force that rises within a few
    steps. Nothing is an impact in the first step, where things may already rest on others.

    Args:
        model: Of the engine.
        least: Smallest impulse that is told [N s].
    """

    def __init__(self, model: mujoco.MjModel, least: float = 1e-3) -> None:
        self._model, self._least, self._step = model, least, float(model.opt.timestep)
        self._bodies: list[int] = model.geom_bodyid.tolist()
        self._pairs: dict[tuple[int, int], _Pair] | None = None

    def forget(self) -> None:
        """The next step is the first: the state was changed by hand."""
        self._pairs = None

    def observe(self, data: mujoco.MjData, now: float | None = None) -> list[Impact]:
        """Impacts whose first 10 ms end with this step, in the order in which they began.

        Args:
            data: After a step.
            now: Time at the step's beginning, when the forces acted [s]; by default that of the engine.
        """
        began = data.time - self._step if now is None else now
        forces = self._forces(data)
        if self._pairs is None:
            self._pairs = {key: _Pair(usual=force) for key, (force, _) in forces.items()}
            return []
        for key in forces.keys() - self._pairs.keys():
            self._pairs[key] = _Pair()
        told = [self._heard(key, *forces.get(key, (0.0, (-1, -1))), began) for key in list(self._pairs)]
        return sorted((each for each in told if each is not None), key=lambda each: each.time)

    def _heard(self, key: tuple[int, int], force: float, geoms: tuple[int, int], began: float) -> Impact | None:
        assert self._pairs is not None
        pair, found = self._pairs[key], None
        if pair.impulse is None and force > FORCE + RISE * pair.usual and pair.since >= APART:
            pair.impulse, pair.began, pair.geoms, pair.since = 0.0, began, geoms, 0.0
        # m' = m + (f - m) dt / tau
        pair.usual += (force - pair.usual) * min(1.0, self._step / SLOW)
        pair.since += self._step
        if pair.impulse is not None:
            pair.impulse += force * self._step
            if pair.since >= GATHERED - 1e-9:
                if pair.impulse >= self._least:
                    found = Impact(pair.began, pair.impulse, pair.geoms, key)
                pair.impulse = None
        elif not force and pair.usual < FORCE / 100 and pair.since >= APART:
            del self._pairs[key]  # long apart
        return found

    def _forces(self, data: mujoco.MjData) -> dict[tuple[int, int], tuple[float, tuple[int, int]]]:
        """Normal force of each pair of bodies that touch [N], and its geoms with the largest."""
        if not data.ncon:
            return {}
        found: dict[tuple[int, int], tuple[float, tuple[int, int]]] = {}
        largest: dict[tuple[int, int], float] = {}
        geoms, forces = data.contact.geom, normal_forces(self._model, data)
        for (one, other), force in zip(geoms.tolist(), forces.tolist(), strict=True):
            if not force:
                continue
            low, high = self._bodies[one], self._bodies[other]
            if low > high:
                low, high, one, other = high, low, other, one
            whole, pair = found.get((low, high), (0.0, (one, other)))
            if force > largest.get((low, high), 0.0):
                largest[low, high], pair = force, (one, other)
            found[low, high] = whole + force, pair
        return found


def normal_forces(model: mujoco.MjModel, data: mujoco.MjData) -> np.ndarray:
    """Normal force of each contact [N], as `mj_contactForce` has it; 0 where the solver left it out, or with a flex.

    Args:
        model: Of the engine.
        data: After a step.
    """
    import mujoco

    contact = data.contact
    addresses, found = contact.efc_address, np.zeros(data.ncon)
    taken = (addresses >= 0) & (contact.geom.min(1) >= 0)
    if model.opt.cone == mujoco.mjtCone.mjCONE_ELLIPTIC:
        found[taken] = data.efc_force[addresses[taken]]
        return found
    dims = contact.dim
    for index in np.flatnonzero(taken):  # the force is the sum of those along the edges of a pyramid
        edges = 2 * (dims[index] - 1) if dims[index] > 1 else 1
        found[index] = data.efc_force[addresses[index] : addresses[index] + edges].sum()
    return found
