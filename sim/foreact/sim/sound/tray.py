"""A tray with things of several materials that are tossed about: contact sounds to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import mujoco

__all__ = ["SETTLED", "THINGS", "Tosses", "tray"]

THINGS = ("steel", "glass", "wood", "plastic", "rubber")
"""Materials of the things, one each; the tray is of wood."""

SHAPES = ("sphere", "box", "cylinder", "capsule", "ellipsoid")
WALL = 0.25  # half the tray [m]

FRAME = """
<mujoco model="tray">
 <option timestep="0.001" integrator="implicitfast" cone="elliptic"/>
 <default><geom solref="-200000 -240" condim="4" friction="0.6 0.01 0.001"/></default>
 <worldbody>
  <geom name="tray" type="box" size="{wall} {wall} 0.01" pos="0 0 -0.01"/>
  <geom name="tray-east" type="box" size="0.01 {wall} 0.5" pos="{wall} 0 0.5"/>
  <geom name="tray-west" type="box" size="0.01 {wall} 0.5" pos="-{wall} 0 0.5"/>
  <geom name="tray-north" type="box" size="{wall} 0.01 0.5" pos="0 {wall} 0.5"/>
  <geom name="tray-south" type="box" size="{wall} 0.01 0.5" pos="0 -{wall} 0.5"/>
  {things}
 </worldbody>
</mujoco>
"""


SETTLED = 0.5
"""Time after which the things of a tray lie still [s]."""


def tray(random: np.random.Generator) -> mujoco.MjModel:
    """A tray with one thing of each material; shapes, sizes and masses are drawn.

    Args:
        random: Source of them.
    """
    import mujoco

    things = []
    for index, name in enumerate(THINGS):
        shape, size, mass = random.choice(SHAPES), random.uniform(0.015, 0.035, 3), random.uniform(0.03, 0.15)
        x, y = -0.16 + 0.08 * index, random.uniform(-0.15, 0.15)
        sizes = " ".join(f"{each:.4f}" for each in size)
        things.append(
            f'<body name="{name}" pos="{x:.4f} {y:.4f} 0.04"><freejoint/>'
            f'<geom name="{name}" type="{shape}" size="{sizes}" mass="{mass:.4f}"/></body>'
        )
    return mujoco.MjModel.from_xml_string(FRAME.format(wall=WALL, things="\n  ".join(things)))


class Tosses:
    """Tosses a thing up every now and then.

    Args:
        model: A tray.
        random: Source of what is tossed, when, and how.
        pause: Mean time between tosses [s]; none is tossed before `SETTLED`.
    """

    def __init__(self, model: mujoco.MjModel, random: np.random.Generator, pause: float = 1.0) -> None:
        self._model, self._random, self._pause = model, random, pause
        self._next = SETTLED + random.exponential(pause)

    def act(self, data: mujoco.MjData) -> None:
        """Toss what is due.

        Args:
            data: Its velocities are changed.
        """
        if data.time < self._next:
            return
        self._next = data.time + self._random.exponential(self._pause)
        joint = int(self._random.integers(self._model.njnt))
        place, first = int(self._model.jnt_qposadr[joint]), int(self._model.jnt_dofadr[joint])
        inward = -1.5 * data.qpos[place : place + 2]
        data.qvel[first : first + 2] = inward + self._random.uniform(-0.5, 0.5, 2)
        data.qvel[first + 2] = self._random.uniform(0.8, 2.2)
        data.qvel[first + 3 : first + 6] = self._random.uniform(-8, 8, 3)
