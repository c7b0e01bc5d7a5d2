"""What pictures show of a Meta-World task: its whole scene, with goal markers that the ray tracer can draw."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import mujoco

__all__ = ["MARKER_RADIUS", "with_markers"]

MARKER_RADIUS = 0.02  # [m] the size of Meta-World's goal sites
MARKER_COLOUR = (0.0, 0.8, 0.0, 1.0)  # one colour for every task: the picture must not give the task away


def with_markers(path: str, markers: int) -> mujoco.MjModel:
    """The scene of a task with a small sphere for each goal marker, as the last bodies and geoms.

    Sites are not drawn; bodies added last leave every other number as the simulator has it.

    Args:
        path: MJCF file.
        markers: How many.
    """
    import mujoco

    spec = mujoco.MjSpec.from_file(path)
    for index in range(markers):
        body = spec.worldbody.add_body(name=f"foreact_marker_{index}")
        body.add_geom(
            type=mujoco.mjtGeom.mjGEOM_SPHERE, size=(MARKER_RADIUS, 0, 0), rgba=MARKER_COLOUR, contype=0, conaffinity=0
        )
    return spec.compile()
