"""Pictures of any worlds: colours, depth and segmentation of N worlds of one model, on any backend.

Shape letters: N = worlds of the backend, n = worlds drawn, C = cameras, H and W = image height and width.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from foreact.episodes.contract import CameraSpec
from foreact.sim.backends import SimBackend
from foreact.sim.cameras import WorldStates, camera_spec, mounts
from foreact.sim.opengl import OpenGl
from foreact.sim.raytracer import DRAWN_FIELDS, SHARED_FIELDS, RayTracer

if TYPE_CHECKING:
    import mujoco

__all__ = ["WorldPictures", "camera_specs"]


class WorldPictures:
    """Draws what cameras see in worlds of one model.

    Poses are those of the worlds' present positions, whatever the backend has derived so far, and drawing changes
    nothing in the worlds. What worlds have of their own (colours, lights, sizes, places; see `DRAWN_FIELDS`) is drawn
    as they have it; a camera that is one of the model's, by name, body and pose, follows its own `cam_pos` and
    `cam_quat`. Sites are not drawn; the ray tracer draws what is transparent as solid, and no highlights.

    Args:
        model: Compiled; the backend's or one compiled from the same source.
        cameras: What to draw, fixed in the world or to a body; any pinhole intrinsics.
        nworld: The most worlds that one call draws.
        segmentation: Also draw geoms' numbers.
        device: Warp device of the ray tracer, `cpu` or `cuda:0`.
        launch: Worlds that the ray tracer draws at once; on CUDA take as many as there are.
        shadows: Lights that cast shadows do so.
        renderer: `raytracer`, or `opengl` for large images with smooth edges; see `foreact.sim.opengl`.

    Raises:
        ValueError: A camera that cannot be drawn, a model that cannot be drawn, no world, or no such renderer.
        RuntimeError: The device does not exist, or OpenGL is not available.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        cameras: Sequence[CameraSpec],
        nworld: int,
        *,
        segmentation: bool = True,
        device: str = "cpu",
        launch: int = 16,
        shadows: bool = False,
        renderer: Literal["raytracer", "opengl"] = "raytracer",
    ) -> None:
        if nworld < 1 or launch < 1:
            raise ValueError(f"expected nworld and launch of 1 or more, got {nworld} and {launch}")
        shown = int(np.isin(model.geom_group, (0, 1, 2)).sum())
        if segmentation and model.ngeom > 255:
            raise ValueError(f"a byte cannot number the model's {model.ngeom} geoms; use segmentation=False")
        if not shown:
            raise ValueError("no geom of the model is in the groups 0, 1 or 2, which are drawn")
        self.model, self.cameras, self.nworld = model, tuple(cameras), nworld
        self._placed, self._launch = mounts(model, cameras), min(launch, nworld)
        known = {"segmentation": segmentation, "shadows": shadows}
        if renderer == "raytracer":
            self._painter = RayTracer(model, self.cameras, self._placed, self._launch, device=device, **known)
        elif renderer == "opengl":
            self._painter = OpenGl(model, self.cameras, self._placed, **known)
        else:
            raise ValueError(f"renderer {renderer!r} is unknown; choose raytracer or opengl")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give back what the renderer holds; needed after OpenGL only."""
        self._painter.close()

    def draw(self, backend: SimBackend, ids: np.ndarray | None = None) -> dict[str, Any]:
        """Draw worlds as they are now.

        Args:
            backend: Worlds of the model.
            ids: Their numbers, int (n,), or a bool mask (N,); all if None.

        Returns:
            For each camera `camera.NAME.rgb` uint8 (n, H, W, 3), `camera.NAME.depth` uint16 (n, H, W) [mm] along the
            optical axis (0 = nothing hit, 65535 = that far or farther) and, if asked for, `camera.NAME.segmentation`
            uint8 (n, H, W): the geom's number + 1, 0 = nothing. NumPy arrays; tensors for backends of tensors.

        Raises:
            ValueError: Another model's worlds, none, more than `nworld`, or worlds that differ in what is drawn alike
                for all of them (`SHARED_FIELDS`).
        """
        if backend.model is not self.model and backend.model.signature != self.model.signature:
            raise ValueError("the backend has worlds of another model than the pictures were made for")
        chosen = np.arange(backend.nworld) if ids is None else np.asarray(ids)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen
        if not 0 < len(chosen) <= self.nworld:
            raise ValueError(f"expected 1 to {self.nworld} worlds to draw, got {len(chosen)}")
        return self._drawn(self._states(backend, chosen), backend.xp)

    def draw_states(self, states: WorldStates) -> dict[str, Any]:
        """Draw worlds as they were when their states were copied.

        Args:
            states: Of n worlds of the model, any number; their `cam_pos` and `cam_quat` are those of our cameras.

        Returns:
            As `draw`.

        Raises:
            ValueError: No world, or worlds of another model.
        """
        if not len(states) or states.qpos.shape[1] != self.model.nq:
            raise ValueError(f"expected states of shape (1 or more, {self.model.nq}), got {tuple(states.qpos.shape)}")
        starts = range(0, len(states), self._launch)
        return self._drawn((states.part(slice(start, start + self._launch)) for start in starts), states.xp)

    def _drawn(self, launches: Iterator[WorldStates], xp: Any) -> dict[str, Any]:
        parts = [self._painter.draw(states) for states in launches]
        if len(parts) == 1:
            return parts[0]
        return {key: xp.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _states(self, backend: SimBackend, chosen: np.ndarray) -> Iterator[WorldStates]:
        """The worlds' states, a launch at a time."""
        xp, own = backend.xp, backend.live().model
        if shared := [name for name in SHARED_FIELDS if name in own]:
            raise ValueError(f"worlds have {', '.join(shared)} of their own, which pictures do not follow")
        own = {name: values for name, values in own.items() if name in DRAWN_FIELDS}
        names = ("qpos", "mocap_pos", "mocap_quat") if self.model.nmocap else ("qpos",)
        values = {name: backend.view(name) for name in names}
        for start in range(0, len(chosen), self._launch):
            rows = chosen[start : start + self._launch]
            at = rows if xp is np else xp.as_tensor(rows, device=values["qpos"].device)
            state = {name: each[at] for name, each in values.items()}
            fields = self._cameras_of({name: each[at] for name, each in own.items()}, len(rows), xp)
            yield WorldStates(state["qpos"], state.get("mocap_pos"), state.get("mocap_quat"), fields, xp)

    def _cameras_of(self, fields: Mapping[str, Any], count: int, xp: Any) -> dict[str, Any]:
        """The fields, with poses of the model's cameras replaced by those of ours."""
        placed, ours = self._placed, np.flatnonzero(self._placed.number >= 0)
        found = dict(fields)
        poses = {name: found.pop(name) for name in ("cam_pos", "cam_quat") if name in found}
        if not poses or not len(ours):
            return found
        for name, fixed in (("cam_pos", placed.position), ("cam_quat", placed.orientation)):
            pose = np.repeat(fixed[None], count, 0)
            if name in poses:
                seen = poses[name][:, placed.number[ours]]
                pose[:, ours] = seen if xp is np else seen.cpu().numpy()
            found[name] = pose
        return found


def camera_specs(
    model: mujoco.MjModel,
    names: Sequence[str],
    width: int,
    height: int,
    streams: Sequence[str] = ("rgb", "depth"),
) -> tuple[CameraSpec, ...]:
    """Cameras of a model as the contract describes them: intrinsics, body and pose.

    Args:
        model: Compiled.
        names: Of the cameras; each must be fixed to the world or a named body.
        width: Image width [px].
        height: Image height [px].
        streams: What a policy may use of them.

    Raises:
        ValueError: No such camera, or one that the contract cannot describe.
    """
    return tuple(camera_spec(model, name, width, height, streams) for name in names)
