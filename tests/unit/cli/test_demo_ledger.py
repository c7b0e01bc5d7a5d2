"""What a demo costs: CPU seconds of children, memory of the tree, sums over attempts, and what a kill leaves."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from foreact.cli import demo_ledger
from foreact.cli.demo_ledger import Ledger, StageCost
from foreact.cli.demo_meter import Meter, metered

BURN = "import time\nwhile time.process_time() < {seconds}: pass\n"


def test_cpu_seconds_of_finished_and_of_running_children_count() -> None:
    meter = Meter()
    before = meter.cpu_s()
    subprocess.run([sys.executable, "-c", BURN.format(seconds=0.3)], check=True)
    assert meter.cpu_s() - before > 0.28
    before = meter.cpu_s()
    code = BURN.format(seconds=0.3) + "print('burnt', flush=True)\nimport sys; sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "burnt\n"
    running = meter.cpu_s() - before
    child.communicate("")
    assert running > 0.28
    assert meter.cpu_s() - before < 2 * running, "a child is not counted twice when it ends"


def test_the_peak_is_of_the_whole_tree() -> None:
    with metered(seconds=0.02) as meter:
        time.sleep(0.1)
        alone = meter.peak_bytes
        code = "block = bytearray(60_000_000); print('held', flush=True); import sys; sys.stdin.read()"
        child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None and child.stdout.readline() == "held\n"
        deadline = time.monotonic() + 10
        while meter.peak_bytes < alone + 55_000_000 and time.monotonic() < deadline:
            time.sleep(0.02)
        child.communicate("")
    assert meter.peak_bytes > alone + 55_000_000


def test_attempts_and_stages_are_added_up(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    first = Ledger(path)
    with first.attempt(), first.stage("train"):
        time.sleep(0.05)
    second = Ledger(path)
    with second.attempt():
        with second.stage("train"):
            time.sleep(0.03)
        with second.stage("eval"):
            pass
    third = Ledger(path)
    assert third.attempts == 2
    assert third.total.wall_s == pytest.approx(first.total.wall_s + second._attempts[1].wall_s)
    assert third.stages["train"].wall_s == pytest.approx(
        first.stages["train"].wall_s + (second.stages["train"].wall_s - first.stages["train"].wall_s)
    )
    assert 0.08 <= third.stages["train"].wall_s <= third.total.wall_s
    assert list(third.stages) == ["train", "eval"]
    assert third.peak_bytes >= first.peak_bytes > 10_000_000


def test_sums_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "ledger.json"
    content = {
        "attempts": [{"wall_s": 10.0, "cpu_s": 4.0}, {"wall_s": 2.5, "cpu_s": 3.0}],
        "stages": {"train": {"wall_s": 9.0, "cpu_s": 3.5}},
        "peak_bytes": 7,
    }
    path.write_text(json.dumps(content))
    ledger = Ledger(path)
    assert ledger.total == StageCost(12.5, 7.0)
    assert ledger.stages == {"train": StageCost(9.0, 3.5)} and ledger.peak_bytes == 7


def test_what_a_killed_attempt_leaves_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo_ledger, "SECONDS_BETWEEN_WRITES", 0.0)
    path = tmp_path / "ledger.json"
    ledger = Ledger(path)
    with ledger.attempt(), ledger.stage("train"):
        time.sleep(0.1)
        ledger._write_now_and_then()  # what the meter's thread does, without waiting for it
        left = Ledger(path)  # what another process would find, were this one killed now
    assert left.attempts == 1
    assert 0.1 <= left.stages["train"].wall_s < ledger.total.wall_s
    assert left.total.wall_s < ledger.total.wall_s


def test_a_failed_stage_counts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.json")
    with pytest.raises(KeyError), ledger.attempt(), ledger.stage("train"):
        time.sleep(0.02)
        raise KeyError("x")
    kept = Ledger(tmp_path / "ledger.json")
    assert kept.stages["train"].wall_s >= 0.02 and kept.attempts == 1


def test_a_damaged_ledger_is_named(tmp_path: Path) -> None:
    (tmp_path / "ledger.json").write_text("{")
    with pytest.raises(ValueError, match=r"ledger\.json is damaged.*Delete it"):
        Ledger(tmp_path / "ledger.json")
