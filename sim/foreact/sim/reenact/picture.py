"""What a re-enacted recording looked like: the simulated robot, and the same model posed as it was recorded.

Shape letters: n = states, b = bodies, nq = positions of the model, H and W = image height and width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from foreact.sim.cameras import VIEW_ANGLE, WorldStates, outside_view
from foreact.sim.pictures import WorldPictures
from foreact.sim.reenact.drive import Take
from foreact.sim.reenact.stage import Stage

if TYPE_CHECKING:
    import mujoco

    from foreact.episodes.contract import CameraSpec

__all__ = ["HEIGHT", "WIDTH", "Painter", "View", "fitted_to", "view_of"]

WIDTH, HEIGHT = 384, 288  # [px] of a panel
LAUNCH = 8  # states drawn together
SAMPLED = 24  # states that the view is made to hold
ROOM = 0.9  # times the distance at which balls around geoms fit: balls are larger than what they hold
PAPER = 235  # grey of what is not known


@dataclass(frozen=True)
class View:
    """From where it is looked at.

    Attributes:
        azimuth: Direction of the look around the vertical [deg], 0 along x, 90 along y.
        elevation: Of the look [deg], negative from above.
    """

    azimuth: float
    elevation: float


def view_of(stage: Stage, take: Take, view: View, scale: int) -> CameraSpec:
    """A camera that has all that is watched in sight all the time.

    Args:
        stage: Tells which bodies are watched.
        take: What was re-enacted.
        view: Where the look goes.
        scale: Times the size of a panel.
    """
    model = take.opening.model
    places, sizes = _balls(model, take.qpos[:: max(1, len(take.qpos) // SAMPLED)], stage.watched)
    square = outside_view(model, "outside", scale * HEIGHT, view.azimuth, view.elevation)
    right, up, back = _axes(square)
    # in the camera's axes: right, up, towards the camera
    x, y, z = (places @ axis for axis in (right, up, back))
    middle = [0.5 * ((each - sizes).min() + (each + sizes).max()) for each in (x, y)]
    slope = np.tan(np.radians(VIEW_ANGLE) / 2)
    # the distance at which each ball is inside of the picture
    wide = (np.abs(x - middle[0]) + sizes) * HEIGHT / WIDTH
    far = (np.maximum(wide, np.abs(y - middle[1]) + sizes) / slope + z).max()
    px, py, pz = (float(each) for each in middle[0] * right + middle[1] * up + ROOM * far * back)
    return replace(square, width=scale * WIDTH, cx=scale * WIDTH / 2, position=(px, py, pz))


def _axes(camera: CameraSpec) -> np.ndarray:
    """Right, up and back of a camera in the world frame, (3, 3)."""
    import mujoco

    turn = np.zeros(9)
    mujoco.mju_quat2Mat(turn, np.array(camera.orientation))
    return turn.reshape(3, 3).T


def _balls(model: mujoco.MjModel, qpos: np.ndarray, bodies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Balls around the drawn geoms of some bodies in n states: centres (n, g, 3) and radii (g,) [m]."""
    import mujoco

    data, chosen = mujoco.MjData(model), np.isin(model.geom_bodyid, bodies) & (model.geom_group <= 2)
    found = []
    for each in qpos:
        data.qpos[:] = each
        mujoco.mj_kinematics(model, data)
        found.append(data.geom_xpos[chosen].copy())
    return np.stack(found), model.geom_rbound[chosen]


class Painter:
    """Draws states of one take from one place, by the ray tracer.

    Args:
        stage: What on.
        take: What was re-enacted.
        view: From where.
        scale: Drawn so many times as large, and averaged: smooth edges.
    """

    def __init__(self, stage: Stage, take: Take, view: View, scale: int = 1) -> None:
        import mujoco

        model, self._scale = take.opening.model, scale
        self._pictures = WorldPictures(
            model, [view_of(stage, take, view, scale)], LAUNCH, segmentation=False, launch=LAUNCH
        )
        data = mujoco.MjData(model)
        self._mocap = (data.mocap_pos.copy(), data.mocap_quat.copy()) if model.nmocap else (None, None)

    def draw(self, qpos: np.ndarray) -> np.ndarray:
        """Pictures of states.

        Args:
            qpos: (n, nq); a row with NaN is drawn as grey paper.

        Returns:
            uint8 (n, HEIGHT, WIDTH, 3).
        """
        images = np.full((len(qpos), HEIGHT, WIDTH, 3), PAPER, np.uint8)
        known = np.isfinite(qpos).all(1)
        if known.any():
            images[known] = self._drawn(qpos[known])
        return images

    def _drawn(self, qpos: np.ndarray) -> np.ndarray:
        position, turn = (None if each is None else np.repeat(each[None], len(qpos), 0) for each in self._mocap)
        seen = self._pictures.draw_states(WorldStates(qpos, position, turn, {}))["camera.outside.rgb"]
        split = seen.reshape(len(qpos), HEIGHT, self._scale, WIDTH, self._scale, 3)
        return split.mean((2, 4)).astype(np.uint8) if self._scale > 1 else seen


def fitted_to(image: np.ndarray) -> np.ndarray:
    """A recorded picture at the size of a panel, uint8 (HEIGHT, WIDTH, 3), in its own proportions.

    Args:
        image: uint8 (H, W, 3) or (H, W).
    """
    from PIL import Image

    picture = Image.fromarray(image).convert("RGB")
    share = min(WIDTH / picture.width, HEIGHT / picture.height)
    size = (max(1, round(picture.width * share)), max(1, round(picture.height * share)))
    panel = Image.new("RGB", (WIDTH, HEIGHT), (PAPER,) * 3)
    panel.paste(picture.resize(size), ((WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2))
    return np.asarray(panel)


def beside(panels: Sequence[np.ndarray]) -> np.ndarray:
    """Pictures of one height side by side."""
    return np.concatenate(panels, axis=1)
