"""Pictures of the car from above, drawn for many states at once.

Shape letters: N = states, P = pixels of a side.
"""

from __future__ import annotations

import numpy as np

from foreact.worldmodels.safety.systems import DubinsCar

__all__ = ["draw"]

GROUND = (0.85, 0.85, 0.80)
OBSTACLE = (0.80, 0.25, 0.20)
BODY = (0.10, 0.20, 0.55)
NOSE = (0.95, 0.85, 0.10)
LENGTH, WIDTH = 0.26, 0.15  # half axes of the body [m]
NOSE_AT, NOSE_RADIUS = 0.24, 0.13  # [m]
BATCH = 4096


def draw(car: DubinsCar, states: np.ndarray, pixels: int = 32) -> np.ndarray:
    """The arena with its obstacles, the car, and a bright nose where it is heading.

    Args:
        car: Whose obstacles and arena; what is unseen is not drawn.
        states: (N, 3).
        pixels: P.

    Returns:
        uint8 (N, 3, P, P).
    """
    ground = _ground(car, pixels)
    batches = [_draw(car, states[start : start + BATCH], ground) for start in range(0, len(states), BATCH)]
    return np.concatenate(batches) if batches else np.zeros((0, 3, pixels, pixels), np.uint8)


def _axes(car: DubinsCar, pixels: int) -> tuple[np.ndarray, float]:
    # a border of two pixels shows a car at the edge of the arena whole
    size = 2 * car.half_width / (pixels - 4)
    return ((np.arange(pixels) + 0.5) * size - pixels * size / 2).astype(np.float32), size


def _ground(car: DubinsCar, pixels: int) -> np.ndarray:
    axis, size = _axes(car, pixels)
    picture = np.empty((3, pixels, pixels), np.float32)
    picture[:] = np.array(GROUND, np.float32)[:, None, None]
    for x, y, radius in car.obstacles:
        away = np.hypot(axis[None, :] - x, -axis[:, None] - y)
        picture = _blend(picture, _cover(away - radius, size)[None], OBSTACLE)
    return picture


def _draw(car: DubinsCar, states: np.ndarray, ground: np.ndarray) -> np.ndarray:
    pixels = ground.shape[-1]
    axis, size = _axes(car, pixels)
    reach = int(np.ceil((NOSE_AT + NOSE_RADIUS) / size)) + 1
    # only pixels near the car change: a window of them, cut out of a ground with a margin around it
    places = np.clip((states[:, :2] - axis[0]) / size, -reach - 1, pixels + reach).round().astype(int)
    window = np.arange(-reach, reach + 1)
    columns, rows = places[:, 0, None] + window, pixels - 1 - places[:, 1, None] + window
    x, y, heading = (each.astype(np.float32)[:, None, None] for each in states.T)
    east = axis[0] + size * columns[:, None, :].astype(np.float32) - x
    north = axis[0] + size * (pixels - 1 - rows)[:, :, None].astype(np.float32) - y
    along = east * np.cos(heading) + north * np.sin(heading)
    across = north * np.cos(heading) - east * np.sin(heading)
    # the distance to an ellipse, good near its edge, where it counts
    body = (np.hypot(along / LENGTH, across / WIDTH) - 1) * WIDTH
    nose = np.hypot(along - NOSE_AT, across) - NOSE_RADIUS
    border = 2 * reach + 2
    wide = np.pad(ground, ((0, 0), (border, border), (border, border)))
    at = (np.arange(len(states))[:, None, None], rows[:, :, None] + border, columns[:, None, :] + border)
    under = np.moveaxis(wide[:, at[1], at[2]], 0, 1)
    drawn = _blend(_blend(under, _cover(body, size)[:, None], BODY), _cover(nose, size)[:, None], NOSE)
    pictures = np.broadcast_to(_bytes(wide), (len(states), *wide.shape)).copy()
    pictures[at[0][:, None], np.arange(3)[None, :, None, None], at[1][:, None], at[2][:, None]] = _bytes(drawn)
    return np.ascontiguousarray(pictures[:, :, border:-border, border:-border])


def _bytes(pictures: np.ndarray) -> np.ndarray:
    return np.round(255 * pictures).astype(np.uint8)


def _cover(distance: np.ndarray, size: float) -> np.ndarray:
    """Share of a pixel that lies within an edge."""
    return np.clip(0.5 - distance / size, 0.0, 1.0)


def _blend(under: np.ndarray, cover: np.ndarray, colour: tuple[float, float, float]) -> np.ndarray:
    over = np.array(colour, np.float32)[:, None, None]
    return under + cover * (over - under)
