"""The command on real recordings: what it writes opens again, what it refuses leaves nothing behind."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("mcap")
pytest.importorskip("rosbags")

from foreact.cli.commands import COMMANDS
from foreact.episodes.sources import SourceError, open_collection
from foreact.sim.retarget.config import GripperConfig, HandConfig, RetargetConfig
from foreact.sim.retarget.hand_track import hand_track
from foreact.sim.retarget.palm import grasp_poses
from foreact.sim.retarget.poses import composed, inverse
from foreact.sim.retarget.relative import absolute
from foreact.sim.retarget.retarget import retarget


def streams(file: Path) -> dict[str, np.ndarray]:
    collection = open_collection(file)
    with collection.open(collection.keys()[0]) as source:
        return {name: np.stack(list(source.read_range(name, 0, len(source.stamps(name))))) for name in source.streams}


def test_a_real_hand_into_an_arm(shared_data: Path, tmp_path: Path) -> None:
    pytest.importorskip("mink")
    robot = shared_data / "robots" / "franka_emika_panda.tar.xz"
    out = tmp_path / "out"
    config = GripperConfig(shared_data / "aria_gen1_mps", side="left", robot=robot, out=out, frames=0)
    outcome = retarget(config)
    found: Any = json.loads((out / "report.json").read_text())["recordings"]["aria_gen1_mps"]
    assert (found["frames"], found["followed"], found["held"]) == (8, 3, 5)  # five samples without a hand
    assert found["arm"]["reached"] == 1.0 and found["arm"]["position_mm"]["most"] < 0.1
    assert any("frame of the device, which may move" in note for note in found["notes"])
    told: Any = outcome.figures["recordings"]
    assert found == told["aria_gen1_mps"]
    written = streams(out / "retargeted.mcap")
    assert written["action.gripper"].shape == (8, 8) and written["action"].shape == (8, 9)
    assert len(written["gripper.pinch"]) == 3  # nobody saw a pinch in the others
    assert (written["gripper.held"][:, 0] == [0, 0, 0, 1, 1, 1, 1, 1]).all()
    assert sorted(path.name for path in out.iterdir()) == ["report.json", "retargeted.mcap", "retargeted.png"]


def test_actions_from_the_camera_and_the_path_in_the_world(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "aria_gen2"
    retarget(GripperConfig(path, side="left", out=tmp_path / "out", ahead=4))
    written = streams(tmp_path / "out" / "retargeted.mcap")
    collection = open_collection(path)
    with collection.open(collection.keys()[0]) as source:
        track = hand_track(source, side="left")
    assert track.bases is not None and track.cameras is not None and track.world == "odometry"
    assert written["action.relative"].shape == (6, 4, 8)  # of nine frames six have three after them
    again = absolute(written["action.relative"][..., :7], track.cameras[:6])
    for frame in range(6):
        assert np.abs(again[frame] - written["pose.gripper"][frame : frame + 4]).max() < 1e-9
    # the wearer turns his head at 3 rad/s: only in the world is the hand's speed even
    hands = grasp_poses(track.joints, "left")

    def uneven(poses: np.ndarray) -> float:
        """How far the fastest and the slowest speed are apart, against their mean."""
        speeds = np.linalg.norm(np.diff(poses[:, :3], axis=0), axis=1)
        return float(np.ptp(speeds) / speeds.mean())

    assert uneven(composed(track.bases, hands)) < 0.2
    assert uneven(hands) > 1.0 and uneven(composed(inverse(track.bases), hands)) > 0.3


def test_a_real_hand_into_a_robot_hand(shared_data: Path, shadow_hand: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name in ("dexcap_frame", "aria_gen2"):
        asked: dict[str, Any] = {
            "robot": shadow_hand,
            "out": out / name,
            "frames": 0,
            "mirrored": name == "dexcap_frame",
        }
        outcome = retarget(HandConfig(shared_data / name, side="left", **asked))
        recordings: Any = outcome.figures["recordings"]
        (found,) = recordings.values()
        assert found["tips_mm"]["median"] < 10 and found["held"] == 0
        written = streams(out / name / "retargeted.mcap")
        assert written["action"].shape == (found["frames"], 24) and np.isfinite(written["error.tips"]).all()


def test_pictures_of_a_hand_and_its_robot(shared_data: Path, shadow_hand: Path, tmp_path: Path) -> None:
    from PIL import Image

    from foreact.sim.frames import check_frames

    out = tmp_path / "out"
    retarget(HandConfig(shared_data / "aria_gen2", robot=shadow_hand, out=out, frames=2))
    sheet = np.asarray(Image.open(out / "sheet.png"))
    assert sheet.shape[1] == 2 * (2 * 192 + 2) + 3 * 8  # two moments, camera and robot each
    check_frames({"camera.sheet.rgb": sheet[None]})
    assert not (out / "film.mp4").exists()  # two pictures are no film


def test_bad_requests_leave_nothing_behind(shared_data: Path, shadow_hand: Path, tmp_path: Path) -> None:
    hands, out = shared_data / "human_hand_retarget", tmp_path / "out"
    with pytest.raises(SourceError, match="no left hand"):
        retarget(GripperConfig(hands, side="left", out=out))
    with pytest.raises(SourceError, match="no hand in this order"):
        retarget(GripperConfig(hands, order="aria", out=out))
    with pytest.raises(SourceError, match=r"left hand bend backwards by 4\d mm.*mirrored=true"):
        retarget(GripperConfig(shared_data / "dexcap_frame", side="left", out=out))
    with pytest.raises(SourceError, match="never known with a confidence of 1.5"):
        retarget(HandConfig(hands, robot=shadow_hand, confidence=1.5, out=out))
    with pytest.raises(SourceError, match="no pose of the wrist"):
        retarget(GripperConfig(hands, orientation="wrist", out=out))
    with pytest.raises(ValueError, match="into=gripper knows"):
        retarget(GripperConfig(hands, robot=shadow_hand, out=out))
    with pytest.raises(ValueError, match="no recording two"):
        retarget(GripperConfig(hands, recordings=("two",), out=out))
    with pytest.raises(SourceError, match="no hand with 21"):
        retarget(GripperConfig(shared_data / "dapg_door_human", out=out))
    with pytest.raises(FileExistsError, match="choose another out="):
        retarget(GripperConfig(hands, out=tmp_path))
    with pytest.raises(ValueError, match="neither gripper nor hand"):
        retarget(RetargetConfig(hands, "foot"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "wrong", "told"),
    [
        (HandConfig, {}, "needs a robot hand"),
        (HandConfig, {"robot": Path("x"), "scale": -1.0}, "0 or more"),
        (GripperConfig, {"placement": (0.0, 0.0)}, "7 numbers"),
        (GripperConfig, {"placement": (0.0, 0, 0, 2, 0, 0, 0)}, "unit quaternion"),
        (GripperConfig, {"pinched_m": (0.1, 0.02)}, "must ascend"),
        (GripperConfig, {"ahead": 0}, "1 or more"),
    ],
)
def test_keys_that_make_no_sense(kind: Any, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kind(Path("x"), **wrong)


def test_the_command_line_knows_them() -> None:
    replay = next(command for command in COMMANDS if command.name == "replay")
    for into, config in (("gripper", GripperConfig), ("hand", HandConfig)):
        chosen = replay.chosen(["recording.vrs", f"into={into}"])
        loaded, function = chosen.load()
        assert loaded is config and callable(function)
