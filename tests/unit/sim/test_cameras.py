"""Rays and descriptions of cameras, against numbers worked out by hand."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from foreact.sim.cameras import directions, mounts, outside_view
from foreact.sim.pictures import camera_specs

MODEL = mujoco.MjModel.from_xml_string("""
<mujoco>
 <worldbody>
  <geom size=".1"/>
  <camera name="wide" fovy="90" pos="1 2 3" xyaxes="0 1 0 0 0 1"/>
  <camera name="sensor" focal="0.006 0.005" principal="0.0004 -0.0003" sensorsize="0.008 0.006" resolution="80 60"/>
  <camera name="flat" projection="orthographic"/>
  <body name="hand"><geom size=".1"/><camera name="wrist" pos="0 0 .1"/>
   <camera name="watching" mode="targetbody" target="hand"/></body>
  <body><geom size=".1"/><camera name="lost"/></body>
 </worldbody>
</mujoco>
""")


def test_a_field_of_view_becomes_a_focal_length_and_axes_a_quaternion() -> None:
    (wide,) = camera_specs(MODEL, ["wide"], 100, 60)
    # fy = (60 / 2) / tan(45 deg)
    assert (wide.fx, wide.fy, wide.cx, wide.cy) == pytest.approx((30, 30, 50, 30))
    assert (wide.mount, wide.position, wide.streams) == ("world", (1, 2, 3), ("rgb", "depth"))
    # x -> y, y -> z, z -> x is a turn by 120 deg about (1, 1, 1)
    assert wide.orientation == pytest.approx((0.5, 0.5, 0.5, 0.5))


def test_a_sensor_becomes_intrinsics_in_pixels() -> None:
    (sensor,) = camera_specs(MODEL, ["sensor"], 160, 120)
    # 160 px on 8 mm are 20 px/mm: fx = 6 mm, fy = 5 mm; the principal point is 0.4 mm left and 0.3 mm below
    assert (sensor.fx, sensor.fy, sensor.cx, sensor.cy) == pytest.approx((120, 100, 72, 66))


def test_rays_pass_through_pixel_centres() -> None:
    (sensor,) = camera_specs(MODEL, ["sensor"], 160, 120)
    rays = directions(sensor)
    assert rays.shape == (120, 160, 3)
    np.testing.assert_allclose(np.linalg.norm(rays, axis=-1), 1)
    # column 131: x = (131.5 - 72) / 120; row 15: y = -(15.5 - 66) / 100
    expected = np.array([59.5 / 120, 0.505, -1.0])
    np.testing.assert_allclose(rays[15, 131], expected / np.linalg.norm(expected))


def test_mounts_know_bodies_and_the_models_own_cameras() -> None:
    wrist, wide = camera_specs(MODEL, ["wrist", "wide"], 32, 32)
    moved = type(wrist)(**{**vars(wide), "name": "sensor"})
    placed = mounts(MODEL, [wrist, wide, moved])
    assert wrist.mount == "body:hand"
    assert placed.body.tolist() == [MODEL.body("hand").id, 0, 0]
    # a camera that only bears the name of one of the model's is not that one
    assert placed.number.tolist() == [MODEL.camera("wrist").id, MODEL.camera("wide").id, -1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none", "no camera 'none'; it has wide, sensor"),
        ("flat", "no perspective"),
        ("watching", "not fixed to its body"),
        ("lost", "has no name"),
    ],
)
def test_cameras_that_the_contract_cannot_describe_are_errors(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        camera_specs(MODEL, [name], 32, 32)


def test_an_image_of_another_shape_than_the_sensor_is_an_error() -> None:
    with pytest.raises(ValueError, match="80x80 px is not as wide as its sensor, 8x6 mm"):
        camera_specs(MODEL, ["sensor"], 80, 80)


def test_mounts_refuse_what_cannot_be_drawn() -> None:
    (wide,) = camera_specs(MODEL, ["wide"], 32, 32)
    for change, message in (
        ({"mount": "body:foot"}, "no body for 'body:foot'"),
        ({"fx": 0, "fy": 0, "cx": 0, "cy": 0}, "intrinsics or mount are unknown"),
        ({"mount": "unknown"}, "intrinsics or mount are unknown"),
    ):
        with pytest.raises(ValueError, match=message):
            mounts(MODEL, [type(wide)(**{**vars(wide), **change})])
    with pytest.raises(ValueError, match="different names, got wide, wide"):
        mounts(MODEL, [wide, wide])
    with pytest.raises(ValueError, match="got none"):
        mounts(MODEL, [])


@pytest.mark.parametrize("azimuth", [0, 90, 200])
def test_a_view_from_outside_holds_all_that_moves(azimuth: float) -> None:
    model = mujoco.MjModel.from_xml_string(
        '<mujoco><worldbody><geom type="plane" size="9 9 1"/><body pos="1 2 3"><freejoint/><geom size="0.5"/></body>'
        "</worldbody></mujoco>"
    )
    camera = outside_view(model, "view", 64, azimuth)
    data = mujoco.MjData(model)
    mujoco.mj_kinematics(model, data)
    rotation = np.zeros(9)
    mujoco.mju_quat2Mat(rotation, np.array(camera.orientation))
    seen = rotation.reshape(3, 3).T @ (np.array([1.0, 2.0, 3.0]) - np.array(camera.position))
    np.testing.assert_allclose(seen[:2], 0, atol=1e-9)  # in the middle of the picture
    # its outline just touches the picture's edge: sin(22.5 deg) = 0.5 / distance
    assert -seen[2] == pytest.approx(0.5 / np.sin(np.radians(22.5)))
    assert camera.position[2] > 3
