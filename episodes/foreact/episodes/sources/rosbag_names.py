"""Topics whose meaning goes beyond their type: the twin of an Aria Gen2 recording, named as in its VRS file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from foreact.episodes.sources.protocol import Value
from foreact.episodes.sources.rosbag_cdr import CdrError
from foreact.episodes.sources.rosbag_maps import POSE, Branch, pose

__all__ = ["NAMES", "hand_or_gaze", "stream_name"]

NAMES: Mapping[str, str] = {
    "/aria/rgb/compressed": "camera.rgb",
    "/aria/slam_front_left/compressed": "camera.slam.front.left",
    "/aria/slam_front_right/compressed": "camera.slam.front.right",
    "/aria/slam_side_left/compressed": "camera.slam.side.left",
    "/aria/slam_side_right/compressed": "camera.slam.side.right",
    "/aria/et_left/compressed": "camera.eye.left",
    "/aria/et_right/compressed": "camera.eye.right",
    "/aria/imu_left": "imu.left",
    "/aria/imu_right": "imu.right",
    "/aria/mag": "magnetometer",
    "/aria/vio_high_frequency": "pose.vio.high_frequency",
    "/aria/gaze_yaw_pitch": "gaze",
    "/aria/hands/left": "hand.left",
    "/aria/hands/right": "hand.right",
}
LANDMARKS = 21


def stream_name(topic: str) -> str:
    """Name of a topic's stream: from the table, otherwise the topic's own with dots."""
    return NAMES.get(topic) or ".".join(filter(None, topic.split("/"))) or "topic"


def hand_or_gaze(topic: str, first: Mapping[str, Any]) -> tuple[Branch, ...]:
    """The streams of a topic of the table whose type does not say what it is; empty for all others.

    Args:
        topic: Its name.
        first: Its first message.
    """
    name = NAMES.get(topic, "")
    if name.startswith("hand.") and len(first.get("poses", ())) == LANDMARKS + 1:
        says = "landmarks in Aria's order, positions in the frame"
        return (
            Branch("hand", (LANDMARKS, 3), "float32", _landmarks, ".landmarks", "m", description=says),
            Branch(
                "pose", (7,), "float64", _wrist, ".wrist", "m,m,m,1,1,1,1", POSE, f"{name.removeprefix('hand.')} wrist"
            ),
        )
    if name == "gaze" and "vector" in first:
        return (Branch("gaze", (3,), "float64", _gaze, "", "rad,rad,m", ("yaw", "pitch", "depth")),)
    return ()


def _hand(message: Mapping[str, Any]) -> np.ndarray:
    poses = message["poses"]
    if len(poses) != LANDMARKS + 1:
        raise CdrError(f"a hand of {len(poses)} poses, not of {LANDMARKS} landmarks and a wrist")
    return np.array([pose(each) for each in poses])


def _landmarks(message: Mapping[str, Any]) -> Value:
    return _hand(message)[:LANDMARKS, :3].astype(np.float32)


def _wrist(message: Mapping[str, Any]) -> Value:
    return _hand(message)[LANDMARKS]


def _gaze(message: Mapping[str, Any]) -> Value:
    return np.array([message["vector"][axis] for axis in "xyz"])
