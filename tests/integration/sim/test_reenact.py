"""`foreact replay into=robot`: a small arm worked out by hand, the G1 and the Adroit door on real recordings."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from foreact.cli.app import app
from foreact.episodes.film import read_film
from foreact.episodes.sources import SourceError
from foreact.sim.reenact import ReenactConfig, adroit_door, reenact
from foreact.sim.reenact.adroit_door import AdroitDoor, door_model
from foreact.sim.reenact.door_score import observations
from foreact.sim.reenact.drive import Chosen, Range, drive

NEEDS_DOOR = pytest.mark.skipif(find_spec("gymnasium_robotics") is None, reason="gymnasium-robotics is not installed")
GAIN, MASS, LENGTH, GRAVITY = 40.0, 2.0, 0.5, 9.81
ARM = f"""
<mujoco><compiler angle="radian"/><option timestep="0.002" integrator="implicitfast"/><worldbody>
<body name="base" pos="0 0 1"><freejoint name="root"/><geom size="0.05" mass="5"/>
<body name="upper"><joint name="shoulder" axis="0 1 0" damping="12" range="-1 1" limited="true"/>
<geom type="capsule" size="0.02" fromto="0 0 0 {LENGTH} 0 0" mass="1e-6"/>
<geom name="weight" pos="{LENGTH} 0 0" size="0.04" mass="{MASS}"/>
<body name="lower" pos="{LENGTH} 0 0"><joint name="wrist" axis="0 1 0" damping="1"/>
<geom type="capsule" size="0.02" fromto="0 0 0 0.2 0 0" mass="0.01"/></body></body></body></worldbody>
<actuator><position name="s" joint="shoulder" kp="{GAIN}"/><position name="w" joint="wrist" kp="{GAIN}"/></actuator>
<keyframe><key name="home" qpos="0 0 1 1 0 0 0 0 0.3"/></keyframe></mujoco>"""


def written(folder: Path, actions: Any, states: Any = None, fps: int = 50, arm: str = ARM) -> ReenactConfig:
    """An arm and a recording of its shoulder."""
    arrays = {"actions": np.array(actions, np.float32)[:, None], "fps": np.array(fps)}
    if states is not None:
        arrays["state"] = np.array(states, np.float32)[:, None]
    np.savez(folder / "one.npz", **arrays)
    (folder / "arm.xml").write_text(arm, encoding="utf-8")
    given = ("0:shoulder",)
    return ReenactConfig(folder / "one.npz", robot=str(folder / "arm.xml"), joints=given, films=0)


def figures(config: ReenactConfig) -> Any:
    return json.loads(json.dumps(reenact(config).figures))


def test_an_arm_sags_by_its_weight_over_its_gain(tmp_path: Path) -> None:
    told = figures(written(tmp_path, np.zeros(300), np.zeros(300)))
    # gain q = m g l cos q
    sag = 0.0
    for _ in range(50):
        sag = MASS * GRAVITY * LENGTH * np.cos(sag) / GAIN
    shoulder = told["joints"]["shoulder"]
    assert shoulder["simulated_off_command_max"] == pytest.approx(np.degrees(sag), rel=0.02)
    assert shoulder["recorded_off_command_max"] == 0 and shoulder["substeps"] == 3000
    # its weight goes round the shoulder by the chord of that angle
    chord = 2000 * LENGTH * np.sin(sag / 2)
    assert told["tips"] == {
        "upper": {"unit": "mm", "rms": pytest.approx(chord, rel=0.1), "max": pytest.approx(chord, rel=0.02)}
    }
    assert told["joints_held"] == ["wrist"] and any("base is fixed, base stays" in note for note in told["notes"])


def test_joints_that_nothing_drives_are_locked_or_sag(tmp_path: Path) -> None:
    arm = ARM.replace('mass="0.01"', 'mass="1"')
    config = written(tmp_path, np.zeros(150), np.zeros(150), arm=arm)
    for held, low, high in (("locked", 0.0, 0.05), ("servo", 0.5, 5.0)):
        told = figures(replace(config, held=held, joints=("0:shoulder",)))
        assert told["joints_held"] == ["wrist"]
        moved = wrist_angle(replace(config, held=held))
        assert low <= moved <= high, f"{held}: {moved} deg"


def wrist_angle(config: ReenactConfig) -> float:
    """How far the wrist is from home at the end [deg]."""
    from foreact.episodes.sources import open_collection
    from foreact.sim.reenact.robot import load_robot, robot_stage

    robot = load_robot(Path(config.robot))
    stage = robot_stage(robot, ("0",), config.joints, "rad", config.held)
    with open_collection(config.path).open("one") as source:
        take = drive(stage, source, Chosen("action", "state"), Range())
    place = take.opening.model.joint("wrist").qposadr[0]
    return float(np.degrees(abs(take.qpos[-1, place] - 0.3)))


def test_actions_are_held_until_the_next_and_parts_rates_and_offsets_count(tmp_path: Path) -> None:
    states = np.linspace(0, 0.5, 100)
    config = written(tmp_path, states, states)
    whole = figures(config)["recordings"]["one"]
    assert (whole["actions"], whole["substeps"]) == (100, 1000)  # 2 s of 2 ms
    part = figures(replace(config, start_s=0.5, duration_s=0.4))["recordings"]["one"]
    assert (part["actions"], part["substeps"]) == (21, 210)
    fast = figures(replace(config, rate=2.0))["recordings"]["one"]
    assert (fast["actions"], fast["substeps"], fast["seconds"]) == (100, 500, 2.0)
    third = written(tmp_path, states, states, fps=30)  # 16.67 sub-steps each
    assert figures(third)["recordings"]["one"]["substeps"] == round(100 / 30 / 0.002)
    # states that are said to come 100 ms later are those of three actions before
    late = figures(replace(config, offset_s=0.1, start_s=0.2))["joints"]["shoulder"]
    assert late["recorded_off_command_rms"] == pytest.approx(np.degrees(3 * 0.5 / 99), rel=1e-4)
    steps = replace(config, path=tmp_path / "counted.npz")
    np.savez(steps.path, actions=np.zeros((4, 1)), state=np.zeros((4, 1)))
    with pytest.raises(ValueError, match="rate_hz="):
        reenact(steps)
    assert figures(replace(steps, rate_hz=100.0))["recordings"]["counted"]["substeps"] == 20


def test_limits_that_were_hit_are_counted(tmp_path: Path) -> None:
    weak = ARM.replace('damping="12" range', 'damping="12" actuatorfrcrange="-5 5" range')
    told = figures(written(tmp_path, np.full(100, 1.5), np.full(100, 1.1), arm=weak))["joints"]["shoulder"]
    # 5 Nm do not carry 9.81 Nm: always at the limit, and the arm falls to the end of its range
    assert told["force_limit"] == 5 and told["substeps_at_force_limit"] == told["substeps"] == 1000
    assert (told["commands_out_of_range"], told["recorded_out_of_range"]) == (100, 100)
    assert 0 < told["simulated_at_end_of_range"] <= 100
    strong = figures(written(tmp_path, np.zeros(100), np.zeros(100)))["joints"]["shoulder"]
    assert strong["force_limit"] is None and strong["substeps_at_force_limit"] == 0


def test_the_same_files_give_the_same_report_on_either_engine(tmp_path: Path) -> None:
    config = written(tmp_path, np.sin(np.arange(60) / 9), np.sin(np.arange(60) / 9))
    for name in ("a", "b"):
        reenact(replace(config, out=tmp_path / name))
    assert (tmp_path / "a/report.json").read_bytes() == (tmp_path / "b/report.json").read_bytes()
    told, plain = figures(config), figures(replace(config, engine="ref"))
    assert told["joints"] == plain["joints"]


def test_a_recording_without_states_is_driven_and_compared_with_its_commands_only(tmp_path: Path) -> None:
    told = figures(written(tmp_path, np.zeros(50)))["joints"]["shoulder"]
    assert told["simulated_off_recorded_rms"] is None and told["simulated_off_command_rms"] > 1


def test_bad_recordings_and_wrong_robots_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    actions = np.zeros(20)
    config = replace(written(tmp_path, actions, actions), out=tmp_path / "out", films=1)
    actions[7] = np.nan
    with pytest.raises(SourceError, match="one: action number 7 is not finite: element 0"):
        reenact(replace(config, path=written(tmp_path, actions, np.zeros(20)).path))
    with pytest.raises(SourceError, match="type unit=deg"):
        reenact(replace(config, path=written(tmp_path, np.full(20, 30.0), np.zeros(20)).path))
    np.savez(tmp_path / "seen.npz", state=np.zeros((5, 1)))
    with pytest.raises(SourceError, match="no stream of actions to re-enact; it has state"):
        reenact(replace(config, path=tmp_path / "seen.npz"))
    with pytest.raises(ValueError, match="does not name its 1 elements"):
        reenact(replace(config, joints=()))
    motors = ARM.replace("<position", "<motor").replace(f' kp="{GAIN}"', "")
    with pytest.raises(ValueError, match="2 actuators take forces"):
        reenact(written(tmp_path, np.zeros(9), arm=motors))
    (tmp_path / "arm.xml").write_text("<mujoco><worldbody>", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be loaded"):
        reenact(config)
    assert not (tmp_path / "out").exists()


def test_a_film_and_a_sheet_show_the_arm_move(tmp_path: Path) -> None:
    turn = np.linspace(-0.8, 0.8, 9)
    config = replace(written(tmp_path, turn, turn, fps=15), films=1, out=tmp_path / "out")
    arguments = [f"path={config.path}", "into=robot", f"robot={config.robot}", "joints=[0:shoulder]"]
    result = CliRunner().invoke(app, ["replay", *arguments, f"out={config.out}"])
    assert result.exit_code == 0, result.output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"one.mp4", "one.png", "report.json", "sheet.png"}
    frames = read_film(tmp_path / "out/one.mp4").astype(int)
    assert len(frames) == 9 and frames[0].shape == (24 + 288, 2 * 384, 3)
    drawn = [frame[24:, :384] for frame in frames]
    assert np.ptp(drawn[0]) > 60, "not blank"
    assert np.abs(drawn[0] - drawn[-1]).max(-1).mean() > 1, "the arm moves"
    assert np.abs(frames[-1][24:, 384:] - drawn[-1]).mean() < np.abs(drawn[0] - drawn[-1]).mean()
    with Image.open(tmp_path / "out/sheet.png") as sheet:
        assert sheet.size[1] == 18 + 2 * 144


def test_the_g1_follows_what_its_teleoperator_commanded(shared_data: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("FOREACT_CACHE", str(tmp_path))
    robot = str(shared_data / "robots/unitree_g1.tar.xz")
    config = ReenactConfig(shared_data / "g1_head_teleop_lerobot_v21", robot=robot, films=0)
    told = figures(config)
    assert len(told["mapping"]) == 14 and len(told["joints_held"]) == 15
    assert len(told["elements_without_joint"]) == 12 and told["elements_without_joint"][0] == "kLeftHandPinky"
    recording = next(iter(told["recordings"].values()))
    assert recording["actions"] == 221 and recording["joints_rms_deg"] < 1.5
    assert recording["recorded_delay_s"] > 3 * recording["simulated_delay_s"] > 0
    with pytest.raises(ValueError, match="none of the 26 elements fits so_arm100"):
        reenact(replace(config, robot=str(shared_data / "robots/trs_so_arm100.tar.xz")))


@NEEDS_DOOR
def test_the_adroit_door_opens_as_far_as_it_did(shared_data: Path) -> None:
    config = ReenactConfig(shared_data / "dapg_door_human", robot="adroit_door", recordings=("01", "11", "24"), films=0)
    told = figures(config)
    door, recordings = told["door"], told["recordings"]
    assert (door["success"], door["recorded_success"], door["same_outcome"]) == (2, 2, 3)
    for each in recordings.values():
        assert abs(each["hinge"] - each["recorded_hinge"]) < 0.01 and each["joints_rms_deg"] < 1.5
        assert each["reward_off"] < 0.01 and abs(each["value"] - each["recorded_value"]) < 5
    # control: the stated beginning is not where the recording began
    stated = figures(replace(config, start="stated"))["recordings"]
    assert all(stated[key]["palm_rms"] > 2 * recordings[key]["palm_rms"] for key in recordings)


@NEEDS_DOOR
def test_a_recorded_observation_poses_the_door_and_is_observed_again(shared_data: Path) -> None:
    from foreact.episodes.sources import open_collection

    stage = AdroitDoor(door_model())
    with open_collection(shared_data / "dapg_door_human").open("03") as source:
        take = drive(stage, source, Chosen("action", "observations"), Range(duration_s=0.5))
    posed = replace(take, qpos=take.posed, qvel=np.zeros_like(take.qvel[1:]))
    off = np.abs(observations(stage, posed) - take.states)
    assert off[0].max() < 1e-6  # at rest
    assert off.max() < 3e-3  # in motion the recorded places are a sub-step old
    # simulated observations have that age too: the free hand is where it was seen
    assert np.abs(observations(stage, take)[:20, 29:35] - take.states[:20, 29:35]).max() < 5e-4


def test_a_missing_package_says_what_to_type(shared_data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adroit_door, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps gymnasium-robotics"):
        reenact(ReenactConfig(shared_data / "dapg_door_human", robot="adroit_door"))
