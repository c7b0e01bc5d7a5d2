"""Outputs of Aria's machine perception services against a plain CSV reader, by hand, and damaged."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from foreact.episodes.sources import Collection, Source, SourceError, aria_truth, open_collection
from foreact.episodes.sources.mps_table import read_table

STATED = {  # rows, as SOURCE.md and the files say
    "pose.trajectory": 11517,
    "gaze": 123,
    "gaze.general": 123,
    "gaze.vergence.left": 123,
    "hand.left.landmarks": 8,
    "hand.left.landmarks.v1": 8,
    "hand.right.wrist.position": 122,
    "hand.right.wrist.position.v1": 122,
    "calibration.online": 122,
}


@pytest.fixture(scope="module")
def mps(shared_data: Path) -> Source:
    return open_collection(shared_data / "aria_gen1_mps").open("aria_gen1_mps")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_what_the_sample_states(mps: Source) -> None:
    for name, count in STATED.items():
        assert len(mps.stamps(name)) == count, name
        value = mps.read(name, count - 1)
        if isinstance(value, np.ndarray):
            assert (value.shape, str(value.dtype)) == (mps.streams[name].shape, mps.streams[name].dtype)
    stamps = mps.stamps("pose.trajectory")
    assert stamps[0] == 149_202_610_000 and 11.3e9 < stamps[-1] - stamps[0] < 11.6e9
    assert 0.9e6 < np.median(np.diff(stamps)) < 1.1e6  # 1 kHz


@pytest.mark.parametrize(
    ("file", "name", "columns"),
    [
        (
            "trajectory/closed_loop_trajectory.csv",
            "pose.trajectory",
            [f"{axis}_world_device" for axis in ("tx", "ty", "tz", "qw", "qx", "qy", "qz")],
        ),
        (
            "trajectory/closed_loop_trajectory.csv",
            "pose.trajectory.velocity",
            [f"device_linear_velocity_{axis}_device" for axis in "xyz"],
        ),
        ("eye_gaze/eyegaze.csv", "gaze", ["yaw_rads_cpf", "pitch_rads_cpf", "depth_m"]),
        ("eye_gaze/generalized_eye_gaze.csv", "gaze.general", ["yaw_rads_cpf", "pitch_rads_cpf", "depth_m"]),
        ("eye_gaze_vergence/generalized_gaze.csv", "gaze.vergence.right", ["right_yaw_rads_cpf", "pitch_rads_cpf", ""]),
        ("eye_gaze_vergence/generalized_gaze.csv", "gaze.vergence.depth", ["depth_m"]),
    ],
)
def test_the_same_as_a_plain_reader(mps: Source, shared_data: Path, file: str, name: str, columns: list[str]) -> None:
    table = rows(shared_data / "aria_gen1_mps" / file)
    theirs = np.array([[float(row.get(column) or "nan") for column in columns] for row in table])
    np.testing.assert_array_equal(np.asarray(mps.read_range(name, 0, len(table))), theirs)
    times = [int(row["tracking_timestamp_us"]) * 1000 for row in table]
    np.testing.assert_array_equal(mps.stamps(name), times)


@pytest.mark.parametrize(("file", "end"), [("hand_tracking_results_v1", ".v1"), ("hand_tracking_results_v2", "")])
def test_hands_by_a_plain_reader(mps: Source, shared_data: Path, file: str, end: str) -> None:
    wrist = mps.streams["hand.left.landmarks"].elements.index("wrist")
    for index, row in enumerate(rows(shared_data / "aria_gen1_mps/hand_tracking" / f"{file}.csv")):
        for side in ("left", "right"):
            marks = np.asarray(mps.read(f"hand.{side}.landmarks{end}", index))
            sure = float(row[f"{side}_tracking_confidence"])
            assert np.asarray(mps.read(f"hand.{side}.confidence{end}", index)) == [sure]
            if sure < 0:
                assert np.isnan(marks).all() and np.isnan(mps.read(f"hand.{side}.wrist{end}", index)).all()
                continue
            wanted = [[float(row[f"t{axis}_{side}_landmark_{mark}_device"]) for axis in "xyz"] for mark in range(21)]
            np.testing.assert_array_equal(marks, wanted)
            pose = np.asarray(mps.read(f"hand.{side}.wrist{end}", index))
            np.testing.assert_array_equal(pose[:3], marks[wrist])
            assert pose[3] == float(row[f"qw_{side}_device_wrist"])
            np.testing.assert_allclose(np.linalg.norm(pose[3:]), 1.0, atol=1e-5)


def test_rows_whose_cells_lie_in_other_columns(mps: Source, shared_data: Path) -> None:
    table = rows(shared_data / "aria_gen1_mps/hand_tracking/wrist_and_palm_poses_v2.csv")
    lost = [row for row in table if row["tz_right_palm_device"] == "-1"]
    assert lost and all(row["right_tracking_confidence"] == "0" for row in lost)  # what the header would say
    note = f"wrist_and_palm_poses_v2.csv: {len(lost)} rows without any hand have their cells in other columns"
    assert note in mps.notes
    for side in ("left", "right"):
        for what in ("wrist", "palm"):
            new = np.asarray(mps.read_range(f"hand.{side}.{what}.position", 0, 122))
            old = np.asarray(mps.read_range(f"hand.{side}.{what}.position.v1", 0, 122))
            assert np.array_equal(np.isnan(new), np.isnan(old)) and np.nanmax(np.abs(new - old), initial=0) < 0.05
            sure = np.asarray(mps.read_range(f"hand.{side}.wrist_and_palm.confidence", 0, 122))[:, 0]
            assert np.array_equal(sure < 0, np.isnan(new[:, 0]))


def test_trajectory_is_smooth_and_its_speed_is_its_own(mps: Source) -> None:
    stamps = mps.stamps("pose.trajectory")
    poses = np.asarray(mps.read_range("pose.trajectory", 0, len(stamps)))
    np.testing.assert_allclose(np.linalg.norm(poses[:, 3:], axis=1), 1.0, atol=1e-6)
    speed = np.linalg.norm(np.asarray(mps.read_range("pose.trajectory.velocity", 0, len(stamps))), axis=1)
    moved = np.linalg.norm(poses[100:, :3] - poses[:-100, :3], axis=1) / (stamps[100:] - stamps[:-100]) * 1e9
    assert np.median(np.abs(moved - speed[50:-50])) < 0.01  # [m/s]


def test_calibration_over_time(mps: Source) -> None:
    line = json.loads(str(mps.read("calibration.online", 60)))
    assert line["tracking_timestamp_us"] * 1000 == mps.stamps("calibration.online")[60]
    assert {camera["Label"] for camera in line["CameraCalibrations"]} >= {"camera-slam-left", "camera-rgb"}


def test_both_gazes_of_the_second_generation(shared_data: Path) -> None:
    with open_collection(shared_data / "aria_gen2/mps_sample").open("mps_sample") as source:
        for name in ("gaze.general", "gaze.personalized"):
            both = np.asarray(source.read_range(name, 0, 5))
            left, right = (np.asarray(source.read_range(f"{name}.{side}", 0, 5)) for side in ("left", "right"))
            assert np.isnan(both[:, 2]).all() and f"{name}: the depth is not known" in source.notes
            np.testing.assert_allclose(both[:, 0], (left[:, 0] + right[:, 0]) / 2, atol=2e-3)


def test_open_loop_and_unknown_files(tmp_path: Path) -> None:
    folder = tmp_path / "mps/slam"
    folder.mkdir(parents=True)
    names = ["tracking_timestamp_us", "utc_timestamp_ns", "session_uid"]
    names += [f"{axis}_odometry_device" for axis in ("tx", "ty", "tz", "qx", "qy", "qz", "qw")]
    names += [f"device_linear_velocity_{axis}_odometry" for axis in "xyz"]
    names += [f"angular_velocity_{axis}_device" for axis in "xyz"] + [f"gravity_{axis}_odometry" for axis in "xyz"]
    values = [7, 1700000000000000001, "a-b", 1, 2, 3, 0, 0, 0.6, 0.8, *range(9)]
    text = "\n".join(",".join(map(str, line)) for line in (names, values))
    (folder / "open_loop_trajectory.csv").write_text(text + "\n")
    (folder / "semidense_points.csv.gz").write_bytes(b"")
    (folder / "strange.csv").write_text("a\n1\n")
    source = open_collection(tmp_path / "mps").open("mps")
    np.testing.assert_array_equal(source.read("pose.odometry", 0), [1, 2, 3, 0.8, 0, 0, 0.6])
    assert source.streams["pose.odometry"].frame == "odometry" and source.stamps("pose.odometry")[0] == 7000
    np.testing.assert_array_equal(source.read("pose.odometry.utc", 0), [1700000000000000001])  # no float between
    assert source.streams["pose.odometry.velocity"].frame == "odometry"
    assert len(source.notes) == 2


def test_two_worlds_are_told(shared_data: Path, tmp_path: Path) -> None:
    lines = (shared_data / "aria_gen1_mps/trajectory/closed_loop_trajectory.csv").read_text().splitlines()[:5]
    lines[-1] = "0" + lines[-1][1:]
    (folder := tmp_path / "m/slam").mkdir(parents=True)
    (folder / "closed_loop_trajectory.csv").write_text("\n".join(lines))
    source = open_collection(tmp_path / "m").open("m")
    assert any("2 worlds" in note for note in source.notes)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "one column"),
        ("a,b\n1,2\n", "one column"),
        ("tracking_timestamp_us,a,a\n1,2,3\n", "one column"),
        ("tracking_timestamp_us,a\n1.5,2\n", "no such table"),
        ("tracking_timestamp_us,a\n1,x\n", "no such table"),
        ("tracking_timestamp_us,a\n1\n", "no such table"),
        ("tracking_timestamp_us,a\n,1\n", "rows have no|no such table"),
        ("tracking_timestamp_us,a\n9223372036854775807,1\n", "too large"),
        ("tracking_timestamp_us,a\n-9223372036854775808,1\n", "too large"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, fault: str) -> None:
    (path := tmp_path / "t.csv").write_text(text)
    with pytest.raises(SourceError, match=fault):
        read_table(path, "tracking_timestamp_us", 1000)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m/eye_gaze").mkdir(parents=True)
    (tmp_path / "m/eye_gaze/eyegaze.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match=r"nothing of MPS can be read: eye_gaze/eyegaze.csv was left out"):
        open_collection(tmp_path / "m").open("m")


def test_damage_is_refused_or_told(
    shared_data: Path,
    tmp_path: Path,
    damage: Callable[[bytes, int], bytes],
    read_everything: Callable[[Collection], int],
) -> None:
    original = shared_data / "aria_gen1_mps"
    files = {
        "trajectory/closed_loop_trajectory.csv": 12,
        "trajectory/online_calibration.jsonl": 2,
        "eye_gaze/generalized_eye_gaze.csv": 40,
        "hand_tracking/hand_tracking_results_v2.csv": 8,
        "hand_tracking/wrist_and_palm_poses_v2.csv": 40,
    }
    heads = {
        name: b"".join((original / name).read_bytes().splitlines(True)[: count + 1]) for name, count in files.items()
    }
    outcomes = {"refused": 0, "told": 0, "whole": 0}
    for seed in range(500):
        name = list(files)[seed // 6 % len(files)]
        (folder := tmp_path / str(seed)).mkdir()
        (folder / name).parent.mkdir()
        (folder / name).write_bytes(damage(heads[name], seed))
        try:
            collection = open_collection(folder)
            with collection.open(str(seed)) as source:
                told = any("left out" in note for note in source.notes)
            read_everything(collection)
        except SourceError as error:
            assert str(folder) in str(error)
            outcomes["refused"] += 1
        else:
            outcomes["told" if told else "whole"] += 1
        shutil.rmtree(folder)
    assert outcomes["refused"] > 200  # the rest changed digits


def test_damaged_truth_is_left_out_and_told(
    shared_data: Path, tmp_path: Path, damage: Callable[[bytes, int], bytes]
) -> None:
    names = ("2d_bounding_box.csv", "scene_objects.csv", "aria_trajectory.csv", "eyegaze.csv")
    heads = {
        name: b"".join((shared_data / "aria_gen1_adt" / name).read_bytes().splitlines(True)[:30]) for name in names
    }
    frames = json.loads((shared_data / "aria_gen1_adt/Skeleton_T.json").read_text())["frames"][:1]
    heads["Skeleton_T.json"] = json.dumps({"frames": frames}).encode()
    heads["speech.csv"] = (shared_data / "aria_gen1_aea/speech.csv").read_bytes()
    told = 0
    for seed in range(240):
        name = list(heads)[seed // 6 % len(heads)]
        (tmp_path / name).write_bytes(damage(heads[name], seed))
        notes: list[str] = []
        found, _ = aria_truth.parts(tmp_path, notes)
        for part in found:
            assert all(part.read(index) is not None for index in range(len(part.stamps)))
        told += bool(notes)
        (tmp_path / name).unlink()
    assert told > 80
