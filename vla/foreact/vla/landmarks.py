"""Named places that a simulator knows, such as the goal, teach the first attention heads where to look.

Action labels alone take thousands of updates to make a head find a marker of twenty pixels; told where the objects are,
it finds them in a few hundred. Landmarks are used in training only: the policy never receives them. Demonstrations
without this stream train with `landmark_weight=0`. Shape letters: B batch, K keypoints, L landmarks.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from foreact.episodes.contract import CameraSpec

__all__ = ["landmark_loss", "picture_coordinates"]


def landmark_loss(
    points: Float[Tensor, "b k 3"], targets: Float[Tensor, "b l 3"], present: Float[Tensor, "b l"]
) -> Float[Tensor, ""]:
    """Mean distance along each axis between the first L attended places and the landmarks that are present.

    Args:
        points: Attended places in network units.
        targets: Where the landmarks are, in the same units.
        present: 1 for a landmark that is in the scene, 0 for a slot that is not used.
    """
    distance = (points[:, : targets.shape[1]] - targets).abs().mean(-1)
    return (distance * present).sum() / present.sum().clamp(min=1)


def picture_coordinates(places: Float[Tensor, "b l 3"], camera: CameraSpec) -> Float[Tensor, "b l 3"]:
    """Where a camera sees places: x and y in [-1, 1] across the picture, then 0.

    Args:
        places: In the camera's frame [m] (x right, y up, looking along -z).
        camera: Intrinsics.
    """
    x, y, z = places.unbind(-1)
    ahead = (-z).clamp(min=1e-3)
    across = (camera.fx * x / ahead + camera.cx) / camera.width * 2 - 1
    down = (-camera.fy * y / ahead + camera.cy) / camera.height * 2 - 1
    return torch.stack([across, down, torch.zeros_like(across)], dim=-1)
