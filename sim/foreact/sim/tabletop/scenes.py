"""Scenes for the arm as MJCF texts made of primitives: a table, cubes, a goal, a drawer.

The table's top is z = 0 and the arm's base the origin. What can touch what: the table, the floor and the drawer touch
objects and the gripper; objects touch everything; links of the arm above the palm touch nothing.
"""

from __future__ import annotations

from foreact.sim.tabletop.arm import ARM, ARM_ACTUATORS

__all__ = ["CUBE", "DRAWER_WAY", "HANDLE", "cube", "drawer", "goal", "scene"]

CUBE = 0.02  # half a cube's edge [m]
DRAWER_WAY = 0.2  # how far the drawer opens [m]
HANDLE = (-0.045, 0.0, 0.075)  # the bar from the middle of the cabinet's front at the table's height [m]

FRAME = """
<mujoco model="{name}">
 <compiler angle="radian" autolimits="true"/>
 <option timestep="0.01" integrator="implicitfast" cone="elliptic" iterations="20" ls_iterations="20"/>
 <statistic center="0.45 0 0.1" extent="0.8"/>
 <visual><headlight ambient="0.3 0.3 0.3" diffuse="0.4 0.4 0.4"/><map znear="0.02"/></visual>
 <default>
  <default class="large"><joint armature="1"/></default>
  <default class="small"><joint armature="0.3"/></default>
  <default class="jaw"><joint armature="0.3"/></default>
  <default class="light"><geom rgba="0.92 0.92 0.9 1" contype="0" conaffinity="0"/></default>
  <default class="dark"><geom rgba="0.25 0.27 0.3 1" contype="0" conaffinity="0"/></default>
  <default class="orange"><geom rgba="0.95 0.5 0.15 1" contype="0" conaffinity="0"/></default>
  <default class="grip">
   <geom rgba="0.5 0.52 0.55 1" contype="4" conaffinity="1" condim="4" friction="1.2 0.01 0.0001"/>
  </default>
  <default class="still"><geom contype="1" conaffinity="0"/></default>
  <default class="shown"><geom contype="0" conaffinity="0"/></default>
  <default class="wood"><geom contype="1" conaffinity="0" rgba="0.6 0.45 0.32 1"/></default>
  <default class="object"><geom contype="2" conaffinity="7" condim="4" friction="0.8 0.01 0.0001"/></default>
 </default>
 <worldbody>
  <light pos="0.6 -0.6 1.6" dir="-0.1 0.4 -1" diffuse="0.6 0.6 0.6" castshadow="false"/>
  <camera name="front" pos="1.15 0 0.6" xyaxes="0 1 0 -0.6 0 0.8" fovy="45"/>
  <camera name="side" pos="0.35 -0.9 0.5" xyaxes="0.99 -0.143 0 0.06 0.416 0.91" fovy="45"/>
  <geom name="floor" type="plane" pos="0 0 -0.7" size="3 3 0.1" rgba="0.55 0.6 0.65 1" class="still"/>
  <geom name="table" type="box" pos="0.4 0 -0.02" size="0.55 0.6 0.02" rgba="0.72 0.6 0.46 1" class="still"/>
  <geom type="cylinder" pos="0 0 0.065" size="0.09 0.065" class="light"/>
  {arm}
  {things}
 </worldbody>
 <actuator>{actuators}</actuator>
 {sensors}
</mujoco>
"""


def scene(name: str, *things: str, sensors: str = "") -> str:
    """The table with the arm and some things on it.

    Args:
        name: Of the model.
        things: MJCF of bodies, such as `cube("cube", "0.8 0.2 0.2")`; their joints come after the arm's nine.
        sensors: MJCF of a `sensor` section, if there is one.
    """
    return FRAME.format(name=name, arm=ARM, things="\n".join(things), actuators=ARM_ACTUATORS, sensors=sensors)


def cube(name: str, colour: str) -> str:
    """A free cube of 64 g."""
    return f"""<body name="{name}" pos="0.5 0 {CUBE}">
     <freejoint name="{name}"/>
     <geom name="{name}" type="box" size="{CUBE} {CUBE} {CUBE}" density="1000" rgba="{colour} 1" class="object"/>
    </body>"""


def goal(flat: bool) -> str:
    """A marker that a task moves by `mocap_pos`: a ball in space, or a disc on the table."""
    shape = 'type="cylinder" size="0.03 0.0005"' if flat else 'type="sphere" size="0.02"'
    return f"""<body name="goal" mocap="true" pos="0.5 0.1 {0.0005 if flat else 0.2}">
     <geom name="goal" {shape} rgba="0.1 0.75 0.2 1" class="shown"/>
    </body>"""


def drawer() -> str:
    """A cabinet that a task moves by `mocap_pos`, with a drawer towards the arm; the front's foot is the origin."""
    wall, bar = 'class="still" rgba="0.45 0.33 0.24 1"', 'class="still" rgba="0.75 0.75 0.78 1"'
    x, _, z = HANDLE
    return f"""<body name="cabinet" mocap="true" pos="0.58 0 0">
     <geom type="box" pos="0.11 0 0.006" size="0.11 0.13 0.006" {wall}/>
     <geom type="box" pos="0.11 0 0.116" size="0.11 0.13 0.006" {wall}/>
     <geom type="box" pos="0.11 0.124 0.061" size="0.11 0.006 0.049" {wall}/>
     <geom type="box" pos="0.11 -0.124 0.061" size="0.11 0.006 0.049" {wall}/>
     <geom type="box" pos="0.214 0 0.061" size="0.006 0.118 0.049" {wall}/>
     <body name="drawer">
      <joint name="drawer" type="slide" axis="-1 0 0" range="0 {DRAWER_WAY}" damping="5" frictionloss="1"
             armature="0.2"/>
      <geom type="box" pos="0.006 0 0.061" size="0.006 0.115 0.046" mass="0.3" class="wood"/>
      <geom type="box" pos="0.108 0 0.02" size="0.096 0.11 0.004" mass="0.3" class="wood"/>
      <geom type="box" pos="0.108 0.108 0.045" size="0.096 0.004 0.025" mass="0.1" class="wood"/>
      <geom type="box" pos="0.108 -0.108 0.045" size="0.096 0.004 0.025" mass="0.1" class="wood"/>
      <geom name="handle" type="capsule" fromto="{x} -0.06 {z} {x} 0.06 {z}" size="0.007" mass="0.05" {bar}/>
      <geom type="capsule" fromto="{x} -0.055 {z} 0 -0.055 {z}" size="0.005" mass="0.02" {bar}/>
      <geom type="capsule" fromto="{x} 0.055 {z} 0 0.055 {z}" size="0.005" mass="0.02" {bar}/>
      <site name="handle" pos="{x} 0 {z}" size="0.005"/>
     </body>
    </body>"""
