"""Point clouds from depth pictures, thinned, cleaned, cut and brought together with Open3D.

Shape letters: H and W = image height and width, n = points.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.lens import Lens
from foreact.perception.open3d_library import open3d

__all__ = ["Cloud", "back_project", "crop", "downsample", "merge", "moved", "without_outliers", "write_ply"]


@dataclass(frozen=True)
class Cloud:
    """Points with or without colours.

    Attributes:
        points: float64 (n, 3) [m].
        colours: uint8 (n, 3) RGB; None without.
    """

    points: np.ndarray
    colours: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.points.ndim != 2 or self.points.shape[1] != 3:
            raise ValueError(f"points must be (n, 3), not {self.points.shape}")
        if self.colours is not None and self.colours.shape != self.points.shape:
            raise ValueError(f"colours {self.colours.shape} do not fit points {self.points.shape}")

    def __len__(self) -> int:
        return len(self.points)


def back_project(
    depth: np.ndarray, lens: Lens, colour: np.ndarray | None = None, *, farthest: float = np.inf, every: int = 1
) -> Cloud:
    """Points that a depth picture shows, in the camera frame (x right, y down, z along the axis).

    p = depth * ray / ray_z, where the ray is that of the pixel's centre.

    Args:
        depth: (H, W) [m] along the optical axis; 0, negative and not finite numbers show nothing.
        lens: Of its camera, at this size.
        colour: uint8 (H, W, 3) or grey (H, W) of the same pixels.
        farthest: Points further away are left out [m].
        every: Take each so manyth row and column only.

    Raises:
        ValueError: A depth picture that is none, or a colour picture of another size.
    """
    if depth.ndim != 2 or not np.issubdtype(depth.dtype, np.number):
        raise ValueError(f"depth must be numbers (H, W), not {depth.dtype} {depth.shape}")
    if colour is not None and colour.shape[:2] != depth.shape:
        raise ValueError(f"a picture of {colour.shape[:2]} pixels cannot colour a depth of {depth.shape}")
    away = depth[::every, ::every].astype(np.float64)
    rows, columns = np.nonzero(np.isfinite(away) & (away > 0) & (away <= farthest))
    points = _at_one_metre(lens, *away.shape, every)[rows, columns] * away[rows, columns][:, None]
    seen = np.isfinite(points).all(axis=1)
    if colour is None:
        return Cloud(points[seen])
    tint = colour[::every, ::every][rows, columns][seen]
    return Cloud(points[seen], np.repeat(tint[:, None], 3, axis=1) if tint.ndim == 1 else tint[:, :3])


@lru_cache(maxsize=4)  # a camera's are the same for each of its pictures
def _at_one_metre(lens: Lens, height: int, width: int, every: int) -> np.ndarray:
    """Where the ray of each pixel is at depth 1 m, (H, W, 3)."""
    rows, columns = np.mgrid[:height, :width] * every
    rays = lens.rays(np.stack([columns.ravel(), rows.ravel()], axis=1).astype(np.float64))
    return (rays / rays[:, 2:]).reshape(height, width, 3)


def downsample(cloud: Cloud, voxel: float) -> Cloud:
    """One point, the mean, for each cube of a grid that has any.

    Args:
        cloud: Of these.
        voxel: Edge of a cube [m].

    Raises:
        ValueError: An edge that is not above 0.
    """
    if not voxel > 0:
        raise ValueError(f"voxel={voxel}: the edge of a cube must be above 0 m")
    return _from(_to(cloud).voxel_down_sample(voxel)) if len(cloud) else cloud


def without_outliers(cloud: Cloud, neighbours: int = 20, deviations: float = 2.0) -> Cloud:
    """Without points that are further from their neighbours than most.

    Args:
        cloud: Of these.
        neighbours: How many nearest ones a point's mean distance is taken over.
        deviations: Points whose mean distance is so many standard deviations above the mean of all are left out.

    Raises:
        ValueError: No neighbour, or no deviation.
    """
    if neighbours < 1 or not deviations > 0:
        raise ValueError(f"neighbours={neighbours}, deviations={deviations}: both must be above 0")
    return _from(_to(cloud).remove_statistical_outlier(neighbours, deviations)[0]) if len(cloud) else cloud


def crop(cloud: Cloud, low: Sequence[float], high: Sequence[float]) -> Cloud:
    """Points of a box.

    Args:
        cloud: Of these.
        low: Least x, y, z [m].
        high: Most x, y, z [m].

    Raises:
        ValueError: A box that is empty.
    """
    if len(low) != 3 or len(high) != 3 or not all(least <= most for least, most in zip(low, high, strict=True)):
        raise ValueError(f"low={list(low)}, high={list(high)}: expected three numbers each, low not above high")
    inside = ((cloud.points >= np.asarray(low)) & (cloud.points <= np.asarray(high))).all(axis=1)
    return Cloud(cloud.points[inside], None if cloud.colours is None else cloud.colours[inside])


def moved(cloud: Cloud, pose: np.ndarray) -> Cloud:
    """A cloud in the frame in which a pose is.

    Args:
        cloud: In the frame that the pose places.
        pose: Position [m] and unit quaternion wxyz, (7,).

    Raises:
        ValueError: Not a pose.
    """
    if pose.shape != (7,) or not np.isfinite(pose).all() or abs(np.linalg.norm(pose[3:]) - 1) > 1e-3:
        raise ValueError(f"a pose is a position and a unit quaternion wxyz, not {pose.tolist()}")
    turn = open3d().geometry.get_rotation_matrix_from_quaternion(pose[3:].astype(np.float64))
    return Cloud(cloud.points @ turn.T + pose[:3], cloud.colours)


def merge(clouds: Sequence[Cloud], poses: Sequence[np.ndarray] | None = None) -> Cloud:
    """Clouds of several frames as one.

    Args:
        clouds: One for each frame.
        poses: Of the clouds in a common frame, (7,) each; None where they are in one already.

    Raises:
        ValueError: Another number of poses; or clouds with and without colours.
    """
    if poses is not None and len(poses) != len(clouds):
        raise ValueError(f"{len(clouds)} clouds need as many poses, not {len(poses)}")
    if poses is not None:
        clouds = [moved(cloud, pose) for cloud, pose in zip(clouds, poses, strict=True)]
    coloured = [each.colours for each in clouds if each.colours is not None]
    if coloured and len(coloured) < len(clouds):
        raise ValueError("clouds with and without colours cannot be made one")
    points = np.concatenate([np.empty((0, 3)), *(each.points for each in clouds)])
    return Cloud(points, np.concatenate(coloured) if coloured else None)


def write_ply(cloud: Cloud, path: Path) -> None:
    """Write a cloud for Open3D, MeshLab, CloudCompare or Blender; the file is whole or not there.

    Args:
        cloud: Which.
        path: `NAME.ply`.

    Raises:
        OSError: It cannot be written.
    """
    partial = path.with_name(f".{path.stem}.{os.getpid()}.ply")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not open3d().io.write_point_cloud(str(partial), _to(cloud)):
            raise OSError(f"{path} cannot be written")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _to(cloud: Cloud) -> Any:
    library = open3d()
    made = library.geometry.PointCloud(library.utility.Vector3dVector(np.ascontiguousarray(cloud.points, np.float64)))
    if cloud.colours is not None:
        made.colors = library.utility.Vector3dVector(cloud.colours.astype(np.float64) / 255.0)
    return made


def _from(made: Any) -> Cloud:
    colours = np.rint(np.asarray(made.colors) * 255).astype(np.uint8) if made.has_colors() else None
    return Cloud(np.asarray(made.points).copy(), colours)
