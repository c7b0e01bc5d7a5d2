"""Pictures of futures, true or imagined, by the simulator's ray tracer.

Shape letters: N = observations, O = observed elements, H and W = image height and width, n = points.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from foreact.episodes.contract import CameraSpec
from foreact.sim.cameras import mounts
from foreact.sim.pictures import WorldPictures, camera_specs
from foreact.worldmodels.imagine.postures import Postures
from foreact.worldmodels.scenes import Scene

__all__ = ["Painter"]

LAUNCH = 16  # pictures that are traced at once
MARGIN = 0.12  # around what the view is narrowed to, share of its size
MOST_ZOOM = 3.0


class Painter:
    """Draws observations of a scene.

    Args:
        scene: Whose.
        camera: Name of one of its cameras that does not move.
        width: Of the pictures [px]; they are three quarters as high.
        around: Places in the world frame [m], (n, 3), that the view is narrowed to; without them it is the camera's.

    Raises:
        UnmappedColumn: The scene cannot be drawn from observations.
        ValueError: No such camera, or one that moves; or the width is out of range.
    """

    def __init__(self, scene: Scene, camera: str, width: int, around: np.ndarray | None = None) -> None:
        if width < 32 or width % 4:
            raise ValueError(f"width={width} px: give a multiple of 4, 32 or more")
        model = scene.task.compile()
        (spec,) = camera_specs(model, [camera], width, width * 3 // 4)
        if spec.mount != "world":
            raise ValueError(f"camera {camera!r} moves with the robot; choose one that stands still, such as front")
        self._key = f"camera.{camera}.rgb"
        placed = mounts(model, [spec])
        self._position, self._rotation = placed.position[0], _rotation(placed.orientation[0])
        self.spec = spec
        if around is not None:
            self.spec = _narrowed(spec, self.project(around))
        self._postures = Postures(model, scene.columns)
        self._pictures = WorldPictures(model, [self.spec], LAUNCH, segmentation=False, launch=LAUNCH)

    def draw(self, observations: np.ndarray) -> np.ndarray:
        """Pictures of observations (N, O), uint8 (N, H, W, 3)."""
        return self._pictures.draw_states(self._postures.states(observations))[self._key]

    def project(self, points: np.ndarray) -> np.ndarray:
        """Where points in the world frame [m], (..., 3), are in a picture [px], (..., 2): right, then down."""
        # p = R^T (x - c); u = cx + fx p_x / -p_z, v = cy - fy p_y / -p_z
        seen = (np.asarray(points, np.float64) - self._position) @ self._rotation
        ahead = np.maximum(-seen[..., 2], 1e-6)
        u = self.spec.cx + self.spec.fx * seen[..., 0] / ahead
        v = self.spec.cy - self.spec.fy * seen[..., 1] / ahead
        return np.stack([u, v], axis=-1)


def _narrowed(spec: CameraSpec, pixels: np.ndarray) -> CameraSpec:
    """The same camera, looking only where some pixels (n, 2) are, with a margin."""
    low, high = pixels.min(0), pixels.max(0)
    middle, size = (low + high) / 2, (high - low) * (1 + 2 * MARGIN)
    across = float(np.clip(max(size[0], size[1] * spec.width / spec.height), spec.width / MOST_ZOOM, spec.width))
    zoom = spec.width / across
    # u' = z (u - u0) with u0 the left edge of what is seen; v alike
    left, top = middle - np.array([across, across * spec.height / spec.width]) / 2
    return replace(
        spec, fx=spec.fx * zoom, fy=spec.fy * zoom, cx=(spec.cx - float(left)) * zoom, cy=(spec.cy - float(top)) * zoom
    )


def _rotation(quaternion: np.ndarray) -> np.ndarray:
    import mujoco

    found = np.zeros(9)
    mujoco.mju_quat2Mat(found, quaternion)
    return found.reshape(3, 3)
