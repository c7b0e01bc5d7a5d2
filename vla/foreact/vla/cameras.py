"""From a camera's raw pictures to network planes: colour, and with depth 3-D points in the frame of the robot.

Shape letters: B batch, P planes, H and W image height and width, L landmarks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from foreact.episodes.contract import CameraSpec
from foreact.kernels.preprocess import camera_rays, rgb_to_planes, rgbd_to_planes
from foreact.vla.landmarks import picture_coordinates

__all__ = ["CameraView", "prepare_planes"]

FAR = 5.0  # network units: what is over a metre away is only "far", which keeps 8-bit steps fine for what is near
LENGTH_SCALE = 0.2  # [m] a distance that becomes 1 for the network: about the reach of one chunk


class CameraView(nn.Module):
    """Where one camera is and what its pixels see.

    Args:
        camera: Its description; depth is used if the contract lets the policy have it.
    """

    rays: Tensor
    origin: Tensor
    rotation: Tensor

    def __init__(self, camera: CameraSpec) -> None:
        super().__init__()
        self.camera = camera
        self.has_depth = "depth" in camera.streams
        self.count = 6 if self.has_depth else 3
        self.in_world = camera.mount == "world"
        rotation = _rotation(camera.orientation)
        rays = camera_rays(camera.fx, camera.fy, camera.cx, camera.cy, camera.width, camera.height, rotation)
        self.register_buffer("rays", rays / LENGTH_SCALE, persistent=False)
        self.register_buffer("origin", torch.tensor(camera.position) / LENGTH_SCALE, persistent=False)
        self.register_buffer("rotation", rotation, persistent=False)

    def planes(self, rgb: Tensor, depth: Tensor | None, anchor: Tensor, shift: Tensor | None = None) -> Tensor:
        """Pixels to network planes.

        Args:
            rgb: uint8 (B, height, width, 3).
            depth: uint16 (B, height, width) [mm], or None for a camera without.
            anchor: Point that world points are relative to [m], (B, 3), in the base frame.
            shift: Random translation for training [px], int64 (B, 2).
        """
        if depth is None:
            return rgb_to_planes(rgb, shift)
        relative = anchor / LENGTH_SCALE if self.in_world else torch.zeros_like(anchor)
        return rgbd_to_planes(rgb, depth, self.rays, self.origin - relative, shift, far=FAR)

    def network_places(self, places: Tensor, anchor: Tensor) -> Tensor:
        """Places in this camera's frame [m], (B, L, 3), in the units of its planes' points."""
        if not self.has_depth:
            return picture_coordinates(places, self.camera)
        mounted = places @ self.rotation.T / LENGTH_SCALE + self.origin
        return mounted - anchor[:, None] / LENGTH_SCALE if self.in_world else mounted


def prepare_planes(
    views: Sequence[CameraView],
    observation: Mapping[str, Tensor],
    anchor: Tensor,
    shifts: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Planes of every camera.

    Args:
        views: The cameras.
        observation: Raw pictures by stream name, and `state`.
        anchor: Indices of the state elements that world points are relative to, (3,).
        shifts: One (B, 2) translation [px] per camera, for training.
    """
    relative_to = observation["state"].index_select(1, anchor)
    prepared = []
    for index, view in enumerate(views):
        name = f"camera.{view.camera.name}"
        depth = observation[f"{name}.depth"] if view.has_depth else None
        prepared.append(view.planes(observation[f"{name}.rgb"], depth, relative_to, shifts[index] if shifts else None))
    return prepared


def _rotation(quaternion: tuple[float, float, float, float]) -> Tensor:
    w, x, y, z = quaternion
    return torch.tensor(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
