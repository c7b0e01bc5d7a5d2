"""Pictures of a robot beside the hand it follows: a sheet of moments, and a film.

Shape letters: n = frames, J = 20 joints, Q = joints of the robot.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from foreact.sim.retarget.poses import finite_rows
from foreact.sim.retarget.skeleton import scene_with_hand, skeleton_poses

if TYPE_CHECKING:
    import mujoco

    from foreact.episodes.contract import CameraSpec

__all__ = ["Shown", "draw"]

SIDE = 320  # [px] of a picture
SHEET = 8  # moments on the sheet
ROOM = 1.1  # how much more than the scene a picture shows
LAUNCH = 4


@dataclass(frozen=True)
class Shown:
    """What is drawn.

    Attributes:
        file: The robot's MJCF.
        qpos: (n, Q) [rad], [m].
        joints: Of the person, in the robot's world, (n, J, 3) [m].
        stamps: int64 (n,) [ns].
        captions: A line for each frame.
        beside: Gives pictures of the recording for frames, uint8 (H, W, 3) each; nothing where it has none.
        azimuth: From where it is seen [deg].
        elevation: From how high [deg].
        focus: Points that must be in sight, (m, 3) [m]; the whole robot and the hand if None.
    """

    file: Path
    qpos: np.ndarray
    joints: np.ndarray
    stamps: np.ndarray
    captions: tuple[str, ...]
    beside: Callable[[list[int]], dict[int, np.ndarray]]
    azimuth: float
    elevation: float
    focus: np.ndarray | None = None


def draw(shown: Shown, folder: Path, frames: int) -> None:
    """Write `sheet.png`, and with more frames than it shows `film.mp4`.

    Args:
        shown: What.
        folder: Where.
        frames: The most that are drawn.
    """
    from foreact.episodes.film import write_film
    from foreact.sim.contact_sheet import Panel, write_contact_sheet

    known = np.flatnonzero(finite_rows(shown.qpos))
    if not len(known) or not frames:
        return
    chosen = known[np.unique(np.linspace(0, len(known) - 1, min(frames, len(known))).round().astype(int))]
    pictures = _pictures(shown, chosen)
    on_sheet = np.unique(np.linspace(0, len(chosen) - 1, min(SHEET, len(chosen))).round().astype(int))
    beside = shown.beside([int(chosen[each]) for each in on_sheet])
    panels = [
        Panel(
            f"frame {chosen[each]}",
            shown.captions[chosen[each]],
            (_square(beside[int(chosen[each])]), pictures[each]) if beside else (pictures[each],),
        )
        for each in on_sheet
    ]
    write_contact_sheet(folder / "sheet.png", panels, columns=2 if beside else 4)
    if len(chosen) > SHEET:
        seconds = max(int(shown.stamps[chosen[-1]] - shown.stamps[chosen[0]]) / 1e9, 1e-3)
        rate = Fraction((len(chosen) - 1) / seconds).limit_denominator(1000)
        write_film(folder / "film.mp4", pictures, min(max(rate, Fraction(1)), Fraction(60)))


def _pictures(shown: Shown, chosen: np.ndarray) -> np.ndarray:
    from foreact.sim.cameras import WorldStates
    from foreact.sim.pictures import WorldPictures

    seen = shown.joints[finite_rows(shown.joints)]
    model = scene_with_hand(shown.file, seen)
    place, turn = skeleton_poses(shown.joints[chosen])
    states = WorldStates(shown.qpos[chosen], place, turn, {})
    camera = _camera(model, shown, chosen)
    with WorldPictures(model, [camera], len(chosen), segmentation=False, launch=LAUNCH) as pictures:
        return pictures.draw_states(states)[f"camera.{camera.name}.rgb"]


def _camera(model: mujoco.MjModel, shown: Shown, chosen: np.ndarray) -> CameraSpec:
    """A view from outside that has everything in sight at every moment drawn."""
    from foreact.sim.cameras import VIEW_ANGLE, outside_view

    points = _points(model, shown, chosen) if shown.focus is None else shown.focus
    points = points[finite_rows(points)]
    low, high = points.min(0), points.max(0)
    centre, radius = (low + high) / 2, float(np.linalg.norm(high - low)) / 2
    camera = outside_view(model, "outside", SIDE, shown.azimuth, shown.elevation)
    turn, tilt = np.radians(shown.azimuth), np.radians(shown.elevation)
    look = np.array([np.cos(tilt) * np.cos(turn), np.cos(tilt) * np.sin(turn), np.sin(tilt)])
    back = radius / np.sin(np.radians(VIEW_ANGLE) / 2) / 1.5 * ROOM  # a box fills two thirds of the ball around it
    x, y, z = (float(each) for each in centre - back * look)
    return replace(camera, position=(x, y, z))


def _points(model: mujoco.MjModel, shown: Shown, chosen: np.ndarray) -> np.ndarray:
    """Corners around the robot's parts, and the hand's joints, at the moments drawn."""
    import mujoco

    data = mujoco.MjData(model)
    drawn = np.isin(model.geom_group, (0, 1, 2)) & (model.geom_bodyid > 0) & (model.body_mocapid[model.geom_bodyid] < 0)
    corners = [shown.joints[chosen].reshape(-1, 3)]
    for index in chosen:
        data.qpos[:] = shown.qpos[index]
        mujoco.mj_kinematics(model, data)
        centres, sizes = data.geom_xpos[drawn], 0.5 * model.geom_rbound[drawn, None]  # meshes are no balls
        corners += [centres - sizes, centres + sizes]
    return np.concatenate(corners)


def _square(picture: np.ndarray) -> np.ndarray:
    """The middle of a picture, in colours, SIDE wide and high."""
    from PIL import Image

    if picture.ndim == 2:
        picture = np.repeat(picture[..., None], 3, axis=2)
    height, width = picture.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    middle = np.ascontiguousarray(picture[top : top + side, left : left + side])
    return np.asarray(Image.fromarray(middle).resize((SIDE, SIDE), Image.Resampling.BILINEAR))
