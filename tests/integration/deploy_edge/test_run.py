"""Real processes and real time; no timing decides a test."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from foreact.deploy_edge.processes import ProcessFailure
from foreact.deploy_edge.run import RunConfig, run

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


def test_a_run_folder_is_not_used_twice(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").write_text("{}")
    with pytest.raises(ValueError, match="already holds a run"):
        run(config(exported, tmp_path / "run"))


def children_of(parent: int) -> list[int]:
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(parent)], capture_output=True, text=True, check=False)
    return [int(pid) for pid in listed.stdout.split()]


def test_sigterm_ends_all_processes_and_frees_the_memory(exported: Path, tmp_path: Path) -> None:
    if not Path("/proc").is_dir():
        pytest.skip("reads /proc")
    before = left_in_memory()
    code = f"""
from pathlib import Path
from foreact.deploy_edge.run import RunConfig, run
run(RunConfig(Path({str(exported)!r}), "reach", Path({str(tmp_path / "run")!r}), episodes=50, seconds=60.0,
    front={FRONT}, wrist={WRIST}))
"""
    parent = subprocess.Popen([sys.executable, "-P", "-c", code], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not left_in_memory() - before and time.monotonic() < deadline:
        assert parent.poll() is None
        time.sleep(0.1)
    time.sleep(1)
    children = children_of(parent.pid)
    assert len(children) == 2
    parent.send_signal(signal.SIGTERM)
    _, error = parent.communicate(timeout=90)
    assert parent.returncode != 0 and "KeyboardInterrupt" in error
    assert not left_in_memory() - before
    assert not [pid for pid in children if Path(f"/proc/{pid}").exists()]


def test_children_end_when_their_parent_is_killed(exported: Path, tmp_path: Path) -> None:
    if not Path("/proc").is_dir():
        pytest.skip("reads /proc")
    code = f"""
from pathlib import Path
from foreact.deploy_edge.run import RunConfig, run
run(RunConfig(Path({str(exported)!r}), "reach", Path({str(tmp_path / "run")!r}), episodes=50, seconds=60.0,
    front={FRONT}, wrist={WRIST}))
"""
    before = left_in_memory()
    parent = subprocess.Popen([sys.executable, "-P", "-c", code])
    deadline = time.monotonic() + 90
    while not left_in_memory() - before and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(1)
    children = children_of(parent.pid)
    parent.kill()
    parent.wait()
    while any(running(pid) for pid in children) and time.monotonic() < deadline + 60:
        time.sleep(0.2)
    assert children and not [pid for pid in children if running(pid)]
    for name in left_in_memory() - before:
        os.unlink(Path("/dev/shm") / name)


def running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
