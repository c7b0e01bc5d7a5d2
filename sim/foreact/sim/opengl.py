"""Pictures by MuJoCo's own OpenGL renderer: smooth edges and highlights for large images, one world after the other.

Needs an OpenGL library that draws without a screen, chosen before Python starts: `MUJOCO_GL=egl` or `MUJOCO_GL=osmesa`.
Shape letters: n = worlds, C = cameras.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.episodes.contract import CameraSpec
from foreact.sim.backends.base import on_host
from foreact.sim.cameras import Mounts, WorldStates
from foreact.sim.raytracer import DEPTH_UNIT

if TYPE_CHECKING:
    import mujoco

__all__ = ["OpenGl"]

NOTHING_HIT = 0.999  # of the far plane's distance


class OpenGl:
    """Draws worlds by `mujoco.Renderer`, geoms only, of the groups that MuJoCo shows by default.

    Args:
        model: Compiled.
        cameras: What to draw.
        placed: Where they are.
        segmentation: Also draw geoms' numbers.
        shadows: Lights that cast shadows do so.

    Raises:
        RuntimeError: OpenGL is not available.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        cameras: Sequence[CameraSpec],
        placed: Mounts,
        *,
        segmentation: bool,
        shadows: bool,
    ) -> None:
        import mujoco

        self._mujoco, self._cameras, self._segmentation = mujoco, tuple(cameras), segmentation
        self._model = copy.copy(model)
        self._model.vis.global_.offwidth = max(camera.width for camera in cameras)
        self._model.vis.global_.offheight = max(camera.height for camera in cameras)
        if not shadows:
            self._model.vis.quality.shadowsize = 0
        self._compiled = copy.copy(model)
        self._data = mujoco.MjData(self._model)
        self._placed, self._own = placed, set[str]()
        self._option = _only_geoms(mujoco)
        self._renderers = {size: self._renderer(*size) for size in {(each.width, each.height) for each in cameras}}
        for each in self._renderers.values():
            each.scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = shadows
            each.scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False

    def draw(self, states: WorldStates) -> dict[str, Any]:
        """Draw n worlds.

        Returns:
            As `WorldPictures.draw`.
        """
        rows = [self._world(states, world) for world in range(len(states.qpos))]
        images = {key: np.stack([row[key] for row in rows]) for key in rows[0]}
        return images if states.xp is np else {key: states.xp.asarray(image) for key, image in images.items()}

    def close(self) -> None:
        """Give back what OpenGL holds; leaving that to the interpreter's end prints errors."""
        for each in self._renderers.values():
            each.close()

    def _renderer(self, width: int, height: int) -> Any:
        try:
            return self._mujoco.Renderer(self._model, height, width)
        except Exception as error:  # each OpenGL library fails in its own way
            raise RuntimeError(
                "OpenGL is not available here. Start Python with MUJOCO_GL=egl (or osmesa) in its environment and that"
                f" library installed, or use renderer='raytracer'. The error was: {type(error).__name__}: {error}"
            ) from error

    def _world(self, states: WorldStates, world: int) -> dict[str, np.ndarray]:
        model, data, engine = self._model, self._data, self._mujoco
        for name in self._own - states.fields.keys():  # other worlds' own no more
            getattr(model, name)[:] = getattr(self._compiled, name)
        self._own = {name for name in states.fields if not name.startswith("cam_")}
        for name in self._own:
            getattr(model, name)[:] = on_host(states.fields[name][world])
        data.qpos[:] = on_host(states.qpos[world])
        if model.nmocap:
            data.mocap_pos[:], data.mocap_quat[:] = on_host(states.mocap_pos[world]), on_host(states.mocap_quat[world])
        engine.mj_kinematics(model, data)
        engine.mj_comPos(model, data)
        engine.mj_camlight(model, data)
        position, orientation = self._placed.position, self._placed.orientation
        if "cam_pos" in states.fields:
            position, orientation = (on_host(states.fields[name][world]) for name in ("cam_pos", "cam_quat"))
        images = {}
        for index, camera in enumerate(self._cameras):
            renderer = self._renderers[camera.width, camera.height]
            renderer.update_scene(data, scene_option=self._option)
            self._aim(renderer.scene, camera, *self._pose(index, position[index], orientation[index]))
            for stream, image in self._streams(renderer).items():
                images[f"camera.{camera.name}.{stream}"] = image
        return images

    def _pose(self, index: int, position: np.ndarray, orientation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The camera's centre [m], (3,), and its axes as columns, (3, 3), in the world."""
        turned = np.zeros(9)
        self._mujoco.mju_quat2Mat(turned, np.asarray(orientation, np.float64))
        body = self._placed.body[index]
        mount = self._data.xmat[body].reshape(3, 3)
        return self._data.xpos[body] + mount @ position, mount @ turned.reshape(3, 3)

    def _aim(self, scene: Any, camera: CameraSpec, centre: np.ndarray, axes: np.ndarray) -> None:
        near = self._model.vis.map.znear * self._model.stat.extent
        for eye in scene.camera:  # MuJoCo draws from between two eyes
            eye.pos, eye.forward, eye.up = centre, -axes[:, 2], axes[:, 1]
            eye.frustum_top = near * camera.cy / camera.fy
            eye.frustum_bottom = -near * (camera.height - camera.cy) / camera.fy
            eye.frustum_center = near * (0.5 * camera.width - camera.cx) / camera.fx
            eye.frustum_width = near * 0.5 * camera.width / camera.fx
        for light in scene.lights[: scene.nlight]:
            if light.headlight:
                light.pos, light.dir = centre, -axes[:, 2]

    def _streams(self, renderer: Any) -> dict[str, np.ndarray]:
        far = self._model.vis.map.zfar * self._model.stat.extent
        streams = {"rgb": renderer.render()}
        renderer.enable_depth_rendering()
        metres = renderer.render()
        renderer.disable_depth_rendering()
        hit = metres < NOTHING_HIT * far
        streams["depth"] = np.where(hit, np.clip(np.rint(metres / DEPTH_UNIT), 0, 65535), 0).astype(np.uint16)
        if self._segmentation:
            renderer.enable_segmentation_rendering()
            seen = renderer.render()
            renderer.disable_segmentation_rendering()
            geoms = seen[..., 1] == int(self._mujoco.mjtObj.mjOBJ_GEOM)
            streams["segmentation"] = np.where(geoms, seen[..., 0] + 1, 0).astype(np.uint8)
        return streams


def _only_geoms(mujoco: Any) -> Any:
    option = mujoco.MjvOption()
    for groups in (option.sitegroup, option.tendongroup, option.actuatorgroup, option.jointgroup):
        groups[:] = 0
    option.flags[mujoco.mjtVisFlag.mjVIS_RANGEFINDER] = False
    return option
