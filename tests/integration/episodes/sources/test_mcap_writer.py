"""Recordings written as MCAP come back as they were, and other readers understand them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from foreact.episodes.sources import Source, SourceError, Stream, open_collection
from foreact.episodes.sources.mcap_writer import write_mcap
from foreact.episodes.sources.parts import Part, PartsSource, array_part


def same(left: Source, right: Source, names: Sequence[str]) -> None:
    for name in names:
        assert left.streams[name] == right.streams[name]
        np.testing.assert_array_equal(left.stamps(name), right.stamps(name))
        for index in range(len(left.stamps(name))):
            one, other = left.read(name, index), right.read(name, index)
            assert isinstance(one, (str, bytes)) == isinstance(other, (str, bytes))
            np.testing.assert_array_equal(one, other)
            assert getattr(one, "dtype", None) == getattr(other, "dtype", None), name


def again(source: Source, path: Path) -> Source:
    counts = write_mcap(source, path)
    assert counts == {name: len(source.stamps(name)) for name in source.streams}
    return open_collection(path).open(path.stem)


SAMPLES = [
    "aria_gen2_ros2_mcap/aria_gen2",
    *(f"rosbag2_samples/{name}" for name in ("db3_cdr_types", "mcap_cdr_types", "mcap_talker", "mcap_service_events")),
]


@pytest.mark.parametrize("name", SAMPLES)
def test_bags_come_back_equal(name: str, shared_data: Path, tmp_path: Path) -> None:
    collection = open_collection(shared_data / name)
    with collection.open(collection.keys()[0]) as source, again(source, tmp_path / "copy.mcap") as copy:
        assert set(copy.streams) == set(source.streams)
        same(source, copy, [name for name in source.streams if name != "camera.rgb"])
        assert copy.notes == () and copy.task == source.task
        assert {key: copy.metadata[key] for key in source.metadata} == dict(source.metadata)


def test_a_split_bag_becomes_one_file(shared_data: Path, tmp_path: Path) -> None:
    collection = open_collection(shared_data / "rosbag2_samples" / "mcap_split_8topics")
    with collection.open(collection.keys()[0]) as source, again(source, tmp_path / "copy.mcap") as copy:
        for name in source.streams:
            count = len(source.stamps(name))
            np.testing.assert_array_equal(source.stamps(name), copy.stamps(name))
            assert source.read_range(name, 0, count) == copy.read_range(name, 0, count)


def test_vectors_of_a_robot_data_set_come_back_equal(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("foreact.episodes.sources.lerobot")
    collection = open_collection(shared_data / "g1_head_teleop_lerobot_v21")
    with collection.open(collection.keys()[0]) as whole:
        names = [name for name, stream in whole.streams.items() if stream.kind not in ("image", "depth")]
        parts = [_part(whole, name) for name in names]
        metadata = dict(whole.metadata)
        source = PartsSource(whole.key, parts, task=whole.task, metadata=metadata, notes=whole.notes)
        with again(source, tmp_path / "copy.mcap") as copy:
            same(source, copy, names)
            assert copy.task == source.task and len(names) > 1


def _part(source: Source, name: str) -> Part:
    return Part(source.streams[name], source.stamps(name), lambda index: source.read(name, index))


def every_kind() -> list[Part]:
    rng = np.random.default_rng(0)
    stamps = np.array([0, 40, 20, 2**62], np.int64)  # out of order, and past what a ROS header holds

    def part(name: str, kind: Any, values: np.ndarray, **more: Any) -> Part:
        stream = Stream(name, kind, values.shape[1:], values.dtype.name, **more)
        return array_part(stream, stamps, values)

    def said(name: str, kind: Any, dtype: str, values: list[Any]) -> Part:
        return Part(Stream(name, kind, (), dtype), stamps, lambda index: values[index])

    picture = rng.integers(0, 256, (4, 5, 6, 3), np.uint8)
    found = [
        part("camera.rgb", "image", picture, frame="cam", clock="utc", rate_hz=29.97),
        part("camera.grey", "image", picture[..., 0]),
        part("depth.mm", "depth", picture[..., 0].astype(np.uint16) * 200, unit="mm"),
        part("depth.m", "depth", rng.random((4, 5, 6), np.float32), unit="m"),
        part("segmentation.rgb", "segmentation", picture[..., 1]),
        part("segmentation.wide", "segmentation", picture[..., 1].astype(np.int32) - 999),
        part("audio.left", "audio", rng.integers(-99, 99, (4, 16, 2), np.int16)),
        part("pose.head", "pose", rng.random((4, 7)), frame="world", child="head"),
        part("pose.small", "pose", rng.random((4, 7)).astype(np.float32)),
        part("imu.left", "imu", rng.random((4, 6)), elements=("a", "b", "c", "d", "e", "f")),
        part("imu.part", "imu", rng.random((4, 3))),
        part("hand.left.landmarks", "hand", rng.random((4, 21, 3), np.float32), unit="m"),
        part("done", "vector", np.array([True, False, True, False])),
        part("half", "vector", rng.random((4, 2)).astype(np.float16)),
        part("big", "vector", np.full((4, 1), 2**64 - 1, np.uint64)),
        part("nothing", "points", np.zeros((4, 0, 3))),
        part("odd", "vector", np.array([[np.nan, np.inf], [-0.0, 5e-324], [1, 2], [3, 4]])),
        said("text", "text", "str", ["", "käse", "a\nb", "\N{SNOWMAN}"]),
        said("event", "event", "str", ['{"a":1}', "{}", '{"b":[1.5]}', "{}"]),
        said("raw", "bytes", "bytes", [b"", b"\0\1", b"\0", bytes(300)]),
    ]
    cloud = [rng.random((count, 4), np.float32) for count in (3, 0, 1, 2)]
    stream = Stream("cloud", "points", (None, 4), "float32")
    return [*found, Part(stream, stamps, lambda index: cloud[index])]


def test_every_kind_of_stream_comes_back_equal(tmp_path: Path) -> None:
    source = PartsSource("x", every_kind(), task="fold the towel", metadata={"a": [1, "b"]}, notes=("lacks b",))
    with again(source, tmp_path / "copy.mcap") as copy:
        assert set(copy.streams) == set(source.streams) and copy.notes == ()
        same(source, copy, list(source.streams))
        assert copy.task == "fold the towel" and copy.metadata["a"] == [1, "b"]
    with again(copy := open_collection(tmp_path / "copy.mcap").open("copy"), tmp_path / "twice.mcap") as twice:
        same(source, twice, list(source.streams))


def test_another_reader_understands_what_was_written(tmp_path: Path) -> None:
    parts = [part for part in every_kind() if part.stream.name in ("pose.head", "imu.left", "text", "camera.rgb")]
    write_mcap(PartsSource("x", parts), tmp_path / "a.mcap")
    found: dict[str, list[Any]] = {}
    with AnyReader([tmp_path / "a.mcap"]) as reader:
        for connection, stamp, raw in reader.messages():
            found.setdefault(connection.topic, []).append((stamp, reader.deserialize(raw, connection.msgtype)))
    poses = dict(zip(parts[1].stamps.tolist(), [parts[1].read(index) for index in range(4)], strict=True))
    for stamp, message in found["/pose/head"]:
        p, q = message.pose.position, message.pose.orientation
        np.testing.assert_array_equal([p.x, p.y, p.z, q.w, q.x, q.y, q.z], poses[stamp])
    assert [stamp for stamp, _ in found["/text"]] == [0, 20, 40, 2**62]
    assert found["/pose/head"][0][1].header.frame_id == "world"


def test_nothing_is_left_behind_by_a_writer_that_fails(tmp_path: Path) -> None:
    broken = every_kind()[0]

    def fail(index: int) -> np.ndarray:
        if index == 2:
            raise SourceError("damaged there")
        return np.asarray(broken.read(index))

    with pytest.raises(SourceError, match="damaged there"):
        write_mcap(PartsSource("x", [Part(broken.stream, broken.stamps, fail)]), tmp_path / "a.mcap")
    early = array_part(replace(every_kind()[9].stream), np.array([-1], np.int64), np.zeros((1, 6)))
    with pytest.raises(SourceError, match="stamps before 0"):
        write_mcap(PartsSource("x", [early]), tmp_path / "a.mcap")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "a.mcap").write_bytes(b"mine")
    with pytest.raises(FileExistsError):
        write_mcap(PartsSource("x", []), tmp_path / "a.mcap")
    assert (tmp_path / "a.mcap").read_bytes() == b"mine"
