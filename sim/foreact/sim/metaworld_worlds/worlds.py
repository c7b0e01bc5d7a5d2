"""N worlds of one Meta-World task: batched physics, observations, success and reward.

Shape letters: N = worlds, n = selected worlds, A = 4 action elements, S = 4 state elements, O = 39 elements of an
observation, C = cameras.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.episodes.contract import CameraSpec
from foreact.sim.backends import Snapshot
from foreact.sim.backends.cpu import ROWS, CpuBackend
from foreact.sim.cameras import WorldStates, camera_poses, mounts
from foreact.sim.experts import expert_for
from foreact.sim.metaworld import TIME_LIMIT
from foreact.sim.metaworld_worlds.objects import OBJECTS
from foreact.sim.metaworld_worlds.origin import MODEL_FIELDS, Origin
from foreact.sim.metaworld_worlds.rules import RULES
from foreact.sim.metaworld_worlds.scene import Scene
from foreact.sim.metaworld_worlds.shown import with_markers
from foreact.sim.views import Views

if TYPE_CHECKING:
    import mujoco

__all__ = ["VectorMetaWorld", "VectorSnapshot", "VectorStep"]

MOVED = "body_pos"  # the one of `MODEL_FIELDS` that dynamics read
FRAME = 18  # elements of one frame of the observation: hand 3, opening 1, objects 14


@dataclass(frozen=True)
class VectorStep:
    """Live arrays, overwritten by the next step.

    Attributes:
        observation: Meta-World's observation with the goal, float64 (N, O).
        reward: Meta-World's dense reward, 0 to 10, float64 (N,); 0 for a world that was not stepped.
        success: bool (N,); False for a world that was not stepped.
    """

    observation: np.ndarray
    reward: np.ndarray
    success: np.ndarray


@dataclass(frozen=True)
class VectorSnapshot:
    """Everything that decides the future of n worlds, and what was last seen of them."""

    engine: Snapshot
    arrays: Mapping[str, np.ndarray]


class VectorMetaWorld:
    """N worlds of one Meta-World v3 task, each equal to Meta-World's own environment with its seed and actions.

    Args:
        name: A Meta-World v3 task, for example `reach-v3`.
        nworld: N; from 128 a thread, the cost of a step is that of its physics.
        threads: C threads, the caller's included; 0 for one per core.
        reward: Compute Meta-World's dense reward in each step; otherwise it is NaN.

    Raises:
        ValueError: No world, or no task of that name.
    """

    def __init__(
        self, name: str, nworld: int, threads: int = 1, *, reward: bool = True, origin: Origin | None = None
    ) -> None:
        if name not in RULES:
            raise ValueError(f"{name!r} is not a Meta-World v3 task; `foreact tasks` lists them")
        if nworld < 1:
            raise ValueError(f"nworld={nworld} is out of range; give 1 or more")
        self.name, self.nworld, self.time_limit = name, nworld, TIME_LIMIT
        self._threads, self._rewarded, self._rules, self._expert = threads, reward, RULES[name], expert_for(name)
        self._origin = Origin(name, self._rules.keep) if origin is None else origin
        self._physics = CpuBackend(self._origin.bare, nworld, threads)
        # positions after a step from a second batch without contacts: a third of the cost of asking the first for them
        self._pose = CpuBackend(self._origin.pose_model, nworld, threads)
        self._physics.model_field(MOVED)
        for field in MODEL_FIELDS:
            self._pose.model_field(field)
        self._allocate()

    def _allocate(self) -> None:
        count = self.nworld
        self._kept = {name: np.zeros((count, *values.shape)) for name, values in self._origin.example.kept.items()}
        self._observation, self._previous = np.zeros((count, 39)), np.zeros((count, FRAME))
        self._frame, self._tips, self._action = np.zeros((count, FRAME)), np.zeros((count, 3)), np.zeros((count, 4))
        self.steps = np.zeros(count, np.int64)
        self._reward, self._success = np.zeros(count), np.zeros(count, bool)
        self._views = Views(self._pose, float(self._origin.model.opt.timestep) * self._origin.substeps)
        self._scene = Scene(self._views, self._kept, self._observation, self._action)
        self._write_frame()  # binds the fields that are read, before the first step fills them

    def __len__(self) -> int:
        return self.nworld

    def reset(self, seeds: Sequence[int] | np.ndarray, ids: np.ndarray | None = None) -> np.ndarray:
        """Start episodes; the same seed gives the same episode, whatever the world did before.

        Args:
            seeds: Layout seeds of these worlds, length n.
            ids: The worlds, int (n,); all if None.

        Returns:
            Observations of all worlds, live (N, O).

        Raises:
            ValueError: There is not one seed per world.
        """
        worlds = np.arange(self.nworld) if ids is None else np.asarray(ids)
        if len(seeds) != len(worlds):
            raise ValueError(f"VectorMetaWorld.reset: {len(seeds)} seeds for {len(worlds)} worlds")
        for world, seed in zip(worlds, seeds, strict=True):
            self._begin(int(world), int(seed))
        self._pose_at(ids)
        return self._observation

    def step(self, actions: np.ndarray, ids: np.ndarray | None = None) -> VectorStep:
        """Advance one control step of 12.5 ms.

        Args:
            actions: Commands, (N, A); values outside [-1, 1] are clipped as Meta-World does.
            ids: Sorted numbers of the worlds to step, int (n,); all if None. The others stand still.

        Raises:
            ValueError: The shape is wrong, or a command of a stepped world is not finite.
            WorldsFailed: The engine failed in some worlds.
        """
        rows = slice(None) if ids is None else np.asarray(ids)
        self._command(np.asarray(actions, np.float64), rows)
        self._physics.step(self._origin.substeps, ids)
        self._pose_at(ids)
        self.steps[rows] += 1
        self._scene.stepped[:] = ids is None
        self._scene.stepped[rows] = True
        self._observe(rows)
        self._judge(ids)
        return VectorStep(self._observation, self._reward, self._success)

    def states(self) -> np.ndarray:
        """Proprioception of all worlds: hand position [m] and finger opening [1], (N, S), float32."""
        return self._observation[:, :4].astype(np.float32)

    def full_observation(self) -> np.ndarray:
        """Meta-World's own privileged observations with the goal, a copy, (N, O), float64."""
        return self._observation.copy()

    def landmarks(self) -> np.ndarray:
        """Object, second object, visible goal of all worlds, (N, 3, 4) float32: position [m], presence."""
        seen = self._observation
        places = np.zeros((self.nworld, 3, 4), np.float32)
        for row, start in enumerate((4, 11, 36)):
            places[:, row, :3] = seen[:, start : start + 3]
        places[:, 0, 3], places[:, 2, 3] = 1.0, float(self._origin.marked)
        places[:, 1, 3] = seen[:, 11:14].any(-1)
        return places

    def fingertips(self) -> np.ndarray:
        """Middle of the two finger tips of all worlds [m], a copy, (N, 3)."""
        return self._tips.copy()

    def expert_actions(self, ids: np.ndarray | None = None) -> np.ndarray:
        """The commands of Meta-World's scripted expert in [-1, 1], (N, A) float32; 0 for worlds not asked for."""
        actions = np.zeros((self.nworld, 4), np.float32)
        for world in range(self.nworld) if ids is None else ids:
            actions[world] = self._expert(self._observation[world])
        return actions

    @cached_property
    def _bodies(self) -> tuple[np.ndarray, np.ndarray]:
        """Live positions and axes of bodies; the engine fills what was bound from its next call on."""
        bound = (self._pose.view("xpos"), self._pose.view("xmat"))
        self._pose_at(None)
        return bound

    @cached_property
    def shown_model(self) -> mujoco.MjModel:
        """What `foreact.sim.pictures.WorldPictures` draws of `poses`: the whole scene with its goal markers."""
        return with_markers(self._origin.path, self._origin.example.kept["markers"].shape[0])

    def poses(self, ids: np.ndarray | None = None) -> WorldStates:
        """What decides the pictures of some worlds now, a copy."""
        rows = slice(None) if ids is None else ids
        qpos, mocap_pos, mocap_quat = (self._physics.view(name)[rows] for name in ("qpos", "mocap_pos", "mocap_quat"))
        bodies = np.concatenate([self._pose.model_field(MOVED)[rows], self._kept["markers"][rows]], axis=1)
        return WorldStates(qpos.copy(), mocap_pos.copy(), mocap_quat.copy(), {MOVED: bodies})

    def camera_poses(self, cameras: Sequence[CameraSpec]) -> tuple[np.ndarray, np.ndarray]:
        """Where cameras are in all worlds: positions [m], (N, C, 3), and axes as columns, (N, C, 3, 3)."""
        return camera_poses(mounts(self._origin.pose_model, cameras), *self._bodies)

    def snapshot(self, ids: np.ndarray | None = None) -> VectorSnapshot:
        """A copy of everything that decides the future of some worlds: engine, layout, last frame, counters, memory."""
        chosen = slice(None) if ids is None else ids
        arrays = {name: values[chosen].copy() for name, values in self._arrays().items()}
        return VectorSnapshot(self._physics.snapshot(ids), arrays)

    def restore(self, snapshot: VectorSnapshot, ids: np.ndarray | None = None) -> np.ndarray:
        """Put worlds back; observations of all worlds, live (N, O)."""
        chosen = slice(None) if ids is None else ids
        self._physics.restore(snapshot.engine, ids)
        for name, values in self._arrays().items():
            values[chosen] = snapshot.arrays[name]
        self._pose_at(ids)
        return self._observation

    def fork(self, ids: np.ndarray, copies: int, into: VectorMetaWorld | None = None) -> VectorMetaWorld:
        """Worlds of their own that go on from where some of these are: true futures.

        Args:
            ids: Worlds to copy, int (n,).
            copies: How many of each; those of one lie side by side.
            into: What an earlier fork of this size returned, to be used again.

        Raises:
            ValueError: `into` is of another size or of other worlds.
        """
        target = into
        if target is None:
            target = VectorMetaWorld(
                self.name, len(ids) * copies, self._threads, reward=self._rewarded, origin=self._origin
            )
        self._physics.fork(ids, copies, target._physics)
        self._pose.fork(ids, copies, target._pose)
        own = target._arrays()
        for name, values in self._arrays().items():
            own[name][:] = values[np.repeat(ids, copies)]
        target._pose_at(None)
        return target

    def _arrays(self) -> dict[str, np.ndarray]:
        arrays = {
            "steps": self.steps, "observation": self._observation, "previous": self._previous, "tips": self._tips,
        }  # fmt: skip
        fields = {f"field.{name}": self._pose.model_field(name) for name in MODEL_FIELDS}
        return arrays | fields | {f"kept.{name}": values for name, values in self._kept.items()}

    def _begin(self, world: int, seed: int) -> None:
        start, at = self._origin.start(seed), np.array([world])
        self._physics.restore(Snapshot({ROWS: start.state[None]}, {MOVED: start.fields[MOVED][None]}), at)
        for name, values in start.fields.items():
            self._pose.model_field(name)[world] = values
        for name, values in start.kept.items():
            self._kept[name][world] = values
        self._observation[world], self._previous[world] = start.observation, start.observation[:FRAME]
        self._tips[world], self.steps[world] = start.tips, 0

    def _pose_at(self, ids: np.ndarray | None) -> None:
        """Compute the positions of some worlds at their present state."""
        rows = slice(None) if ids is None else ids
        self._pose.view("qpos")[rows] = self._physics.view("qpos")[rows]
        self._pose.forward(ids, "position")

    def _command(self, actions: np.ndarray, rows: Any) -> None:
        if actions.shape != (self.nworld, 4):
            raise ValueError(f"expected actions of shape {(self.nworld, 4)}, got {actions.shape}")
        if not np.isfinite(actions[rows]).all():
            bad = np.arange(self.nworld)[rows][~np.isfinite(actions[rows]).all(-1)][0]
            raise ValueError(f"action of world {bad} ({self.name}) is not finite")
        origin, command = self._origin, np.clip(actions[rows], -1, 1)
        self._action[rows] = command
        hand = self._physics.view("mocap_pos")
        moved = hand[rows, 0] + command[:, :3] * origin.action_scale
        hand[rows, 0] = np.clip(moved, origin.mocap_low, origin.mocap_high)
        self._physics.view("mocap_quat")[rows] = (1.0, 0.0, 1.0, 0.0)
        control = self._physics.view("ctrl")
        control[rows, 0], control[rows, 1] = command[:, 3], -command[:, 3]

    def _write_frame(self) -> None:
        """Hand, opening and objects of all worlds into the frame."""
        scene, frame = self._scene, self._frame
        apart = scene.body("rightclaw") - scene.body("leftclaw")
        frame[:, :3] = scene.body("hand")
        # the fingers stand at most 10 cm apart
        frame[:, 3] = np.clip(np.sqrt(np.vecdot(apart, apart)) / 0.1, 0.0, 1.0)
        for index, (position, quaternion) in enumerate(OBJECTS[self.name]):
            place = 4 + 7 * index
            frame[:, place : place + 3] = position(scene)
            frame[:, place + 3 : place + 7] = quaternion(scene)

    def _observe(self, rows: Any) -> None:
        origin = self._origin
        self._write_frame()
        seen = np.concatenate([self._frame[rows], self._previous[rows], self._kept["target"][rows]], axis=1)
        self._observation[rows] = np.clip(seen, origin.low, origin.high)
        self._previous[rows] = self._frame[rows]
        self._tips[rows] = self._scene.tips[rows]

    def _judge(self, ids: np.ndarray | None) -> None:
        scene = self._scene
        self._success[:] = self._rules.success(scene) & scene.stepped
        if self._rules.touch:
            self._confirm_touch()
        if self._rewarded:
            self._reward[:] = np.where(scene.stepped, self._rules.reward(scene), 0.0)
        else:
            self._reward[:] = np.nan

    def _confirm_touch(self) -> None:
        """Ask the hidden world, which alone knows contact forces, about the few worlds that are solved but for them."""
        solved = np.flatnonzero(self._success)
        if len(solved):
            taken = self._physics.snapshot(solved)
            for index, world in enumerate(solved):
                fields = {name: values[index] for name, values in taken.model.items()}
                self._success[world] = self._origin.touching(taken.state[ROWS][index], fields)
