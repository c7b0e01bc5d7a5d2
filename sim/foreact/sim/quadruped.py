"""A quadruped that follows a commanded velocity; 50 Hz, actions (N, 12): joint targets around its stance.

The robot is made of primitives in the proportions of a Unitree Go1. Any other model does as well if its first joint is
the free joint of the trunk, its other joints have one position actuator each in the same order, and its first keyframe
is the stance, controls included. Frames: the trunk's x points forwards, z up. Shape letters: N = worlds, n = selected
worlds, L = the four legs, front left, front right, hind left, hind right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from foreact.sim.random import WorldRandom
from foreact.sim.task import Command, Field, Measure, SimTask
from foreact.sim.views import Views

__all__ = ["EXPERTS", "ROBOT", "TASKS", "Trot", "gravity_in_trunk", "quadruped_velocity", "velocity_in_trunk"]

LINK = 0.213  # thigh and calf [m]
HIPS = np.array([[0.19, 0.05], [0.19, -0.05], [-0.19, 0.05], [-0.19, -0.05]])  # from the trunk's middle [m]
SIDEWAYS = 0.08  # of a leg from its hip [m]
FOOT = 0.022  # radius [m]
STANCE = (0.0, 0.9, -1.8)  # hip, thigh and calf of every leg [rad]
HEIGHT = 2 * LINK * float(np.cos(STANCE[1])) + FOOT  # of the trunk in the stance [m]
REACH = 0.5  # change of a joint target at an action of 1 [rad]
SPEEDS = np.array([[-0.5, -0.3, -0.8], [1.0, 0.3, 0.8]])  # forwards and left [m/s], turning left [rad/s]
HOLD = 150  # control steps until the next command
LEGS = ("front_left", "front_right", "hind_left", "hind_right")


_ANGLES = " ".join(map(str, STANCE * 4))


def _leg(name: str, x: float, y: float) -> str:
    side = float(np.copysign(SIDEWAYS, y))
    return f"""<body name="{name}_hip" pos="{x} {y} 0">
     <joint name="{name}_hip" axis="1 0 0" range="-0.8 0.8"/>
     <geom type="cylinder" size="0.045 0.02" zaxis="1 0 0" mass="0.5" class="shown" rgba="0.2 0.22 0.25 1"/>
     <body name="{name}_thigh" pos="0 {side} 0">
      <joint name="{name}_thigh" axis="0 1 0" range="-0.7 3"/>
      <geom type="capsule" size="0.025" fromto="0 0 0 0 0 {-LINK}" mass="0.9" class="shown" rgba="0.95 0.5 0.15 1"/>
      <body name="{name}_calf" pos="0 0 {-LINK}">
       <joint name="{name}_calf" axis="0 1 0" range="-2.75 -0.8"/>
       <geom type="capsule" size="0.015" fromto="0 0 0 0 0 {-LINK}" mass="0.12" class="shown" rgba="0.2 0.22 0.25 1"/>
       <geom name="{name}_foot" size="{FOOT}" pos="0 0 {-LINK}" mass="0.05" class="foot" rgba="0.1 0.1 0.1 1"/>
      </body>
     </body>
    </body>"""


ROBOT = f"""
<mujoco model="quadruped">
 <compiler angle="radian" autolimits="true"/>
 <option timestep="0.005" integrator="implicitfast" iterations="10" ls_iterations="10"/>
 <statistic center="0 0 0.25" extent="0.8"/>
 <visual><headlight ambient="0.3 0.3 0.3" diffuse="0.4 0.4 0.4"/></visual>
 <default>
  <joint armature="0.03" damping="0.2"/>
  <position kp="120" kv="3" forcerange="-40 40" inheritrange="1"/>
  <default class="shown"><geom contype="0" conaffinity="0"/></default>
  <default class="foot"><geom contype="0" conaffinity="1" condim="3" friction="0.9 0.01 0.001"/></default>
 </default>
 <worldbody>
  <light directional="true" pos="0 0 3" dir="0.2 0.4 -1" diffuse="0.6 0.6 0.6"/>
  <geom name="floor" type="plane" size="0 0 0.1" contype="1" conaffinity="0" rgba="0.55 0.6 0.65 1"/>
  <body name="trunk" pos="0 0 {HEIGHT}">
   <freejoint name="root"/>
   <camera name="track" mode="trackcom" pos="0.3 -1.3 0.5" xyaxes="1 0.2 0 -0.06 0.3 1" fovy="45"/>
   <geom name="trunk" type="box" size="0.19 0.06 0.055" mass="5.2" class="foot" rgba="0.9 0.9 0.92 1"/>
   <geom type="box" pos="0.2 0 0.02" size="0.03 0.045 0.035" mass="0.3" class="shown" rgba="0.2 0.22 0.25 1"/>
   {"".join(_leg(name, *place) for name, place in zip(LEGS, HIPS.tolist(), strict=True))}
  </body>
 </worldbody>
 <actuator>
  {"".join(f'<position joint="{leg}_{joint}"/>' for leg in LEGS for joint in ("hip", "thigh", "calf"))}
 </actuator>
 <keyframe>
  <key name="stance" qpos="0 0 {HEIGHT} 1 0 0 0 {_ANGLES}" ctrl="{_ANGLES}"/>
 </keyframe>
</mujoco>
"""


def quadruped_velocity(model: str | Path = ROBOT) -> SimTask:
    """Follow a velocity that changes every three seconds.

    Args:
        model: MJCF as a text or a path; see the top of this file for what it must have.
    """
    return SimTask(
        name="quadruped-velocity",
        model=model,
        substeps=4,
        limit=1000,
        observe=(
            gravity_in_trunk,
            velocity_in_trunk,
            Field("qvel", 3, 6),
            lambda views: views.command["velocity"],
            Field("qpos", 7),
            Field("qvel", 6),
            Field("ctrl"),
        ),
        reward=(
            (1.0, _tracks(slice(0, 2), lambda views: velocity_in_trunk(views)[:, :2])),
            (0.5, _tracks(slice(2, 3), lambda views: views.qvel[:, 5:6])),
            (-10.0, lambda views: (views.qpos[:, 2] - _stance(views)[2]) ** 2),
            (-0.1, lambda views: ((views.ctrl - views.before["ctrl"]) ** 2).sum(-1)),
        ),
        terminate=(_fallen,),
        start=(_stand,),
        remember={"ctrl": lambda views: views.ctrl},
        commands={"velocity": Command(3, _draw_velocity, HOLD)},
        act=_around_stance,
        low=(-1.0,) * 12,
        high=(1.0,) * 12,
        instruction="walk as told",
    )


TASKS: Mapping[str, Callable[[], SimTask]] = {"quadruped-velocity": quadruped_velocity}


def gravity_in_trunk(views: Views) -> Any:
    """Direction of gravity in the trunk's frame, (N, 3); (0, 0, -1) if upright."""
    w, x, y, z = views.qpos[:, 3:7].T
    # the third row of the rotation matrix of a unit quaternion, negated
    return views.xp.stack([2 * (w * y - x * z), -2 * (y * z + w * x), 2 * (x * x + y * y) - 1], axis=-1)


def velocity_in_trunk(views: Views) -> Any:
    """Velocity of the trunk in its own frame, (N, 3) [m/s]."""
    cross = views.xp.linalg.cross
    w, u, v = views.qpos[:, 3:4], views.qpos[:, 4:7], views.qvel[:, :3]
    # R(q)^T v = v - 2 w (u x v) + 2 u x (u x v)
    turned = cross(u, v)
    return v - 2 * w * turned + 2 * cross(u, turned)


class Trot:
    """Diagonal legs swing in turn, feet set down where the commanded velocity brings the trunk; open loop.

    Attributes:
        PERIOD: Of one stride [s].
        LIFT: Of a swinging foot [m].
    """

    PERIOD, LIFT = 0.3, 0.05

    def reset(self, views: Views, ids: np.ndarray) -> None:
        """The gait follows the worlds' own time, so there is nothing to start anew."""

    def __call__(self, views: Views) -> Any:
        """Actions (N, 12)."""
        xp, command = views.xp, views.command["velocity"]
        hips = views.like(HIPS + [[0, np.copysign(SIDEWAYS, y)] for _, y in HIPS])
        offset = views.like([0.0, 0.5, 0.5, 0.0])
        phase = (views.time.reshape(-1, 1) / self.PERIOD + offset) % 1.0  # (N, L); the first half in the air
        swing = phase < 0.5
        # speed of a hip over ground: v + w x r
        ahead = command[:, :1] - command[:, 2:] * hips[:, 1]
        left = command[:, 1:2] + command[:, 2:] * hips[:, 0]
        # from -1/2 to 1/2 of the way in the air, back on the ground
        share = xp.where(swing, 2 * phase - 0.5, 1.5 - 2 * phase)
        way = 0.5 * self.PERIOD
        height = HEIGHT - FOOT - xp.where(swing, self.LIFT * xp.sin(2 * np.pi * phase), 0.0)
        joints = _leg_joints(xp, share * way * ahead, share * way * left, height)
        return xp.clip((joints - _stance(views)[7:]) / REACH, -1.0, 1.0)


EXPERTS: Mapping[str, Callable[[], Trot]] = {"quadruped-velocity": Trot}


def _leg_joints(xp: Any, x: Any, y: Any, height: Any) -> Any:
    """Joints that put feet below their legs' roots, moved by x and y, each (N, L) [m]; (N, 12) [rad]."""
    hip = xp.arctan2(y, height)
    drop = xp.hypot(y, height)
    bend = xp.arccos(xp.clip(xp.hypot(x, drop) / (2 * LINK), -1.0, 1.0))
    return xp.stack([hip, bend - xp.arctan2(x, drop), -2 * bend], axis=-1).reshape(len(x), -1)


def _tracks(part: slice, speed: Measure) -> Measure:
    """exp(-|commanded - actual|^2 / 0.25)."""
    return lambda views: views.xp.exp(-4 * ((views.command["velocity"][:, part] - speed(views)) ** 2).sum(-1))


def _fallen(views: Views) -> Any:
    """Tilted by more than 60 degrees or sunk to under half the height."""
    return (gravity_in_trunk(views)[:, 2] > -0.5) | (views.qpos[:, 2] < 0.5 * _stance(views)[2])


def _draw_velocity(ids: np.ndarray, random: WorldRandom) -> np.ndarray:
    return random.uniform(ids, 3, *SPEEDS)


def _stance(views: Views) -> Any:
    return views.like(views.backend.model.key_qpos[0])


def _stand(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
    """The stance, joints off by up to 0.05 rad."""
    stance = np.tile(views.backend.model.key_qpos[0], (len(ids), 1))
    stance[:, 7:] += random.uniform(ids, stance.shape[1] - 7, -0.05, 0.05)
    views.qpos[ids] = views.like(stance)
    views.ctrl[ids] = _stance(views)[7:]


def _around_stance(views: Views, action: Any) -> None:
    views.ctrl[:] = _stance(views)[7:] + REACH * action
