"""Where cameras of a model are and along which rays they look, for all ways of drawing.

Shape letters: n = worlds, C = cameras, H and W = image height and width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.episodes.contract import CameraSpec

if TYPE_CHECKING:
    import mujoco

__all__ = [
    "Mounts",
    "WorldStates",
    "camera_poses",
    "camera_spec",
    "directions",
    "joined",
    "mounts",
    "outside_view",
]

VIEW_ANGLE = 45.0  # [deg] of a view from outside
SAME_POSE = 1e-6  # a camera of the contract is one of the model's if name, body and pose agree this well


@dataclass(frozen=True)
class WorldStates:
    """What decides a picture of n worlds, in rows.

    Attributes:
        qpos: (n, nq).
        mocap_pos: [m], (n, M, 3).
        mocap_quat: (n, M, 4).
        fields: Model fields of these worlds' own, (n, ...) each; `cam_pos` and `cam_quat` are those of the C cameras.
        xp: `numpy`, or `torch` for tensors.
    """

    qpos: Any
    mocap_pos: Any
    mocap_quat: Any
    fields: Mapping[str, Any]
    xp: Any = np

    def __len__(self) -> int:
        return len(self.qpos)

    def part(self, rows: slice) -> WorldStates:
        """Some of the worlds; their arrays are views."""
        fields = {name: values[rows] for name, values in self.fields.items()}
        position, turn = (None if each is None else each[rows] for each in (self.mocap_pos, self.mocap_quat))
        return WorldStates(self.qpos[rows], position, turn, fields, self.xp)


def joined(states: Sequence[WorldStates]) -> WorldStates:
    """States of worlds of one model one after the other, NumPy only.

    Args:
        states: At least one.
    """
    first = states[0]
    fields = {name: np.concatenate([each.fields[name] for each in states]) for name in first.fields}
    position, turn = (
        None if getattr(first, name) is None else np.concatenate([getattr(each, name) for each in states])
        for name in ("mocap_pos", "mocap_quat")
    )
    return WorldStates(np.concatenate([each.qpos for each in states]), position, turn, fields)


@dataclass(frozen=True)
class Mounts:
    """Where C cameras are fixed.

    Attributes:
        body: Number of the body, int (C,); 0 for the world.
        position: In the body's frame [m], (C, 3).
        orientation: In the body's frame, unit quaternions wxyz, (C, 4).
        number: Number of the same camera in the model, -1 where the model has no such camera, int (C,).
    """

    body: np.ndarray
    position: np.ndarray
    orientation: np.ndarray
    number: np.ndarray


def mounts(model: mujoco.MjModel, cameras: Sequence[CameraSpec]) -> Mounts:
    """Find the bodies of cameras.

    Raises:
        ValueError: No camera, two of one name, unknown intrinsics, an unknown mount, or no such body.
    """
    names = [camera.name for camera in cameras]
    if not names or len(set(names)) < len(names):
        raise ValueError(f"expected cameras of different names, got {', '.join(names) or 'none'}")
    if unknown := [camera.name for camera in cameras if not camera.intrinsics_known or camera.mount == "unknown"]:
        raise ValueError(f"cannot draw what {', '.join(unknown)} sees: intrinsics or mount are unknown")
    body = np.array([_body(model, camera) for camera in cameras], np.int64)
    position = np.array([camera.position for camera in cameras])
    orientation = np.array([camera.orientation for camera in cameras])
    number = [_number(model, *each) for each in zip(names, body, position, orientation, strict=True)]
    return Mounts(body, position, orientation, np.array(number, np.int64))


def camera_poses(placed: Mounts, xpos: np.ndarray, xmat: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where C cameras are in n worlds.

    Args:
        placed: Where they are fixed.
        xpos: Positions of bodies in the world frame [m], (n, nbody, 3).
        xmat: Their axes as columns, (n, nbody, 9).

    Returns:
        Positions [m], (n, C, 3), and axes as columns (x right, y up, -z forward), (n, C, 3, 3), in the world frame.
    """
    import mujoco

    turns = np.zeros((len(placed.body), 9))
    for turn, orientation in zip(turns, placed.orientation, strict=True):
        mujoco.mju_quat2Mat(turn, orientation)
    bodies = xmat[:, placed.body].reshape(len(xmat), -1, 3, 3)
    position = xpos[:, placed.body] + (bodies @ placed.position[..., None])[..., 0]
    return position, bodies @ turns.reshape(-1, 3, 3)


def directions(camera: CameraSpec) -> np.ndarray:
    """Unit vectors from the camera through pixel centres, in its frame (x right, y up, -z forward), (H, W, 3)."""
    # x = (u - cx) / fx, y = -(v - cy) / fy, z = -1; u = column + 0.5, v = row + 0.5
    x = (np.arange(camera.width) + 0.5 - camera.cx) / camera.fx
    y = -(np.arange(camera.height) + 0.5 - camera.cy) / camera.fy
    rays = np.stack([*np.meshgrid(x, y), np.full((camera.height, camera.width), -1.0)], axis=-1)
    return rays / np.linalg.norm(rays, axis=-1, keepdims=True)


def camera_spec(model: mujoco.MjModel, name: str, width: int, height: int, streams: Sequence[str]) -> CameraSpec:
    """A camera of the model as the contract describes it.

    Args:
        model: Compiled.
        name: Of the camera.
        width: Image width [px].
        height: Image height [px].
        streams: What a policy may use.

    Raises:
        ValueError: No such camera, or one that follows a target, shows no perspective or hangs on a nameless body.
    """
    import mujoco

    number = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
    if number < 0:
        known = ", ".join(model.camera(each).name for each in range(model.ncam)) or "none"
        raise ValueError(f"the model has no camera {name!r}; it has {known}")
    if model.cam_mode[number] != mujoco.mjtCamLight.mjCAMLIGHT_FIXED:
        raise ValueError(f"camera {name!r} is not fixed to its body; set mode='fixed'")
    if model.cam_projection[number] != mujoco.mjtProjection.mjPROJ_PERSPECTIVE:
        raise ValueError(f"camera {name!r} shows no perspective; the contract knows pinhole cameras only")
    body = int(model.cam_bodyid[number])
    if body and not model.body(body).name:
        raise ValueError(f"the body of camera {name!r} has no name; give it one")
    fx, fy, cx, cy = _intrinsics(model, number, width, height)
    x, y, z = (float(each) for each in model.cam_pos[number])
    quaternion = model.cam_quat[number] / np.linalg.norm(model.cam_quat[number])
    qw, qx, qy, qz = (float(each) for each in quaternion)
    mount = f"body:{model.body(body).name}" if body else "world"
    return CameraSpec(
        name=name, width=width, height=height, streams=tuple(streams), fx=fx, fy=fy, cx=cx, cy=cy, mount=mount,
        position=(x, y, z), orientation=(qw, qx, qy, qz),
    )  # fmt: skip


def outside_view(model: mujoco.MjModel, name: str, side: int, azimuth: float, elevation: float = -20.0) -> CameraSpec:
    """A camera in the world that has everything in view that can move, where the model places it.

    Args:
        model: Compiled.
        name: Of the camera.
        side: Of the square image [px].
        azimuth: Direction of the look around the vertical [deg], 0 along x, 90 along y.
        elevation: Of the look [deg], negative from above.
    """
    turn, tilt = np.radians(azimuth), np.radians(elevation)
    look = np.array([np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), np.sin(tilt)])
    right = np.array([np.sin(turn), -np.cos(turn), 0.0])
    rotation = np.stack([right, np.cross(right, look), -look], axis=1)
    centre, radius = _bounds(model)
    x, y, z = (float(each) for each in centre - radius / np.sin(np.radians(VIEW_ANGLE) / 2) * look)
    focal = 0.5 * side / np.tan(np.radians(VIEW_ANGLE) / 2)
    return CameraSpec(
        name=name, width=side, height=side, streams=("rgb",), fx=focal, fy=focal, cx=side / 2, cy=side / 2,
        mount="world", position=(x, y, z), orientation=_quaternion(rotation),
    )  # fmt: skip


def _bounds(model: mujoco.MjModel) -> tuple[np.ndarray, float]:
    """Centre and radius of a sphere around all geoms that do not belong to the world [m]."""
    import mujoco

    data = mujoco.MjData(model)
    if model.nkey:
        mujoco.mj_resetDataKeyframe(model, data, 0)
    mujoco.mj_kinematics(model, data)
    moving = model.geom_bodyid > 0
    if not moving.any():
        return np.array(model.stat.center), float(model.stat.extent)
    places, sizes = data.geom_xpos[moving], model.geom_rbound[moving]
    centre = ((places - sizes[:, None]).min(0) + (places + sizes[:, None]).max(0)) / 2
    return centre, float((np.linalg.norm(places - centre, axis=1) + sizes).max())


def _quaternion(rotation: np.ndarray) -> tuple[float, float, float, float]:
    import mujoco

    found = np.zeros(4)
    mujoco.mju_mat2Quat(found, rotation.ravel())
    w, x, y, z = map(float, found)
    return w, x, y, z


def _intrinsics(model: mujoco.MjModel, number: int, width: int, height: int) -> tuple[float, float, float, float]:
    """Focal lengths and principal point [px]."""
    sensor_width, sensor_height = (float(each) for each in model.cam_sensorsize[number])
    if sensor_height == 0:
        focal = 0.5 * height / float(np.tan(np.radians(model.cam_fovy[number]) / 2))
        return focal, focal, width / 2, height / 2
    if abs(width / height - sensor_width / sensor_height) > 1e-3 * width / height:
        raise ValueError(
            f"camera {model.camera(number).name!r}: {width}x{height} px is not as wide as its sensor,"
            f" {1e3 * sensor_width:g}x{1e3 * sensor_height:g} mm"
        )
    fx, fy, right, up = (float(each) for each in model.cam_intrinsic[number])  # [m]
    across, down = width / sensor_width, height / sensor_height  # [px/m]
    # MuJoCo counts the principal point from the middle, to the left and upwards seen from behind the camera
    return fx * across, fy * down, width / 2 - right * across, height / 2 - up * down


def _body(model: mujoco.MjModel, camera: CameraSpec) -> int:
    if camera.mount == "world":
        return 0
    try:
        return model.body(camera.mount.removeprefix("body:")).id
    except KeyError as error:
        raise ValueError(
            f"camera {camera.name!r}: the model has no body for {camera.mount!r}: {error.args[0]}"
        ) from None


def _number(model: mujoco.MjModel, name: str, body: int, position: np.ndarray, orientation: np.ndarray) -> int:
    import mujoco

    number = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_CAMERA, name)
    if number < 0 or model.cam_bodyid[number] != body or model.cam_mode[number] != 0:
        return -1
    aligned = abs(float(np.dot(model.cam_quat[number], orientation)))  # q and -q turn alike
    same = np.abs(model.cam_pos[number] - position).max() < SAME_POSE and aligned > 1 - SAME_POSE
    return number if same else -1
