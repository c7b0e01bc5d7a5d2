"""One recording in two formats: Aria Gen 2 as VRS, and as the ROS 2 bag that was made of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.digest import digest
from foreact.episodes.sources import Source, open_collection
from foreact.episodes.timeline import Timeline

EXACT = ("imu.left", "imu.right", "magnetometer")
MICROSECONDS = (
    "pose.vio.high_frequency",
    *(f"hand.{side}.{what}" for side in ("left", "right") for what in ("landmarks", "wrist")),
)
"""The tool that made the bag keeps whole microseconds of these."""
CAMERAS = (
    "camera.rgb",
    *(f"camera.slam.{place}.{side}" for place in ("front", "side") for side in ("left", "right")),
    "camera.eye.left",
    "camera.eye.right",
)


@pytest.fixture(scope="module")
def twins(shared_data: Path) -> Iterator[tuple[Source, Source]]:
    if importlib.util.find_spec("foreact.episodes.sources.rosbag") is None:
        pytest.skip("there is no reader of bags")
    paths = ("aria_gen2/aria_gen2_unit_test_sequence_with_bluetooth.vrs", "aria_gen2_ros2_mcap/aria_gen2")
    collections = [open_collection(shared_data / path) for path in paths]
    vrs, bag = (collection.open(collection.keys()[0]) for collection in collections)
    with vrs, bag:
        yield vrs, bag


def values(source: Source, name: str) -> np.ndarray:
    return np.array([source.read(name, index) for index in range(len(source.stamps(name)))])


@pytest.mark.parametrize("name", EXACT + MICROSECONDS)
def test_numbers_are_bit_equal(twins: tuple[Source, Source], name: str) -> None:
    vrs, bag = twins
    np.testing.assert_array_equal(values(vrs, name), values(bag, name))
    ours, theirs = vrs.streams[name], bag.streams[name]
    for what in ("kind", "shape", "dtype", "unit", "frame"):
        assert getattr(ours, what) == getattr(theirs, what), what


@pytest.mark.parametrize("name", EXACT + CAMERAS)
def test_stamps_are_equal(twins: tuple[Source, Source], name: str) -> None:
    vrs, bag = twins
    np.testing.assert_array_equal(vrs.stamps(name), bag.stamps(name))


@pytest.mark.parametrize("name", (*MICROSECONDS, "gaze"))
def test_stamps_are_equal_to_the_microsecond(twins: tuple[Source, Source], name: str) -> None:
    vrs, bag = twins
    np.testing.assert_array_equal(vrs.stamps(name) // 1000 * 1000, bag.stamps(name))


def test_steps_are_the_same_to_the_microsecond(twins: tuple[Source, Source]) -> None:
    def hashed(source: Source, resolution_ns: int) -> str:
        timeline = Timeline.of({"one": source}, streams=EXACT + MICROSECONDS, resolution_ns=resolution_ns)
        return digest(timeline.steps(timeline.times("imu.left")))

    vrs, bag = twins
    assert hashed(vrs, 1000) == hashed(bag, 1000)
    assert hashed(vrs, 1) != hashed(bag, 1)  # stamps of hands were cut, and wrists lie between them


def test_gaze_differs_by_one_turn(twins: tuple[Source, Source]) -> None:
    """The bag has it in the central pupil frame, whose place only the maker's drawings tell; the file in the device's.

    Nine directions and one rotation between them (Kabsch): what is left is float32 rounding. Depth has no frame.
    """
    vrs, bag = twins
    direction, cpf = values(vrs, "gaze"), values(bag, "gaze")
    # yaw = atan2(x, z), pitch = atan2(y, z)
    seen = np.column_stack([np.tan(cpf[:, :2]), np.ones(len(cpf))])
    seen /= np.linalg.norm(seen, axis=1, keepdims=True)
    left, _, right = np.linalg.svd(direction[:, :3].T @ seen)
    turn = left @ np.diag([1, 1, np.linalg.det(left @ right)]) @ right
    np.testing.assert_allclose(seen @ turn.T, direction[:, :3], atol=3e-7)
    np.testing.assert_allclose(direction[:, 3], cpf[:, 2], atol=3e-7)
    assert np.degrees(np.ptp(cpf[:, 0])) > 0.1  # the eyes move, or the turn would fit anything
    assert np.abs(turn - np.eye(3)).max() > 0.3


@pytest.mark.parametrize("name", CAMERAS)
def test_pictures_are_the_same_but_for_jpeg(twins: tuple[Source, Source], name: str) -> None:
    vrs, bag = twins
    ours, theirs = (np.asarray(source.read(name, 1)).astype(np.float64) for source in (vrs, bag))
    assert ours.shape == theirs.shape
    error = np.mean((ours - theirs) ** 2)
    assert 10 * np.log10(255**2 / error) > 34.0  # [dB], quality 82
    other = np.asarray(vrs.read(name, 0)).astype(np.float64)
    assert np.mean((other - theirs) ** 2) > 2 * error  # and not of the frame before
