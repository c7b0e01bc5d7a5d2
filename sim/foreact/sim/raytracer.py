"""Pictures by the ray tracer of MuJoCo Warp, on the CPU and on CUDA, without OpenGL.

One scene holds `launch` worlds in one bounding-volume hierarchy. Poses are computed here from the worlds' positions, so
that they are those of the present state and drawing changes nothing in the worlds.
Shape letters: n = worlds drawn, L = worlds per launch, C = cameras, P = pixels of all cameras, H and W = image size.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.episodes.contract import CameraSpec
from foreact.sim.backends.warp import warp_device
from foreact.sim.cameras import Mounts, WorldStates, directions

if TYPE_CHECKING:
    import mujoco

__all__ = ["DEPTH_UNIT", "DRAWN_FIELDS", "SHARED_FIELDS", "RayTracer"]

DEPTH_UNIT = 0.001  # [m] per count
# what each world of a launch may have of its own
DRAWN_FIELDS = (
    "qpos0", "body_pos", "body_quat", "jnt_pos", "jnt_axis", "geom_size", "geom_dataid", "geom_matid", "geom_rgba",
    "mat_rgba", "mat_texid", "mat_texrepeat", "mat_emission", "light_pos", "light_dir", "light_active",
    "light_castshadow", "light_ambient", "light_diffuse", "cam_pos", "cam_quat",
)  # fmt: skip
# what would change a picture but is drawn the same for all worlds; engines differ in whether they follow the first two
SHARED_FIELDS = (
    "geom_pos", "geom_quat", "geom_type", "geom_group", "geom_sameframe", "mat_texuniform", "light_type",
    "light_attenuation", "light_cutoff", "light_exponent", "cam_fovy", "cam_intrinsic", "cam_sensorsize",
)  # fmt: skip


class RayTracer:
    """Draws up to `launch` worlds at a time.

    Args:
        model: Compiled.
        cameras: What to draw.
        placed: Where they are.
        launch: L.
        segmentation: Also draw geoms' numbers.
        shadows: Lights that cast shadows do so.
        device: Warp device, `cpu` or `cuda:0`.

    Raises:
        RuntimeError: The device does not exist.
        ValueError: The model has flexes, or more geoms than a byte can number.
        NotImplementedError: MuJoCo Warp cannot load the model.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        cameras: Sequence[CameraSpec],
        placed: Mounts,
        launch: int,
        *,
        segmentation: bool,
        shadows: bool,
        device: str,
    ) -> None:
        import mujoco_warp
        import warp

        warp.config.log_level = warp.LOG_WARNING
        if model.nflex:
            raise ValueError(f"the ray tracer draws no flexes, and the model has {model.nflex}; use renderer='opengl'")
        self._warp, self._engine, self._device = warp, mujoco_warp, warp_device(device)
        self._cameras, self._launch, self._segmentation = tuple(cameras), launch, segmentation
        self._moves_with_mass = bool((model.light_mode >= 2).any())  # mjCAMLIGHT_TRACKCOM and those after it
        plain = _without_physics(model)
        with warp.ScopedDevice(self._device):
            self._model: Any = mujoco_warp.put_model(
                plain, batch_sizes={name: launch for name in DRAWN_FIELDS if getattr(plain, name).size}
            )
            self._data: Any = mujoco_warp.make_data(plain, nworld=launch, nconmax=1, njmax=1)
            self._context: Any = mujoco_warp.create_render_context(
                plain, nworld=launch, cam_active=[], use_shadows=shadows, enable_specular=False, render_skybox=True
            )
            # each body counts as moving, or what is fixed to the world would stay where the compiled model has it
            self._model.body_weldid = warp.array(np.arange(plain.nbody, dtype=np.int32), dtype=int)
            self._mount(placed)
            self._aim()
        self._host: dict[str, np.ndarray] = {}
        self._compiled = {name: np.array(getattr(plain, name)) for name in DRAWN_FIELDS}
        self._compiled |= {"cam_pos": placed.position, "cam_quat": placed.orientation}
        self._own: set[str] = set()

    def draw(self, states: WorldStates) -> dict[str, Any]:
        """Draw n worlds, n <= L.

        Returns:
            As `WorldPictures.draw`, NumPy arrays or tensors on the ray tracer's device.
        """
        count = len(states.qpos)
        with self._scope(states.xp):
            self._place(states, count)
            self._data.nworld = count  # kernels run over the worlds that are asked for, whatever room there is
            self._engine.kinematics(self._model, self._data)
            if self._moves_with_mass:
                self._engine.com_pos(self._model, self._data)
            self._engine.camlight(self._model, self._data)
            self._engine.refit_bvh(self._model, self._data, self._context)
            self._engine.render(self._model, self._data, self._context)
            return self._read(states.xp, count)

    def close(self) -> None:
        """Nothing is held that needs closing."""

    def _mount(self, placed: Mounts) -> None:
        """Put our cameras in the place of the model's own."""
        model, data, warp, count = self._model, self._data, self._warp, len(placed.body)
        model.ncam = count
        model.cam_mode = warp.zeros(count, dtype=int)  # fixed to the body
        model.cam_bodyid = warp.array(placed.body.astype(np.int32), dtype=int)
        model.cam_targetbodyid = warp.array(np.full(count, -1, np.int32), dtype=int)
        tiled = {
            name: np.tile(values.astype(np.float32), (self._launch, 1, 1))
            for name, values in (("cam_pos", placed.position), ("cam_quat", placed.orientation))
        }
        model.cam_pos = warp.array(tiled["cam_pos"], dtype=warp.vec3)
        model.cam_quat = warp.array(tiled["cam_quat"], dtype=warp.quat)
        data.cam_xpos = warp.zeros((self._launch, count), dtype=warp.vec3)
        data.cam_xmat = warp.zeros((self._launch, count), dtype=warp.mat33)

    def _aim(self) -> None:
        """Give the scene our cameras' rays, which may have any intrinsics, and room for what they see."""
        context, warp = self._context, self._warp
        rays = np.concatenate([directions(camera).reshape(-1, 3) for camera in self._cameras]).astype(np.float32)
        sizes = np.array([camera.width * camera.height for camera in self._cameras])
        self._starts = np.concatenate([[0], np.cumsum(sizes)]).astype(int)
        starts = self._starts[:-1].astype(np.int32)
        count, total = len(sizes), int(sizes.sum())
        drawn, seen = np.ones(count, bool), np.full(count, self._segmentation)
        context.nrender, context.total_rays = count, total
        context.cam_res = warp.array([(camera.width, camera.height) for camera in self._cameras], dtype=warp.vec2i)
        context.cam_id_map = warp.array(np.arange(count, dtype=np.int32), dtype=int)
        context.ray = warp.array(rays, dtype=warp.vec3)
        context.ray_offset = warp.zeros(total, dtype=warp.vec3)
        context.render_rgb, context.render_depth = warp.array(drawn, dtype=bool), warp.array(drawn, dtype=bool)
        context.render_seg = warp.array(seen, dtype=bool)
        context.rgb_adr, context.depth_adr, context.seg_adr = (warp.array(starts, dtype=int) for _ in range(3))
        context.rgb_data = warp.zeros((self._launch, total), dtype=warp.uint32)
        context.depth_data = warp.zeros((self._launch, total), dtype=float)
        context.seg_data = warp.zeros((self._launch, total if self._segmentation else 1), dtype=warp.vec2i)

    def _place(self, states: WorldStates, count: int) -> None:
        self._put("qpos", self._data.qpos, states.qpos, count)
        if self._data.mocap_pos.size:
            self._put("mocap_pos", self._data.mocap_pos, states.mocap_pos, count)
            self._put("mocap_quat", self._data.mocap_quat, states.mocap_quat, count)
        for name in self._own - states.fields.keys():  # other worlds' own no more
            self._put(name, getattr(self._model, name), np.repeat(self._compiled[name][None], count, 0), count)
        for name, values in states.fields.items():
            self._put(name, getattr(self._model, name), values, count)
        self._own = self._own | states.fields.keys()

    def _put(self, name: str, array: Any, values: Any, count: int) -> None:
        if self._device == "cpu":
            if name not in self._host:
                self._host[name] = array.numpy()  # the array's own memory
            host = values if isinstance(values, np.ndarray) else values.cpu().numpy()
            self._host[name][:count] = host
        elif isinstance(values, np.ndarray):
            kind = self._warp.dtype_to_numpy(getattr(array.dtype, "_wp_scalar_type_", array.dtype))
            array[:count].assign(np.ascontiguousarray(values, kind))
        else:
            self._warp.to_torch(array)[:count] = values

    def _read(self, xp: Any, count: int) -> dict[str, Any]:
        context = self._context
        shown = self._warp.array.numpy if xp is np else self._warp.to_torch
        words, metres = shown(context.rgb_data)[:count], shown(context.depth_data)[:count]
        # the ray tracer packs a pixel as 0xAARRGGBB: bytes B, G, R, A in memory
        colours = words.view(xp.uint8).reshape(count, -1, 4)[..., [2, 1, 0]]
        millimetres = _cast(xp.clip(xp.round(metres / DEPTH_UNIT), 0, 65535), xp.uint16)
        streams = {"rgb": colours, "depth": millimetres}
        if self._segmentation:
            streams["segmentation"] = _cast(shown(context.seg_data)[:count, :, 0] + 1, xp.uint8)
        images = {}
        for camera, start, stop in zip(self._cameras, self._starts[:-1], self._starts[1:], strict=True):
            for stream, values in streams.items():
                shape = (count, *camera.stream_shape(stream))
                images[f"camera.{camera.name}.{stream}"] = values[:, start:stop].reshape(shape)
        return images

    def _scope(self, xp: Any) -> Any:
        """Where Warp works: for tensors on CUDA in torch's current stream, so that neither has to wait."""
        if xp is np or self._device == "cpu":
            return self._warp.ScopedDevice(self._device)
        stream = xp.cuda.current_stream(self._warp.device_to_torch(self._device))
        return self._warp.ScopedStream(self._warp.stream_from_torch(stream))


def _cast(values: Any, kind: Any) -> Any:
    return values.astype(kind) if isinstance(values, np.ndarray) else values.to(kind)


def _without_physics(model: mujoco.MjModel) -> mujoco.MjModel:
    """The model with the engine's default options, so that none that only physics needs stands in the way."""
    import mujoco

    plain = copy.copy(model)
    defaults = mujoco.MjModel.from_xml_string("<mujoco/>").opt
    for name in ("integrator", "solver", "cone", "jacobian", "disableflags", "enableflags", "noslip_iterations"):
        setattr(plain.opt, name, getattr(defaults, name))
    return plain
