"""Foxglove's well-known JSON messages as streams: pictures, poses, transforms and places on Earth."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from foreact.episodes.sources import rosbag_images
from foreact.episodes.sources.rosbag_cdr import CdrError
from foreact.episodes.sources.rosbag_maps import POSE, Branch, pose

__all__ = ["FOXGLOVE", "foxglove"]

Message = Mapping[str, Any]
PLACE = ("latitude", "longitude", "altitude")
POSE_UNIT = "m,m,m,1,1,1,1"


def foxglove(name: str, first: object) -> Branch | None:
    """The stream of a JSON channel; None if its schema is not one of Foxglove's that are known here.

    Args:
        name: Of the schema, such as `foxglove.PoseInFrame`.
        first: The first message.
    """
    make = FOXGLOVE.get(name)
    branch = make(first) if make is not None and isinstance(first, dict) else None
    if branch is None:
        return None
    frame = first.get("frame_id") or first.get("parent_frame_id") if isinstance(first, dict) else None
    says = f"frame of the first message: {frame}" if frame else ""
    return replace(branch, description="; ".join(filter(None, (branch.description, says))))


def _with_bytes(message: Message) -> dict[str, Any]:
    """Its bytes, which JSON holds as base64 text."""
    try:
        data = np.frombuffer(base64.b64decode(message["data"], validate=True), np.uint8)
    except binascii.Error as error:
        raise CdrError(f"no base64 text: {error}") from None
    return {"is_bigendian": 0, **message, "data": data}


def _picture(how: Callable[[Message], rosbag_images.Picture | None]) -> Callable[[Message], Branch | None]:
    def make(first: Message) -> Branch | None:
        found = how(_with_bytes(first))
        if found is None:
            return None
        kind, shape, dtype, unit, says, pick = found
        return Branch(kind, shape, dtype, lambda m: pick(_with_bytes(m)), unit=unit, description=says)

    return make


def _pose(first: Message) -> Branch:
    return Branch("pose", (7,), "float64", lambda m: pose(m["pose"]).astype(float), "", POSE_UNIT, POSE)


def _transform(first: Message) -> Branch:
    child = str(first["child_frame_id"])

    def pick(message: Message) -> np.ndarray:
        if message["child_frame_id"] != child:
            raise CdrError(f"the child frame turns from {child} to {message['child_frame_id']}")
        return pose(message, "translation", "rotation").astype(float)

    return Branch("pose", (7,), "float64", pick, "", POSE_UNIT, POSE, child)


def _place(first: Message) -> Branch:
    return Branch(
        "vector", (3,), "float64", lambda m: np.array([m[key] for key in PLACE], float), "", "deg,deg,m", PLACE
    )


FOXGLOVE: Mapping[str, Callable[[Message], Branch | None]] = {
    "foxglove.CompressedImage": _picture(rosbag_images.compressed),
    "foxglove.RawImage": _picture(rosbag_images.raw),
    "foxglove.PoseInFrame": _pose,
    "foxglove.FrameTransform": _transform,
    "foxglove.LocationFix": _place,
}
