"""Pictures of worlds: geometry against rays worked out here, the same picture whatever the way it came about."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import mujoco
import numpy as np
import pytest

from foreact.episodes.contract import CameraSpec
from foreact.sim.appearance import random_cameras, random_geom_colours, random_lights, random_material_colours
from foreact.sim.backends import make_backend
from foreact.sim.frames import check_frames
from foreact.sim.pictures import WorldPictures, camera_specs
from foreact.sim.random import WorldRandom
from foreact.sim.tabletop import TASKS
from foreact.sim.taskworlds import TaskWorlds
from foreact.sim.views import Views

# ambient light of the headlight alone: a colour c is drawn as 255 c, cut off
STAGE = """
<mujoco>
 <statistic extent="1" center="0 0 0"/>
 <visual><headlight ambient="1 1 1" diffuse="0 0 0" specular="0 0 0"/><map znear="0.01" zfar="100"/></visual>
 <asset><material name="paint" rgba="0.2 0.4 0.8 1"/></asset>
 <worldbody>
  <light name="sun" type="directional" dir="0 0 -1" diffuse="0 0 0" ambient="0 0 0" specular="0 0 0"/>
  <geom name="floor" type="plane" size="20 20 .1" rgba="0.6 0.6 0.6 1"/>
  <camera name="above" pos="0 0 2" fovy="60"/>
  <body name="ball" pos="0.1 0.2 0.5"><freejoint/><geom name="ball" size="0.3" material="paint"/></body>
  <body name="lift" pos="3 0 1">
   <joint type="slide" axis="0 0 1"/><joint type="hinge" axis="0 1 0"/>
   <geom name="lift" type="box" size=".1 .1 .1" pos="0 0 .3"/>
   <camera name="rider" pos="0 0 -.2" fovy="50"/>
  </body>
  <body name="mark" mocap="true" pos="-3 0 1"><geom name="mark" type="box" size=".2 .2 .2" rgba="1 0 0 1"/></body>
 </worldbody>
</mujoco>
"""
# the sun alone, straight from above
SUNNY = STAGE.replace('ambient="1 1 1"', 'ambient="0 0 0"').replace(
    'diffuse="0 0 0" ambient', 'diffuse="1 1 1" ambient'
)
MODEL = mujoco.MjModel.from_xml_string(STAGE)
FLOOR, BALL = (MODEL.geom(name).id + 1 for name in ("floor", "ball"))
# a camera that looks down askew, with a principal point off the middle and pixels that are not square
ASKEW = CameraSpec(
    name="askew", width=80, height=60, streams=("rgb", "depth"), fx=70.0, fy=55.0, cx=33.0, cy=36.5, mount="world",
    position=(-1.0, 0.4, 1.5), orientation=(0.7006572, 0.1790057, -0.3560433, -0.5918358),
)  # fmt: skip


def stage(count: int, backend: Any = "cpu") -> Any:
    worlds = make_backend(backend, MODEL, count)
    worlds.reset()
    return worlds


def scattered(count: int, backend: Any = "cpu") -> Any:
    """The stage with every ball, lift and mark in a place of its own."""
    worlds, draw = stage(count, backend), np.random.default_rng(0).uniform(-0.4, 0.4, (count, 5))
    asarray = worlds.xp.asarray
    worlds.view("qpos")[:, :2] = asarray(draw[:, :2])
    worlds.view("qpos")[:, 7:9] = asarray(draw[:, 2:4])
    worlds.view("mocap_pos")[:, 0, 2] += asarray(draw[:, 4])
    return worlds


def turned(quaternion: tuple[float, ...]) -> np.ndarray:
    w, x, y, z = quaternion
    return np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip


def test_depth_is_the_distance_to_a_plane_and_a_sphere_and_segmentation_names_them() -> None:
    pictures = WorldPictures(MODEL, [ASKEW], 1)
    images = pictures.draw(stage(1))
    eye, axes = np.array(ASKEW.position), turned(ASKEW.orientation)
    expected, seen = np.zeros((60, 80)), np.zeros((60, 80), int)
    for row in range(60):
        for column in range(80):
            # a ray whose parameter is the distance along the optical axis
            ray = axes @ np.array([(column + 0.5 - 33.0) / 70.0, -(row + 0.5 - 36.5) / 55.0, -1.0])
            far = -eye[2] / ray[2]
            hits = [(far, FLOOR)] if far > 0 and np.abs(eye + far * ray).max() < 20 else []
            away = eye - np.array([0.1, 0.2, 0.5])
            a, b, c = ray @ ray, ray @ away, away @ away - 0.3**2
            if b * b > a * c:
                hits.append(((-b - np.sqrt(b * b - a * c)) / a, BALL))
            expected[row, column], seen[row, column] = min(hits, default=(0.0, 0))
    np.testing.assert_array_equal(images["camera.askew.segmentation"][0], seen)
    assert np.abs(images["camera.askew.depth"][0] / 1000 - expected).max() < 0.001
    assert (seen == BALL).sum() > 200
    assert (seen == 0).any()
    check_frames(images)
    # 255 * (0.6, 0.6, 0.6) and 255 * (0.2, 0.4, 0.8)
    colours = images["camera.askew.rgb"][0].astype(int)
    assert np.abs(colours[seen == FLOOR] - 153).max() <= 1
    assert np.abs(colours[seen == BALL] - (51, 102, 204)).max() <= 1


def test_a_camera_on_a_body_moves_and_turns_with_it() -> None:
    worlds = stage(3)
    worlds.view("qpos")[1, 7] = 0.5  # up
    worlds.view("qpos")[2, 8] = 0.4  # tilted about y
    (rider,) = camera_specs(MODEL, ["rider"], 21, 21)
    depth = WorldPictures(MODEL, [rider], 3).draw(worlds)["camera.rider.depth"] / 1000
    # the camera hangs 0.2 m below the body, which is 1 m up
    np.testing.assert_allclose(depth[:2, 10, 10], (0.8, 1.3), atol=0.001)
    # tilted by 0.4 it swings to 1 - 0.2 cos 0.4 above the floor and looks along a ray longer by 1 / cos 0.4
    np.testing.assert_allclose(depth[2, 10, 10], (1 - 0.2 * np.cos(0.4)) / np.cos(0.4), atol=0.001)
    assert np.ptp(depth[0]) == 0
    assert np.ptp(depth[2]) > 0.3


@pytest.mark.parametrize("launch", [1, 3, 8])
def test_many_at_once_equal_one_at_a_time(launch: int) -> None:
    worlds = scattered(7)
    cameras = (*camera_specs(MODEL, ["above", "rider"], 40, 30), ASKEW)
    together = WorldPictures(MODEL, cameras, 7, launch=launch).draw(worlds)
    alone = WorldPictures(MODEL, cameras, 1)
    assert len(together) == 9
    for world in range(7):
        for key, image in alone.draw(worlds, np.array([world])).items():
            np.testing.assert_array_equal(together[key][world], image[0])
    assert len(np.unique(together["camera.above.depth"].reshape(7, -1), axis=0)) == 7
    some = WorldPictures(MODEL, cameras, 7, launch=launch).draw(worlds, np.arange(7) % 3 == 0)
    np.testing.assert_array_equal(some["camera.askew.rgb"], together["camera.askew.rgb"][::3])


def test_all_backends_show_the_same() -> None:
    pictures = WorldPictures(MODEL, [ASKEW], 4, launch=3)
    images = [pictures.draw(scattered(4, kind)) for kind in ("cpu", "ref", "warp")]
    for key, first in images[0].items():
        np.testing.assert_array_equal(first, images[1][key])
        tensor = images[2][key]
        assert str(tensor.dtype) == f"torch.{first.dtype}"
        np.testing.assert_array_equal(first, tensor.numpy())


def test_worlds_can_look_different_and_snapshots_and_forks_carry_it() -> None:
    task = replace(
        TASKS["arm-reach"](),
        start=(
            *TASKS["arm-reach"]().start,
            random_geom_colours(["table", "floor"], (0.2, 0.2, 0.2), (0.9, 0.9, 0.9)),
            random_lights([0], turn=0.3, low=0.5, high=1.5, shift=0.3),
            random_cameras(["front", "wrist"], shift=0.03, turn=0.05),
        ),
    )
    worlds = TaskWorlds(task, 4, seed=3, autoreset=False)
    worlds.reset()
    pictures = WorldPictures(worlds.backend.model, camera_specs(worlds.backend.model, ["front", "wrist"], 48, 48), 8)
    first, kept = pictures.draw(worlds.backend), worlds.snapshot()
    check_frames(first)
    assert len(np.unique(first["camera.front.rgb"].reshape(4, -1), axis=0)) == 4
    rest = np.zeros((4, len(worlds.low)), np.float32)
    for _ in range(5):
        worlds.step(rest)
    later = worlds.views.qpos.copy()
    worlds.reset()
    assert (pictures.draw(worlds.backend)["camera.front.rgb"] != first["camera.front.rgb"]).mean() > 0.3
    worlds.restore(kept)
    again = pictures.draw(worlds.backend)
    fork = pictures.draw(worlds.fork(np.array([2]), 2).backend)
    for key, image in first.items():
        np.testing.assert_array_equal(again[key], image)
        np.testing.assert_array_equal(fork[key], image[[2, 2]])
    # drawing leaves the worlds alone, to the bit
    for _ in range(5):
        worlds.step(rest)
        pictures.draw(worlds.backend)
    np.testing.assert_array_equal(worlds.views.qpos, later)


@pytest.mark.parametrize("kind", ["cpu", "ref", "warp"])
def test_colours_lights_and_cameras_are_drawn_as_worlds_have_them(kind: str) -> None:
    worlds = stage(3, kind)
    views, ids, random = Views(worlds, 0.1), np.arange(3), WorldRandom(1, 3)
    random_geom_colours(["floor"], (0.1, 0.2, 0.3), (0.3, 0.4, 0.5))(views, ids, random)
    random_material_colours(["paint"], (0.5, 0, 0), (0.9, 0, 0))(views, ids, random)
    random_cameras(["above"], shift=0.2)(views, ids, random)
    images = {
        key: np.asarray(image)
        for key, image in WorldPictures(MODEL, camera_specs(MODEL, ["above"], 33, 33), 3).draw(worlds).items()
    }
    colours, seen = images["camera.above.rgb"].astype(int), images["camera.above.segmentation"]
    floor, paint = (np.asarray(worlds.model_field(name)) for name in ("geom_rgba", "mat_rgba"))
    for world in range(3):
        for number, own in ((FLOOR, floor[world, FLOOR - 1, :3]), (BALL, paint[world, 0, :3])):
            assert np.abs(colours[world, seen[world] == number] - 255 * own).max() <= 1
        height = float(worlds.model_field("cam_pos")[world, 0, 2])
        assert abs(images["camera.above.depth"][world, 0, 0] / 1000 - height) < 0.001
    assert ((floor[:, FLOOR - 1, :3] >= (0.1, 0.2, 0.3)) & (floor[:, FLOOR - 1, :3] <= (0.3, 0.4, 0.5))).all()
    assert np.ptp(floor[:, FLOOR - 1, 0]) > 0.01
    # the same pictures of other worlds: nothing of these stays behind
    fresh, own = (WorldPictures(MODEL, [ASKEW], 3) for _ in range(2))
    own.draw(worlds)
    plain = stage(3, kind)
    for key, image in own.draw(plain).items():
        np.testing.assert_array_equal(np.asarray(image), np.asarray(fresh.draw(plain)[key]))


def test_a_tilted_and_dimmed_sun_lights_the_floor_by_lamberts_law() -> None:
    model = mujoco.MjModel.from_xml_string(SUNNY)
    worlds = make_backend("cpu", model, 64)
    random_lights(["sun"], turn=0.8, low=0.5, high=1.0)(Views(worlds, 0.1), np.arange(64), WorldRandom(0, 64))
    images = WorldPictures(model, camera_specs(model, ["above"], 9, 9), 64).draw(worlds)
    direction, diffuse = worlds.model_field("light_dir")[:, 0], worlds.model_field("light_diffuse")[:, 0, 0]
    np.testing.assert_allclose(np.linalg.norm(direction, axis=1), 1, atol=1e-6)
    tilt = np.arccos(-direction[:, 2])
    # uniform over the disc: half of all tilts lie within 0.8 / sqrt(2)
    assert tilt.max() <= 0.8
    assert 20 <= (tilt < 0.8 / np.sqrt(2)).sum() <= 44
    assert (diffuse >= 0.5).all() and (diffuse <= 1).all()
    # 255 * colour * brightness * cos(tilt)
    expected = 255 * 0.6 * diffuse * np.cos(tilt)
    assert np.abs(images["camera.above.rgb"][:, 0, 0, 0] - expected).max() <= 1.01


def test_sizes_and_places_are_drawn_as_worlds_have_them() -> None:
    worlds = stage(3)
    (above,) = camera_specs(MODEL, ["above"], 33, 33)
    worlds.view("qpos")[:, :2] = 0
    worlds.model_field("geom_size")[:, BALL - 1, 0] = (0.3, 0.2, 0.4)
    worlds.model_field("body_pos")[1, MODEL.body("lift").id] = (0.0, 0.0, 1.5)
    depth = WorldPictures(MODEL, [above], 3).draw(worlds)["camera.above.depth"][:, 16, 16] / 1000
    # the ball's top is at 0.5 + its radius; the lift's, 0.4 above its body, is at 1.9 where it covers the ball
    np.testing.assert_allclose(depth, (2 - 0.8, 2 - 1.9, 2 - 0.9), atol=0.001)


def test_what_is_fixed_to_the_world_stands_where_each_world_has_it() -> None:
    scene = """<mujoco><worldbody><geom type="plane" size="5 5 .1"/><light pos="0 0 4"/>
      <body name="box" pos="{}"><geom type="box" size=".2 .2 .2"/><body pos="0 .4 0"><geom size=".1"/></body></body>
    </worldbody></mujoco>"""
    camera = (replace(ASKEW, position=(0.0, 0.0, 3.0), orientation=(1.0, 0.0, 0.0, 0.0), fx=60.0, fy=60.0),)
    model = mujoco.MjModel.from_xml_string(scene.format("0 0 0.2"))
    worlds, places = make_backend("cpu", model, 2), np.array([[0.3, -0.2, 0.2], [-0.5, 0.1, 0.4]])
    worlds.reset()
    worlds.model_field("body_pos")[:, model.body("box").id] = places
    drawn = WorldPictures(model, camera, 2).draw(worlds)
    for row, place in enumerate(places):
        placed = mujoco.MjModel.from_xml_string(scene.format(" ".join(map(str, place))))
        alone = make_backend("cpu", placed, 1)
        alone.reset()
        for key, picture in WorldPictures(placed, camera, 1).draw(alone).items():
            np.testing.assert_array_equal(drawn[key][row], picture[0], err_msg=key)
    assert not np.array_equal(drawn["camera.askew.depth"][0], drawn["camera.askew.depth"][1])


def test_what_stands_in_the_light_throws_a_shadow_if_asked_for() -> None:
    model = mujoco.MjModel.from_xml_string(SUNNY)
    (rider,) = camera_specs(model, ["rider"], 21, 21)
    worlds = make_backend("cpu", model, 1)
    for shadows, expected in ((False, 255 * 0.6), (True, 0.3 * 255 * 0.6)):
        # the camera is under the lift and looks at the floor in the lift's shadow, to which 0.3 of the light comes
        image = WorldPictures(model, [rider], 1, shadows=shadows).draw(worlds)["camera.rider.rgb"]
        assert np.abs(image[0, 10, 10] - expected).max() <= 1.01


def test_what_cannot_be_drawn_is_an_error() -> None:
    worlds, cameras = stage(3), camera_specs(MODEL, ["above"], 8, 8)
    pictures = WorldPictures(MODEL, cameras, 2)
    with pytest.raises(ValueError, match="expected 1 to 2 worlds to draw, got 3"):
        pictures.draw(worlds)
    with pytest.raises(ValueError, match="another model"):
        pictures.draw(make_backend("cpu", TASKS["arm-reach"]().compile(), 1))
    worlds.model_field("geom_pos")
    with pytest.raises(ValueError, match="worlds have geom_pos of their own"):
        pictures.draw(worlds, np.array([0]))
    unknown: Any = "painter"
    with pytest.raises(ValueError, match="renderer 'painter' is unknown"):
        WorldPictures(MODEL, cameras, 2, renderer=unknown)
    with pytest.raises(RuntimeError, match="Warp has no device 'cuda:7'"):
        WorldPictures(MODEL, cameras, 2, device="cuda:7")
    with pytest.raises(ValueError, match="low <= high <= 1"):
        random_geom_colours(["floor"], (0.5, 0, 0), (0.4, 1, 1))
    with pytest.raises(ValueError, match="no such light"):
        random_lights(["moon"])(Views(worlds, 0.1), np.arange(3), WorldRandom(0, 3))
    many = mujoco.MjModel.from_xml_string(f"<mujoco><worldbody>{'<geom size=".1"/>' * 256}</worldbody></mujoco>")
    with pytest.raises(ValueError, match="cannot number the model's 256 geoms"):
        WorldPictures(many, [ASKEW], 1)
