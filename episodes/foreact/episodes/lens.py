"""Cameras whose calibration a recording gives: from points to pixels and from pixels to rays.

Camera frame: x right, y down, looking along z [m]. Pixels: the centre of the first is (0, 0).
Source: Project Aria, "Camera intrinsic models" (facebookresearch.github.io/projectaria_tools); Kannala and Brandt 2006,
"A generic camera model and calibration method for conventional, wide-angle, and fish-eye lenses".
Shape letters: n = points, H and W = image height and width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["Lens", "aria_lens", "pinhole"]

Model = Literal["pinhole", "fisheye"]

WIDEST = 1.4  # [rad] from the axis: beyond it the polynomial of a fisheye need not grow
ROUNDS = 15  # of the inversions; they have settled to 1e-9 by then
# width of the pictures that Aria calibrations speak of; recorded ones are halved, and cut to the middle
WHOLE_1 = {"rgb": 2880, "slam-left": 640, "slam-right": 640}
WHOLE_2 = {
    "rgb": 4032, "et-left": 400, "et-right": 400,
    **{f"slam-{place}": 512 for place in ("front-left", "front-right", "side-left", "side-right")},
}  # fmt: skip
SQUARE = {2880: 2880, 640: 480, 4032: 3024, 400: 400, 512: 512}  # height for width


@dataclass(frozen=True)
class Lens:
    """One camera.

    Attributes:
        model: `pinhole`; or `fisheye`, with radial, tangential and thin prism terms.
        fx: Focal length along x [px].
        fy: Focal length along y [px].
        cx: Principal point [px].
        cy: Principal point [px].
        radial: k_0 .. of theta_d = theta + k_0 theta^3 + k_1 theta^5 + ...; empty for none.
        tangential: p_0, p_1.
        prism: s_0 .. s_3.
        place: Of the camera in `frame` [m], (3,).
        turn: Camera to `frame`, rotation matrix (3, 3).
        frame: In which `place` and `turn` are; empty if the recording does not say where the camera is.
    """

    model: Model
    fx: float
    fy: float
    cx: float
    cy: float
    radial: tuple[float, ...] = ()
    tangential: tuple[float, float] = (0.0, 0.0)
    prism: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    place: tuple[float, float, float] = (0.0, 0.0, 0.0)
    turn: tuple[tuple[float, float, float], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    frame: str = ""

    def project(self, points: np.ndarray) -> np.ndarray:
        """Where points appear.

        Args:
            points: In the camera frame, (n, 3) [m].

        Returns:
            (n, 2) [px], x before y; NaN for what is behind the camera or too far from its axis.
        """
        points = np.asarray(points, np.float64)
        flat, depth = points[:, :2], points[:, 2]
        radius = np.linalg.norm(flat, axis=1)
        theta = np.arctan2(radius, depth)
        seen = (depth > 1e-9) if self.model == "pinhole" else (theta < WIDEST)
        with np.errstate(divide="ignore", invalid="ignore"):
            if self.model == "pinhole":
                bent = flat / depth[:, None]
            else:
                bent = self._bend(np.where(radius > 1e-12, self._theta_d(theta) / radius, 0.0)[:, None] * flat)
        pixels = bent * (self.fx, self.fy) + (self.cx, self.cy)
        return np.where(seen[:, None], pixels, np.nan)

    def rays(self, pixels: np.ndarray) -> np.ndarray:
        """Which way pixels look.

        Args:
            pixels: (n, 2) [px], x before y.

        Returns:
            In the camera frame, (n, 3), of length 1; NaN where no ray leads there.
        """
        wanted = (np.asarray(pixels, np.float64) - (self.cx, self.cy)) / (self.fx, self.fy)
        if self.model == "pinhole":
            found = np.concatenate([wanted, np.ones((len(wanted), 1))], axis=1)
            return found / np.linalg.norm(found, axis=1, keepdims=True)
        flat = wanted
        for _ in range(ROUNDS):  # what bends off is small: x <- wanted - (bend(x) - x)
            flat = wanted - (self._bend(flat) - flat)
        radius = np.linalg.norm(flat, axis=1)
        theta = radius.copy()
        for _ in range(ROUNDS):  # Newton on theta_d(theta) = radius
            theta = np.clip(theta - (self._theta_d(theta) - radius) / self._slope(theta), 0.0, np.pi / 2)
        good = (np.abs(self._theta_d(theta) - radius) < 1e-6) & (theta < WIDEST)
        with np.errstate(divide="ignore", invalid="ignore"):
            across = np.where(radius > 1e-12, np.sin(theta) / radius, 0.0)[:, None] * flat
        found = np.concatenate([across, np.cos(theta)[:, None]], axis=1)
        return np.where(good[:, None], found, np.nan)

    def from_frame(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 3) [m] of `frame` in the camera frame."""
        return (np.asarray(points, np.float64) - np.array(self.place)) @ np.array(self.turn)

    def to_frame(self, points: np.ndarray) -> np.ndarray:
        """Points (n, 3) [m] of the camera frame in `frame`."""
        return np.asarray(points, np.float64) @ np.array(self.turn).T + np.array(self.place)

    def _theta_d(self, theta: np.ndarray) -> np.ndarray:
        return theta * (1 + sum(k * theta ** (2 * i + 2) for i, k in enumerate(self.radial)))

    def _slope(self, theta: np.ndarray) -> np.ndarray:
        return 1 + sum((2 * i + 3) * k * theta ** (2 * i + 2) for i, k in enumerate(self.radial)) + 0 * theta

    def _bend(self, flat: np.ndarray) -> np.ndarray:
        """Tangential and thin prism terms.

        bent = x + 2 (p . x) x + |x|^2 p + (s_0 |x|^2 + s_1 |x|^4, s_2 |x|^2 + s_3 |x|^4)
        """
        square = (flat**2).sum(1, keepdims=True)
        p, s = np.array(self.tangential), np.array(self.prism)
        return flat + 2 * (flat @ p)[:, None] * flat + square * p + square * s[[0, 2]] + square**2 * s[[1, 3]]


def pinhole(fx: float, fy: float, cx: float, cy: float) -> Lens:
    """A camera without distortion, of which nothing more is known.

    Raises:
        ValueError: A focal length that is not above 0, or a number that is not finite.
    """
    if not (np.isfinite([fx, fy, cx, cy]).all() and fx > 0 and fy > 0):
        raise ValueError(f"intrinsics [{fx}, {fy}, {cx}, {cy}]: expected fx, fy above 0 and cx, cy [px]")
    return Lens("pinhole", fx, fy, cx, cy)


def aria_lens(calibration: Mapping[str, Any], camera: str, height: int, width: int) -> Lens | None:
    """The camera of an Aria recording, at the size in which it was recorded.

    Args:
        calibration: The recording's `metadata["calibration"]`.
        camera: Such as `rgb`, `slam.left`, `eye.left`.
        height: Of its pictures as they lie in the file [px].
        width: Of them [px].

    Returns:
        The camera in frame `device`; None if the calibration has none of this name and size.
    """
    label = camera.replace(".", "-").replace("eye", "et")
    found = {
        str(each.get("Label", "")).removeprefix("camera-"): each for each in calibration.get("CameraCalibrations", [])
    }
    whole = (WHOLE_2 if "slam-front-left" in found else WHOLE_1).get(label)
    if label not in found or whole is None:
        return None
    step = next((each for each in (1, 2, 4) if 0.95 * whole <= width * each <= whole), None)
    if step is None or not 0.95 * SQUARE[whole] <= height * step <= SQUARE[whole]:
        return None
    return _scaled(found[label], step, (whole - width * step) / 2, (SQUARE[whole] - height * step) / 2)


def _scaled(said: Mapping[str, Any], step: int, left: float, top: float) -> Lens | None:
    """One entry of `CameraCalibrations` for pictures of which `step` pixels were made one, cut at the edges [px]."""
    name, values = said["Projection"]["Name"], [float(each) for each in said["Projection"]["Params"]]
    if name == "FisheyeRadTanThinPrism" and len(values) == 15:  # f, c, k_0 .. k_5, p, s
        fx, fy, cx, cy, *more = [values[0], *values]
    elif name == "KannalaBrandtK3" and len(values) == 8:
        fx, fy, cx, cy, *more = [*values, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        more = [*more[:4], 0.0, 0.0, *more[4:]]
    else:
        return None
    w, (x, y, z) = said["T_Device_Camera"]["UnitQuaternion"]
    return Lens(
        "fisheye",
        fx / step,
        fy / step,
        (cx - left + 0.5) / step - 0.5,
        (cy - top + 0.5) / step - 0.5,
        tuple(more[:6]),
        (more[6], more[7]),
        (more[8], more[9], more[10], more[11]),
        tuple(said["T_Device_Camera"]["Translation"]),
        _matrix(w, x, y, z),
        "device",
    )


def _matrix(w: float, x: float, y: float, z: float) -> tuple[tuple[float, float, float], ...]:
    """Rotation of a unit quaternion."""
    return (
        (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
        (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
        (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
    )
