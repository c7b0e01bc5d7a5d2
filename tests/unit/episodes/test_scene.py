"""Where streams stand in the viewer: frames that move, bones, pictures that lie, lines of plots."""

from typing import Any

import numpy as np

from foreact.episodes.scene import hand_bones, scene
from foreact.episodes.sources.parts import PartsSource, array_part
from foreact.episodes.sources.protocol import Stream
from foreact.episodes.timeline import Timeline

ARIA = (
    "thumb tip", "index tip", "middle tip", "ring tip", "pinky tip", "wrist", "thumb intermediate", "thumb distal",
    *(f"{finger} {joint}" for finger in ("index", "middle", "ring", "pinky")
      for joint in ("proximal", "intermediate", "distal")),
    "palm centre",
)  # fmt: skip
POSE = np.tile([0.0, 1, 2, 1, 0, 0, 0], (4, 1))


def source(**more: np.ndarray) -> PartsSource:
    times = np.arange(4, dtype=np.int64)
    moving = np.zeros((4, 30))
    moving[:, 13:25] = times[:, None] * np.arange(1, 13)
    lies = "as it lies in the file, upright after a turn of 90 degrees clockwise"
    made: list[tuple[Stream, np.ndarray]] = [
        (Stream("camera.rgb", "image", (8, 8, 3), "uint8", description=lies), np.zeros((4, 8, 8, 3), np.uint8)),
        (Stream("segmentation.rgb", "segmentation", (8, 8), "uint8"), np.zeros((4, 8, 8), np.uint8)),
        (Stream("pose.vio", "pose", (7,), "float64", frame="odometry", child="device"), POSE),
        (Stream("pose.trajectory", "pose", (7,), "float64", frame="world", child="device"), POSE),
        (Stream("hand.left.landmarks", "hand", (21, 3), "float64", frame="device"), np.zeros((4, 21, 3))),
        (Stream("pose.trajectory.gravity", "vector", (3,), "float64", frame="world"), np.tile([0, -9.8, 0], (4, 1))),
        (Stream("state", "vector", (30,), "float64"), moving),
        (Stream("action", "vector", (30,), "float64"), moving[:, ::-1].copy()),
        (Stream("imu.right", "imu", (6,), "float64", unit="rad/s,rad/s,rad/s,m/s^2,m/s^2,m/s^2",
                elements=("gyro.x", "gyro.y", "gyro.z", "accel.x", "accel.y", "accel.z")), np.zeros((4, 6))),
    ]  # fmt: skip
    return PartsSource("a", [array_part(stream, times, values) for stream, values in made])


def placed() -> Any:
    made = {"a": source()}
    return scene(made, Timeline.of(made))


def test_what_is_in_a_moving_frame_stands_inside_the_one_it_moves_in() -> None:
    shown = placed().shown
    assert shown["hand.left.landmarks"].space == "space/world/device/hand_left_landmarks"
    assert shown["pose.trajectory"].space == "space/world/pose_trajectory"
    # of two poses that carry the device the one that was optimised afterwards does
    assert (shown["pose.trajectory"].carries, shown["pose.vio"].carries) == ("space/world/device", "")
    assert placed().roots == {"": ("space/odometry", "space/world")} and placed().upward == {"": "y"}
    assert len(shown["pose.trajectory"].path) == 4


def test_frames_that_go_in_a_circle_stop_somewhere() -> None:
    times = np.arange(4, dtype=np.int64)
    streams = [Stream(name, "pose", (7,), "float64", frame=frame, child=child)
               for name, frame, child in (("a", "one", "other"), ("b", "other", "one"))]  # fmt: skip
    made = {"a": PartsSource("a", [array_part(stream, times, POSE) for stream in streams])}
    assert scene(made, Timeline.of(made)).shown["b"].space == "space/one/other/b"


def test_what_belongs_to_a_camera_is_turned_with_it() -> None:
    assert [placed().shown[name].turned for name in ("camera.rgb", "segmentation.rgb", "state")] == [1, 1, 0]


def test_lines_are_those_that_move_most_the_same_for_state_and_action() -> None:
    shown = placed().shown
    (state,), (action,) = shown["state"].lines, shown["action"].lines
    assert state.elements == action.elements == tuple(range(13, 25)) and state.left_out == 18
    gyro, accel = shown["imu.right"].lines
    assert (gyro.unit, accel.unit, gyro.names[0], accel.elements) == ("rad/s", "m/s^2", "right gyro.x", (3, 4, 5))


def test_bones_go_from_the_wrist_to_the_tips_in_both_orders() -> None:
    assert hand_bones(())[0] == [0, 1, 2, 3, 4] and hand_bones(())[4] == [0, 17, 18, 19, 20]
    thumb, index, *_, little = hand_bones(ARIA)
    assert (thumb, index, little) == ([5, 6, 7, 0], [5, 8, 9, 10, 1], [5, 17, 18, 19, 4])
