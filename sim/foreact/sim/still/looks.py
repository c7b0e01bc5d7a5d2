"""From where a scene is seen, and in which colours and light: drawn anew for every picture.

Shape letters: n = pictures, g = geoms, l = lights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foreact.episodes.contract import CameraSpec
from foreact.sim.random import WorldRandom

if TYPE_CHECKING:
    import mujoco

__all__ = ["View", "eye", "eyes", "lit", "looking", "tinted"]

ANGLE = np.deg2rad(50.0)  # of view, of a camera that is not said otherwise
PLAIN = 0.3  # share of geoms that keep their own colour


@dataclass(frozen=True)
class View:
    """Where cameras may stand.

    Attributes:
        middle: What they look at [m].
        spread: How far from there they may look, along each axis [m].
        near: Least distance [m].
        far: Most.
        side: Azimuth of the middle of where they stand, seen from what they look at [rad].
        around: To both sides of that [rad].
        low: Least elevation [rad].
        high: Most.
    """

    middle: tuple[float, float, float] = (0.0, 0.0, 0.2)
    spread: float = 0.3
    near: float = 1.3
    far: float = 3.0
    side: float = -np.pi / 2
    around: float = 1.1
    low: float = 0.15
    high: float = 1.1


def eye(side: int) -> CameraSpec:
    """A camera that is placed picture by picture.

    Args:
        side: Height and width of its pictures [px].
    """
    focal = side / 2 / np.tan(ANGLE / 2)
    pose = (0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 0.0)
    streams = ("rgb", "depth", "segmentation")
    return CameraSpec("eye", side, side, streams, focal, focal, side / 2, side / 2, "world", *pose)


def eyes(view: View, random: WorldRandom, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Poses of one camera in n pictures: `cam_pos` [m] (n, 1, 3), `cam_quat` (n, 1, 4)."""
    draw = random.uniform(ids, 6)
    azimuth = view.side + view.around * (2 * draw[:, 0] - 1)
    lift = view.low + (view.high - view.low) * draw[:, 1]
    far = view.near + (view.far - view.near) * draw[:, 2]
    aim = np.array(view.middle) + view.spread * (2 * draw[:, 3:] - 1)
    out = np.stack([np.cos(lift) * np.cos(azimuth), np.cos(lift) * np.sin(azimuth), np.sin(lift)], axis=-1)
    return {"cam_pos": (aim + far[:, None] * out)[:, None], "cam_quat": looking(-out)[:, None]}


def looking(direction: np.ndarray) -> np.ndarray:
    """Orientation of a camera, wxyz (n, 4), that looks along unit vectors (n, 3) with the horizon level."""
    # q = q_z(azimuth - 90 deg) q_x(90 deg + elevation); without a turn a camera looks down
    about_z = (np.arctan2(direction[:, 1], direction[:, 0]) - np.pi / 2) / 2
    about_x = (np.pi / 2 + np.arcsin(direction[:, 2].clip(-1, 1))) / 2
    (cz, sz), (cx, sx) = ((np.cos(half), np.sin(half)) for half in (about_z, about_x))
    return np.stack([cz * cx, cz * sx, sz * sx, sz * cx], axis=-1)


def tinted(model: mujoco.MjModel, random: WorldRandom, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Colours of geoms in n pictures: `geom_rgba` (n, g, 4), most of them any, some their own."""
    draw = random.uniform(ids, 4 * model.ngeom).reshape(len(ids), model.ngeom, 4)
    own = np.broadcast_to(model.geom_rgba, (len(ids), model.ngeom, 4))
    colours = np.concatenate([0.1 + 0.9 * draw[..., 1:], own[..., 3:]], axis=-1)
    return {"geom_rgba": np.where(draw[..., :1] < PLAIN, own, colours)}


def lit(model: mujoco.MjModel, random: WorldRandom, ids: np.ndarray) -> dict[str, np.ndarray]:
    """Lights of n pictures, from any side above, brighter or darker: `light_dir`, `light_diffuse` (n, l, 3)."""
    draw = random.uniform(ids, 3 * model.nlight).reshape(len(ids), model.nlight, 3)
    angle, lean = 2 * np.pi * draw[..., 0], 1.2 * draw[..., 1]
    down = np.stack([np.sin(lean) * np.cos(angle), np.sin(lean) * np.sin(angle), -np.cos(lean)], axis=-1)
    bright = (0.15 + 0.65 * draw[..., 2:]).repeat(3, axis=-1)
    return {"light_dir": down, "light_diffuse": bright}
