"""Every folder of real recordings becomes a LeRobot dataset that lerobot opens and that comes back as it was."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lerobot")

from foreact.episodes.convert import ConvertConfig, convert
from foreact.episodes.inspect import InspectConfig, inspect

LARGE = ("camera.rgb", "*.rgb")


# folder, what to convert, and rows and samples; large pictures and long tracks are left out for the sake of time
@pytest.mark.parametrize(
    ("folder", "asked", "rows", "samples"),
    [
        ("aria_gen1_aea", {"drop": LARGE, "driver": "camera.eye"}, 4, 816),
        ("aria_gen1_adt", {"drop": LARGE}, 3, 343),
        ("aria_gen1_mps", {"drop": ("pose.*", "hand.*")}, 123, 1229),
        ("aria_gen2", {"drop": (*LARGE, "camera.slam.side.*"), "driver": "camera.eye.left"}, 2, 1831),
        ("aria_gen2_ros2_mcap", {"drop": (*LARGE, "camera.slam.side.*")}, 9, 811),
        ("bridge_v2_rlds_debug", {"recordings": ("train-00000", "train-00024")}, 20, 260),
        ("dapg_door_human", {"recordings": ("00",)}, 300, 900),
        ("dexcap_frame", {}, 1, 9),
        ("g1_head_teleop_lerobot_v21", {"drop": ("camera.*",)}, 221, 442),
        ("g1_head_teleop_lerobot_v30", {"drop": ("camera.*",), "recordings": ("episode_000001",)}, 277, 554),
        ("gopro_gpmf", {"drop": ("camera.*",), "driver": "CORI"}, 316, 6619),
        ("human_hand_retarget", {"driver": "10"}, 207, 621),
        ("rosbag2_samples/mcap_split_8topics", {"driver": "AAA"}, 634, 6074),
        ("rosbag2_samples/mcap_talker", {}, 10, 20),
        ("rosbag2_samples/db3_cdr_types", {}, 4, 7),
        ("vrs_samples", {"recordings": ("sample_raw_pixel_formats",), "drop": ("camera.214-*",)}, 10, 340),
        ("vrs_samples", {"recordings": ("chunks-shuffled",), "drop": ("camera.*",)}, 100, 300),
    ],
)
def test_a_folder_comes_back(
    shared_data: Path, tmp_path: Path, folder: str, asked: dict[str, Any], rows: int, samples: int
) -> None:
    if "mcap" in folder:
        pytest.importorskip("mcap")
    figures = convert(ConvertConfig(shared_data / folder, tmp_path / "out", "lerobot", **asked)).figures
    assert (figures["rows"], figures["samples"]) == (rows, samples)
    assert figures["compared"] == "every row in lerobot, every stamp and sample on the way back"
    assert inspect(InspectConfig(tmp_path / "out")).figures["frames"] == rows
