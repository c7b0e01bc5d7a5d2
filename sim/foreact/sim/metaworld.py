"""What a policy of Meta-World tasks sees and commands: its contract and its cameras.

Meta-World steps at 80 Hz (5 sub-steps of 2.5 ms). Its action moves the gripper by at most 1 cm a step along x, y, z
(elements 0..2, unit 1 = 1 cm) and closes the fingers with a force (element 3), each in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foreact.episodes.contract import CameraSpec, FeatureSpec, LanguageSpec, PolicyContract

__all__ = [
    "CONTROL_RATE_HZ",
    "TIME_LIMIT",
    "default_cameras",
    "policy_contract",
]

CONTROL_RATE_HZ = 80.0
TIME_LIMIT = 500  # steps, Meta-World's own horizon


def default_cameras(front: int = 96, wrist: int = 64) -> tuple[CameraSpec, ...]:
    """The fixed view chosen for small images and the view from the wrist.

    The fixed view looks at (0, 0.66, 0.12) from azimuth -60 and elevation -45 degrees at 1.05 m: hand, objects and
    goals of the tasks fill the picture, and a goal marker is about 4 px wide at 96 px.

    Args:
        front: Side of the fixed view's image [px].
        wrist: Side of the wrist view's image [px].
    """
    return (
        _square_camera(
            "front", front, 45.0, "world", (-0.371231, 1.302991, 0.862462), (-0.239118, -0.099046, 0.369644, 0.892399)
        ),
        _square_camera("wrist", wrist, 90.0, "body:hand", (-0.06, 0.0, 0.04), (0.707107, 0.0, -0.707107, 0.0)),
    )


def _square_camera(
    name: str,
    side: int,
    fovy_deg: float,
    mount: str,
    position: tuple[float, float, float],
    orientation: tuple[float, float, float, float],
) -> CameraSpec:
    focal = 0.5 * side / float(np.tan(np.radians(fovy_deg) / 2))
    return CameraSpec(
        name=name, width=side, height=side, streams=("rgb", "depth"), fx=focal, fy=focal, cx=side / 2, cy=side / 2,
        mount=mount, position=position, orientation=orientation,
    )  # fmt: skip


def policy_contract(cameras: Sequence[CameraSpec] | None = None, chunk_length: int = 16) -> PolicyContract:
    """The contract of every Meta-World task: what is seen, what is commanded, in which order, unit and rate.

    Args:
        cameras: The cameras; `default_cameras()` if None.
        chunk_length: Actions a policy commits to at once, at the control rate.
    """
    axes = ("hand_x", "hand_y", "hand_z")
    state = FeatureSpec(
        name="state", dtype="float32", elements=(*axes, "gripper_opening"), units=("m", "m", "m", "1"), frame="base",
        low=(-0.525, 0.348, -0.0525, 0.0), high=(0.525, 1.025, 0.7, 1.0), normalisation="bounds",
    )  # fmt: skip
    action = FeatureSpec(
        name="action", dtype="float32", elements=("delta_x", "delta_y", "delta_z", "gripper_force"),
        units=("cm", "cm", "cm", "1"), frame="base", low=(-1.0,) * 4, high=(1.0,) * 4, normalisation="none",
    )  # fmt: skip
    return PolicyContract(
        version=1, embodiment="sawyer-metaworld", control_rate_hz=CONTROL_RATE_HZ, chunk_length=chunk_length,
        state=state, action=action, cameras=tuple(cameras or default_cameras()), language=LanguageSpec(), audio=None,
    )  # fmt: skip
