"""What ROS messages mean as streams: one message gives one value or several.

Units are those that the definitions of ROS 2's standard packages state (REP 103). Shape letters: k = varies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from foreact.episodes.sources import rosbag_images
from foreact.episodes.sources.protocol import Kind, Value
from foreact.episodes.sources.rosbag_cdr import CdrError
from foreact.episodes.sources.rosbag_points import cloud

__all__ = ["POSE", "Branch", "branches", "pose"]

Message = Mapping[str, Any]
POSE = ("x", "y", "z", "qw", "qx", "qy", "qz")
POSE_UNIT = "m,m,m,1,1,1,1"
XYZ = ("x", "y", "z")


@dataclass(frozen=True)
class Branch:
    """One stream that a topic gives.

    Attributes:
        kind: See `Kind`.
        shape: Of a sample; None where it varies.
        dtype: As NumPy says it.
        pick: Takes the value from a message.
        suffix: Of the stream's name.
        unit: See `Stream`.
        elements: See `Stream`.
        child: See `Stream`.
        description: See `Stream`.
    """

    kind: Kind
    shape: tuple[int | None, ...]
    dtype: str
    pick: Callable[[Message], Value] = field(repr=False)
    suffix: str = ""
    unit: str = ""
    elements: tuple[str, ...] = ()
    child: str = ""
    description: str = ""


def branches(name: str, first: Message) -> tuple[Branch, ...]:
    """The streams of a topic; empty if its type has no meaning here.

    Args:
        name: Full type name.
        first: Its first message, from which sizes and names are taken.
    """
    package, short = name.split("/")[0], name.split("/")[-1]
    if package == "std_msgs":
        return _standard(short, first)
    make = MAPS.get(name)
    return () if make is None else make(first)


def pose(message: Message, position: str = "position", orientation: str = "orientation") -> np.ndarray:
    """Position [m] and quaternion wxyz, float64 (7,)."""
    p, q = message[position], message[orientation]
    return np.array([p["x"], p["y"], p["z"], q["w"], q["x"], q["y"], q["z"]])


def _xyz(*messages: Message) -> np.ndarray:
    return np.array([message[axis] for message in messages for axis in XYZ])


def _vector(unit: str, pick: Callable[[Message], np.ndarray], elements: tuple[str, ...], suffix: str = "") -> Branch:
    return Branch("vector", (len(elements),), "float64", pick, suffix, unit, elements)


def _pose(pick: Callable[[Message], np.ndarray], child: str = "") -> Branch:
    return Branch("pose", (7,), "float64", pick, "", POSE_UNIT, POSE, child)


def _axes(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}.{axis}" for name in names for axis in XYZ)


def _imu(first: Message) -> tuple[Branch, ...]:
    """A covariance that begins with -1 says that the device does not measure this part."""
    parts = {"angular_velocity": ("gyro", "rad/s"), "linear_acceleration": ("accel", "m/s^2")}
    given = [part for part in parts if first[f"{part}_covariance"][0] != -1]
    unit = ",".join(parts[part][1] for part in given for _ in XYZ)
    elements = _axes(*(parts[part][0] for part in given))
    found = [Branch("imu", (len(elements),), "float64", lambda m: _xyz(*(m[p] for p in given)), "", unit, elements)]
    if first["orientation_covariance"][0] != -1:
        found.append(_vector("1", lambda m: _wxyz(m["orientation"]), POSE[3:], ".orientation"))
    return tuple(found if given else found[1:])


def _wxyz(q: Message) -> np.ndarray:
    return np.array([q["w"], q["x"], q["y"], q["z"]])


def _joints(first: Message) -> tuple[Branch, ...]:
    names = tuple(first["name"])

    def part(key: str, says: str) -> Branch:
        def pick(message: Message) -> np.ndarray:
            if tuple(message["name"]) != names or len(message[key]) != len(names):
                raise CdrError(f"the joints differ from those of the first message ({len(names)} names)")
            return message[key]

        return Branch("vector", (len(names),), "float64", pick, f".{key}", "", names, "", says)

    says = {"position": "rad or m", "velocity": "rad/s or m/s", "effort": "N m or N"}
    return tuple(part(key, text) for key, text in says.items() if len(names) and len(first[key]) == len(names))


def _poses(pick: Callable[[Message], list[Message]]) -> Callable[[Message], tuple[Branch, ...]]:
    def rows(message: Message) -> np.ndarray:
        return np.array([pose(each) for each in pick(message)]).reshape(-1, 7)

    return lambda _: (Branch("points", (None, 7), "float64", rows, "", POSE_UNIT, POSE),)


def _odometry(first: Message) -> tuple[Branch, ...]:
    twist = _twist(lambda m: m["twist"]["twist"], ".twist")
    return _pose(lambda m: pose(m["pose"]["pose"]), str(first["child_frame_id"])), twist


def _twist(inner: Callable[[Message], Message], suffix: str = "") -> Branch:
    unit = "m/s,m/s,m/s,rad/s,rad/s,rad/s"
    return _vector(unit, lambda m: _xyz(inner(m)["linear"], inner(m)["angular"]), _axes("linear", "angular"), suffix)


def _accel(inner: Callable[[Message], Message]) -> Branch:
    unit = "m/s^2,m/s^2,m/s^2,rad/s^2,rad/s^2,rad/s^2"
    return _vector(unit, lambda m: _xyz(inner(m)["linear"], inner(m)["angular"]), _axes("linear", "angular"))


def _wrench(inner: Callable[[Message], Message]) -> Branch:
    unit = "N,N,N,N m,N m,N m"
    return _vector(unit, lambda m: _xyz(inner(m)["force"], inner(m)["torque"]), _axes("force", "torque"))


def _transform(message: Message) -> np.ndarray:
    return pose(message, "translation", "rotation")


def _number(key: str, unit: str) -> Callable[[Message], tuple[Branch, ...]]:
    return lambda _: (_vector(unit, lambda m: np.array([m[key]], np.float64), (key,)),)


def _fix(_: Message) -> tuple[Branch, ...]:
    keys = ("latitude", "longitude", "altitude")
    return (_vector("deg,deg,m", lambda m: np.array([m[key] for key in keys]), keys),)


def _picture(found: rosbag_images.Picture | None) -> tuple[Branch, ...]:
    if found is None:
        return ()
    kind, shape, dtype, unit, says, pick = found
    return (Branch(kind, shape, dtype, pick, "", unit, (), "", says),)


def _standard(short: str, first: Message) -> tuple[Branch, ...]:
    """Numbers, lists of them and texts; the type says how many bits."""
    if short == "String":
        return (Branch("text", (), "str", lambda m: m["data"]),)
    if short.endswith("MultiArray"):
        return (_array(short.removesuffix("MultiArray").lower(), first),)
    dtype = _dtype(short.lower())
    if dtype is None:
        return ()
    return (Branch("vector", (1,), dtype, lambda m: np.array([m["data"]], dtype)),)


def _dtype(short: str) -> str | None:
    if short in ("byte", "char"):
        return "uint8"
    widths = {"int": (8, 16, 32, 64), "uint": (8, 16, 32, 64), "float": (32, 64)}
    known = {f"{kind}{bits}" for kind, sizes in widths.items() for bits in sizes} | {"bool"}
    return short if short in known else None


def _array(short: str, first: Message) -> Branch:
    dtype = _dtype(short) or "uint8"

    def pick(message: Message) -> np.ndarray:
        values = message["data"]
        shape = tuple(int(each["size"]) for each in message["layout"]["dim"])
        start = int(message["layout"]["data_offset"])
        fits = shape and start == 0 and int(np.prod(shape, dtype=object)) == len(values)
        return values.reshape(shape) if fits else values

    shape = pick(first).shape
    names = tuple(str(each["label"]) for each in first["layout"]["dim"])
    return Branch("vector", (None,) * len(shape), dtype, pick, description=", ".join(filter(None, names)))


def _self(message: Message) -> Message:
    return message


def _maps() -> dict[str, Callable[[Message], tuple[Branch, ...]]]:
    geometry: dict[str, Callable[[Callable[[Message], Message]], Branch]] = {
        "Pose": lambda get: _pose(lambda m: pose(get(m))),
        "Point": lambda get: _vector("m", lambda m: _xyz(get(m)), XYZ),
        "Vector3": lambda get: _vector("", lambda m: _xyz(get(m)), XYZ),
        "Quaternion": lambda get: _vector("1", lambda m: _wxyz(get(m)), POSE[3:]),
        "Twist": _twist,
        "Accel": _accel,
        "Wrench": _wrench,
    }
    found: dict[str, Callable[[Message], tuple[Branch, ...]]] = {}
    for name, make in geometry.items():
        key = {"Vector3": "vector"}.get(name, name.lower())
        found[f"geometry_msgs/msg/{name}"] = lambda _, make=make: (make(_self),)
        found[f"geometry_msgs/msg/{name}Stamped"] = lambda _, make=make, key=key: (make(lambda m: m[key]),)
    return found | {
        "geometry_msgs/msg/PoseWithCovariance": lambda _: (_pose(lambda m: pose(m["pose"])),),
        "geometry_msgs/msg/PoseWithCovarianceStamped": lambda _: (_pose(lambda m: pose(m["pose"]["pose"])),),
        "geometry_msgs/msg/TwistWithCovarianceStamped": lambda _: (_twist(lambda m: m["twist"]["twist"]),),
        "geometry_msgs/msg/Transform": lambda _: (_pose(_transform),),
        "geometry_msgs/msg/TransformStamped": lambda m: (
            _pose(lambda m: _transform(m["transform"]), str(m["child_frame_id"])),
        ),
        "geometry_msgs/msg/PoseArray": _poses(lambda m: m["poses"]),
        "nav_msgs/msg/Path": _poses(lambda m: [each["pose"] for each in m["poses"]]),
        "nav_msgs/msg/Odometry": _odometry,
        "sensor_msgs/msg/Imu": _imu,
        "sensor_msgs/msg/MagneticField": lambda _: (_vector("T", lambda m: _xyz(m["magnetic_field"]), XYZ),),
        "sensor_msgs/msg/FluidPressure": _number("fluid_pressure", "Pa"),
        "sensor_msgs/msg/Temperature": _number("temperature", "degC"),
        "sensor_msgs/msg/Range": _number("range", "m"),
        "sensor_msgs/msg/NavSatFix": _fix,
        "sensor_msgs/msg/JointState": _joints,
        "sensor_msgs/msg/PointCloud2": lambda m: (
            Branch("points", (None, len(m["fields"])), *cloud(m), elements=tuple(each["name"] for each in m["fields"])),
        ),
        "sensor_msgs/msg/Image": lambda m: _picture(rosbag_images.raw(m)),
        "sensor_msgs/msg/CompressedImage": lambda m: _picture(rosbag_images.compressed(m)),
    }


MAPS = _maps()
