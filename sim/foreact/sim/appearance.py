"""Looks that differ between worlds: colours, lights and cameras, drawn per world.

Each function gives an event (see `foreact.sim.task.Event`) for a task's `start`, or for `TaskWorlds.fork(hidden=...)`.
Values become fields of the worlds' models, so snapshots and forks carry them and `WorldPictures` draws them. They are
drawn around the compiled model's, never around those drawn before, so that an event can be repeated.

Source: Tobin et al. 2017, "Domain randomization for transferring deep neural networks from simulation to the real
world", section III. Shape letters: n = selected worlds, k = parts named.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from foreact.sim.random import WorldRandom
    from foreact.sim.task import Event
    from foreact.sim.views import Views

__all__ = ["random_cameras", "random_geom_colours", "random_lights", "random_material_colours"]

Colour = tuple[float, float, float]
BLACK, WHITE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def random_geom_colours(geoms: Sequence[str], low: Colour = BLACK, high: Colour = WHITE) -> Event:
    """Give geoms colours of their own, uniform between two, instead of their material's; textures are tinted.

    Args:
        geoms: Names.
        low: Least red, green and blue in [0, 1].
        high: Most red, green and blue in [0, 1].

    Raises:
        ValueError: Not 0 <= low <= high <= 1; or, when drawn, no such geom.
    """
    return _colours("geom", "random_geom_colours", geoms, low, high)


def random_material_colours(materials: Sequence[str], low: Colour = BLACK, high: Colour = WHITE) -> Event:
    """Give materials colours, uniform between two; all geoms of a material without a colour of their own take it.

    Args:
        materials: Names.
        low: Least red, green and blue in [0, 1].
        high: Most red, green and blue in [0, 1].

    Raises:
        ValueError: Not 0 <= low <= high <= 1; or, when drawn, no such material.
    """
    return _colours("mat", "random_material_colours", materials, low, high)


def random_lights(
    lights: Sequence[int | str], turn: float = 0.0, low: float = 1.0, high: float = 1.0, shift: float = 0.0
) -> Event:
    """Turn, move and dim lights that are fixed to the world or a body. The headlight is shared by all worlds.

    Args:
        lights: Names or numbers.
        turn: The direction falls within a cone of this half-angle about the compiled one, uniform over its disc [rad].
            It matters to directional and spot lights.
        low: Least factor of the light's diffuse and ambient colour.
        high: Most.
        shift: Most that the place moves along each axis [m]. It matters to all but directional lights.

    Raises:
        ValueError: A negative turn or shift, or not 0 <= low <= high; or, when drawn, no such light.
    """
    if turn < 0 or shift < 0 or not 0 <= low <= high:
        raise ValueError(
            f"random_lights: expected turn, shift >= 0 and 0 <= low <= high, got {turn}, {shift}, {low}, {high}"
        )

    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        model, parts = views.backend.model, views.numbers("light", lights)
        draw = random.uniform(ids, 6 * len(parts)).reshape(len(ids), len(parts), 6)
        factor = low + (high - low) * draw[..., :1]
        for field in ("light_diffuse", "light_ambient"):
            views.set_model(field, ids, parts, getattr(model, field)[parts] * factor)
        if turn:
            angle = turn * np.sqrt(draw[..., 1])
            views.set_model("light_dir", ids, parts, _tilted(model.light_dir[parts], angle, 2 * np.pi * draw[..., 2]))
        if shift:
            views.set_model("light_pos", ids, parts, model.light_pos[parts] + shift * (2 * draw[..., 3:] - 1))

    return event


def random_cameras(cameras: Sequence[str], shift: float = 0.0, turn: float = 0.0) -> Event:
    """Move and turn cameras of the model in the frame of their body, as a loose mount does.

    `WorldPictures` follows cameras that `camera_specs` described; intrinsics are the same in all worlds.

    Args:
        cameras: Names.
        shift: Most that the centre moves along each axis [m].
        turn: Most that the camera turns, about an axis in any direction [rad].

    Raises:
        ValueError: A negative shift or turn; or, when drawn, no such camera.
    """
    if shift < 0 or turn < 0:
        raise ValueError(f"random_cameras: expected shift and turn >= 0, got {shift} and {turn}")

    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        model, parts = views.backend.model, views.numbers("camera", cameras)
        draw = random.uniform(ids, 6 * len(parts)).reshape(len(ids), len(parts), 6)
        views.set_model("cam_pos", ids, parts, model.cam_pos[parts] + shift * (2 * draw[..., :3] - 1))
        angle, azimuth, height = turn * draw[..., 3], 2 * np.pi * draw[..., 4], 2 * draw[..., 5] - 1
        # a height uniform in [-1, 1] spreads axes evenly over the sphere (Archimedes)
        across = np.sqrt(1 - height**2)
        axis = np.stack([across * np.cos(azimuth), across * np.sin(azimuth), height], axis=-1)
        turned = np.concatenate([np.cos(angle / 2)[..., None], np.sin(angle / 2)[..., None] * axis], axis=-1)
        views.set_model("cam_quat", ids, parts, _product(model.cam_quat[parts], turned))

    return event


def _colours(kind: str, name: str, parts: Sequence[str], low: Colour, high: Colour) -> Event:
    least, most = np.array(low, np.float64), np.array(high, np.float64)
    if least.shape != (3,) or most.shape != (3,) or not ((least >= 0) & (least <= most) & (most <= 1)).all():
        raise ValueError(f"{name}: expected 0 <= low <= high <= 1 for red, green and blue, got {low} and {high}")

    def event(views: Views, ids: np.ndarray, random: WorldRandom) -> None:
        numbers = views.numbers(kind, parts)
        draw = random.uniform(ids, 3 * len(numbers)).reshape(len(ids), len(numbers), 3)
        values = np.repeat(getattr(views.backend.model, f"{kind}_rgba")[numbers][None], len(ids), axis=0)
        values[..., :3] = least + (most - least) * draw  # what is transparent stays so
        views.set_model(f"{kind}_rgba", ids, numbers, values)

    return event


def _tilted(direction: np.ndarray, angle: np.ndarray, azimuth: np.ndarray) -> np.ndarray:
    """Unit vectors (k, 3) tilted by angles (n, k) towards azimuths (n, k) about them, (n, k, 3)."""
    helper = np.where(np.abs(direction[:, :1]) < 0.9, [[1.0, 0.0, 0.0]], [[0.0, 1.0, 0.0]])
    first = np.cross(direction, helper)
    first /= np.linalg.norm(first, axis=-1, keepdims=True)
    second = np.cross(direction, first)
    sideways = np.cos(azimuth)[..., None] * first + np.sin(azimuth)[..., None] * second
    return np.cos(angle)[..., None] * direction + np.sin(angle)[..., None] * sideways


def _product(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Products of quaternions wxyz, (..., 4)."""
    a, u = one[..., :1], one[..., 1:]
    b, v = other[..., :1], other[..., 1:]
    # (a, u)(b, v) = (ab - u.v, av + bu + u x v)
    return np.concatenate([a * b - (u * v).sum(-1, keepdims=True), a * v + b * u + np.cross(u, v)], axis=-1)
