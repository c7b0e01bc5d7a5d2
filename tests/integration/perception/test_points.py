"""Point clouds: numbers worked out by hand, Open3D against NumPy, and the two depth cameras of an Aria agree."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("open3d")

from foreact.episodes.lens import pinhole
from foreact.perception.open3d_library import open3d, told
from foreact.perception.points import Cloud, back_project, crop, downsample, merge, moved, without_outliers, write_ply


def test_a_pinhole_by_hand() -> None:
    depth = np.array([[0.0, 2.0, np.nan], [4.0, -1.0, 9.0]])
    colour = np.arange(18, dtype=np.uint8).reshape(2, 3, 3)
    cloud = back_project(depth, pinhole(10, 20, 1, 0.5), colour, farthest=8)
    # (u, v) = (1, 0), 2 m: x = 2 (1 - 1) / 10, y = 2 (0 - 0.5) / 20; (0, 1), 4 m: x = 4 (0 - 1) / 10, y = 4 * 0.5 / 20
    assert cloud.points == pytest.approx(np.array([[0, -0.05, 2], [-0.4, 0.1, 4]]))
    assert cloud.colours is not None and cloud.colours.tolist() == [[3, 4, 5], [9, 10, 11]]
    assert len(back_project(depth, pinhole(10, 20, 1, 0.5), every=2)) == 0
    with pytest.raises(ValueError, match="cannot colour"):
        back_project(depth, pinhole(10, 20, 1, 0.5), colour[:1])
    with pytest.raises(ValueError, match="depth must be numbers"):
        back_project(colour, pinhole(10, 20, 1, 0.5))


def test_open3d_sees_the_same_points() -> None:
    rng = np.random.default_rng(0)
    depth = rng.integers(0, 3000, (24, 32)).astype(np.uint16)
    colour = rng.integers(0, 255, (24, 32, 3), np.uint8)
    library = open3d()
    intrinsic = library.camera.PinholeCameraIntrinsic(32, 24, 30.0, 31.0, 15.5, 12.25)
    pictures = library.geometry.RGBDImage.create_from_color_and_depth(
        library.geometry.Image(colour), library.geometry.Image(depth), 1000.0, 10.0, False
    )
    theirs = library.geometry.PointCloud.create_from_rgbd_image(pictures, intrinsic)
    ours = back_project(depth / 1000.0, pinhole(30, 31, 15.5, 12.25), colour)
    assert ours.points == pytest.approx(np.asarray(theirs.points), abs=1e-6)
    assert ours.colours is not None
    assert np.array_equal(ours.colours, np.rint(np.asarray(theirs.colors) * 255))


def test_cubes_of_a_grid_keep_their_mean() -> None:
    rng = np.random.default_rng(1)
    cloud = Cloud(rng.uniform(0, 1, (4000, 3)), rng.integers(0, 255, (4000, 3), np.uint8))
    thin = downsample(cloud, 0.25)
    low = cloud.points.min(0) - 0.125  # where Open3D begins its grid
    cubes = np.floor((cloud.points - low) / 0.25).astype(int)
    named, where = np.unique(cubes, axis=0, return_inverse=True)
    means = np.stack([cloud.points[where == cube].mean(0) for cube in range(len(named))])
    order = np.lexsort(means.T), np.lexsort(thin.points.T)
    assert thin.points[order[1]] == pytest.approx(means[order[0]])
    assert len(downsample(Cloud(np.empty((0, 3))), 0.1)) == 0
    with pytest.raises(ValueError, match="above 0 m"):
        downsample(cloud, 0)


def test_a_point_far_from_all_others_is_left_out() -> None:
    grid = np.stack(np.meshgrid(*[np.arange(5.0)] * 3), -1).reshape(-1, 3)
    left = without_outliers(Cloud(np.concatenate([grid, [[50.0, 0, 0]]])), 6, 3.0)
    assert np.array_equal(np.sort(left.points, axis=0), np.sort(grid, axis=0))
    assert len(crop(Cloud(grid), (0, 0, 0), (1, 1, 0))) == 4
    with pytest.raises(ValueError, match="low not above high"):
        crop(Cloud(grid), (0, 0, 1), (1, 1, 0))


def test_clouds_come_together_by_their_poses(tmp_path: Path) -> None:
    one = Cloud(np.array([[1.0, 0, 0]]), np.array([[10, 20, 30]], np.uint8))
    half = np.sqrt(0.5)
    turned = np.array([0, 0, 5, half, 0, 0, half])  # a quarter turn about z, 5 m up
    whole = merge([one, one], [np.array([0, 0, 0, 1.0, 0, 0, 0]), turned])
    assert whole.points == pytest.approx(np.array([[1, 0, 0], [0, 1, 5]]))
    write_ply(whole, tmp_path / "new" / "cloud.ply")
    again = open3d().io.read_point_cloud(str(tmp_path / "new" / "cloud.ply"))
    assert np.asarray(again.points) == pytest.approx(whole.points)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["cloud.ply"]
    with pytest.raises(ValueError, match="unit quaternion"):
        moved(one, np.zeros(7))
    with pytest.raises(ValueError, match="as many poses"):
        merge([one], [])
    with pytest.raises(ValueError, match="with and without colours"):
        merge([one, Cloud(one.points)])


def test_what_a_machine_lacks_is_named() -> None:
    assert "sudo apt-get install libgl1" in told("libGL.so.1: cannot open shared object file: No such file")
    assert "pip install 'foreact[points]'" in told("libusb-1.0.so.0: cannot open shared object file")
    assert "libtbb.so.12" in told("libtbb.so.12: cannot open shared object file")
    assert "boom" in told("boom")
