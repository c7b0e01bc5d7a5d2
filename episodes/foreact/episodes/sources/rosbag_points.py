"""Point clouds of ROS as tables of numbers.

Shape letters: k = points of a message, f = fields of a point.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from foreact.episodes.sources.rosbag_cdr import CdrError

__all__ = ["cloud"]

Message = Mapping[str, Any]
KINDS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}


def cloud(first: Message) -> tuple[str, Callable[[Message], np.ndarray]]:
    """The type of a `sensor_msgs/msg/PointCloud2` and how it is read, as an array (k, f).

    Fields of one type keep it; others become float64, which holds all of them exactly.

    Args:
        first: The first message of the topic.

    Raises:
        CdrError: A field has another type, several values, or lies outside the point.
    """
    layout = _layout(first)
    kinds = {np.dtype(kind) for kind in layout["formats"]}
    dtype = kinds.pop() if len(kinds) == 1 else np.dtype("f8")

    def read(message: Message) -> np.ndarray:
        if _layout(message)["names"] != layout["names"]:
            raise CdrError("the fields of the points differ from those of the first message")
        return _rows(message, dtype)

    return dtype.name, read


def _layout(message: Message) -> dict[str, Any]:
    order = ">" if message["is_bigendian"] else "<"
    step, fields = int(message["point_step"]), message["fields"]
    for each in fields:
        if each["datatype"] not in KINDS or each["count"] not in (0, 1):
            raise CdrError(f"the field {each['name']!r} of the points has type {each['datatype']} x {each['count']}")
    formats = [KINDS[each["datatype"]] for each in fields]
    offsets = [int(each["offset"]) for each in fields]
    if not fields or any(at + np.dtype(kind).itemsize > step for at, kind in zip(offsets, formats, strict=True)):
        raise CdrError(f"the fields of the points do not fit into {step} bytes")
    return {"names": [each["name"] for each in fields], "formats": formats, "offsets": offsets, "order": order}


def _rows(message: Message, dtype: np.dtype) -> np.ndarray:
    layout, data = _layout(message), message["data"]
    height, width = int(message["height"]), int(message["width"])
    step, row = int(message["point_step"]), int(message["row_step"])
    if row < width * step or height * row > len(data):
        raise CdrError(f"{len(data)} bytes are too few for {width} x {height} points of {step} bytes")
    points = np.ascontiguousarray(data[: height * row].reshape(height, row)[:, : width * step]).reshape(-1, step)
    columns = np.empty((len(points), len(layout["names"])), dtype)
    for number, (at, kind) in enumerate(zip(layout["offsets"], layout["formats"], strict=True)):
        size = np.dtype(kind).itemsize
        field = np.ascontiguousarray(points[:, at : at + size]).view(np.dtype(kind).newbyteorder(layout["order"]))
        columns[:, number] = field[:, 0] if len(points) else field.reshape(-1)
    return columns
