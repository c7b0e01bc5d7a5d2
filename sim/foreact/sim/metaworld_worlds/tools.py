"""Rules of nuts, pegs, the box lid, the hammer and the sticks. Shape letters: N = worlds."""

from __future__ import annotations

import numpy as np

from foreact.sim.metaworld_worlds.fixtures import funnel, near
from foreact.sim.metaworld_worlds.grasp import cage
from foreact.sim.metaworld_worlds.scene import Rules, Scene
from foreact.sim.metaworld_worlds.shaping import hamacher, inside_box, length, long_tail

__all__ = ["TOOLS"]

UPRIGHT = np.array([0.707, 0.0, 0.0, 0.707])


def _turned(scene: Scene, ideal: np.ndarray, width: float) -> np.ndarray:
    """1 at the ideal quaternion, falling to 0 at a distance `width` from it, (N,)."""
    return np.maximum(1.0 - length(scene.quat - ideal) / width, 0.0)


def _along_handle(scene: Scene, half: float) -> np.ndarray:
    """Where to grasp a handle along x [m], (N, 3): at the hand's x if the hand is within half its length."""
    place = scene.obj.copy()
    place[:, 0] = np.where(np.abs(place[:, 0] - scene.hand[:, 0]) < half, scene.hand[:, 0], place[:, 0])
    return place


def _assembled(scene: Scene) -> np.ndarray:
    error = scene.target - scene.site("RoundNut")
    return (length(error[:, :2]) < 0.02) & (error[:, 2] > 0)


def _assembly(scene: Scene) -> np.ndarray:
    centre, done = scene.site("RoundNut"), _assembled(scene)
    error = scene.target - centre
    radius, clear = length(error[:, :2]), np.where(done, 0.02, 0.01)
    outside = radius > clear
    height = np.where(outside, 0.02 * np.log(np.where(outside, radius - clear, 1.0)) + 0.2, 0.0)
    error[:, 2] = height - centre[:, 2]
    lifted = (centre[:, 2] > 0.02) | (radius < clear)
    placed = 0.1 * lifted + 0.9 * long_tail(length(error * np.array([1.0, 1.0, 3.0])), 0.02, 0.4)
    grasped = cage(scene, _along_handle(scene, 0.01), 0.015, 0.02, 0.01, density="medium")
    return np.where(done, 10.0, (2.0 * grasped + 6.0 * placed) * _turned(scene, UPRIGHT, 0.4))


def _disassembled(scene: Scene) -> np.ndarray:
    return scene.obj[:, 2] > scene.target[:, 2]


def _disassemble(scene: Scene) -> np.ndarray:
    centre = scene.site("RoundNut")
    error = scene.target + np.array([0.0, 0.0, 0.1]) - centre
    placed = 0.1 * (centre[:, 2] > 0.02) + 0.9 * long_tail(length(error), 0.02, 0.2)
    grasped = cage(scene, _along_handle(scene, 0.01), 0.015, 0.02, 0.01)
    return np.where(_disassembled(scene), 10.0, (2.0 * grasped + 6.0 * placed) * _turned(scene, UPRIGHT, 0.4))


def _hammered(scene: Scene) -> np.ndarray:
    return scene.joint("NailSlideJoint") > 0.09


def _hammer(scene: Scene) -> np.ndarray:
    head = scene.obj + np.array([0.16, 0.06, 0.0])
    placed = 0.1 * (head[:, 2] > 0.02) + 0.9 * long_tail(length(scene.target - head), 0.02, 0.2)
    grasped = cage(scene, _along_handle(scene, 0.07), 0.015, 0.02, 0.01)
    value = (2.0 * grasped + 6.0 * placed) * _turned(scene, np.array([1.0, 0.0, 0.0, 0.0]), 0.4)
    return np.where(_hammered(scene) & (value > 5.0), 10.0, value)


def _box_closed(scene: Scene) -> np.ndarray:
    return length(scene.obj - scene.target) < 0.08


def _box_close(scene: Scene) -> np.ndarray:
    hand, lid = scene.hand, scene.obj + np.array([0.0, 0.0, 0.02])
    floor = funnel(length(hand[:, :2] - lid[:, :2]), 0.02, 0.04, 0.4)
    over = np.where(hand[:, 2] >= floor, 1.0, long_tail(floor - hand[:, 2], 0.01, floor / 2.0))
    ready = hamacher(over, long_tail(length(hand - lid), 0.02, 0.5))
    error = (scene.target - lid) * np.array([1.0, 1.0, 3.0])
    lifted = 0.2 * (lid[:, 2] > 0.04) + 0.8 * long_tail(length(error), 0.05, 0.25)
    value = 2.0 * hamacher((scene.action[:, 3] + 1.0) / 2.0, ready) + 8.0 * lifted
    return np.where(_box_closed(scene), 10.0, value) * _turned(scene, UPRIGHT, 0.2)


def _peg_error(scene: Scene) -> np.ndarray:
    return length((scene.site("pegHead") - scene.target) * np.array([1.0, 2.0, 2.0]))


def _peg_inserted(scene: Scene) -> np.ndarray:
    return _peg_error(scene) <= 0.07


def _peg_insert(scene: Scene) -> np.ndarray:
    obj, head, distance = scene.obj, scene.site("pegHead"), _peg_error(scene)
    margin = length((scene.kept["head_init"] - scene.target) * np.array([1.0, 2.0, 2.0]))
    boxes = [
        inside_box(
            head,
            scene.site(f"bottom_right_corner_collision_box_{box}"),
            scene.site(f"top_left_corner_collision_box_{box}"),
        )
        for box in (2, 1)
    ]
    placed = hamacher(long_tail(distance, 0.07, margin), hamacher(*boxes))
    held = (length(obj - scene.tips) < 0.08) & (scene.opening > 0)
    held &= obj[:, 2] - 0.01 > scene.kept["obj_init"][:, 2]
    grasped = np.where(held, 1.0, cage(scene, obj, 0.0075, 0.03, 0.005))
    value = hamacher(grasped, placed) + np.where(held, 1.0 + 5 * placed, 0.0)
    return np.where(distance <= 0.07, 10.0, value)


def _peg_unplug(scene: Scene) -> np.ndarray:
    obj, initial = scene.obj, scene.kept["obj_init"]
    distance = length(obj - scene.target)
    placed = long_tail(distance, 0.05, length(initial - scene.target))
    grasped = 2 * cage(scene, obj, 0.025, 0.05, 0.005, effort=0.8)
    held = (scene.opening > 0.5) & (obj[:, 0] - initial[:, 0] > 0.015) & (length(obj - scene.tips) < 0.035)
    return np.where(distance <= 0.05, 10.0, np.where(held, 1 + grasped + 5 * placed, grasped))


def _stick_pushed(scene: Scene) -> np.ndarray:
    """All of success but the touch of the pads, which the contact forces decide."""
    lifted = scene.obj[:, 2] - 0.01 > scene.kept["stick_init"][:, 2]
    return (length(scene.second - scene.target) <= 0.12) & (scene.opening > 0) & lifted


def _stick_push(scene: Scene) -> np.ndarray:
    radius, target, initial = 0.12, scene.target, scene.kept["stick_init"]
    stick = scene.obj + np.array([0.015, 0.0, 0.0])
    distance = length(scene.second - target)
    placed = long_tail(length(stick - target), radius, length(initial - target) - radius)
    pushed = long_tail(distance, radius, length(scene.kept["obj_init"] - target) - radius)
    held = (length(stick - scene.tips) < 0.02) & (scene.opening > 0) & (stick[:, 2] - 0.01 > initial[:, 2])
    done = np.where(distance <= radius, 10.0, 2.0 + 5.0 * placed + 3.0 * pushed)
    return np.where(held, done, cage(scene, stick, 0.04, 0.05, 0.01, initial="stick_init"))


def _stick_inserted(scene: Scene) -> np.ndarray:
    apart, handle = scene.site("stick_end") - scene.second, scene.second
    ahead = scene.site("stick_end")[:, 0] >= handle[:, 0]
    return ahead & (np.abs(apart[:, 1]) <= 0.04) & (np.abs(apart[:, 2]) <= 0.06)


def _stick_pulled(scene: Scene) -> np.ndarray:
    return (length(scene.second - scene.target) <= 0.12) & _stick_inserted(scene)


def _stick_pull(scene: Scene) -> np.ndarray:
    stick, handle, target = scene.obj, scene.second, scene.target
    initial, start, shift = scene.kept["stick_init"], scene.kept["obj_init"], np.array([0.05, 0.0, 0.0])
    scale = np.array([1.0, 1.0, 2.0])
    margin = length((initial - (start + shift)) * scale)
    placed = long_tail(length((stick - (handle + shift)) * scale), 0.05, margin)
    brought = long_tail(length(stick - target), 0.05, length(initial - target))
    pulled = long_tail(length(handle + shift - target), 0.05, length(start - target))
    held = (length(stick - scene.tips) < 0.02) & (scene.opening > 0) & (stick[:, 2] - 0.01 > initial[:, 2])
    value = hamacher(np.where(held, 1.0, cage(scene, stick, 0.014, 0.05, 0.01)), placed)
    inside = np.where(length(handle - target) <= 0.12, 10.0, 1.0 + value + 5.0 + 2.0 * brought + pulled)
    return np.where(held, np.where(_stick_inserted(scene), inside, 1.0 + value + 5.0 * placed), value)


STICK = {"stick_init": "stick_init_pos"}

TOOLS: dict[str, Rules] = {
    "assembly-v3": Rules(_assembled, _assembly),
    "disassemble-v3": Rules(_disassembled, _disassemble),
    "hammer-v3": Rules(_hammered, _hammer),
    "box-close-v3": Rules(_box_closed, _box_close),
    "peg-insert-side-v3": Rules(_peg_inserted, _peg_insert, {"head_init": "peg_head_pos_init"}),
    "peg-unplug-side-v3": Rules(near(0.07), _peg_unplug),
    "stick-push-v3": Rules(_stick_pushed, _stick_push, STICK, touch=True),
    "stick-pull-v3": Rules(_stick_pulled, _stick_pull, STICK),
}
