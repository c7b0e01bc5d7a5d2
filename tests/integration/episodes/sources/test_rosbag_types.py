"""What ROS messages become: bags written by other libraries with messages whose meaning is known."""

import base64
import io
import json
import sqlite3
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zstandard
from mcap.writer import CompressionType, Writer
from PIL import Image
from rosbags.typesys import Stores, get_typestore

from foreact.episodes.sources import SourceError, open_collection
from foreact.episodes.sources.rosbag import BagSource

STORE = get_typestore(Stores.ROS2_HUMBLE)
T: dict[str, Any] = dict(STORE.types)
Row = tuple[str, Any]
SEC = 1_000_000_000


def header(stamp: int, frame: str = "base") -> Any:
    return T["std_msgs/msg/Header"](T["builtin_interfaces/msg/Time"](stamp // SEC, stamp % SEC), frame)


def xyz(kind: str, x: float, y: float, z: float) -> Any:
    return T[f"geometry_msgs/msg/{kind}"](x, y, z)


def quaternion(w: float, x: float, y: float, z: float) -> Any:
    return T["geometry_msgs/msg/Quaternion"](x, y, z, w)


def pose(x: float) -> Any:
    return T["geometry_msgs/msg/Pose"](xyz("Point", x, 2.0, 3.0), quaternion(0.5, 0.1, 0.2, 0.3))


POSE = [1.0, 2.0, 3.0, 0.5, 0.1, 0.2, 0.3]


def written(path: Path, rows: Sequence[Row], compression: CompressionType = CompressionType.ZSTD, **more: Any) -> Path:
    """An MCAP file with one message a row; log times 100, 101, ... [ns]."""
    with path.open("wb") as file:
        writer = Writer(file, compression=compression, **more)
        writer.start("ros2")
        channels: dict[str, int] = {}
        for number, (topic, message) in enumerate(rows):
            kind = message.__msgtype__
            if topic not in channels:
                text, _ = STORE.generate_msgdef(kind, ros_version=2)
                channels[topic] = writer.register_channel(
                    topic, "cdr", writer.register_schema(kind, "ros2msg", text.encode())
                )
            writer.add_message(channels[topic], 100 + number, bytes(STORE.serialize_cdr(message, kind)), 100 + number)
        writer.finish()
    return path


def opened(path: Path) -> BagSource:
    collection = open_collection(path)
    source = collection.open(collection.keys()[0])
    assert isinstance(source, BagSource)
    return source


def image(encoding: str, pixels: np.ndarray, *, big: bool = False, pad: int = 0) -> Any:
    height, width = pixels.shape[:2]
    raw = pixels.astype(pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    rows = [raw[at : at + len(raw) // height] + bytes(pad) for at in range(0, len(raw), len(raw) // height)]
    data = np.frombuffer(b"".join(rows), np.uint8)
    return T["sensor_msgs/msg/Image"](header(5), height, width, encoding, int(big), len(rows[0]), data)


RGB = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
DEEP = np.array([[0, 1, 60000], [7, 8, 9]], np.uint16)
FAR = np.array([[0.5, np.nan, 3.25]], np.float32)


@pytest.mark.parametrize(
    ("message", "kind", "unit", "expected"),
    [
        (image("rgb8", RGB), "image", "", RGB),
        (image("bgr8", RGB, pad=3), "image", "", RGB[..., ::-1]),
        (image("rgba8", np.dstack([RGB, RGB[..., 0]])), "image", "", RGB),
        (image("mono8", RGB[..., 1]), "image", "", RGB[..., 1]),
        (image("bayer_rggb8", RGB[..., 1]), "image", "", RGB[..., 1]),
        (image("mono16", DEEP), "vector", "", DEEP),
        (image("16UC1", DEEP), "depth", "mm", DEEP),
        (image("16UC1", DEEP, big=True, pad=2), "depth", "mm", DEEP),
        (image("32FC1", FAR), "depth", "m", FAR),
    ],
)
def test_raw_pictures(message: Any, kind: str, unit: str, expected: np.ndarray, tmp_path: Path) -> None:
    with opened(written(tmp_path / "a.mcap", [("/cam/raw", message)])) as source:
        stream = source.streams["cam.raw"]
        value = source.read("cam.raw", 0)
        assert isinstance(value, np.ndarray)
        assert (stream.kind, stream.unit, stream.frame, stream.shape) == (kind, unit, "base", expected.shape)
        assert value.dtype == expected.dtype and np.dtype(stream.dtype) == expected.dtype
        np.testing.assert_array_equal(value, expected)


def test_packed_pictures(tmp_path: Path) -> None:
    def packed(says: str, pixels: np.ndarray, lead: bytes = b"", form: str = "png") -> Any:
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, form)
        return T["sensor_msgs/msg/CompressedImage"](header(5), says, np.frombuffer(lead + out.getvalue(), np.uint8))

    rows = [
        ("/rgb", packed("rgb8; png compressed rgb8", RGB)),
        ("/depth", packed("16UC1; compressedDepth png", DEEP, bytes(12))),
        ("/depth2", packed("16UC1; png compressed", DEEP)),
        ("/odd", packed("32FC1; compressedDepth png", DEEP, bytes(12))),
        ("/video", T["sensor_msgs/msg/CompressedImage"](header(5), "h264", np.arange(9, dtype=np.uint8))),
    ]
    with opened(written(tmp_path / "a.mcap", rows)) as source:
        np.testing.assert_array_equal(source.read("rgb", 0), RGB)
        for name in ("depth", "depth2"):
            np.testing.assert_array_equal(source.read(name, 0), DEEP)
            assert (source.streams[name].kind, source.streams[name].unit) == ("depth", "mm")
        assert source.streams["odd"].kind == source.streams["video"].kind == "bytes"
        assert [note for note in source.notes if "h264" in note] and [note for note in source.notes if "32FC1" in note]


def vectors() -> list[tuple[str, Any, str, str, list[float]]]:
    geometry = "geometry_msgs/msg/"
    cov = np.zeros(36)
    twist = T[geometry + "Twist"](xyz("Vector3", 1, 2, 3), xyz("Vector3", 4, 5, 6))
    odometry = T["nav_msgs/msg/Odometry"](
        header(5),
        "robot",
        T[geometry + "PoseWithCovariance"](pose(1.0), cov),
        T[geometry + "TwistWithCovariance"](twist, cov),
    )
    no, yes, some = np.array([-1.0] + [0.0] * 8), np.zeros(9), xyz("Vector3", 7, 8, 9)
    imu = T["sensor_msgs/msg/Imu"]
    q = quaternion(1.0, 0.0, 0.0, 0.0)
    joints = T["sensor_msgs/msg/JointState"](
        header(5), ["a", "b"], np.array([1.0, 2.0]), np.array([]), np.array([3, 4.0])
    )
    status = T["sensor_msgs/msg/NavSatStatus"](0, 1)
    fix = T["sensor_msgs/msg/NavSatFix"](header(5), status, 48.5, 9.25, 300.0, yes, 0)
    transform = T[geometry + "Transform"](xyz("Vector3", 1, 2, 3), quaternion(0.5, 0.1, 0.2, 0.3))
    wrench = T[geometry + "Wrench"](xyz("Vector3", 1, 2, 3), xyz("Vector3", 4, 5, 6))
    six = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    return [
        ("odom", odometry, "pose", "m,m,m,1,1,1,1", POSE),
        ("odom.twist", odometry, "vector", "m/s,m/s,m/s,rad/s,rad/s,rad/s", six),
        ("imu", imu(header(5), q, yes, xyz("Vector3", 1, 2, 3), yes, some, no), "imu", "rad/s,rad/s,rad/s", [1, 2, 3]),
        ("imu.orientation", imu(header(5), q, yes, some, no, some, no), "vector", "1", [1, 0, 0, 0]),
        ("j.position", joints, "vector", "", [1, 2]),
        ("j.effort", joints, "vector", "", [3, 4]),
        ("fix", fix, "vector", "deg,deg,m", [48.5, 9.25, 300.0]),
        ("p", T[geometry + "PoseStamped"](header(5), pose(1.0)), "pose", "m,m,m,1,1,1,1", POSE),
        ("t", T[geometry + "TransformStamped"](header(5), "tool", transform), "pose", "m,m,m,1,1,1,1", POSE),
        ("w", T[geometry + "WrenchStamped"](header(5), wrench), "vector", "N,N,N,N m,N m,N m", six),
        ("tw", twist, "vector", "m/s,m/s,m/s,rad/s,rad/s,rad/s", six),
        ("v", xyz("Vector3", 1, 2, 3), "vector", "", [1, 2, 3]),
        ("n", T["std_msgs/msg/Int64"](-(2**62) - 1), "vector", "", [-(2**62) - 1]),
        ("b", T["std_msgs/msg/Bool"](True), "vector", "", [True]),
        ("temp", T["sensor_msgs/msg/Temperature"](header(5), 21.5, 0.0), "vector", "degC", [21.5]),
    ]


@pytest.mark.parametrize(("name", "message", "kind", "unit", "expected"), vectors(), ids=[row[0] for row in vectors()])
def test_numbers(name: str, message: Any, kind: str, unit: str, expected: list[float], tmp_path: Path) -> None:
    with opened(written(tmp_path / "a.mcap", [("/" + name.split(".")[0], message)])) as source:
        stream, value = source.streams[name], source.read(name, 0)
        assert isinstance(value, np.ndarray)
        assert (stream.kind, stream.unit) == (kind, unit)
        assert value.tolist() == expected
        assert stream.shape == value.shape and np.dtype(stream.dtype) == value.dtype
        child = {"odom": "robot", "t": "tool"}.get(name, "")
        assert stream.child == child
        stamped = hasattr(message, "header")
        assert (stream.clock, source.stamps(name).tolist()) == (("header", [5]) if stamped else ("log", [100]))


def test_lists_of_poses_points_and_arrays(tmp_path: Path) -> None:
    field = T["sensor_msgs/msg/PointField"]
    fields = [field("x", 0, 7, 1), field("y", 4, 7, 1), field("z", 8, 7, 1), field("ring", 12, 4, 1)]
    points = b"".join(struct.pack("<fffHxx", i, i + 0.5, -i, 9 + i) for i in range(4))
    data = np.frombuffer(points, np.uint8)
    cloud = T["sensor_msgs/msg/PointCloud2"](header(5), 2, 2, fields, False, 16, 32, data, True)
    layout = T["std_msgs/msg/MultiArrayLayout"]
    size = T["std_msgs/msg/MultiArrayDimension"]
    table = layout([size("rows", 2, 6), size("columns", 3, 3)], 0)
    rows = [
        ("/cloud", cloud),
        ("/poses", T["geometry_msgs/msg/PoseArray"](header(5), [pose(1.0), pose(7.0)])),
        ("/table", T["std_msgs/msg/Float32MultiArray"](table, np.arange(6, dtype=np.float32))),
        ("/flat", T["std_msgs/msg/UInt8MultiArray"](layout([], 0), np.arange(3, dtype=np.uint8))),
        ("/text", T["std_msgs/msg/String"]("käse")),
        ("/color", T["std_msgs/msg/ColorRGBA"](float("nan"), 1.0, float("-inf"), 0.0)),
    ]
    with opened(written(tmp_path / "a.mcap", rows, CompressionType.LZ4)) as source:
        expected = [[i, i + 0.5, -i, 9 + i] for i in range(4)]
        np.testing.assert_array_equal(source.read("cloud", 0), expected)
        assert source.streams["cloud"].elements == ("x", "y", "z", "ring")
        np.testing.assert_array_equal(source.read("poses", 0), [POSE, [7.0, *POSE[1:]]])
        np.testing.assert_array_equal(source.read("table", 0), np.arange(6, dtype=np.float32).reshape(2, 3))
        np.testing.assert_array_equal(source.read("flat", 0), [0, 1, 2])
        assert source.read("text", 0) == "käse"
        assert json.loads(str(source.read("color", 0))) == {"r": "NaN", "g": 1.0, "b": "-Infinity", "a": 0.0}


def transforms(*rows: tuple[str, str, int, float]) -> Any:
    one = T["geometry_msgs/msg/TransformStamped"]
    move = T["geometry_msgs/msg/Transform"]
    turn = quaternion(0.5, 0.1, 0.2, 0.3)
    return T["tf2_msgs/msg/TFMessage"](
        [one(header(at, frame), child, move(xyz("Vector3", x, 2, 3), turn)) for frame, child, at, x in rows]
    )


def test_each_pair_of_frames_is_a_stream(tmp_path: Path) -> None:
    first = transforms(("map", "base", 5, 1.0), ("base", "arm/hand", 6, 2.0))
    path = written(tmp_path / "a.mcap", [("/tf", first), ("/tf", transforms(("map", "base", 4, 9.0)))])
    with opened(path) as source:
        assert set(source.streams) == {"tf.base", "tf.arm.hand"}
        assert source.stamps("tf.base").tolist() == [5, 4]  # as in the file, not sorted
        assert source.log_stamps("tf.base").tolist() == [100, 101]
        assert (source.streams["tf.arm.hand"].frame, source.streams["tf.arm.hand"].child) == ("base", "arm/hand")
        np.testing.assert_array_equal(np.array(source.read_range("tf.base", 0, 2))[:, 0], [1.0, 9.0])


def test_clocks_are_never_mixed(tmp_path: Path) -> None:
    kind = T["geometry_msgs/msg/PoseStamped"]
    rows = [("/p", kind(header(stamp, frame), pose(1.0))) for stamp, frame in ((7, "a"), (0, "a"), (9, "b"))]
    with opened(written(tmp_path / "a.mcap", rows)) as source:
        assert source.streams["p"].clock == "log" and source.stamps("p").tolist() == [100, 101, 102]
        headers = source.header_stamps("p")
        assert headers is not None and headers.tolist() == [7, 0, 9]
        assert source.streams["p"].frame == ""
        assert any("2 of 3 messages have a header stamp" in note for note in source.notes)
        assert any("frame of its headers changes" in note for note in source.notes)


def test_joints_that_change_are_an_error_not_a_wrong_number(tmp_path: Path) -> None:
    kind, no = T["sensor_msgs/msg/JointState"], np.array([])
    rows = [("/j", kind(header(1), names, np.array([1.0, 2.0]), no, no)) for names in (["a", "b"], ["b", "a"])]
    with opened(written(tmp_path / "a.mcap", rows)) as source:
        assert source.streams["j.position"].elements == ("a", "b")
        with pytest.raises(SourceError, match="joints differ"):
            source.read("j.position", 1)


@pytest.mark.parametrize("chunked", [True, False])
def test_files_without_ros(chunked: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    with path.open("wb") as file:
        writer = Writer(file, use_chunking=chunked, enable_data_crcs=True)
        writer.start()
        schema = writer.register_schema("foxglove.Log", "jsonschema", b'{"type":"object"}')
        texts = writer.register_channel("/log", "json", schema)
        proto = writer.register_channel("/proto", "protobuf", writer.register_schema("x.Y", "protobuf", b"\0"))
        odd = writer.register_channel("/odd", "json", 0)
        writer.add_message(texts, 1, b'{"a": [1, 2.5, null]}', 1)
        writer.add_message(proto, 2, b"\1\2\3", 2)
        writer.add_message(odd, 3, b'{"a": NaN}', 3)
        writer.finish()
    with opened(path) as source:
        assert json.loads(str(source.read("log", 0))) == {"a": [1, 2.5, None]}
        assert source.read("proto", 0) == b"\1\2\3"
        assert [note for note in source.notes if "/proto is given as bytes" in note]
        with pytest.raises(SourceError, match="no JSON"):
            source.read("odd", 0)
    if not chunked:  # the checksum of the data holds loose messages
        path.write_bytes(path.read_bytes().replace(b"2.5, null", b"3.5, null"))
        with opened(path) as source:
            assert any("checksum of the data does not fit" in note for note in source.notes)


def test_json_messages_of_foxglove(tmp_path: Path) -> None:
    out = io.BytesIO()
    Image.fromarray(RGB).save(out, "png")
    coded = base64.b64encode(out.getvalue()).decode()
    raw = base64.b64encode(DEEP.tobytes()).decode()
    turned = {"w": 0.5, "x": 0.1, "y": 0.2, "z": 0.3}
    moved = {"x": 1, "y": 2, "z": 3}
    messages: dict[str, dict[str, Any]] = {
        "CompressedImage": {"frame_id": "cam", "format": "png", "data": coded},
        "RawImage": {"width": 3, "height": 2, "step": 6, "encoding": "16UC1", "data": raw},
        "PoseInFrame": {"frame_id": "map", "pose": {"position": moved, "orientation": turned}},
        "FrameTransform": {"child_frame_id": "tool", "translation": moved, "rotation": turned},
        "LocationFix": {"latitude": 48.5, "longitude": 9, "altitude": 300},
        "Log": {"message": "hi"},
    }
    with (tmp_path / "a.mcap").open("wb") as file:
        writer = Writer(file)
        writer.start()
        for name, message in messages.items():
            schema = writer.register_schema(f"foxglove.{name}", "jsonschema", b"{}")
            channel = writer.register_channel(f"/{name}", "json", schema)
            writer.add_message(channel, 7, json.dumps(message).encode(), 7)
            writer.add_message(channel, 8, b'{"data": "no base64", "latitude": "x"}', 8)
        writer.finish()
    expected: dict[str, Any] = {"CompressedImage": RGB, "RawImage": DEEP, "PoseInFrame": POSE, "FrameTransform": POSE}
    with opened(tmp_path / "a.mcap") as source:
        for name, value in (expected | {"LocationFix": [48.5, 9.0, 300.0]}).items():
            np.testing.assert_array_equal(source.read(name, 0), value)
            assert source.streams[name].clock == "log"
            with pytest.raises(SourceError, match=f"/{name}: message 1"):
                source.read(name, 1)
        assert source.streams["RawImage"].unit == "mm" and source.streams["FrameTransform"].child == "tool"
        assert source.streams["PoseInFrame"].description.endswith("frame of the first message: map")
        assert source.read("Log", 0) == '{"message": "hi"}'


def test_camera_descriptions_are_events_and_metadata(tmp_path: Path) -> None:
    region = T["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    d, k, r, p = np.zeros(5), np.arange(9.0), np.eye(3).ravel(), np.zeros(12)
    info = T["sensor_msgs/msg/CameraInfo"](header(5), 480, 640, "plumb_bob", d, k, r, p, 0, 0, region)
    with opened(written(tmp_path / "a.mcap", [("/cam/camera_info", info)])) as source:
        event = json.loads(str(source.read("cam.camera_info", 0)))
        assert event["k"] == list(range(9)) and source.metadata["camera_info"] == {"/cam/camera_info": event}


def database(path: Path, rows: Sequence[Row], *, packed: bool = False) -> None:
    """A bag of before Iron: no definitions in the file."""
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE topics(id INTEGER PRIMARY KEY, name TEXT, type TEXT, serialization_format TEXT)"
        )
        connection.execute(
            "CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, timestamp INTEGER, data BLOB)"
        )
        for number, (topic, message) in enumerate(rows, 1):
            data = bytes(STORE.serialize_cdr(message, message.__msgtype__))
            data = zstandard.compress(data) if packed else data
            connection.execute("INSERT INTO topics VALUES (?, ?, ?, 'cdr')", (number, topic, message.__msgtype__))
            connection.execute("INSERT INTO messages VALUES (?, ?, ?, ?)", (number, number, 100 + number, data))
    connection.close()


@pytest.mark.parametrize("packed", [False, True])
def test_an_old_database_takes_ros_standard_definitions(packed: bool, tmp_path: Path) -> None:
    message = T["geometry_msgs/msg/PoseStamped"](header(5), pose(1.0))
    database(tmp_path / "old_0.db3", [("/p", message), ("/s", T["std_msgs/msg/String"]("hi"))], packed=packed)
    mode = "compression_format: zstd\n  compression_mode: MESSAGE" if packed else "compression_mode: ''"
    text = f"rosbag2_bagfile_information:\n  {mode}\n  relative_file_paths:\n  - old/old_0.db3\n  message_count: 2\n"
    (tmp_path / "metadata.yaml").write_text(text)
    with opened(tmp_path) as source:
        np.testing.assert_array_equal(source.read("p", 0), POSE)
        assert source.stamps("p").tolist() == [5] and source.log_stamps("p").tolist() == [101]
        assert source.read("s", 0) == "hi" and source.notes == ()
