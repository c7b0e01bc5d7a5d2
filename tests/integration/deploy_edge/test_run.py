"""Real processes and real time; no timing decides a test."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from foreact.deploy_edge.processes import ProcessFailure
from foreact.deploy_edge.run import RunConfig, run
from foreact.episodes.runfolder import RunFolder

pytest.importorskip("mujoco_warp")

FRONT, WRIST = 32, 16  # as in conftest


def config(exported: Path, out: Path, **changed: Any) -> RunConfig:
    given: dict[str, Any] = {"episodes": 1, "seconds": 1.0, "front": FRONT, "wrist": WRIST, **changed}
    return RunConfig(exported, "reach", out, **given)


def left_in_memory() -> set[str]:
    shared = Path("/dev/shm")
    return {each.name for each in shared.glob("foreact-run-*")} if shared.is_dir() else set()


def test_a_policy_drives_the_robot_in_a_process_without_torch_or_simulator(exported: Path, tmp_path: Path) -> None:
    before = left_in_memory()
    outcome = run(config(exported, tmp_path / "run", episodes=2))
    figures: Any = outcome.figures
    assert figures["control_process_heavy_modules"] == []
    assert figures["refused_actions"] == 0 and len(figures["success"]) == 2
    for episode in json.loads((tmp_path / "run" / "report.json").read_text())["episodes"]:
        assert episode["success"] or episode["steps"] == 80
        assert episode["lateness_us"]["count"] == episode["steps"] and episode["inferences"] >= 1
    assert figures["robot"]["executed"] > 0 and figures["lateness_us"]["max"] >= figures["lateness_us"]["p50"]
    assert (tmp_path / "run" / "lateness.png").exists() and (tmp_path / "run" / "run.json").exists()
    assert not left_in_memory() - before


def test_a_robot_with_another_camera_is_never_commanded(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(ProcessFailure, match=r"cameras.front.width: expected 32, got 48"):
        run(config(exported, tmp_path / "run", front=48))
    assert not (tmp_path / "run" / "report.json").exists()


def test_the_folder_of_another_run_is_left_alone(exported: Path, tmp_path: Path) -> None:
    first = config(exported, tmp_path / "run")
    RunFolder.create(first.out, "run", first, first.seed)
    with pytest.raises(ValueError, match="config.seconds"):
        run(config(exported, tmp_path / "run", seconds=2.0))


def children_of(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in listed.stdout.split()]


def started(exported: Path, out: Path) -> tuple["subprocess.Popen[str]", list[int]]:
    """A long run in a process of its own, once its two processes work."""
    before = left_in_memory()
    # a shell that starts the tests in the background has its children ignore SIGINT
    code = f"""
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)
from pathlib import Path
from foreact.deploy_edge.run import RunConfig, run
run(RunConfig(Path({str(exported)!r}), "reach", Path({str(out)!r}), episodes=50, seconds=60.0,
    front={FRONT}, wrist={WRIST}))
"""
    parent = subprocess.Popen([sys.executable, "-P", "-c", code], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not left_in_memory() - before and time.monotonic() < deadline:
        assert parent.poll() is None
        time.sleep(0.1)
    time.sleep(3)
    children = children_of(parent.pid)
    assert len(children) == 2
    return parent, children


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT])
def test_a_request_to_stop_leaves_a_report_and_nothing_else(
    exported: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    before = left_in_memory()
    parent, children = started(exported, tmp_path / "run")
    parent.send_signal(sent)
    _, error = parent.communicate(timeout=90)
    assert parent.returncode != 0 and "KeyboardInterrupt" in error
    assert not left_in_memory() - before and not [pid for pid in children if running(pid)]
    report = tmp_path / "run" / "report.json"
    if report.exists():  # asked to stop before the first command, there is nothing to report
        assert json.loads(report.read_text())["stopped_by"] == "SIGTERM"


def test_the_processes_end_when_their_parent_is_killed(exported: Path, tmp_path: Path) -> None:
    before = left_in_memory()
    parent, children = started(exported, tmp_path / "run")
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 60
    while any(running(pid) for pid in children) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not [pid for pid in children if running(pid)]
    assert not left_in_memory() - before


def running(pid: int) -> bool:
    listed = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return listed.stdout.strip()[:1] not in ("", "Z")
