"""Every folder of real recordings: `foreact inspect` says what its SOURCE.md says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from foreact.episodes.inspect import InspectConfig, inspect

pytest.importorskip("av")
pytest.importorskip("pyarrow")

RGB, SLAM, EYE, EYE_2 = [1408, 1408, 3], [480, 640], [240, 640], [200, 200]


# what SOURCE.md says, typed by hand: stream -> samples, shape of one, median rate [Hz] (None where it says none)
Said = dict[str, tuple[int, Sequence[int | None], float | None]]
AEA: Said = {
    "camera.rgb": (8, RGB, 20),
    "camera.slam.left": (4, SLAM, 10),
    "camera.slam.right": (4, SLAM, 10),
    "camera.eye": (4, EYE, 10),
    "imu.right": (400, [6], 1000),
    "imu.left": (319, [6], 800),
    "magnetometer": (4, [3], 10),
    "barometer": (20, [2], 50),
    "audio": (4, [None, 7], None),
}
ADT: Said = {
    "camera.rgb": (3, RGB, None),
    "camera.slam.left": (3, SLAM, None),
    "camera.slam.right": (3, SLAM, None),
    "camera.eye": (3, EYE, 30),
    "imu.right": (99, [6], 1000),
    "imu.left": (79, [6], 800),
    "depth.rgb": (2, [1408, 1408], None),
    "depth.slam.left": (2, SLAM, None),
    "depth.slam.right": (2, SLAM, None),
    "segmentation.rgb": (2, [1408, 1408], None),
    "segmentation.slam.left": (2, SLAM, None),
    "segmentation.slam.right": (2, SLAM, None),
}
MPS: Said = {
    "pose.trajectory": (11517, [7], 1000),
    "gaze": (123, [3], 10),
    "gaze.general": (123, [3], 10),
    "hand.left.wrist.position.v1": (122, [3], 10),
    "hand.right.wrist.position": (122, [3], 10),
    "hand.left.landmarks": (8, [21, 3], None),
    "hand.right.landmarks.v1": (8, [21, 3], None),
}
GEN2: Said = {
    "camera.rgb": (3, [1512, 2016, 3], 10),
    **{
        f"camera.slam.{where}": (9, [512, 512], 30)
        for where in ("front.left", "front.right", "side.left", "side.right")
    },
    "camera.eye.left": (2, EYE_2, 5),
    "camera.eye.right": (2, EYE_2, 5),
    "hand.left.landmarks": (9, [21, 3], 30),
    "hand.right.landmarks": (9, [21, 3], 30),
    "gaze": (9, [4], 30),
    "pose.vio": (3, [7], 10),
    "pose.vio.high_frequency": (237, [7], 800),
    "imu.left": (239, [6], 800),
    "imu.right": (238, [6], 800),
    "magnetometer": (30, [3], 100),
    "barometer": (15, [2], 50),
    "ppg": (38, [3], 128),
    "audio": (15, [], None),
}
GEN2_BAG = {
    name: (count, [3] if name == "gaze" else shape, rate)
    for name, (count, shape, rate) in GEN2.items()
    if name not in ("pose.vio", "barometer", "ppg", "audio")
}
GOPRO: Said = {
    "camera.rgb": (315, [480, 848, 3], 29.97),
    "imu.accelerometer": (2082, [3], 200),
    "imu.gyroscope": (2082, [3], 200),
    "CORI": (316, [4], None),
    "GRAV": (316, [3], None),
    "gps": (191, [5], 18),
    "magnetometer.camera": (260, [4], None),
    "gps.status": (11, [], None),
}
BRIDGE: Said = {
    **{f"camera.image_{number}": (10, [64, 64, 3], None) for number in range(4)},
    "state": (10, [7], None),
    "action": (10, [7], None),
    "language_instruction": (10, [], None),
    "language_embedding": (10, [512], None),
}
DEXCAP: Said = {
    "camera.rgb": (1, [720, 1280, 3], None),
    "depth.rgb": (1, [720, 1280], None),
    "pose.chest": (1, [7], None),
    "pose.left_wrist": (1, [7], None),
    "pose.right_wrist": (1, [7], None),
    "hand.left.landmarks": (1, [21, 3], None),
    "hand.right.landmarks": (1, [21, 3], None),
    "hand.left.rotations": (1, [21, 4], None),
    "hand.right.rotations": (1, [21, 4], None),
}
G1: Said = {"camera.cam_high": (221, [480, 640, 3], 30), "state": (221, [26], 30), "action": (221, [26], 30)}
RATE = 0.03  # how far a median rate may lie from the round one that is said


def figures(path: Path) -> dict[str, Any]:
    return dict(inspect(InspectConfig(path)).figures)


@pytest.mark.parametrize(
    ("folder", "kind", "recordings", "said"),
    [
        ("aria_gen1_aea", "vrs", 1, AEA),
        ("aria_gen1_adt", "vrs", 1, ADT),
        ("aria_gen1_mps", "mps", 1, MPS),
        ("aria_gen2", "vrs", 1, GEN2),
        ("aria_gen2_ros2_mcap", "folders", 1, GEN2_BAG),
        ("bridge_v2_rlds_debug", "rlds", 25, BRIDGE),
        ("dapg_door_human", "npz", 25, {}),
        ("dexcap_frame", "dexcap", 1, DEXCAP),
        ("g1_head_teleop_lerobot_v21", "lerobot-2.1", 1, G1),
        ("gopro_gpmf", "video", 1, GOPRO),
        ("human_hand_retarget", "npz", 1, {"hand.right.landmarks": (621, [21, 3], 30)}),
        (
            "human_hand_retarget/human_hand_video.mp4",
            "video",
            1,
            {"camera.rgb": (621, [720, 1280, 3], 30)},
        ),  # fmt: skip
    ],
)
def test_a_folder_holds_what_it_says(shared_data: Path, folder: str, kind: str, recordings: int, said: Said) -> None:
    if folder.endswith("mcap"):
        pytest.importorskip("mcap")
    found = figures(shared_data / folder)
    assert (found["format"], len(found["recordings"]), found["damaged"]) == (kind, recordings, 0)
    for key, each in found["recordings"].items():
        for name, (samples, shape, rate) in said.items():
            stream = each["streams"][name]
            assert (key, name, stream["samples"], stream["shape"]) == (key, name, samples, shape)
            if rate is not None:
                assert stream["median_rate_hz"] == pytest.approx(rate, rel=RATE), f"{key} {name}"


def test_the_aria_bag_has_814_messages(shared_data: Path) -> None:
    """A message of hands is two streams here, so that 14 topics are 16 streams."""
    pytest.importorskip("mcap")
    streams = next(iter(figures(shared_data / "aria_gen2_ros2_mcap")["recordings"].values()))["streams"]
    hands = sum(streams[f"hand.{side}.wrist"]["samples"] for side in ("left", "right"))
    assert (len(streams), sum(each["samples"] for each in streams.values()) - hands) == (16, 814)


def test_the_trajectory_of_mps_is_eleven_seconds_long(shared_data: Path) -> None:
    stream = figures(shared_data / "aria_gen1_mps")["recordings"]["aria_gen1_mps"]["streams"]["pose.trajectory"]
    assert (stream["last_ns"] - stream["first_ns"]) / 1e9 == pytest.approx(11.4, abs=0.1)
    assert (stream["gaps"], stream["out_of_order"], stream["unit"]) == (0, 0, "m,m,m,1,1,1,1")


def test_door_demonstrations(shared_data: Path) -> None:
    lengths = []
    for each in figures(shared_data / "dapg_door_human")["recordings"].values():
        shapes = {name: (stream["samples"], stream["shape"]) for name, stream in each["streams"].items()}
        lengths.append(shapes["action"][0])
        assert shapes == {
            "action": (lengths[-1], [28]), "observations": (lengths[-1], [39]), "reward": (lengths[-1], [])
        }  # fmt: skip
    assert (len(lengths), sum(lengths), min(lengths), max(lengths)) == (25, 6729, 223, 300)


def test_lerobot_v3(shared_data: Path) -> None:
    found = figures(shared_data / "g1_head_teleop_lerobot_v30")
    assert (found["episodes"], found["frames"], found["frame_rate_hz"]) == (3, 765, 30)
    assert found["features"]["observation.images.cam_high"] == "video [480, 640, 3]"
    assert found["features"]["observation.state"] == found["features"]["action"] == "float32 [26]"
    found = figures(shared_data / "g1_head_teleop_lerobot_v21")["recordings"]["episode_000000"]
    assert found["task"] == "Pick up the yellow bottle on the table."
    assert "kLeftShoulderPitch" in found["streams"]["action"]["elements"]


def test_bags(shared_data: Path) -> None:
    pytest.importorskip("mcap")
    outcome = inspect(InspectConfig(shared_data / "rosbag2_samples"))
    found: Any = outcome.figures
    assert outcome.failed and found["damaged"] == 1
    counts = {
        key.partition("/")[0]: [stream["samples"] for stream in each["streams"].values()]
        for key, each in found["recordings"].items()
    }
    assert "mcap_unknown_encoding" not in counts
    assert (sum(counts["mcap_split_8topics"]), len(counts["mcap_split_8topics"])) == (6074, 8)
    assert (sum(counts["mcap_talker"]), counts["mcap_cdr_types"], counts["db3_cdr_types"]) == (20, [3, 4], [3, 4])
    assert any("wrong_format" in text for row in outcome.rows for text in row)
    assert any("_service_event is left out" in text for row in outcome.rows for text in row)


def test_vrs_samples(shared_data: Path) -> None:
    """Records of configuration and state are no samples: 7, 6 and 6 of the 307, 306 and 306."""
    found = figures(shared_data / "vrs_samples")["recordings"]
    shapes: dict[str, dict[str, int]] = {
        key: {name: each["samples"] for name, each in value["streams"].items() if not name.startswith("fields.")}
        for key, value in found.items()
    }
    assert shapes["sample_file"] == {"audio.101-1": 100, "camera.200-1": 101, "vrs.372-1": 100}
    assert shapes["chunks"] == shapes["chunks-shuffled"] == {"audio.101-1": 100, "camera.200-1": 100, "vrs.372-1": 100}
    formats = shapes["sample_raw_pixel_formats"]
    assert set(formats.values()) == {10} and len(formats) == 26
    assert found["chunks"]["streams"]["camera.200-1"]["out_of_order"] == 0
    assert found["chunks-shuffled"]["streams"]["camera.200-1"]["out_of_order"] > 0


def test_every_folder_is_in_this_file(shared_data: Path) -> None:
    text = Path(__file__).read_text()
    folders = [path.name for path in shared_data.iterdir() if path.is_dir() and path.name != "robots"]
    assert not [name for name in folders if f'"{name}' not in text]
