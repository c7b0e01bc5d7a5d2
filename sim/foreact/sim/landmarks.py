"""Named places of a scene as each camera would report them: supervision that a simulator gives for free.

Shape letters: L = landmarks.
"""

from __future__ import annotations

import numpy as np

from foreact.episodes.contract import CameraSpec

__all__ = ["in_camera"]


def in_camera(landmarks: np.ndarray, camera: CameraSpec, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Landmarks in the camera's frame; one outside its picture counts as absent.

    Args:
        landmarks: Position in the world frame [m] and presence, (L, 4).
        camera: Intrinsics.
        position: Of the camera in the world frame [m], (3,).
        rotation: Camera axes as columns in the world frame, (3, 3).

    Returns:
        Position in the camera frame [m] (x right, y up, looking along -z) and presence, (L, 4) float32.
    """
    places = (landmarks[:, :3] - position) @ rotation
    ahead = -places[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        column = camera.fx * places[:, 0] / ahead + camera.cx
        row = -camera.fy * places[:, 1] / ahead + camera.cy
        inside = (ahead > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    return np.column_stack([places, landmarks[:, 3] * inside]).astype(np.float32)
