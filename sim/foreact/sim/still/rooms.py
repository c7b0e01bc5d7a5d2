"""Rooms that never existed: a floor, walls, and simple things of any size, colour, pattern and light.

One compiled model holds more things of each shape than a room shows; those that are not shown lie behind the camera.
Shape letters: N = worlds, n = selected worlds, k = things, m = materials.
"""

from __future__ import annotations

import itertools

import numpy as np

from foreact.sim.random import WorldRandom
from foreact.sim.still.looks import lit
from foreact.sim.task import SimTask
from foreact.sim.views import Views

__all__ = ["SHAPES", "rooms"]

SHAPES = ("box", "sphere", "cylinder", "capsule", "ellipsoid")
EACH = 4  # things of each shape
SHOWN = (3, 8)  # fewest and most things of a room
SIZE = (0.05, 0.22)  # half sizes of things [m]
SPREAD = 0.9  # things stand within this from the middle [m]
AWAY = (0.0, 0.0, -50.0)  # where things are that a room does not show
WALLS = 3
PATTERNS = ("flat", "checker", "gradient", "noise")
MATERIALS = 12


def rooms() -> SimTask:
    """A room whose every reset is another one; there is nothing to do in it."""
    return SimTask(
        name="rooms",
        model=_xml(),
        substeps=1,
        limit=1,
        observe=(lambda views: views.mocap_pos[:, 0],),
        reward=((0.0, lambda views: views.mocap_pos[:, 0, 0]),),
        start=(_furnish, _paint, _light),
        low=(0.0,),
        high=(1.0,),
        act=lambda views, action: None,
    )


def things() -> list[str]:
    """Names of the geoms that are things, in the order of their bodies."""
    return [f"{shape}{number}" for shape, number in itertools.product(SHAPES, range(EACH))]


def _xml() -> str:
    textures = "".join(
        f'<texture name="texture{number}" type="2d" builtin="{_builtin(number)}" {_mark(number)} width="64" height="64"'
        ' rgb1="1 1 1" rgb2="0.35 0.35 0.35"/>'
        f'<material name="m{number}" texture="texture{number}" texrepeat="{1 + number // 4} {1 + number // 4}"'
        ' texuniform="false"/>'
        for number in range(MATERIALS)
    )
    bodies = "".join(
        f'<body name="{name}" mocap="true" pos="{_text(AWAY)}"><geom name="{name}" type="{name.rstrip("0123456789")}"'
        ' size="0.1 0.1 0.1" material="m0"/></body>'
        for name in things()
    )
    walls = "".join(
        f'<body name="wall{number}" mocap="true"><geom name="wall{number}" type="box" size="3 0.05 1.5"'
        ' material="m1"/></body>'
        for number in range(WALLS)
    )
    return f"""<mujoco><asset>{textures}</asset>
<default><geom contype="0" conaffinity="0"/></default>
<visual><headlight ambient="0.2 0.2 0.2" diffuse="0.2 0.2 0.2"/></visual>
<worldbody><light name="sun" directional="true" dir="0 0 -1" diffuse="0.7 0.7 0.7"/>
<light name="lamp" directional="true" dir="0 0.5 -1" diffuse="0.4 0.4 0.4"/>
<geom name="floor" type="plane" size="8 8 0.1" material="m2"/>
{walls}{bodies}</worldbody></mujoco>"""


def _builtin(number: int) -> str:
    pattern = PATTERNS[number % len(PATTERNS)]
    return "flat" if pattern == "noise" else pattern


def _mark(number: int) -> str:
    return 'mark="random" random="0.3" markrgb="0.5 0.5 0.5"' if PATTERNS[number % len(PATTERNS)] == "noise" else ""


def _text(values: tuple[float, ...]) -> str:
    return " ".join(map(str, values))


def _furnish(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
    """Walls behind, and some things on the floor, standing or lying, that do not run into each other."""
    names = things()
    geoms, count = views.numbers("geom", names), len(names)
    draw = random.uniform(ids, 8 * count).reshape(len(ids), count, 8)
    size = SIZE[0] + (SIZE[1] - SIZE[0]) * draw[..., :3] ** 1.5
    views.set_model("geom_size", ids, geoms, size)
    shown = _shown(draw[..., 3], random.uniform(ids, 1)[:, 0])
    place = _placed(draw[..., 4:6], size, shown)
    # half of the things are turned any way and float; the others stand on the floor
    floating = draw[..., 6] < 0.3
    height = np.where(floating, 0.2 + 0.6 * draw[..., 7], _resting(size))
    pose = np.where(shown[..., None], np.concatenate([place, height[..., None]], axis=-1), np.array(AWAY))
    turn = _turns(random.uniform(ids, 4 * count).reshape(len(ids), count, 4), floating)
    views.mocap_pos[ids, WALLS:] = views.like(pose)
    views.mocap_quat[ids, WALLS:] = views.like(turn)
    wall = random.uniform(ids, 3 * WALLS).reshape(len(ids), WALLS, 3)
    angle = np.pi / 2 + 1.05 * np.arange(-1, WALLS - 1) + 0.3 * (2 * wall[..., 0] - 1)  # behind, as the camera sees it
    away = 1.6 + 1.2 * wall[..., 1]
    middle = np.stack([away * np.cos(angle), away * np.sin(angle), 1.2 * wall[..., 2]], axis=-1)
    views.mocap_pos[ids, :WALLS] = views.like(middle)
    half = (angle + np.pi / 2) / 2
    zero = np.zeros_like(half)
    views.mocap_quat[ids, :WALLS] = views.like(np.stack([np.cos(half), zero, zero, np.sin(half)], axis=-1))


def _shown(order: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Which things a room shows, bool (n, k): any number from `SHOWN`, all alike."""
    number = SHOWN[0] + np.floor(share * (SHOWN[1] - SHOWN[0] + 1))
    return order.argsort(axis=1).argsort(axis=1) < number[:, None]


def _placed(draw: np.ndarray, size: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Places on the floor (n, k, 2), pushed apart where things stand in each other."""
    place = SPREAD * (2 * draw - 1)
    radius = np.linalg.norm(size[..., :2], axis=-1)
    need = radius[:, :, None] + radius[:, None]
    both = shown[:, :, None] & shown[:, None] & ~np.eye(shown.shape[1], dtype=bool)
    for _ in range(20):
        apart = place[:, :, None] - place[:, None]
        distance = np.maximum(np.linalg.norm(apart, axis=-1), 1e-6)
        overlap = np.where(both, np.maximum(need - distance, 0), 0)
        place = place + 0.5 * ((overlap / distance)[..., None] * apart).sum(axis=2)
    return place


def _resting(size: np.ndarray) -> np.ndarray:
    """Height of the middle of things that stand on the floor, (n, k)."""
    kind = np.repeat(np.arange(len(SHAPES)), EACH)
    return np.choose(kind, [size[..., 2], size[..., 0], size[..., 1], size[..., 0] + size[..., 1], size[..., 2]])


def _turns(draw: np.ndarray, floating: np.ndarray) -> np.ndarray:
    """Unit quaternions: any for things that float, about the vertical for others, (n, k, 4)."""
    # Shoemake 1992, "Uniform random rotations"
    a, b, c = draw[..., 0], 2 * np.pi * draw[..., 1], 2 * np.pi * draw[..., 2]
    free = np.stack(
        [np.sqrt(1 - a) * np.sin(b), np.sqrt(1 - a) * np.cos(b), np.sqrt(a) * np.sin(c), np.sqrt(a) * np.cos(c)], -1
    )
    half, zero = np.pi * draw[..., 3], np.zeros_like(a)
    upright = np.stack([np.cos(half), zero, zero, np.sin(half)], axis=-1)
    return np.where(floating[..., None], free, upright)


def _paint(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
    """Any material and any tint on everything."""
    geoms = views.numbers("geom", ["floor", *(f"wall{number}" for number in range(WALLS)), *things()])
    draw = random.uniform(ids, 4 * len(geoms)).reshape(len(ids), len(geoms), 4)
    views.set_model("geom_matid", ids, geoms, np.floor(draw[..., 0] * MATERIALS).astype(np.int32))
    tint = np.concatenate([0.1 + 0.9 * draw[..., 1:], np.ones((*draw.shape[:2], 1))], axis=-1)
    views.set_model("geom_rgba", ids, geoms, tint)


def _light(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
    """Both lights from any side above, brighter or darker."""
    for field, values in lit(views.backend.model, random, ids).items():
        views.set_model(field, ids, np.arange(values.shape[1]), values)
