"""Pictures of worlds by the ray tracer and by OpenGL, each in a process of its own: OpenGL is chosen before it starts.

A frame is what one camera sees in one world: colours, depth and segmentation, without shadows.
"""

from __future__ import annotations

import sys
from typing import Literal

import numpy as np

from foreact.sim.bench_meter import Window, timed
from foreact.sim.bench_served import ServedSide, serve
from foreact.sim.bench_worlds import BURN_IN
from foreact.sim.registry import sim_task
from foreact.sim.taskworlds import TaskWorlds

__all__ = ["PIXELS", "TASK", "picture_side"]

TASK = "arm-lift"
PIXELS = 64
WORLDS = 16
CAMERA = "front"


def picture_side(renderer: Literal["raytracer", "opengl"], seconds: float) -> ServedSide:
    """Start drawing.

    Args:
        renderer: With which renderer; OpenGL on the library that `MUJOCO_GL` names, EGL if it names none.
        seconds: Length of a window [s].

    Raises:
        SideEnded: The renderer is not available.
    """
    import os

    choice = {"MUJOCO_GL": os.environ.get("MUJOCO_GL") or "egl"} if renderer == "opengl" else {}
    return ServedSide([sys.executable, "-P", "-m", __name__, renderer], WORLDS, seconds, choice)


def main() -> None:
    """Serve frames of worlds that were burnt in by random actions."""
    from foreact.sim.pictures import WorldPictures, camera_specs

    task = sim_task(TASK)
    assert task is not None
    worlds = TaskWorlds(task, WORLDS, threads=1)
    worlds.reset(seeds=np.arange(WORLDS))
    rng = np.random.default_rng(0)
    for _ in range(round(BURN_IN / worlds.views.dt)):
        worlds.step(rng.uniform(worlds.low, worlds.high, (WORLDS, len(worlds.low))).astype(np.float32))
    model = worlds.backend.model
    cameras = camera_specs(model, [CAMERA], PIXELS, PIXELS)
    renderer: Literal["raytracer", "opengl"] = "opengl" if sys.argv[1] == "opengl" else "raytracer"
    with WorldPictures(model, cameras, WORLDS, renderer=renderer) as pictures:

        def draw(rounds: int) -> Window:
            return timed(lambda: [pictures.draw(worlds.backend) for _ in range(rounds)], rounds * WORLDS)

        draw(2)  # compiles
        serve(draw(2), draw)


if __name__ == "__main__":
    main()
