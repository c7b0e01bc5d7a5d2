"""The seam between tasks and engines.

A backend holds N worlds of one MJCF model. Its arrays are live: what is written into a state field before a call is the
world's state in that call, what is read after it is the result. Shape letters: N = worlds, n = selected worlds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

if TYPE_CHECKING:
    import mujoco

__all__ = [
    "STATE_FIELDS", "Fresh", "SimBackend", "Snapshot", "WorldError", "WorldsFailed", "fork_target", "make_backend",
    "on_host", "selected",
]  # fmt: skip

STATE_FIELDS = (
    "time", "qpos", "qvel", "act", "history", "qacc_warmstart", "ctrl", "qfrc_applied", "xfrc_applied", "eq_active",
    "mocap_pos", "mocap_quat", "userdata",
)  # fmt: skip
"""The fields of MjData that decide a world's future: `mjSTATE_INTEGRATION` but for what plug-ins of the engine keep."""

Fresh = Literal["none", "position", "velocity", "acceleration"]
"""How far derived fields are computed at the new state: not at all (they lag one sub-step), positions, velocities too,
or accelerations and forces too, each with their sensors."""

Array = Any
"""A NumPy array (`cpu`, `ref`) or a torch tensor (`warp`)."""


@dataclass(frozen=True)
class WorldError:
    """What went wrong in one world.

    Attributes:
        world: Its number.
        message: The engine's words.
    """

    world: int
    message: str


class WorldsFailed(RuntimeError):
    """The engine reported errors; `errors` names the worlds, the others were stepped."""

    def __init__(self, errors: Sequence[WorldError]) -> None:
        self.errors = tuple(errors)
        shown = "; ".join(f"world {each.world}: {each.message}" for each in self.errors[:3])
        more = f" and {len(self.errors) - 3} more" if len(self.errors) > 3 else ""
        super().__init__(f"the engine failed in {len(self.errors)} worlds: {shown}{more}")


@dataclass(frozen=True)
class Snapshot:
    """Everything that decides the future of n worlds.

    Attributes:
        state: The engine's state, by field or as one array of rows (n, ...).
        model: Model fields that differ between worlds, (n, ...) each.
    """

    state: Mapping[str, Array]
    model: Mapping[str, Array]


class SimBackend(Protocol):
    """N worlds of one model on one engine.

    Attributes:
        model: The compiled model, before any field differs between worlds.
        nworld: N.
        xp: `numpy`, or `torch` for arrays on a device.
    """

    model: mujoco.MjModel
    nworld: int
    xp: Any

    def view(self, field: str) -> Array:
        """A live (N, ...) array over a field of `mujoco.MjData`; state fields can be written.

        Raises:
            ValueError: No such field.
        """
        ...

    def model_field(self, field: str) -> Array:
        """A live, writable (N, ...) array that gives a field of `mujoco.MjModel` one value per world.

        Raises:
            ValueError: No such field, or one that worlds must share.
        """
        ...

    def step(self, substeps: int = 1, ids: np.ndarray | None = None, fresh: Fresh = "none") -> None:
        """Advance worlds by `substeps` of the model's time step.

        Args:
            substeps: How many.
            ids: Sorted numbers of the worlds, int (n,), or a bool mask (N,); all if None.
            fresh: What to compute at the new state.

        Raises:
            WorldsFailed: The engine failed in some worlds; these keep the state they had.
        """
        ...

    def reset(self, ids: np.ndarray | None = None, key: int = -1) -> None:
        """Bring worlds to a keyframe of the model, or with -1 to its defaults, without computing derived fields."""
        ...

    def forward(self, ids: np.ndarray | None = None, fresh: Fresh = "acceleration") -> None:
        """Compute derived fields at the present state."""
        ...

    def show(self, field: str, values: Array, ids: np.ndarray | None = None) -> None:
        """Let a derived field of some worlds hold these values until the next call that computes it.

        Args:
            field: Of `mujoco.MjData`; the engine never reads it.
            values: (n, ...).
            ids: Sorted numbers of the worlds, int (n,), or a bool mask (N,); all if None.
        """
        ...

    def derive_constants(self, ids: np.ndarray | None = None) -> None:
        """Compute anew what the model derives from masses, inertias, sizes and places, such as `body_invweight0`.

        Call it after such model fields were changed. The derived fields differ between worlds from then on.

        Args:
            ids: Sorted numbers of the worlds, int (n,), or a bool mask (N,); all if None.
        """
        ...

    def live(self) -> Snapshot:
        """The arrays of all worlds that a snapshot copies, themselves."""
        ...

    def snapshot(self, ids: np.ndarray | None = None) -> Snapshot:
        """A copy of everything that decides the future of some worlds."""
        ...

    def restore(self, snapshot: Snapshot, ids: np.ndarray | None = None) -> None:
        """Put worlds back; derived fields are refreshed by the next call.

        Model fields that did not differ between worlds when the snapshot was taken get the compiled model's values.
        """
        ...

    def fork(self, ids: np.ndarray, copies: int, into: SimBackend | None = None) -> SimBackend:
        """Worlds of their own that start where some of these are: n * copies of them, the copies of one side by side.

        Args:
            ids: Worlds to copy, int (n,).
            copies: How many of each.
            into: A backend that an earlier fork of this size returned, to be used again.

        Raises:
            ValueError: `into` has another model or size.
        """
        ...

    def empty_like(self, nworld: int) -> SimBackend:
        """A backend of another size on the same model, with the same options."""
        ...

    def warnings(self) -> dict[str, np.ndarray]:
        """Warnings since the worlds were made, (N,) each, by name, such as `contact_full` or `bad_qacc`."""
        ...


def make_backend(kind: Literal["cpu", "ref", "warp"], model: mujoco.MjModel, nworld: int, **options: Any) -> SimBackend:
    """Make a backend.

    Args:
        kind: `cpu` on MuJoCo's batch of simulations, `ref` one plain `mj_step` after the other, `warp` on MuJoCo Warp.
        model: Compiled.
        nworld: N.
        options: `threads` for `cpu`; `device`, `contacts` and `constraints` for `warp`.

    Raises:
        ValueError: Unknown kind, or no world.
    """
    if nworld < 1:
        raise ValueError(f"nworld={nworld} is out of range; give 1 or more")
    if kind == "cpu":
        from foreact.sim.backends.cpu import CpuBackend

        return CpuBackend(model, nworld, **options)
    if kind == "ref":
        from foreact.sim.backends.ref import RefBackend

        return RefBackend(model, nworld, **options)
    if kind == "warp":
        from foreact.sim.backends.warp import WarpBackend

        return WarpBackend(model, nworld, **options)
    raise ValueError(f"backend {kind!r} is unknown; choose cpu, ref or warp")


def on_host(values: Array) -> np.ndarray:
    """A view of NumPy's own arrays and of tensors on the host, a copy of tensors on a device."""
    return np.asarray(values) if isinstance(values, np.ndarray | np.generic) else values.cpu().numpy()


def selected(ids: Sequence[int] | Sequence[bool] | np.ndarray | None, nworld: int) -> np.ndarray:
    """Numbers of worlds, int64 (n,), for numbers (n,), a bool mask (N,), or None for all."""
    if ids is None:
        return np.arange(nworld)
    given = np.asarray(ids)
    return np.flatnonzero(given) if given.dtype == bool else given.astype(np.int64)


def fork_target(source: Any, nworld: int, into: Any) -> Any:
    """A new backend like the source but of N = `nworld` worlds, or `into` if it is such a one.

    Raises:
        ValueError: `into` is of another kind, model or size.
    """
    if into is None:
        return source.empty_like(nworld)
    if type(into) is not type(source) or into.model is not source.model or into.nworld != nworld:
        raise ValueError(f"fork: `into` must be a fork of the same worlds with {nworld} worlds, got {into.nworld}")
    return into
