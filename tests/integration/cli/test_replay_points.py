"""`foreact replay points=true`: an Aria's depth cameras agree in one world; and who has no cloud is told why."""

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("open3d")
pytest.importorskip("rerun")

from foreact.cli.replay import ReplayConfig, replay
from foreact.cli.replay_points import PointClouds
from foreact.episodes.lens import aria_lens
from foreact.episodes.sources import Source, open_collection
from foreact.perception.open3d_library import open3d
from foreact.perception.points import Cloud, moved

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="the sample recordings do not lie beside the repository")


def aria() -> Source:
    collection = open_collection(DATA / "aria_gen1_adt")
    return collection.open(collection.keys()[0])


def pose_at(source: Source, stamp: int) -> np.ndarray:
    return np.asarray(source.read("pose.trajectory", int(np.argmin(np.abs(source.stamps("pose.trajectory") - stamp)))))


def test_the_lens_finds_things_where_the_recording_draws_boxes() -> None:
    source = aria()
    said: Any = source.metadata
    lens = aria_lens(said["calibration"], "rgb", 1408, 1408)
    assert lens is not None
    stands = {each["object_uid"]: each for each in said["objects.static"]}
    sizes = {each["object_uid"]: each for each in said["boxes.3d.static"]}
    camera = pose_at(source, int(source.stamps("boxes.2d.rgb")[0]))
    turn = moved(Cloud(np.eye(3)), np.concatenate([np.zeros(3), camera[3:]])).points.T  # device to world
    off = []
    for box in json.loads(str(source.read("boxes.2d.rgb", 0))):
        key = box["object_uid"]
        if key not in stands or box["visibility_ratio[%]"] < 0.95:
            continue
        size, stand = sizes[key], stands[key]
        ends = [[size[f"p_local_obj_{axis}{end}[m]"] for end in ("min", "max")] for axis in "xyz"]
        place = [stand[f"{name}[m]"] for name in ("t_wo_x", "t_wo_y", "t_wo_z")]
        place += [stand[name] for name in ("q_wo_w", "q_wo_x", "q_wo_y", "q_wo_z")]
        corners = moved(Cloud(np.array(list(itertools.product(*ends)))), np.array(place)).points
        pixels = lens.project(lens.from_frame((corners - camera[:3]) @ turn))
        middle = (pixels.min(0) + pixels.max(0)) / 2
        drawn = [box[f"{axis}_min[pixel]"] + box[f"{axis}_max[pixel]"] for axis in "xy"]
        off.append(middle - np.array(drawn) / 2)
    assert len(off) > 30 and np.abs(np.median(off, axis=0)).max() < 2


def test_two_cameras_see_the_same_walls(tmp_path: Path) -> None:
    clouds = PointClouds(0.03, (), 0.0, 0.0, clean=False)
    with clouds.derive(DATA / "aria_gen1_adt", aria()) as source:
        assert source.streams["points.rgb"].frame == "device"
        one, other = (np.asarray(source.read(name, 0)) for name in ("points.rgb", "points.slam.left"))
        library = open3d()
        made = [library.geometry.PointCloud(library.utility.Vector3dVector(each[:, :3])) for each in (one, other)]
        apart = np.asarray(made[0].compute_point_cloud_distance(made[1]))
        assert np.median(apart) < 0.03  # as much as the cubes; 0.26 m if depth were taken along the ray
        assert one[:, 3:].std(axis=1).mean() > 5 and other[:, 3:].std(axis=1).max() == 0  # colours, and grey
        written = clouds.write(tmp_path / "points.ply")
    whole = np.asarray(library.io.read_point_cloud(str(tmp_path / "points.ply")).points)
    assert len(whole) == written < len(one) + len(other)
    assert whole[:, 1].max() - whole[:, 1].min() > 2  # a room, upright: y is up in its world


def test_a_replay_has_clouds_where_the_camera_is_known(tmp_path: Path) -> None:
    path = DATA / "dexcap_frame"
    told = [row[0] for row in replay(ReplayConfig(path, points=True)).rows]
    assert any("does not say how long its unit is; type depth_unit_m" in each for each in told)
    told = [row[0] for row in replay(ReplayConfig(path, points=True, depth_unit_m=0.001)).rows]
    assert any("no calibration of camera rgb; type intrinsics=[fx,fy,cx,cy]" in each for each in told)
    camera = (898.2, 897.87, 657.5, 364.31)
    outcome = replay(ReplayConfig(path, points=True, depth_unit_m=0.001, intrinsics=camera, out=tmp_path, clean=True))
    assert (tmp_path / "points.ply").is_file() and int(str(outcome.figures["points"])) > 1000
    assert any(row[0] == "points.rgb" for row in outcome.rows)
    told = [row[0] for row in replay(ReplayConfig(DATA / "dapg_door_human", points=True, duration_s=1e-9)).rows]
    assert "points: the recording has no depth" in told
    with pytest.raises(ValueError, match="which has no voxel_m"):
        replay(ReplayConfig(path, voxel_m=0.1))
    with pytest.raises(ValueError, match="give four numbers"):
        ReplayConfig(path, points=True, intrinsics=(1.0,))
