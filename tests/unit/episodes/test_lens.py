"""Cameras: numbers worked out by hand, there and back, and the sizes in which an Aria records."""

import math

import numpy as np
import pytest

from foreact.episodes.lens import Lens, aria_lens, pinhole


def entry(label: str, params: list[float], name: str = "FisheyeRadTanThinPrism") -> dict[str, object]:
    half = math.sqrt(0.5)  # a quarter turn about x: what the camera sees ahead is down in the device
    place = {"Translation": [0.1, 0.2, 0.3], "UnitQuaternion": [half, [half, 0.0, 0.0]]}
    return {"Label": label, "Projection": {"Name": name, "Params": params}, "T_Device_Camera": place}


def test_a_pinhole_by_hand() -> None:
    lens = pinhole(100, 200, 50, 60)
    # x = 100 * 1/2 + 50, y = 200 * -1/2 + 60
    assert lens.project(np.array([[1.0, -1.0, 2.0], [0.0, 0.0, -1.0]])).tolist()[0] == [100.0, -40.0]
    assert np.isnan(lens.project(np.array([[0.0, 0.0, -1.0]]))).all()
    ray = lens.rays(np.array([[150.0, 60.0]]))[0]
    assert ray == pytest.approx([math.sqrt(0.5), 0, math.sqrt(0.5)])
    with pytest.raises(ValueError, match="fx, fy above 0"):
        pinhole(0, 1, 0, 0)
    with pytest.raises(ValueError, match="fx, fy above 0"):
        pinhole(1, 1, float("nan"), 0)


def test_a_fisheye_by_hand() -> None:
    lens = Lens("fisheye", 100, 100, 0, 0, (0.1,), (0.01, 0.0), (0.0, 0.0, 0.02, 0.0))
    # 45 degrees to the right: theta_d = pi/4 (1 + 0.1 (pi/4)^2); square = theta_d^2
    # x = theta_d + 2 p0 theta_d^2 + p0 theta_d^2, y = s2 theta_d^2
    bent = math.pi / 4 * (1 + 0.1 * (math.pi / 4) ** 2)
    expected = [100 * (bent + 3 * 0.01 * bent**2), 100 * 0.02 * bent**2]
    assert lens.project(np.array([[2.0, 0.0, 2.0]]))[0] == pytest.approx(expected)
    assert np.isnan(lens.project(np.array([[1.0, 0.0, 0.01]]))).all()  # too far from the axis


def test_pixels_look_back_where_points_came_from() -> None:
    lens = Lens(
        "fisheye", 600, 600, 700, 700, (0.4, -0.5, 0.17, 1.1, -1.7, 0.65), (6e-4, 2e-5), (0.0, 3e-4, -7e-4, 0.0)
    )
    points = np.random.default_rng(0).normal(size=(500, 3)) * [0.6, 0.6, 0.0] + [0, 0, 1]
    back = lens.rays(lens.project(points))
    assert np.abs(back - points / np.linalg.norm(points, axis=1, keepdims=True)).max() < 1e-9


def test_an_aria_camera_is_cut_and_halved_as_its_pictures_are() -> None:
    params = [1200.0, 1440.0, 1450.0, *[0.0] * 12]
    lens = aria_lens({"CameraCalibrations": [entry("camera-rgb", params)]}, "rgb", 1408, 1408)
    # 2880 pixels, 32 cut at each edge, two made one: (1440 - 32 + 0.5) / 2 - 0.5
    assert lens is not None and (lens.fx, lens.cx, lens.cy) == (600.0, 703.75, 708.75)
    assert lens.from_frame(np.array([[0.1, 0.2 - 1.0, 0.3]]))[0] == pytest.approx([0, 0, 1])
    assert lens.to_frame(np.array([[0.0, 0.0, 1.0]]))[0] == pytest.approx([0.1, -0.8, 0.3])
    assert aria_lens({"CameraCalibrations": [entry("camera-rgb", params)]}, "rgb", 100, 100) is None
    assert aria_lens({"CameraCalibrations": [entry("camera-rgb", params, "Other")]}, "rgb", 1408, 1408) is None
    assert aria_lens({}, "rgb", 1408, 1408) is None
