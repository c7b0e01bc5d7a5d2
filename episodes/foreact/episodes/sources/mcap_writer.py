"""Any recording as one MCAP file that ROS 2 tools open, and that our reader gives back as it was.

Messages are ROS 2's where one fits: pictures and 16-bit depth as `CompressedImage` (lossless PNG, or as they were
packed), float depth as `Image`, poses, IMU samples, texts; numbers of any shape as `MultiArray`. Events are JSON. Log
times are the streams' stamps. What the messages cannot say stands in the metadata of the channels.
"""

from __future__ import annotations

import heapq
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foreact.episodes import strictjson
from foreact.episodes.outcome import ProgressFn, quiet
from foreact.episodes.sources.protocol import Source, SourceError, Stream, Value
from foreact.episodes.sources.rosbag import need_packages
from foreact.episodes.sources.rosbag_own import RECORD, STREAM, description

if TYPE_CHECKING:
    from mcap.writer import Writer

__all__ = ["write_mcap"]

NS = 1_000_000_000
LAST = (2**31 - 1) * NS  # what a ROS header can hold
BATCH = 256  # samples that are read at once of streams that are no pictures
PICTURES = ("image", "depth", "segmentation", "audio", "points")
JSON_SCHEMA = b'{"type":"object"}'
ARRAYS = {
    **{name: name for name in ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")},
    **{"float32": "float32", "float64": "float64", "float16": "float32", "bool": "uint8"},
}


def write_mcap(source: Source, path: Path, *, progress: ProgressFn = quiet) -> dict[str, int]:
    """Write a recording.

    Args:
        source: Any recording; what its streams hold is read once, in the order of their stamps.
        path: A file that does not exist yet; it appears when it is whole.
        progress: Told of messages.

    Returns:
        How many messages each stream has.

    Raises:
        FileExistsError: There is a file already.
        SourceError: The recording is damaged, or a stamp lies before 0 or a value has a type that ROS lacks.
        ModuleNotFoundError: The packages for bags are lacking.
    """
    need_packages()
    from mcap.writer import Writer

    if path.exists():
        raise FileExistsError(f"{path} exists")
    temporary = path.with_name(f".tmp-{path.name}-{os.getpid()}")
    try:
        with temporary.open("xb") as file:
            writer = Writer(file, enable_data_crcs=True)
            writer.start(profile="ros2", library="foreact")
            counts = _write(writer, source, progress)
            writer.finish()
            file.flush()
            os.fsync(file.fileno())
        if path.exists():
            raise FileExistsError(f"{path} exists: another process wrote it first")
        os.rename(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return counts


def _write(writer: Writer, source: Source, progress: ProgressFn) -> dict[str, int]:
    says = {"key": source.key, "task": source.task, "metadata": strictjson.canonical(source.metadata)}
    writer.add_metadata(RECORD, says | {"notes": strictjson.canonical(list(source.notes))})
    counts = {name: len(source.stamps(name)) for name in source.streams}
    channels = {name: _Channel.of(writer, source, name) for name in source.streams}
    total, done = sum(counts.values()), 0
    for stamp, name, index, value in heapq.merge(*(_samples(source, name) for name in source.streams), key=_moment):
        channel = channels[name]
        writer.add_message(channel.number, stamp, channel.encode(value, stamp, index), stamp, index % 2**32)
        done += 1
        progress(done, total, "write MCAP")
    return counts


def _moment(row: tuple[int, str, int, Value]) -> int:
    return row[0]


def _samples(source: Source, name: str) -> Iterator[tuple[int, str, int, Value]]:
    stamps = source.stamps(name)
    if len(stamps) and stamps.min() < 0:
        raise SourceError(f"{source.key}: stream {name} has stamps before 0, which MCAP cannot hold")
    step = 1 if source.streams[name].kind in PICTURES else BATCH
    for start in range(0, len(stamps), step):
        values = source.read_range(name, start, min(start + step, len(stamps)))
        for index, value in enumerate(values, start):
            yield int(stamps[index]), name, index, value


@dataclass(frozen=True)
class _Channel:
    """Where a stream's messages go: the channel's number, and value, stamp [ns] and index to bytes."""

    number: int
    encode: Callable[[Value, int, int], bytes]

    @classmethod
    def of(cls, writer: Writer, source: Source, name: str) -> _Channel:
        stream = source.streams[name]
        kind, make = _form(source, stream)
        if kind == "json":
            schema = writer.register_schema("foreact.Event", "jsonschema", JSON_SCHEMA)
        else:
            text, _ = _store().generate_msgdef(kind, ros_version=2)
            schema = writer.register_schema(kind, "ros2msg", text.encode())
        encoding = "json" if kind == "json" else "cdr"
        topic = "/" + name.replace(".", "/")
        return cls(writer.register_channel(topic, encoding, schema, {STREAM: description(stream)}), make)


def _form(source: Source, stream: Stream) -> tuple[str, Callable[[Value, int, int], bytes]]:
    """The message type of a stream, and how a value becomes one."""
    if stream.kind == "event":
        return "json", lambda value, *_: str(value).encode()
    if stream.dtype == "str":
        return "std_msgs/msg/String", lambda value, *_: _cdr("std_msgs/msg/String", data=str(value))
    if stream.dtype == "bytes":
        kind = "std_msgs/msg/UInt8MultiArray"
        return kind, lambda value, *_: _array(kind, np.frombuffer(_bytes(value), np.uint8))
    dtype = np.dtype(stream.dtype)
    flat = len(stream.shape) == 2 or (len(stream.shape) == 3 and stream.shape[2] == 3)
    if stream.kind == "image" and dtype == np.uint8 and flat:
        return _picture(source, stream)
    if stream.kind in ("depth", "segmentation") and len(stream.shape) == 2:
        if dtype in (np.uint8, np.uint16):
            return _picture(source, stream)
        if dtype == np.float32:
            return "sensor_msgs/msg/Image", lambda value, stamp, _: _image(_numbers(value), stamp, stream.frame)
    if stream.kind == "pose" and stream.shape == (7,):
        return "geometry_msgs/msg/PoseStamped", lambda value, stamp, _: _pose(_numbers(value), stamp, stream.frame)
    if stream.kind == "imu" and stream.shape == (6,):
        return "sensor_msgs/msg/Imu", lambda value, stamp, _: _imu(_numbers(value), stamp, stream.frame)
    if dtype.name not in ARRAYS:
        raise SourceError(f"{source.key}: stream {stream.name} holds {dtype}, which ROS messages lack")
    target = ARRAYS[dtype.name]
    kind = f"std_msgs/msg/{target.replace('int', 'Int').replace('u', 'U').replace('float', 'Float')}MultiArray"
    return kind, lambda value, *_: _array(kind, _numbers(value).astype(target, copy=False))


def _numbers(value: Value) -> np.ndarray:
    return np.asarray(value)


def _bytes(value: Value) -> bytes:
    if not isinstance(value, bytes):
        raise SourceError(f"bytes were promised, {type(value).__name__} was read")
    return value


@cache
def _store() -> Any:
    from rosbags.typesys import Stores, get_typestore

    return get_typestore(Stores.ROS2_HUMBLE)


def _new(kind: str, **fields: Any) -> Any:
    return _store().types[kind](**fields)


def _cdr(kind: str, **fields: Any) -> bytes:
    return bytes(_store().serialize_cdr(_new(kind, **fields), kind))


def _array(kind: str, values: np.ndarray) -> bytes:
    dims, stride = [], values.size
    for size in values.shape:
        dims.append(_new("std_msgs/msg/MultiArrayDimension", label="", size=size, stride=stride))
        stride = stride // size if size else 0
    layout = _new("std_msgs/msg/MultiArrayLayout", dim=dims, data_offset=0)
    return _cdr(kind, layout=layout, data=np.ascontiguousarray(values).reshape(-1))


def _header(stamp: int, frame: str) -> Any:
    time = min(stamp, LAST)  # past 2038 the log time alone is right; our reader takes that
    when = _new("builtin_interfaces/msg/Time", sec=time // NS, nanosec=time % NS)
    return _new("std_msgs/msg/Header", stamp=when, frame_id=frame)


def _picture(source: Source, stream: Stream) -> tuple[str, Callable[[Value, int, int], bytes]]:
    kind = "sensor_msgs/msg/CompressedImage"
    packed: Callable[[str, int], tuple[str, bytes] | None] = getattr(source, "packed", lambda *_: None)

    def make(value: Value, stamp: int, index: int) -> bytes:
        found = packed(stream.name, index)
        says, data = (
            ("16UC1; png compressed" if stream.dtype == "uint16" else "png", _png(value)) if found is None else found
        )
        return _cdr(kind, header=_header(stamp, stream.frame), format=says, data=np.frombuffer(data, np.uint8))

    return kind, make


def _png(value: Value) -> bytes:
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise ModuleNotFoundError("pictures need Pillow: pip install 'foreact[data]'") from None
    out = io.BytesIO()
    Image.fromarray(_numbers(value)).save(out, "png", compress_level=1)
    return out.getvalue()


def _image(pixels: np.ndarray, stamp: int, frame: str) -> bytes:
    height, width = pixels.shape
    data = np.ascontiguousarray(pixels, "<f4").view(np.uint8).reshape(-1)
    return _cdr(
        "sensor_msgs/msg/Image",
        header=_header(stamp, frame),
        height=height,
        width=width,
        encoding="32FC1",
        is_bigendian=0,
        step=width * 4,
        data=data,
    )


def _xyz(kind: str, values: np.ndarray) -> Any:
    return _new(f"geometry_msgs/msg/{kind}", **dict(zip("xyz", map(float, values), strict=True)))


def _pose(value: np.ndarray, stamp: int, frame: str) -> bytes:
    w, x, y, z = map(float, value[3:])
    turn = _new("geometry_msgs/msg/Quaternion", x=x, y=y, z=z, w=w)
    pose = _new("geometry_msgs/msg/Pose", position=_xyz("Point", value[:3]), orientation=turn)
    return _cdr("geometry_msgs/msg/PoseStamped", header=_header(stamp, frame), pose=pose)


def _imu(value: np.ndarray, stamp: int, frame: str) -> bytes:
    none, unknown = np.array([-1.0] + [0.0] * 8), np.zeros(9)  # -1: the device has no orientation
    return _cdr(
        "sensor_msgs/msg/Imu",
        header=_header(stamp, frame),
        orientation=_new("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
        orientation_covariance=none,
        angular_velocity=_xyz("Vector3", value[:3]),
        angular_velocity_covariance=unknown,
        linear_acceleration=_xyz("Vector3", value[3:]),
        linear_acceleration_covariance=unknown,
    )
