"""A seven-joint arm with a parallel gripper: its MJCF, its kinematics in closed form, and how actions move it.

The arm is made of primitives in the proportions of a Franka Panda. Joint gains are those of a critically damped spring
on armatures so large that damping times time step stays well below inertia: MuJoCo solves contacts with the undamped
inertia, and stiffer joints would throw what the fingers hold. Each finger touches with four balls, because box against
box loses contacts when edges are nearly parallel.

The axes intersect so that, as long as joints 3 and 5 stay at zero, a hand that points straight down is a planar
two-link problem: exact, without iteration, drift or a Jacobian, and the cheapest choice. Damped least squares would
give the same four degrees of freedom with a 6 x 6 system per world and a posture that depends on the way taken.

All frames are those of the arm's base, x forwards, z up; at zero joint angles every body frame is parallel to it.
Shape letters: N = worlds.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from foreact.sim.views import Views

__all__ = [
    "ACTION_HIGH", "ACTION_LOW", "ARM", "ARM_ACTUATORS", "HOME", "JAW", "STEP", "WORKSPACE", "aim", "hand_position",
    "jaw_opening", "joint_targets", "move_hand", "opened",
]  # fmt: skip

SHOULDER = 0.333  # height of joint 2 [m]
UPPER, ELBOW = 0.316, 0.0825  # joint 2 to joint 4: along the upper arm, sideways [m]
FOREARM = 0.384  # joint 4 to joint 6 along the forearm [m]
WRIST = 0.088  # from joint 6 to the hand's axis [m]
TOOL = 0.21  # from joint 6 down to the point between the finger tips [m]
JAW = 0.04  # way of one finger [m]
STEP = 0.02  # way of the hand in one control step at an action of 1 [m]
LEASH = 0.08  # most that the hand's target runs ahead of the hand in x, y and z [m]
WORKSPACE = ((0.30, -0.35, 0.014), (0.70, 0.35, 0.45))  # of the point between the finger tips [m]
HOME = (0.45, 0.0, 0.25)  # where that point is when an episode starts [m]
ACTION_LOW, ACTION_HIGH = (-1.0,) * 4, (1.0,) * 4

REACH_1, REACH_2 = np.hypot(UPPER, ELBOW), np.hypot(FOREARM, ELBOW)
BEND_1, BEND_2 = np.arctan2(ELBOW, UPPER), np.arctan2(ELBOW, FOREARM)

_LINKS = f"""
<body name="link1" pos="0 0 {SHOULDER}" gravcomp="1">
 <joint name="joint1" axis="0 0 1" range="-2.8 2.8" class="large"/>
 <geom type="cylinder" size="0.06 0.1" pos="0 0 -0.1" mass="3" class="dark"/>
 <body name="link2" gravcomp="1">
  <joint name="joint2" axis="0 1 0" range="-1.76 1.76" class="large"/>
  <geom type="cylinder" size="0.06 0.065" zaxis="0 1 0" mass="2" class="orange"/>
  <geom type="capsule" size="0.05" fromto="0 0 0.03 0 0 {UPPER - 0.1}" mass="2" class="light"/>
  <body name="link3" pos="0 0 {UPPER}" gravcomp="1">
   <joint name="joint3" axis="0 0 1" range="-2.8 2.8" class="large"/>
   <geom type="capsule" size="0.045" fromto="0 0 -0.1 {ELBOW} 0 0" mass="2" class="light"/>
   <body name="link4" pos="{ELBOW} 0 0" gravcomp="1">
    <joint name="joint4" axis="0 -1 0" range="-3.07 -0.07" class="large"/>
    <geom type="cylinder" size="0.055 0.06" zaxis="0 1 0" mass="1.5" class="orange"/>
    <geom type="capsule" size="0.04" fromto="0 0 0 {-ELBOW} 0 0.1" mass="1" class="light"/>
    <body name="link5" pos="{-ELBOW} 0 {FOREARM}" gravcomp="1">
     <joint name="joint5" axis="0 0 1" range="-2.8 2.8" class="small"/>
     <geom type="capsule" size="0.04" fromto="0 0 -0.28 0 0 -0.04" mass="2" class="light"/>
     <body name="link6" gravcomp="1">
      <joint name="joint6" axis="0 -1 0" range="0 3.7" class="small"/>
      <geom type="cylinder" size="0.045 0.05" zaxis="0 1 0" mass="1" class="orange"/>
      <geom type="capsule" size="0.04" fromto="0 0 0 {WRIST} 0 0" mass="0.5" class="light"/>
      <body name="hand" pos="{WRIST} 0 0" gravcomp="1">
       <joint name="joint7" axis="0 0 -1" range="-2.8 2.8" class="small"/>
       <geom type="cylinder" size="0.035 0.03" pos="0 0 -0.07" mass="0.4" class="dark"/>
       <geom name="palm" type="box" size="0.03 0.09 0.018" pos="0 0 -0.118" mass="0.4" class="grip"/>
       <site name="tip" pos="0 0 {-TOOL}" size="0.006" rgba="1 0 0 0.5"/>
       <camera name="wrist" pos="0.09 0 -0.06" xyaxes="0 -1 0 0.93 0 -0.37" fovy="75"/>
       FINGERS
      </body>
     </body>
    </body>
   </body>
  </body>
 </body>
</body>"""


def _finger(side: str, sign: int) -> str:
    balls = "".join(
        f'<geom size="0.006" pos="{x} {0.006 * sign} {z}" mass="0.005" class="grip"/>'
        for x in (0.008, -0.008)
        for z in (-0.004, 0.016)
    )
    return f"""<body name="finger_{side}" pos="0 0 {-TOOL}" gravcomp="1">
     <joint name="jaw_{side}" type="slide" axis="0 {sign} 0" range="0 {JAW}" class="jaw"/>
     <geom type="box" size="0.008 0.006 0.03" pos="0 {0.006 * sign} 0.026" mass="0.04" class="dark"/>
     {balls}
    </body>"""


def _motor(joint: str, stiffness: float, damping: float, force: float) -> str:
    return (
        f'<position name="{joint}" joint="{joint}" kp="{stiffness}" kv="{damping}" inheritrange="1" '
        f'forcerange="{-force} {force}"/>'
    )


ARM = _LINKS.replace("FINGERS", _finger("left", 1) + _finger("right", -1))
ARM_ACTUATORS = "\n".join(
    [_motor(f"joint{number}", 1200, 100, 87) for number in (1, 2, 3, 4)]
    + [_motor(f"joint{number}", 200, 17, 20) for number in (5, 6, 7)]
    + [_motor(f"jaw_{side}", 400, 24, 20) for side in ("left", "right")]
)


def hand_position(xp: Any, q: Any) -> Any:
    """Where the point between the finger tips is.

    Args:
        xp: `numpy` or `torch`.
        q: Joint angles (N, 7) or more columns, of which the first seven count [rad].

    Returns:
        Position in the base frame, (N, 3) [m].
    """
    c, s = xp.cos(q[:, :7]), xp.sin(q[:, :7])
    # v = R_y(-q6) (w, 0, -t), then outwards from the hand to the base: v <- R(q_i) v + offset_i
    x, z = WRIST * c[:, 5] + TOOL * s[:, 5], WRIST * s[:, 5] - TOOL * c[:, 5]
    x, y = x * c[:, 4] - ELBOW, x * s[:, 4]
    x, z = x * c[:, 3] - (z + FOREARM) * s[:, 3] + ELBOW, x * s[:, 3] + (z + FOREARM) * c[:, 3]
    x, y = x * c[:, 2] - y * s[:, 2], x * s[:, 2] + y * c[:, 2]
    x, z = x * c[:, 1] + (z + UPPER) * s[:, 1], (z + UPPER) * c[:, 1] - x * s[:, 1] + SHOULDER
    return xp.stack([x * c[:, 0] - y * s[:, 0], x * s[:, 0] + y * c[:, 0], z], axis=-1)


def joint_targets(xp: Any, place: Any) -> Any:
    """Joint angles that put the point between the finger tips somewhere, the hand pointing down, fingers along y.

    Args:
        xp: `numpy` or `torch`.
        place: Position in the base frame, (N, 3) [m]; what is out of reach becomes the nearest in its direction.

    Returns:
        Angles (N, 7) [rad]; joints 3 and 5 are zero.
    """
    azimuth = xp.arctan2(place[:, 1], place[:, 0])
    # the wrist stands above the hand, nearer by WRIST, and the shoulder is the origin of the planar problem
    r = xp.hypot(place[:, 0], place[:, 1]) - WRIST
    z = place[:, 2] + (TOOL - SHOULDER)
    d = xp.hypot(r, z)
    direction = xp.arctan2(r, z)  # from the vertical
    # law of cosines: cos a1 = (L1^2 + d^2 - L2^2) / (2 L1 d), cos a2 = (L2^2 + d^2 - L1^2) / (2 L2 d)
    at_shoulder = _angle(xp, REACH_1, REACH_2, d)
    at_wrist = _angle(xp, REACH_2, REACH_1, d)
    upper = direction - at_shoulder - BEND_1
    forearm = direction + at_wrist + BEND_2
    zero = xp.zeros_like(azimuth)
    return xp.stack([azimuth, upper, zero, upper - forearm, zero, forearm, azimuth], axis=-1)


def move_hand(views: Views, action: Any) -> None:
    """Move the hand's target and set the jaws.

    The target is kept in the joint targets themselves, so it is part of the engine's state; it cannot leave the
    workspace, nor run far ahead of a hand that is blocked.

    Args:
        views: The worlds.
        action: (N, 4) in [-1, 1]: the target's way in units of `STEP`, then open (-1) to closed (1).
    """
    xp, ctrl = views.xp, views.ctrl
    action = xp.clip(views.like(action), -1.0, 1.0)
    low, high = (views.like(each) for each in WORKSPACE)
    tip = hand_position(xp, views.qpos)
    place = xp.clip(aim(views) + STEP * action[:, :3], tip - LEASH, tip + LEASH)
    ctrl[:, :7] = joint_targets(xp, xp.clip(place, low, high))
    ctrl[:, 7:9] = (JAW / 2) * (1 - action[:, 3:])


def jaw_opening(views: Views) -> Any:
    """Distance between the fingers, (N,) [m]."""
    return views.qpos[:, 7] + views.qpos[:, 8]


def aim(views: Views) -> Any:
    """Where the hand is told to be, (N, 3) [m]; it follows by about 0.1 s."""
    return hand_position(views.xp, views.ctrl)


def opened(place: np.ndarray) -> np.ndarray:
    """Joint positions (n, 9) of the arm with open jaws [rad, m], its finger tips at `place` (n, 3) [m]."""
    return np.concatenate([joint_targets(np, place), np.full((len(place), 2), JAW)], axis=1)


def _angle(xp: Any, beside: float, opposite: float, d: Any) -> Any:
    cosine = (beside**2 + d**2 - opposite**2) / (2 * beside * d)
    return xp.arccos(xp.clip(cosine, -1.0, 1.0))
