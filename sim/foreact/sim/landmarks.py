"""Named places of a scene as each camera would report them: supervision that a simulator gives for free.

Shape letters: n = frames or worlds, L = landmarks.
"""

from __future__ import annotations

import numpy as np

from foreact.episodes.contract import CameraSpec

__all__ = ["in_camera"]


def in_camera(landmarks: np.ndarray, camera: CameraSpec, position: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Landmarks in the camera's frame; one outside its picture counts as absent.

    Args:
        landmarks: Position in the world frame [m] and presence, (n, L, 4).
        camera: Intrinsics.
        position: Of the camera in the world frame [m], (n, 3).
        rotation: Camera axes as columns in the world frame, (n, 3, 3).

    Returns:
        Position in the camera frame [m] (x right, y up, looking along -z) and presence, (n, L, 4) float32.
    """
    places = (landmarks[..., :3] - position[:, None]) @ rotation
    x, y, ahead = places[..., 0], places[..., 1], -places[..., 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        column = camera.fx * x / ahead + camera.cx
        row = -camera.fy * y / ahead + camera.cy
        inside = (ahead > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    return np.concatenate([places, (landmarks[..., 3] * inside)[..., None]], axis=-1).astype(np.float32)
