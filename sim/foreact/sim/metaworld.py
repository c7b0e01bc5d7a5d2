"""Meta-World v3 tasks on current MuJoCo, one world per object.

Shape letters: A = 4 action elements, S = 4 state elements, G = geoms of the scene, M = goal markers, C = cameras.
Meta-World steps at 80 Hz (5 sub-steps of 2.5 ms). Its action moves the gripper by at most 1 cm a step along x, y, z
(elements 0..2, unit 1 = 1 cm) and closes the fingers with a force (element 3), each in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from foreact.episodes.contract import CameraSpec, FeatureSpec, LanguageSpec, PolicyContract

__all__ = [
    "CONTROL_RATE_HZ",
    "MARKER_RADIUS",
    "MetaWorldTask",
    "Snapshot",
    "StepResult",
    "default_cameras",
    "policy_contract",
]

CONTROL_RATE_HZ = 80.0
MARKER_RADIUS = 0.02  # [m] the size of Meta-World's goal sites
MARKER_PARKED = (0.0, 0.0, -10.0)  # [m] where a marker waits that the task does not use now
TIME_LIMIT = 500  # steps, Meta-World's own horizon


@dataclass(frozen=True)
class StepResult:
    """What one control step gave."""

    reward: float
    success: bool


@dataclass(frozen=True)
class Snapshot:
    """Everything a renderer needs of one world at one time, in the world frame.

    Attributes:
        geom_position: Geom centres [m], shape (G + M, 3); the M goal markers come last.
        geom_rotation: Geom orientations, shape (G + M, 3, 3).
        camera_position: Camera centres [m], shape (C, 3).
        camera_rotation: Camera axes as columns (x right, y up, -z forward), shape (C, 3, 3).
    """

    geom_position: np.ndarray
    geom_rotation: np.ndarray
    camera_position: np.ndarray
    camera_rotation: np.ndarray


def default_cameras(front: int = 96, wrist: int = 64) -> tuple[CameraSpec, ...]:
    """The fixed view chosen for small images and the view from the wrist.

    The fixed view looks at (0, 0.66, 0.12) from azimuth -60 and elevation -45 degrees at 1.05 m: hand, objects and
    goals of the tasks fill the picture, and a goal marker is about 4 px wide at 96 px.

    Args:
        front: Side of the fixed view's image [px].
        wrist: Side of the wrist view's image [px].
    """
    return (
        _square_camera(
            "front", front, 45.0, "world", (-0.371231, 1.302991, 0.862462), (-0.239118, -0.099046, 0.369644, 0.892399)
        ),
        _square_camera("wrist", wrist, 90.0, "body:hand", (-0.06, 0.0, 0.04), (0.707107, 0.0, -0.707107, 0.0)),
    )


def _square_camera(
    name: str,
    side: int,
    fovy_deg: float,
    mount: str,
    position: tuple[float, float, float],
    orientation: tuple[float, float, float, float],
) -> CameraSpec:
    focal = 0.5 * side / float(np.tan(np.radians(fovy_deg) / 2))
    return CameraSpec(
        name=name, width=side, height=side, streams=("rgb", "depth"), fx=focal, fy=focal, cx=side / 2, cy=side / 2,
        mount=mount, position=position, orientation=orientation,
    )  # fmt: skip


def policy_contract(cameras: Sequence[CameraSpec] | None = None, chunk_length: int = 16) -> PolicyContract:
    """The contract of every Meta-World task: what is seen, what is commanded, in which order, unit and rate.

    Args:
        cameras: The cameras; `default_cameras()` if None.
        chunk_length: Actions a policy commits to at once, at the control rate.
    """
    axes = ("hand_x", "hand_y", "hand_z")
    state = FeatureSpec(
        name="state", dtype="float32", elements=(*axes, "gripper_opening"), units=("m", "m", "m", "1"), frame="base",
        low=(-0.525, 0.348, -0.0525, 0.0), high=(0.525, 1.025, 0.7, 1.0), normalisation="bounds",
    )  # fmt: skip
    action = FeatureSpec(
        name="action", dtype="float32", elements=("delta_x", "delta_y", "delta_z", "gripper_force"),
        units=("cm", "cm", "cm", "1"), frame="base", low=(-1.0,) * 4, high=(1.0,) * 4, normalisation="none",
    )  # fmt: skip
    return PolicyContract(
        version=1, embodiment="sawyer-metaworld", control_rate_hz=CONTROL_RATE_HZ, chunk_length=chunk_length,
        state=state, action=action, cameras=tuple(cameras or default_cameras()), language=LanguageSpec(), audio=None,
    )  # fmt: skip


class MetaWorldTask:
    """One Meta-World task in one world: reset to a layout by seed, step, observe, ask the scripted expert.

    Args:
        name: A Meta-World v3 task, for example `reach-v3`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.time_limit = TIME_LIMIT
        self._env = _environment_class(name)()
        self._observation = np.zeros(39)
        self._expert: Any = None

    def reset(self, seed: int) -> None:
        """Draw the layout of this seed and bring the hand to its start; the same seed gives the same world.

        Args:
            seed: Layout seed, a non-negative integer.
        """
        import mujoco

        env = self._env
        # a used world must equal a new one: engine state left from the last episode (warm starts) would leak otherwise
        mujoco.mj_resetData(env.model, env.data)
        env.seed(seed)
        self._observation, _ = env.reset()
        self._expert = None

    def step(self, action: np.ndarray) -> StepResult:
        """Advance one control step of 12.5 ms.

        Args:
            action: Command in [-1, 1], shape (A,); values outside are clipped as Meta-World does.
        """
        self._observation, reward, _, _, info = self._env.step(np.clip(np.asarray(action, dtype=np.float64), -1, 1))
        return StepResult(float(reward), bool(info["success"]))

    def state(self) -> np.ndarray:
        """Proprioception: hand position [m] in the base frame and finger opening [1], shape (S,), float32."""
        return self._observation[:4].astype(np.float32)

    def full_observation(self) -> np.ndarray:
        """Meta-World's own privileged observation with the goal, shape (39,), float64: for experts and analysis."""
        return self._observation.copy()

    def landmarks(self) -> np.ndarray:
        """Named places for training: object, second object, visible goal, (3, 4) float32: position [m], presence."""
        seen = self._observation
        places = np.zeros((3, 4), np.float32)
        # Meta-World's observation: hand 0..3, object 4..10, second object 11..17 (zeros if none), goal 36..38
        for row, start in enumerate((4, 11, 36)):
            places[row, :3] = seen[start : start + 3]
        places[:, 3] = (1.0, float(np.any(seen[11:14])), float(marker_count(self) > 0))
        return places

    def fingertips(self) -> np.ndarray:
        """Middle of the two finger tips [m] in the base frame, (3,): what Meta-World calls the tool centre."""
        return np.array(self._env.tcp_center)

    def expert_action(self) -> np.ndarray:
        """The scripted expert's command for the present state, clipped to [-1, 1], shape (A,), float32."""
        if self._expert is None:
            from foreact.sim.experts import expert_for

            self._expert = expert_for(self.name)
        return np.clip(self._expert(self._observation), -1.0, 1.0).astype(np.float32)

    def snapshot(self, cameras: Sequence[CameraSpec]) -> Snapshot:
        """The poses of all geoms, goal markers and cameras now.

        Args:
            cameras: Cameras to place, in this order.
        """
        data = self._env.data
        markers = _marker_positions(self._env)
        upright = np.tile(np.eye(3), (len(markers), 1, 1))
        poses = [_camera_pose(data, camera) for camera in cameras]
        return Snapshot(
            geom_position=np.concatenate([data.geom_xpos, markers]).astype(np.float32),
            geom_rotation=np.concatenate([data.geom_xmat.reshape(-1, 3, 3), upright]).astype(np.float32),
            camera_position=np.array([position for position, _ in poses], np.float32),
            camera_rotation=np.array([rotation for _, rotation in poses], np.float32),
        )

    def model_path(self) -> str:
        """Path of the task's MJCF scene."""
        return self._env.fullpath


def marker_count(task: MetaWorldTask) -> int:
    """Goal markers of a task's scene (0 where the fixture itself is the goal). The task must have been reset."""
    return len(task._env._target_site_config)


def _marker_positions(env: Any) -> np.ndarray:
    # Meta-World parks the unused goal of a pair 10 m away along every axis
    places = [np.asarray(position, np.float64)[:3] for _, position in env._target_site_config]
    places = [p if np.abs(p).max() < 5 else np.array(MARKER_PARKED) for p in places]
    return np.array(places, np.float64).reshape(-1, 3)


def _camera_pose(data: Any, camera: CameraSpec) -> tuple[np.ndarray, np.ndarray]:
    import mujoco

    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, np.asarray(camera.orientation, np.float64))
    position, rotation = np.asarray(camera.position), rotation.reshape(3, 3)
    if camera.mount == "world":
        return position, rotation
    body = data.body(camera.mount.removeprefix("body:"))
    mount = body.xmat.reshape(3, 3)
    return body.xpos + mount @ position, mount @ rotation


@cache
def _environment_class(name: str) -> type:
    """Meta-World's class for a task with fresh layouts from a seed, the goal in the observation and working welds."""
    import mujoco
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    base = ALL_V3_ENVIRONMENTS[name]

    class SeededEnvironment(base):
        def __init__(self) -> None:
            super().__init__()
            self._set_task_called = True  # layouts come from seed(), not from Meta-World's pickled task list
            self._freeze_rand_vec = False
            self.seeded_rand_vec = True
            self._partially_observable = False
            self.max_path_length = 2**31  # who runs the episode ends it; a robot is not switched off after 500 steps
            self.__dict__.pop("sawyer_observation_space", None)  # cached while the goal was still hidden

        def reset_mocap_welds(self) -> None:
            # metaworld 3.0.0 writes 11 numbers into weld rows that have 12 since mujoco 3.17; the twelfth stays
            for weld in np.flatnonzero(self.model.eq_type == mujoco.mjtEq.mjEQ_WELD):
                self.model.eq_data[weld, :11] = (0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5)

    return SeededEnvironment
