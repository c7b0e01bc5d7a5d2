"""Rules of reaching and of things that are pushed, slid, swept, carried and placed. Shape letters: N = worlds."""

from __future__ import annotations

import numpy as np

from foreact.sim.metaworld_worlds.fixtures import funnel, near
from foreact.sim.metaworld_worlds.grasp import cage, fence
from foreact.sim.metaworld_worlds.scene import Measure, Rules, Scene
from foreact.sim.metaworld_worlds.shaping import hamacher, length, long_tail

__all__ = ["MOVABLES"]

RADIUS = 0.05  # [m] around the target


def _placed(scene: Scene, initial: str = "obj_init", radius: float = RADIUS) -> tuple[np.ndarray, np.ndarray]:
    """Distance of the object from the target [m] and the reward for it, (N,) each."""
    distance = length(scene.obj - scene.target)
    return distance, long_tail(distance, radius, length(scene.kept[initial] - scene.target))


def _to_tips(scene: Scene) -> np.ndarray:
    return length(scene.obj - scene.tips)


def _lifted(scene: Scene, height: float) -> np.ndarray:
    return scene.obj[:, 2] - height > scene.kept["obj_init"][:, 2]


def _reached(scene: Scene) -> np.ndarray:
    return length(scene.tips - scene.target) <= RADIUS


def _reach(scene: Scene) -> np.ndarray:
    margin = length(scene.kept["hand_init"] - scene.target)
    return 10 * long_tail(length(scene.tips - scene.target), RADIUS, margin)


def _push(scene: Scene) -> np.ndarray:
    distance, placed = _placed(scene)
    grasped = 2 * cage(scene, scene.obj, 0.015, 0.05, 0.005)
    held = (_to_tips(scene) < 0.02) & (scene.opening > 0)
    value = np.where(held, grasped + 1.0 + grasped + 5.0 * placed, grasped)
    return np.where(distance < RADIUS, 10.0, value)


def _push_wall(scene: Scene) -> np.ndarray:
    distance, placed = _placed(scene)
    initial, scale = scene.kept["obj_init"], np.array([3.0, 1.0, 1.0])
    half_way = np.stack([np.full(len(distance), -0.05), np.full(len(distance), 0.77), scene.obj[:, 2]], axis=1)
    way = long_tail(length((scene.obj - half_way) * scale), RADIUS, length((initial - half_way) * scale))
    grasped = 2 * cage(scene, scene.obj, 0.015, 0.05, 0.005)
    held = (_to_tips(scene) < 0.02) & (scene.opening > 0)
    steps = np.where(scene.obj[:, 1] > 0.75, 4.0 + 3.0 * placed, 4.0 * way)
    return np.where(distance < RADIUS, 10.0, np.where(held, grasped + 1.0 + steps, grasped))


def _push_back(scene: Scene) -> np.ndarray:
    distance, placed = _placed(scene)
    start = length(scene.kept["obj_init"] - scene.target)
    held = (_to_tips(scene) < 0.01) & (scene.opening > 0) & (scene.opening < 0.55) & (start - distance > 0.01)
    value = hamacher(fence(scene, 0.007, 0.01, 0.003), placed) + np.where(held, 1.0 + 5.0 * placed, 0.0)
    return np.where(distance < RADIUS, 10.0, value)


def _pick_place(scene: Scene) -> np.ndarray:
    distance, placed = _placed(scene)
    held = (_to_tips(scene) < 0.02) & (scene.opening > 0) & _lifted(scene, 0.01)
    value = hamacher(fence(scene, 0.015, 0.005), placed) + np.where(held, 1.0 + 5.0 * placed, 0.0)
    return np.where(distance < RADIUS, 10.0, value)


def _pick_place_wall(scene: Scene) -> np.ndarray:
    distance, placed = _placed(scene)
    initial, scale = scene.kept["obj_init"], np.array([1.0, 1.0, 3.0])
    over = scene.target.copy()
    over[:, 1:] = (0.77, 0.25)
    way = long_tail(length((scene.obj - over) * scale), RADIUS, length((initial - over) * scale))
    grasped = hamacher(cage(scene, scene.obj, 0.015, 0.05, 0.005, density="low"), way)
    held = (_to_tips(scene) < 0.02) & (scene.opening > 0) & _lifted(scene, 0.015)
    steps = np.where(scene.obj[:, 1] > 0.75, 4.0 + 3.0 * placed, 4.0 * way)
    return np.where(distance < RADIUS, 10.0, np.where(held, grasped + 1.0 + steps, grasped))


def _over_floor(height: np.ndarray, floor: np.ndarray, margin: float) -> np.ndarray:
    return np.where(height >= floor, 1.0, long_tail(np.maximum(floor - height, 0.0), 0.01, margin))


def _bin_picking(scene: Scene) -> np.ndarray:
    hand, obj, initial = scene.hand, scene.obj, scene.kept["obj_init"]
    distance, margin = length(obj - scene.target), scene.kept["target_init"]
    # Meta-World measures the margin at the first step
    margin[:] = np.where(np.isnan(margin) & scene.stepped, distance, margin)
    placed = long_tail(distance, RADIUS, margin)
    sides = [funnel(length(hand[:, :2] - place[:, :2]), 0.03, 0.02, 0.2) for place in (initial, scene.target)]
    over = _over_floor(hand[:, 2], np.minimum(*sides), 0.05)
    held = (length(obj - hand) < 0.04) & _lifted(scene, 0.02) & ~(scene.opening < 0.43)
    value = hamacher(cage(scene, obj, 0.015, 0.05, 0.01, effort=0.7), placed)
    value = value + np.where(held, 1.0 + 5.0 * hamacher(over, placed), 0.0)
    return np.where(distance < RADIUS, 10.0, value)


def _pick_out_of_hole(scene: Scene) -> np.ndarray:
    tips = scene.tips
    distance, placed = _placed(scene, radius=0.02)
    radius = length(tips[:, :2] - scene.kept["obj_init"][:, :2])
    over = _over_floor(tips[:, 2], funnel(radius, 0.03, 0.015, 0.15), 0.02)
    held = (length(scene.obj - tips) < 0.04) & _lifted(scene, 0.02) & ~(scene.opening < 0.33)
    value = hamacher(cage(scene, scene.obj, 0.015, 0.02, 0.03, effort=0.1), placed)
    value = value + np.where(held, 1.0 + 5.0 * hamacher(placed, over), 0.0)
    return np.where(distance < RADIUS, 10.0, value)


def _hand_insert(scene: Scene) -> np.ndarray:
    distance, placed = _placed(scene)
    held = (_to_tips(scene) < 0.02) & (scene.opening > 0)
    value = hamacher(cage(scene, scene.obj, 0.015, 0.05, 0.005), placed) + np.where(held, 1.0 + 7.0 * placed, 0.0)
    return np.where(distance < RADIUS, 10.0, value)


def _in_basket(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Distance from 30 cm above the floor at the basket, heights counted twice [m], now and at first, (N,) each."""
    basket, scale = scene.target.copy(), np.array([1.0, 1.0, 2.0])
    basket[:, 2] = 0.3
    return length((scene.obj - basket) * scale), length((scene.kept["obj_init"] - basket) * scale)


def _basketball(scene: Scene) -> np.ndarray:
    distance, start = _in_basket(scene)
    placed = long_tail(distance, 0.08, start)
    held = (_to_tips(scene) < 0.035) & (scene.opening > 0) & _lifted(scene, 0.01)
    grasped = np.where(held, 1.0, cage(scene, scene.obj, 0.025, 0.06, 0.005))
    value = hamacher(grasped, placed) + np.where(held, 1.0 + 5.0 * placed, 0.0)
    return np.where(distance < 0.08, 10.0, value)


def _shelf_place(scene: Scene) -> np.ndarray:
    obj, target = scene.obj, scene.target
    distance, placed = _placed(scene)
    value = hamacher(cage(scene, obj, 0.02, 0.05, 0.01, density="low"), placed)
    beneath = (obj[:, 2] > 0) & (obj[:, 2] < 0.24) & (np.abs(obj[:, 0] - target[:, 0]) < 0.15)
    front = target[:, 1] - 3 * RADIUS
    before = beneath & (front < obj[:, 1]) & (obj[:, 1] < target[:, 1])
    # what is lost for coming in below the shelf grows towards its back and its foot
    loss = hamacher(
        np.where(before, (obj[:, 1] - front) / (3 * RADIUS), 0.0), np.where(before, (0.24 - obj[:, 2]) / 0.24, 0.0)
    )
    placed = np.where(before, np.clip(placed - loss, 0.0, 1.0), placed)
    placed = np.where(beneath & (obj[:, 1] > target[:, 1]), 0.0, placed)
    held = (_to_tips(scene) < 0.025) & (scene.opening > 0) & _lifted(scene, 0.01)
    return np.where(distance < RADIUS, 10.0, value + np.where(held, 1.0 + 5.0 * placed, 0.0))


def _plate_slide(scene: Scene) -> np.ndarray:
    distance, placed = _placed(scene)
    grasped = long_tail(_to_tips(scene), RADIUS, length(scene.kept["tcp_init"] - scene.kept["obj_init"]))
    return np.where(distance < RADIUS, 10.0, 8 * hamacher(grasped, placed))


def _plate_slide_down(scene: Scene) -> np.ndarray:
    """The three tasks where the plate is held down from above."""
    initial, tips = scene.kept["obj_init"], scene.tips
    distance, to_tips = length(scene.obj - scene.target), length(tips - scene.obj)
    placed = long_tail(distance, RADIUS, length(initial - scene.target) - RADIUS)
    grasped = long_tail(to_tips, RADIUS, length(scene.kept["tcp_init"] - initial) - RADIUS)
    held = (tips[:, 2] <= 0.03) & (to_tips < 0.07)
    return np.where(distance < RADIUS, 10.0, np.where(held, 2.0 + 7.0 * placed, 1.5 * grasped))


def _coffee(scene: Scene) -> np.ndarray:
    scale = np.array([2.0, 2.0, 1.0])
    distance = length((scene.obj - scene.target) * scale)
    placed = long_tail(distance, RADIUS, length((scene.kept["obj_init"] - scene.target) * scale))
    grasped = cage(scene, scene.obj, 0.02, 0.05, 0.05, reach=0.04, effort=0.7, density="medium")
    held = (_to_tips(scene) < 0.04) & (scene.opening > 0)
    return np.where(distance < RADIUS, 10.0, hamacher(grasped, placed) + np.where(held, 1.0 + 5.0 * placed, 0.0))


def _soccer(scene: Scene) -> np.ndarray:
    obj, target, scale = scene.obj, scene.target, np.array([3.0, 1.0, 1.0])
    distance = length((obj - target) * scale)
    # the way already made is the margin: it is 0 at first, and so is the reward
    placed = long_tail(distance, 0.07, length((obj - scene.kept["obj_init"]) * scale))
    line = target[:, 1] - 0.1
    missed = (obj[:, 1] > line) & (np.abs(obj[:, 0] - target[:, 0]) > 0.1)
    placed = np.where(missed, np.clip(placed - 2 * ((obj[:, 1] - line) / (1 - line)), 0.0, 1.0), placed)
    return np.where(distance < 0.07, 10.0, 3 * fence(scene, 0.013, 0.005, 0.01) + 6.5 * placed)


def _sweep(xz: float, grip: float, *, flat: bool) -> Measure:
    def reward(scene: Scene) -> np.ndarray:
        offset, start = scene.obj - scene.target, scene.kept["obj_init"] - scene.target
        if flat:  # the target is taken at the object's height
            offset[:, 2], start[:, 2] = 0.0, scene.kept["obj_init"][:, 2] - scene.obj[:, 2]
        distance = length(offset)
        grasped = fence(scene, 0.02, xz, grip)
        value = 2 * grasped + 6 * hamacher(grasped, long_tail(distance, RADIUS, length(start)))
        return np.where(distance < RADIUS, 10.0, value)

    return reward


def _swept_in(scene: Scene) -> np.ndarray:
    return length((scene.obj - scene.target)[:, :2]) <= RADIUS


PLACED = near(0.07)

MOVABLES: dict[str, Rules] = {
    "reach-v3": Rules(_reached, _reach),
    "reach-wall-v3": Rules(_reached, _reach),
    "push-v3": Rules(near(RADIUS), _push),
    "push-wall-v3": Rules(PLACED, _push_wall),
    "push-back-v3": Rules(PLACED, _push_back),
    "pick-place-v3": Rules(PLACED, _pick_place),
    "pick-place-wall-v3": Rules(PLACED, _pick_place_wall),
    "pick-out-of-hole-v3": Rules(PLACED, _pick_out_of_hole),
    "bin-picking-v3": Rules(near(RADIUS), _bin_picking, {"target_init": "_target_to_obj_init"}),
    "hand-insert-v3": Rules(near(RADIUS), _hand_insert),
    "basketball-v3": Rules(lambda scene: _in_basket(scene)[0] <= 0.08, _basketball),
    "shelf-place-v3": Rules(PLACED, _shelf_place),
    "plate-slide-v3": Rules(PLACED, _plate_slide),
    "plate-slide-side-v3": Rules(PLACED, _plate_slide_down),
    "plate-slide-back-v3": Rules(PLACED, _plate_slide_down),
    "plate-slide-back-side-v3": Rules(PLACED, _plate_slide_down),
    "coffee-pull-v3": Rules(PLACED, _coffee),
    "coffee-push-v3": Rules(PLACED, _coffee),
    "soccer-v3": Rules(PLACED, _soccer),
    "sweep-v3": Rules(near(RADIUS), _sweep(0.005, 0.01, flat=False)),
    "sweep-into-v3": Rules(_swept_in, _sweep(0.01, 0.005, flat=True)),
}
