"""Meta-World's rewards for closing the fingers around an object. Shape letters: N = worlds.

`cage` is the base class's; `fence` is that of five tasks with their own. Meta-World keeps the pads' initial places as
views that move with the pads, so "initial" is "present" in `fence`, and is written so here.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from foreact.sim.metaworld_worlds.scene import Scene
from foreact.sim.metaworld_worlds.shaping import hamacher, length, long_tail

__all__ = ["cage", "fence"]

FENCE = 0.05  # [m] distance of a pad from the object at which it fences it in


def cage(
    scene: Scene,
    obj: np.ndarray,
    radius: float,
    pad: float,
    xz: float,
    *,
    reach: float = 0.01,
    effort: float = 1.0,
    density: Literal["low", "medium", "high"] = "high",
    initial: str = "obj_init",
) -> np.ndarray:
    """Reward for having the object between the pads and the fingers closed, (N,).

    Args:
        scene: The worlds.
        obj: Where to grasp [m], (N, 3).
        radius: Of the object [m].
        pad: Distance of a pad from the object that counts as near [m].
        xz: Distance of the finger tips from the object along x and z that counts as near [m].
        reach: Distance of the finger tips from the object that counts as reached [m], for medium density.
        effort: Command of the fingers that counts as closed.
        density: Average with nothing, with reaching, or with the open cage.
        initial: Name of the object's remembered place.
    """
    start, tips, tcp_init = scene.kept[initial], scene.tips, scene.kept["tcp_init"]
    pads = np.stack([scene.body("leftpad")[:, 1], scene.body("rightpad")[:, 1]], axis=1)
    margin = np.abs(np.abs(pads - start[:, 1:2]) - pad)
    sides = long_tail(np.abs(pads - obj[:, 1:2]), pad, margin, lower=radius)
    xz_margin = length(start[:, [0, 2]] - tcp_init[:, [0, 2]]) - xz
    near = long_tail(length(tips[:, [0, 2]] - obj[:, [0, 2]]), xz, xz_margin)
    caging = hamacher(hamacher(sides[:, 0], sides[:, 1]), near)
    closed = np.clip(scene.action[:, 3], 0, effort) / effort
    both = hamacher(caging, np.where(caging > 0.97, closed, 0.0))
    if density == "high":
        return (both + caging) / 2
    if density == "medium":
        margin = np.abs(length(start - tcp_init) - reach)
        return (both + long_tail(length(obj - tips), reach, margin)) / 2
    return both


def fence(scene: Scene, radius: float, xz: float, grip: float | None = None) -> np.ndarray:
    """Reward for having the object between the pads, each on its side, (N,).

    Args:
        scene: The worlds.
        radius: Of the object [m].
        xz: Distance of the finger tips from the object along x and z that counts as near [m].
        grip: Distance of the pads beyond the radius that counts as gripped [m]; None asks for a closing command.
    """
    obj, start, tcp_init = scene.obj, scene.kept["obj_init"], scene.kept["tcp_init"]
    left, right = scene.body("leftpad")[:, 1] - obj[:, 1], obj[:, 1] - scene.body("rightpad")[:, 1]
    left_margin, right_margin = np.abs(np.abs(left) - FENCE), np.abs(np.abs(right) - FENCE)
    sides = hamacher(long_tail(right, FENCE, right_margin, radius), long_tail(left, FENCE, left_margin, radius))
    xz_margin = length(start[:, [0, 2]] - tcp_init[:, [0, 2]]) - xz
    near = long_tail(length(scene.tips[:, [0, 2]] - obj[:, [0, 2]]), xz, xz_margin)
    caging = hamacher(sides, near)
    if grip is None:
        closed = np.clip(scene.action[:, 3], 0, 1)
        return (hamacher(caging, np.where(caging > 0.97, closed, 0.0)) + caging) / 2
    gripped = hamacher(
        long_tail(right, radius + grip, right_margin, radius), long_tail(left, radius + grip, left_margin, radius)
    )
    return (caging + np.where(caging > 0.95, gripped, 0.0)) / 2
