"""Pictures of many worlds at once by mujoco-warp's ray tracer, on CPU or CUDA, without OpenGL.

The renderer holds one scene (one task) and draws it for `nworld` snapshots together. Poses come from the simulator's
own data, so fixtures that a task moves at reset are where they should be; goal sites, which the ray tracer does not
draw, become small spheres. Shape letters: N = worlds, H and W = image height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from foreact.episodes.contract import CameraSpec
from foreact.sim.metaworld import MARKER_RADIUS, MetaWorldTask, Snapshot, marker_count

__all__ = ["WorldRenderer"]

MARKER_COLOUR = (0.0, 0.8, 0.0, 1.0)  # one colour for every task: the picture must not give the task away
DEPTH_UNIT = 0.001  # [m] per count
CAMERA_PREFIX = "foreact_"


class WorldRenderer:
    """Draws RGB, depth and segmentation of one scene for many worlds.

    Args:
        task: A task that has been reset once; it names the scene and its goal markers.
        cameras: What to draw, in the order of the snapshots' cameras.
        nworld: Worlds drawn by one launch; fewer may be passed to `render`.
        segmentation: Also draw geom ids.
        device: Warp device, `cpu` or `cuda:0`.

    Raises:
        RuntimeError: The device does not exist.
    """

    def __init__(
        self,
        task: MetaWorldTask,
        cameras: Sequence[CameraSpec],
        nworld: int,
        *,
        segmentation: bool = True,
        device: str = "cpu",
    ) -> None:
        import mujoco_warp
        import warp

        warp.config.log_level = warp.LOG_WARNING
        self.cameras = tuple(cameras)
        self.nworld = nworld
        self._warp, self._mjw, self._device = warp, mujoco_warp, device
        model = _scene_model(task, self.cameras)
        self._camera_ids = [model.camera(CAMERA_PREFIX + camera.name).id for camera in self.cameras]
        with warp.ScopedDevice(device):
            self._model = mujoco_warp.put_model(model)
            self._data = mujoco_warp.make_data(model, nworld=nworld)
            self._context = mujoco_warp.create_render_context(
                model,
                nworld=nworld,
                cam_res=[(camera.width, camera.height) for camera in self.cameras],
                cam_active=[CAMERA_PREFIX + camera.name for camera in self.cameras],
                render_rgb=True,
                render_depth=True,
                render_seg=segmentation,
                use_shadows=False,
                enable_specular=False,
                enable_emission=False,
            )
            mujoco_warp.kinematics(self._model, self._data)
            mujoco_warp.camlight(self._model, self._data)
        self._segmentation = segmentation
        self._geom_count = model.ngeom

    def render(self, snapshots: Sequence[Snapshot]) -> dict[str, np.ndarray]:
        """Draw up to `nworld` snapshots.

        Args:
            snapshots: Poses of N worlds, N <= nworld.

        Returns:
            For each camera `camera.NAME.rgb` uint8 (N, H, W, 3), `camera.NAME.depth` uint16 (N, H, W) [mm] along the
            optical axis (0 = nothing hit) and, if asked for, `camera.NAME.segmentation` uint8 (N, H, W): geom id + 1.

        Raises:
            ValueError: Too many snapshots, or one of another scene.
        """
        count = len(snapshots)
        if not 0 < count <= self.nworld:
            raise ValueError(f"render: expected 1 to {self.nworld} snapshots, got {count}")
        if snapshots[0].geom_position.shape[0] != self._geom_count:
            raise ValueError(
                f"render: snapshot has {snapshots[0].geom_position.shape[0]} geoms, scene has {self._geom_count}"
            )
        self._place([*snapshots, *[snapshots[-1]] * (self.nworld - count)])
        with self._warp.ScopedDevice(self._device):
            self._mjw.refit_bvh(self._model, self._data, self._context)
            self._mjw.render(self._model, self._data, self._context)
        return {key: value[:count] for key, value in self._read().items()}

    def _place(self, snapshots: Sequence[Snapshot]) -> None:
        data = self._data
        _assign(data.geom_xpos, np.stack([s.geom_position for s in snapshots]))
        _assign(data.geom_xmat, np.stack([s.geom_rotation for s in snapshots]))
        position, rotation = data.cam_xpos.numpy(), data.cam_xmat.numpy()
        position[:, self._camera_ids] = np.stack([s.camera_position for s in snapshots])
        rotation[:, self._camera_ids] = np.stack([s.camera_rotation for s in snapshots])
        _assign(data.cam_xpos, position)
        _assign(data.cam_xmat, rotation)

    def _read(self) -> dict[str, np.ndarray]:
        context = self._context
        packed, depth = context.rgb_data.numpy(), context.depth_data.numpy()
        segmentation = context.seg_data.numpy() if self._segmentation else None
        rgb_start, depth_start = context.rgb_adr.numpy(), context.depth_adr.numpy()
        images = {}
        for index, camera in enumerate(self.cameras):
            size, shape = camera.width * camera.height, (self.nworld, camera.height, camera.width)
            words = packed[:, rgb_start[index] : rgb_start[index] + size].reshape(shape)
            images[f"camera.{camera.name}.rgb"] = _unpack_rgb(words)
            metres = depth[:, depth_start[index] : depth_start[index] + size].reshape(shape)
            images[f"camera.{camera.name}.depth"] = _to_millimetres(metres)
            if segmentation is not None:
                start = context.seg_adr.numpy()[index]
                ids = segmentation[:, start : start + size, 0].reshape(shape)
                images[f"camera.{camera.name}.segmentation"] = (ids + 1).astype(np.uint8)
        return images


def _scene_model(task: MetaWorldTask, cameras: Sequence[CameraSpec]) -> Any:
    """The task's scene with our cameras and, as its last geoms, the goal markers."""
    import mujoco

    spec = mujoco.MjSpec.from_file(task.model_path())
    for camera in cameras:
        fovy = float(np.degrees(2 * np.arctan(0.5 * camera.height / camera.fy)))
        spec.worldbody.add_camera(name=CAMERA_PREFIX + camera.name, fovy=fovy)
    for index in range(marker_count(task)):
        # a body of its own, added last, keeps every other geom id as the simulator has it
        body = spec.worldbody.add_body(name=f"foreact_marker_{index}")
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE, size=(MARKER_RADIUS, 0, 0), rgba=MARKER_COLOUR, contype=0, conaffinity=0
        )
    return spec.compile()


def _assign(array: Any, values: np.ndarray) -> None:
    array.assign(np.ascontiguousarray(values, np.float32))


def _unpack_rgb(words: np.ndarray) -> np.ndarray:
    # the ray tracer packs a pixel as 0xAARRGGBB
    return np.stack([(words >> shift).astype(np.uint8) for shift in (16, 8, 0)], axis=-1)


def _to_millimetres(metres: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(metres / DEPTH_UNIT), 0, 65535).astype(np.uint16)
