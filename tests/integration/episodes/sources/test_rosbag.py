"""Bags of others: every sample against another reader, and what a bag must say of itself."""

import io
import json
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader
from PIL import Image
from rosbags.highlevel import AnyReader

from foreact.episodes.sources import Source, SourceError, open_collection
from foreact.episodes.sources.rosbag import BagSource


def opened(path: Path) -> BagSource:
    collection = open_collection(path)
    (key,) = collection.keys()
    source = collection.open(key)
    assert isinstance(source, BagSource)
    return source


def by_rosbags(path: Path) -> dict[str, list[tuple[int, Any]]]:
    """Log time and message by topic, as an independent reader gives them."""
    found: dict[str, list[tuple[int, Any]]] = {}
    with AnyReader([path]) as reader:
        for connection, log, raw in reader.messages():
            found.setdefault(connection.topic, []).append((log, reader.deserialize(raw, connection.msgtype)))
    return found


def xyz(*values: Any) -> list[float]:
    return [number for value in values for number in (value.x, value.y, value.z)]


def pose(value: Any) -> list[float]:
    q = value.orientation
    return [*xyz(value.position), q.w, q.x, q.y, q.z]


@pytest.fixture(scope="module")
def aria(shared_data: Path) -> Path:
    return shared_data / "aria_gen2_ros2_mcap" / "aria_gen2"


COUNTS = {
    **{"camera.rgb": 3, "camera.eye.left": 2, "camera.eye.right": 2, "imu.left": 239, "imu.right": 238},
    **{f"camera.slam.{place}.{side}": 9 for place in ("front", "side") for side in ("left", "right")},
    **{f"hand.{side}.{part}": 9 for side in ("left", "right") for part in ("landmarks", "wrist")},
    **{"magnetometer": 30, "gaze": 9, "pose.vio.high_frequency": 237},
}


def test_the_aria_twin_has_the_names_and_counts_of_its_recording(aria: Path) -> None:
    with opened(aria) as source:
        assert {name: len(source.stamps(name)) for name in source.streams} == COUNTS
        assert sum(COUNTS.values()) - 18 == 814  # a hand's message gives landmarks and a wrist
        assert source.notes == ()
        assert {each.clock for each in source.streams.values()} == {"header"}
        assert source.streams["camera.rgb"].shape == (1512, 2016, 3)
        assert source.streams["camera.slam.front.left"].shape == (512, 512)
        assert source.streams["hand.left.landmarks"].frame == "device"
        assert source.streams["imu.left"].unit == "rad/s,rad/s,rad/s,m/s^2,m/s^2,m/s^2"


def test_the_aria_twin_holds_what_another_reader_finds(aria: Path) -> None:
    other = by_rosbags(aria)

    def same(name: str, topic: str, value: Any) -> None:
        messages = [message for _, message in other[topic]]
        stamps = [m.header.stamp.sec * 1_000_000_000 + m.header.stamp.nanosec for m in messages]
        assert source.stamps(name).tolist() == stamps
        assert source.log_stamps(name).tolist() == [log for log, _ in other[topic]]
        read = source.read_range(name, 0, len(stamps))
        np.testing.assert_array_equal(np.array(read), np.array([value(message) for message in messages]))

    with opened(aria) as source:
        for side in ("left", "right"):
            same(f"imu.{side}", f"/aria/imu_{side}", lambda m: xyz(m.angular_velocity, m.linear_acceleration))
            same(f"hand.{side}.wrist", f"/aria/hands/{side}", lambda m: pose(m.poses[21]))
            same(f"hand.{side}.landmarks", f"/aria/hands/{side}", lambda m: [xyz(p.position) for p in m.poses[:21]])
        same("magnetometer", "/aria/mag", lambda m: xyz(m.magnetic_field))
        same("gaze", "/aria/gaze_yaw_pitch", lambda m: xyz(m.vector))
        same("pose.vio.high_frequency", "/aria/vio_high_frequency", lambda m: pose(m.pose))
        for name in ("rgb", "slam_side_left", "et_right"):
            stream = {"rgb": "camera.rgb", "slam_side_left": "camera.slam.side.left", "et_right": "camera.eye.right"}[
                name
            ]
            same(stream, f"/aria/{name}/compressed", lambda m: np.array(Image.open(io.BytesIO(m.data.tobytes()))))


ADDED = ("__msgtype__", "structure_needs_at_least_one_member")  # by the other reader, as it adds constants


def test_typed_messages_are_the_same_in_mcap_and_sqlite_and_by_another_reader(shared_data: Path) -> None:
    import base64

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            return base64.b64encode(value.tobytes()).decode() if value.dtype == np.uint8 else value.tolist()
        if isinstance(value, list):
            return [plain(each) for each in value]
        if hasattr(value, "__msgtype__"):
            fields = {key: each for key, each in vars(value).items() if key not in ADDED and not key.isupper()}
            # the other reader takes bytes for signed, though the definition's defaults go to 255
            signed = {
                key: each.view(np.uint8)
                for key, each in fields.items()
                if key.startswith(("byte_values", "char_values"))
            }
            return {key: plain(each) for key, each in (fields | signed).items()}
        return value

    folder = shared_data / "rosbag2_samples"
    found = []
    for name in ("mcap_cdr_types", "db3_cdr_types"):
        other = by_rosbags(folder / name)
        with opened(folder / name) as source:
            assert set(source.streams) == {"test_topic", "array_topic"}
            for stream in source.streams:
                events = [json.loads(str(each)) for each in source.read_range(stream, 0, len(source.stamps(stream)))]
                assert events == [plain(message) for _, message in other[f"/{stream}"]]
                assert source.stamps(stream).tolist() == [log for log, _ in other[f"/{stream}"]]
                found.append((stream, source.stamps(stream).tolist(), events))
    assert sorted(found[:2], key=str) == sorted(found[2:], key=str)


def test_a_bag_split_over_five_files_is_one_recording(shared_data: Path, tmp_path: Path) -> None:
    folder = shared_data / "rosbag2_samples" / "mcap_split_8topics"
    texts: dict[str, list[tuple[int, str]]] = {}
    for number in range(5):
        with (folder / f"wbag_{number}.mcap").open("rb") as file:
            for _, channel, message in make_reader(file).iter_messages(log_time_order=False):
                texts.setdefault(channel.topic, []).append((message.log_time, message.data[8:-1].decode()))
    with opened(folder) as source:
        assert sum(len(source.stamps(name)) for name in source.streams) == 6074
        for topic, expected in texts.items():
            read = source.read_range(topic, 0, len(expected))
            assert list(zip(source.stamps(topic).tolist(), read, strict=True)) == expected
            assert source.streams[topic].kind == "text" and source.streams[topic].clock == "log"
    for file in folder.glob("*.mcap"):  # without metadata.yaml the numbers say what belongs together
        (tmp_path / file.name).symlink_to(file)
    with opened(tmp_path) as source:
        assert source.key == "wbag" and sum(len(source.stamps(name)) for name in source.streams) == 6074


def test_a_talker_gives_its_texts_and_the_log(shared_data: Path) -> None:
    with opened(shared_data / "rosbag2_samples" / "mcap_talker") as source:
        assert source.read_range("topic", 0, 10) == [f"Hello, world! {number}" for number in range(10)]
        assert json.loads(str(source.read("rosout", 0)))["name"] == "minimal_publisher"
        assert source.streams["rosout"].kind == "event"
        assert any("/parameter_events has no messages" in note for note in source.notes)


def test_an_unknown_encoding_is_refused_with_the_reason(shared_data: Path) -> None:
    with pytest.raises(SourceError, match="no topic can be decoded.*'wrong_format', which is not known"):
        opened(shared_data / "rosbag2_samples" / "mcap_unknown_encoding")


def test_service_events_are_refused_with_the_reason_and_the_rest_is_read(shared_data: Path) -> None:
    with opened(shared_data / "rosbag2_samples" / "mcap_service_events") as source:
        assert set(source.streams) == {"test_topic1", "test_topic2"}
        refused = [note for note in source.notes if "_service_event is left out" in note]
        assert len(refused) == 2 and all("a service, which has no message of its own" in note for note in refused)


def test_several_threads_read_the_same_values(aria: Path) -> None:
    def work(source: Source, wrong: list[str]) -> None:
        for index in range(0, 200, 3):
            for name, expected in (("imu.left", left), ("imu.right", right)):
                if not np.array_equal(source.read(name, index), expected[index]):
                    wrong.append(name)

    with opened(aria) as source:
        left, right = source.read_range("imu.left", 0, 239), source.read_range("imu.right", 0, 238)
        wrong: list[str] = []
        threads = [threading.Thread(target=work, args=(source, wrong)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
    with pytest.raises(SourceError, match="was closed"):
        source.read("imu.left", 0)


def test_a_missing_package_says_what_to_type(aria: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rosbags", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "rosbags" else True)
    with pytest.raises(ModuleNotFoundError, match=r"bags need rosbags: pip install 'foreact\[data\]'"):
        open_collection(aria)
