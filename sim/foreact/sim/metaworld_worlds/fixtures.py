"""Rules of what is fixed to the table: buttons, doors, drawers, faucets, windows, handles, lever, dial.

Shape letters: N = worlds.
"""

from __future__ import annotations

import numpy as np

from foreact.sim.metaworld_worlds.grasp import cage
from foreact.sim.metaworld_worlds.scene import Measure, Rules, Scene
from foreact.sim.metaworld_worlds.shaping import gaussian, hamacher, length, long_tail

__all__ = ["FIXTURES", "along", "funnel", "near"]

X, Y, Z = 0, 1, 2


def near(radius: float, offset: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Measure:
    """Success: the object, shifted by an offset [m], is within a radius of the target [m]."""
    return lambda scene: length(scene.obj + np.array(offset) - scene.target) <= radius


def along(axis: int, radius: float) -> Measure:
    """Success: the object is within a distance of the target [m] along one axis."""
    return lambda scene: _apart(scene, axis) <= radius


def funnel(radius: np.ndarray, clear: float, slope: float, plateau: float) -> np.ndarray:
    """Height to stay above on the way to a place [m], (N,): 0 near it, further out a logarithm of the distance.

    Args:
        radius: Distance from the place in the plane [m], (N,).
        clear: Radius of the funnel's mouth [m].
        slope: Factor of the logarithm [m].
        plateau: Height 1 m away from the mouth [m].
    """
    outside = radius > clear
    return np.where(outside, slope * np.log(np.where(outside, radius - clear, 1.0)) + plateau, 0.0)


def _apart(scene: Scene, axis: int) -> np.ndarray:
    return np.abs(scene.target[:, axis] - scene.obj[:, axis])


def _to_tips(scene: Scene, start: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Distances from the finger tips [m], (N,) each: of the object now, of `start` or the object at the reset."""
    place = scene.obj if start is None else start
    return length(scene.obj - scene.tips), length(place - scene.kept["tcp_init"])


def _button(axis: int, bound: float, within: float, weights: tuple[float, float], *, closed: bool) -> Measure:
    def reward(scene: Scene) -> np.ndarray:
        distance, start = _to_tips(scene)
        fingers = 1 - scene.opening if closed else scene.opening
        pressed = long_tail(_apart(scene, axis), 0.005, scene.kept["press_init"])
        value = weights[0] * hamacher(fingers, long_tail(distance, bound, start))
        return value + np.where(distance <= within, weights[1] * pressed, 0.0)

    return reward


def _button_behind_wall(scene: Scene) -> np.ndarray:
    distance, start = _to_tips(scene)
    pressed = long_tail(_apart(scene, Y), 0.005, scene.kept["press_init"])
    far = 2 * hamacher((1 - scene.opening) / 2.0, long_tail(distance, 0.01, start))
    return np.where(distance > 0.07, far, 2 + 2 * (1 + scene.opening) + 4 * pressed**2)


def _lock(scene: Scene) -> np.ndarray:
    scale = np.array([0.25, 1.0, 0.5])
    distance = length((scene.obj - scene.body("leftpad")) * scale)
    # the margin is the distance itself: Meta-World keeps the pad's initial place as a view that moves with the pad
    reached = long_tail(distance, 0.01, distance)
    return 2 * hamacher(scene.opening, reached) + 8 * long_tail(_apart(scene, Z), 0.005, 0.1)


def _unlock(scene: Scene) -> np.ndarray:
    offset, scale = np.array([0.0, 0.055, 0.07]), np.array([0.25, 1.0, 0.5])
    distance = length((scene.hand + offset - scene.obj) * scale)
    # the lock's remembered place is a view too
    start = length((scene.kept["tcp_init"] + offset - scene.body("lock_link")) * scale)
    return 2 * long_tail(distance, 0.02, start) + 8 * long_tail(_apart(scene, X), 0.005, 0.1)


def _door_open(scene: Scene) -> np.ndarray:
    theta, door = scene.joint("doorjoint"), scene.obj + np.array([-0.05, 0.0, 0.0])
    floor = funnel(length(scene.hand[:, :2] - door[:, :2]), 0.12, 0.04, 0.4)
    height = scene.hand[:, 2]
    over = np.where(height >= floor, 1.0, long_tail(floor - height, 0.01, floor / 2.0))
    placed = long_tail(length(scene.hand - door - np.array([0.05, 0.03, -0.01])), 0.06, 0.5)
    opened = 0.2 * (theta < -np.pi / 90) + 0.8 * long_tail(np.pi / 2 + np.pi / 6 + theta, 0.5, np.pi / 3)
    value = 2 * hamacher(hamacher(over, placed), (scene.action[:, 3] + 1) / 2) + 8 * opened
    return np.where(_apart(scene, X) <= 0.08, 10.0, value)


def _door_close(scene: Scene) -> np.ndarray:
    distance = length(scene.obj - scene.target)
    placed = gaussian(distance, 0.05, length(scene.kept["obj_init"] - scene.target))
    margin = length(scene.kept["hand_init"] - scene.obj) + 0.1
    hand = gaussian(length(scene.tips - scene.target), 0.0125, margin)
    return np.where(distance < 0.05, 10.0, 3 * hand + 6 * placed)


def _drawer_close(scene: Scene) -> np.ndarray:
    initial = scene.kept["obj_init"]
    distance = length(scene.obj - scene.target)
    placed = long_tail(distance, 0.05, np.abs(length(initial - scene.target) - 0.05))
    to_tips, start = _to_tips(scene, initial)
    reach = hamacher(gaussian(to_tips, 0.005, np.abs(start - 0.005)), np.clip(scene.action[:, 3], 0, 1))
    return 10 * np.where(distance <= 0.05 + 0.015, 1.0, hamacher(reach, placed))


def _drawer_open(scene: Scene) -> np.ndarray:
    scale = np.array([3.0, 3.0, 1.0])
    opening = long_tail(length(scene.obj - scene.target), 0.02, 0.2)
    start = length((scene.target + np.array([0.0, 0.2, 0.0]) - scene.kept["tcp_init"]) * scale)
    return 5.0 * (long_tail(length((scene.obj - scene.hand) * scale), 0.01, start) + opening)


def _faucet(offset: tuple[float, float, float]) -> Measure:
    def reward(scene: Scene) -> np.ndarray:
        obj, initial = scene.obj + np.array(offset), scene.kept["obj_init"]
        distance = length(obj - scene.target)
        placed = long_tail(distance, 0.07, np.abs(length(initial - scene.target) - 0.07))
        margin = np.abs(length(initial - scene.kept["tcp_init"]) - 0.01)
        reach = gaussian(length(obj - scene.tips), 0.01, margin)
        return np.where(distance <= 0.07, 10.0, 2 * (2 * reach + 3 * placed))

    return reward


def _handle_press(scene: Scene) -> np.ndarray:
    initial, distance = scene.kept["handle_init"], _apart(scene, Z)
    placed = long_tail(distance, 0.02, np.abs(np.abs(initial[:, 2] - scene.target[:, 2]) - 0.02))
    to_tips, start = _to_tips(scene, initial)
    reach = long_tail(to_tips, 0.02, np.abs(start - 0.02))
    return 10 * np.where(distance <= 0.02, 1.0, hamacher(reach, placed))


def _handle_pull(scene: Scene) -> np.ndarray:
    initial, distance = scene.kept["obj_init"], _apart(scene, Z)
    placed = long_tail(distance, 0.05, np.abs(scene.target[:, 2] - initial[:, 2]))
    # y against z is what Meta-World compares here
    held = (_to_tips(scene)[0] < 0.035) & (scene.opening > 0) & (scene.obj[:, 1] - 0.01 > initial[:, 2])
    value = hamacher(cage(scene, scene.obj, 0.022, 0.05, 0.01), placed) + np.where(held, 1.0 + 5.0 * placed, 0.0)
    return np.where(distance < 0.05, 10.0, value)


def _handle_pull_side(scene: Scene) -> np.ndarray:
    initial, distance = scene.kept["obj_init"], length(scene.obj - scene.target)
    placed = long_tail(distance, 0.05, length(initial - scene.target))
    held = (_to_tips(scene)[0] < 0.035) & (scene.opening > 0) & (scene.obj[:, 2] - 0.01 > initial[:, 2])
    value = hamacher(cage(scene, scene.obj, 0.032, 0.06, 0.01), placed) + np.where(held, 1.0 + 5.0 * placed, 0.0)
    return np.where(distance < 0.05, 10.0, value)


def _lever_raised(scene: Scene) -> np.ndarray:
    return np.abs(-scene.joint("LeverAxis") - np.pi / 2) <= np.pi / 24


def _lever(scene: Scene) -> np.ndarray:
    scale, offset, initial = np.array([4.0, 1.0, 4.0]), np.array([0.0, 0.055, 0.07]), scene.kept["lever_init"]
    start = length((scene.kept["tcp_init"] + offset - initial) * scale)
    ready = long_tail(length((scene.hand + offset - scene.obj) * scale), 0.02, start)
    placed = long_tail(length(scene.obj - scene.target), 0.04, length(initial - scene.target))
    return 10.0 * hamacher(ready, placed)


def _dial(scene: Scene) -> np.ndarray:
    push, start = scene.obj + np.array([0.05, 0.02, 0.09]), scene.kept["push_init"]
    placed = long_tail(length(scene.obj - scene.target), 0.07, np.abs(length(start - scene.target) - 0.07))
    margin = np.abs(length(start - scene.kept["tcp_init"]) - 0.005)
    reach = hamacher(gaussian(length(push - scene.tips), 0.005, margin), np.clip(scene.action[:, 3], 0, 1))
    return 10 * hamacher(reach, placed)


def _window(initial: str, *, closing: bool) -> Measure:
    shape = gaussian if closing else long_tail

    def reward(scene: Scene) -> np.ndarray:
        start = np.abs(scene.kept[initial][:, 0] - scene.target[:, 0])
        placed = long_tail(_apart(scene, X), 0.05, np.abs(start - 0.05))
        to_tips, tips_start = _to_tips(scene, scene.kept["handle_init"])
        return 10 * hamacher(shape(to_tips, 0.02, np.abs(tips_start - 0.02)), placed)

    return reward


PRESS, HANDLE = {"press_init": "_obj_to_target_init"}, {"handle_init": "_handle_init_pos"}
WINDOW = {"handle_init": "window_handle_pos_init"}
BUTTON_DOWN = Rules(along(Z, 0.024), _button(Z, 0.01, 0.03, (5, 5), closed=True), PRESS)
BUTTON = _button(Y, 0.05, 0.05, (2, 8), closed=False)

FIXTURES: dict[str, Rules] = {
    "button-press-topdown-v3": BUTTON_DOWN,
    "button-press-topdown-wall-v3": BUTTON_DOWN,
    "button-press-v3": Rules(along(Y, 0.02), BUTTON, PRESS),
    "button-press-wall-v3": Rules(along(Y, 0.03), _button_behind_wall, PRESS),
    "coffee-button-v3": Rules(along(Y, 0.02), BUTTON, {"press_init": "max_dist"}),
    "door-lock-v3": Rules(along(Z, 0.02), _lock),
    "door-unlock-v3": Rules(along(X, 0.02), _unlock),
    "door-open-v3": Rules(along(X, 0.08), _door_open),
    "door-close-v3": Rules(near(0.08), _door_close),
    "drawer-close-v3": Rules(near(0.05 + 0.015), _drawer_close),
    "drawer-open-v3": Rules(near(0.03), _drawer_open),
    "faucet-open-v3": Rules(near(0.07, (-0.04, 0.0, 0.03)), _faucet((-0.04, 0.0, 0.03))),
    "faucet-close-v3": Rules(near(0.07), _faucet((0.0, 0.0, 0.0))),
    "handle-press-v3": Rules(along(Z, 0.02), _handle_press, HANDLE),
    "handle-press-side-v3": Rules(along(Z, 0.02), _handle_press, HANDLE),
    "handle-pull-v3": Rules(along(Z, 0.05), _handle_pull),
    "handle-pull-side-v3": Rules(near(0.08), _handle_pull_side),
    "lever-pull-v3": Rules(_lever_raised, _lever, {"lever_init": "_lever_pos_init"}),
    "dial-turn-v3": Rules(near(0.07), _dial, {"push_init": "dial_push_position"}),
    "window-open-v3": Rules(along(X, 0.05), _window("obj_init", closing=False), WINDOW),
    "window-close-v3": Rules(along(X, 0.05), _window("handle_init", closing=True), WINDOW),
}
