"""Run folders: complete records, whole metric lines, exact resume."""

import json
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.episodes.outcome import Outcome
from foreact.episodes.runfolder import RunError, RunFolder, jsonable, write_json_atomic


@dataclass(frozen=True)
class Head:
    kind: str = "l1"
    width: int = 64


@dataclass(frozen=True)
class Config:
    out: Path = Path("runs/x")
    tasks: tuple[str, ...] = ("reach", "push")
    rate: float = 0.5
    head: Head = field(default_factory=Head)


def test_the_record_says_what_was_run(tmp_path: Path) -> None:
    RunFolder.create(tmp_path / "a", "train", Config(), seed=7)
    record = json.loads((tmp_path / "a" / "run.json").read_text())
    assert record["kind"] == "train" and record["seed"] == 7
    assert record["config"] == {
        "out": "runs/x",
        "tasks": ["reach", "push"],
        "rate": 0.5,
        "head": {"kind": "l1", "width": 64},
    }
    assert record["packages"]["numpy"] == np.__version__
    assert record["machine"]["cores"] >= 1 and record["machine"]["memory_bytes"] > 1e8
    assert {"git", "started", "format"} <= record.keys()


def test_creating_twice_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "train", Config(), seed=0)
    before = (tmp_path / "run.json").read_bytes()
    with pytest.raises(RunError, match="already holds a run"):
        RunFolder.create(tmp_path, "train", Config(), seed=1)
    assert (tmp_path / "run.json").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "holds no run"),
        ("{", "damaged"),
        ('{"format": 1}', "lacks"),
        ('{"format": 99, "kind": "t", "seed": 0, "config": {}}', "newer"),
    ],
)
def test_a_bad_record_is_named(tmp_path: Path, text: str | None, message: str) -> None:
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=message):
        RunFolder.open(tmp_path)


def test_resuming_another_run_lists_both_values(tmp_path: Path) -> None:
    RunFolder.resume_or_create(tmp_path, "train", Config(), seed=0)
    assert RunFolder.resume_or_create(tmp_path, "train", Config(), seed=0).path == tmp_path
    with pytest.raises(RunError) as caught:
        RunFolder.resume_or_create(tmp_path, "train", Config(head=Head(width=128)), seed=1)
    assert "config.head.width: the folder has 64, asked for 128" in str(caught.value)
    assert "seed: the folder has 0, asked for 1" in str(caught.value)


def test_a_run_from_before_a_key_existed_is_continued_at_the_keys_default(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "train", Config(), seed=0)
    record = json.loads((tmp_path / "run.json").read_text())
    del record["config"]["rate"], record["config"]["head"]["kind"]
    (tmp_path / "run.json").write_text(json.dumps(record))
    assert RunFolder.resume_or_create(tmp_path, "train", Config(), seed=0).path == tmp_path
    with pytest.raises(RunError, match=r'config.head.kind: the folder has "l1", asked for "flow"'):
        RunFolder.resume_or_create(tmp_path, "train", Config(head=Head(kind="flow")), seed=0)


def test_a_torn_line_is_dropped_and_resume_equals_an_unbroken_run(tmp_path: Path) -> None:
    unbroken, broken = (RunFolder.create(tmp_path / name, "train", Config(), seed=0) for name in ("a", "b"))
    for step in range(6):
        unbroken.append_metrics({"step": step, "loss": 1.0 / (step + 1)})
    for step in range(4):  # a checkpoint after step 2, then a kill while step 4 is written
        broken.append_metrics({"step": step, "loss": 1.0 / (step + 1)})
    with broken.metrics_path.open("a") as file:
        file.write('{"step": 4, "lo')
    resumed = RunFolder.open(broken.path)
    resumed.append_metrics({"step": 4, "loss": 9.0})
    assert [row["step"] for row in resumed.read_metrics()] == [0, 1, 2, 3, 4]
    resumed.truncate_after(2)
    for step in range(3, 6):
        resumed.append_metrics({"step": step, "loss": 1.0 / (step + 1)})
    assert broken.metrics_path.read_bytes() == unbroken.metrics_path.read_bytes()


def test_lines_of_several_processes_stay_whole(tmp_path: Path) -> None:
    RunFolder.create(tmp_path, "train", Config(), seed=0)
    code = (
        "import sys; from pathlib import Path; from foreact.episodes.runfolder import RunFolder\n"
        f"run = RunFolder.open(Path({str(tmp_path)!r}))\n"
        "for step in range(2000): run.append_metrics({'step': step, 'who': sys.argv[1], 'pad': 'x' * 300})"
    )
    writers = [subprocess.Popen([sys.executable, "-P", "-c", code, name]) for name in "ab"]
    assert [writer.wait() for writer in writers] == [0, 0]
    rows = RunFolder.open(tmp_path).read_metrics()
    assert [len([row for row in rows if row["who"] == name]) for name in "ab"] == [2000, 2000]


def test_metrics_refuse_what_json_cannot_say(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "train", Config(), seed=0)
    run.append_metrics({"step": 0, "loss": np.float32(0.5), "count": np.int64(3)})
    with pytest.raises(RunError, match=r"step 1\.loss is nan"):
        run.append_metrics({"step": 1, "loss": float("nan")})
    with pytest.raises(RunError, match="'step'"):
        run.append_metrics({"loss": 1.0})
    assert run.read_metrics() == [{"step": 0, "loss": 0.5, "count": 3}]


def test_a_damaged_line_is_named_by_its_number(tmp_path: Path) -> None:
    run = RunFolder.create(tmp_path, "train", Config(), seed=0)
    run.metrics_path.write_text('{"step": 0}\n{"step": \n')
    with pytest.raises(RunError, match="line 2"):
        run.read_metrics()


@pytest.mark.parametrize("value", [float("inf"), object(), {"deep": [1, {2.5: complex(1, 1)}]}])
def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, value: Any) -> None:
    write_json_atomic(tmp_path / "figures.json", {"a": 1})
    with pytest.raises(RunError):
        write_json_atomic(tmp_path / "figures.json", {"a": value})
    assert json.loads((tmp_path / "figures.json").read_text()) == {"a": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["figures.json"]


def test_a_write_that_breaks_half_way_leaves_no_temporary_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(source: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("foreact.episodes.runfolder.os.replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_json_atomic(tmp_path / "figures.json", {"a": 1})
    assert not list(tmp_path.iterdir())


def test_sets_are_written_in_order() -> None:
    assert jsonable({"names": {"b", "a"}, "where": Path("x/y")}) == {"names": ["a", "b"], "where": "x/y"}


def test_a_table_row_must_fit_its_columns(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="row 1 has 1 texts for 2 columns"):
        Outcome(tmp_path, {}, ("task", "success"), (("reach", "1.0"), ("push",)))
