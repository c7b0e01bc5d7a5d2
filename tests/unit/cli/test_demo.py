"""The demo from above: stages once each, resumed where it stopped, set aside when it is another one, its summary."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from foreact.cli import demo as demo_module
from foreact.cli import demo_report
from foreact.cli.demo import DemoConfig, demo
from foreact.cli.demo_folder import DemoError, hold
from foreact.cli.demo_report import Material
from foreact.cli.demo_stages import Stage, perform, plan
from foreact.episodes import runfolder
from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import RunFolder

ORDER = ["record", "calibration", "train", "eval", "export", "compress", "eval int8", "run"]
KEYS = {
    "success_mean", "success_per_task", "success_int8_mean", "size_ratio", "parity_min_cosine", "latency_ratio_int8",
    "cpu_seconds", "wall_seconds", "peak_rss_mb", "success_interval", "success_int8_per_task", "stages", "lateness",
    "machine", "versions", "git", "seeds", "protocol_hash",
}  # fmt: skip


def evaluation(success: float, protocol: str = "p") -> dict[str, Any]:
    entry = {"success": success, "interval": [0.5, 1.0], "episodes": 20}
    return {
        "success_mean": success, "success_interval": [0.5, 1.0], "success_per_task": {"reach-v3": entry},
        "episodes": 20, "protocol_hash": protocol, "contract_hash": "c",
    }  # fmt: skip


FIGURES: dict[str, dict[str, Any]] = {
    "record": {}, "calibration": {}, "train": {}, "eval": evaluation(0.95), "eval int8": evaluation(0.9),
    "export": {"parity_min_cosine": 0.99999},
    "compress": {"parity_min_cosine": 0.9995, "size_ratio": 3.9, "latency_ratio_int8": 4.5},
    "run": {
        "rate_wanted_hz": 80.0, "rate_hz": 79.9, "steps": 3, "misses": 0, "lateness_us": {"p50": 8},
        "lateness_buckets_us": [[8, 9, 2], [900, 960, 1]],
    },
}  # fmt: skip


class Rooms:
    """Stands for all rooms: writes a file per stage, remembers the order, fails where it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fail_at: str | None = None
        self.figures: dict[str, dict[str, Any]] = dict(FIGURES)

    def perform(self, stage: Stage, progress: ProgressFn) -> Outcome:
        self.calls.append(stage.name)
        progress(1, 1, "working")
        if stage.name == self.fail_at:
            raise ValueError(f"{stage.name} failed")
        out = Path(dict(override.split("=", 1) for override in stage.overrides)["out"])
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(stage.name)
        return Outcome(out, self.figures[stage.name], ("figure", "value"), (("stage", stage.name),))


@pytest.fixture
def rooms(monkeypatch: pytest.MonkeyPatch) -> Rooms:
    made = Rooms()
    monkeypatch.setattr(demo_module, "perform", made.perform)
    monkeypatch.setattr(demo_module, "check", lambda stages: None)
    commit = {"commit": "1" * 40, "dirty": False}  # somebody may commit while the tests run
    monkeypatch.setattr(runfolder, "_git_state", lambda: commit)

    def collect(out: Path, stages: tuple[Stage, ...], outcomes: Mapping[str, Any], progress: ProgressFn) -> Material:
        return Material(dict(outcomes), {}, ([20, 40], [1.0, 0.5]), [], [])

    monkeypatch.setattr(demo_report, "collect", collect)
    return made


@pytest.fixture
def config(tmp_path: Path) -> DemoConfig:
    return DemoConfig(tmp_path / "demo" / "latest", ("reach",))


def summary_of(config: DemoConfig) -> dict[str, Any]:
    return json.loads((config.out / "summary.json").read_text())


def ledger_of(config: DemoConfig) -> dict[str, Any]:
    return json.loads((config.out / "ledger.json").read_text())


def test_every_stage_runs_once_and_the_summary_has_its_keys(rooms: Rooms, config: DemoConfig) -> None:
    told: list[str] = []
    outcome = demo(config, lambda done, total, text: told.append(text))
    assert rooms.calls == ORDER
    assert told == [f"{name}: working" for name in ORDER]
    assert outcome.path == config.out / "report.html" and outcome.path.exists()
    summary = summary_of(config)
    assert set(summary) == KEYS
    assert (summary["success_mean"], summary["success_int8_mean"]) == (0.95, 0.9)
    assert summary["success_per_task"] == {"reach-v3": 0.95}
    assert summary["parity_min_cosine"] == 0.9995, "the smaller one of fp32 and int8"
    assert list(summary["stages"]) == [*ORDER, "report"]
    assert summary["peak_rss_mb"] > 20 and summary["lateness"]["steps"] == 3


def test_a_demo_that_failed_goes_on_where_it_stopped(rooms: Rooms, config: DemoConfig) -> None:
    rooms.fail_at = "export"
    with pytest.raises(ValueError, match="export failed"):
        demo(config)
    assert not (config.out / "summary.json").exists()
    rooms.fail_at, rooms.calls = None, []
    demo(config)
    assert rooms.calls == ORDER[ORDER.index("export") :]
    ledger, summary = ledger_of(config), summary_of(config)
    assert len(ledger["attempts"]) == 2
    assert summary["wall_seconds"] == pytest.approx(sum(a["wall_s"] for a in ledger["attempts"]), abs=0.06)
    assert summary["cpu_seconds"] == pytest.approx(sum(a["cpu_s"] for a in ledger["attempts"]), abs=0.06)


def test_a_complete_demo_only_writes_its_report_again(rooms: Rooms, config: DemoConfig) -> None:
    demo(config)
    before, summary = ledger_of(config), summary_of(config)
    (config.out / "report.html").unlink()
    rooms.calls = []
    demo(config)
    assert rooms.calls == [] and ledger_of(config) == before and summary_of(config) == summary
    assert (config.out / "report.html").exists()


def test_a_stage_whose_result_is_gone_runs_again(rooms: Rooms, config: DemoConfig) -> None:
    demo(config)
    (config.out / "export" / "policy.onnx").unlink()
    rooms.calls = []
    demo(config)
    assert rooms.calls == ["export"]


def test_another_demo_in_the_folder_is_set_aside(
    rooms: Rooms, config: DemoConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    demo(config)
    started = RunFolder.open(config.out).record["started"]
    rooms.calls = []
    demo(dataclasses.replace(config, demos=7))
    assert rooms.calls == ORDER
    aside = config.out.parent / started.partition("+")[0].replace(":", "-")
    assert json.loads((aside / "run.json").read_text())["config"]["demos"] == 50
    assert (aside / "summary.json").exists() and RunFolder.open(config.out).record["config"]["demos"] == 7
    assert f"held another demo; it is now {aside}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "other"), [("git", {"commit": "0" * 40, "dirty": False}), ("packages", {"numpy": "1"})]
)
def test_a_demo_of_another_version_is_set_aside(key: str, other: Any, rooms: Rooms, config: DemoConfig) -> None:
    demo(config)
    record = json.loads((config.out / "run.json").read_text()) | {key: other}
    (config.out / "run.json").write_text(json.dumps(record))
    rooms.calls = []
    demo(config)
    assert rooms.calls == ORDER and len(list(config.out.parent.glob("20*"))) == 1


def test_a_folder_that_holds_something_else_is_left_alone(rooms: Rooms, config: DemoConfig) -> None:
    config.out.mkdir(parents=True)
    (config.out / "thesis.txt").write_text("mine")
    with pytest.raises(DemoError, match="holds no demo"):
        demo(config)
    (config.out / "thesis.txt").unlink()
    RunFolder.create(config.out, "train", config, 0)
    with pytest.raises(DemoError, match="a run of `foreact train`"):
        demo(config)
    assert rooms.calls == [] and len(list(config.out.iterdir())) == 1


def test_one_demo_at_a_time_writes_to_a_folder(rooms: Rooms, config: DemoConfig) -> None:
    with hold(config.out), pytest.raises(DemoError, match="another demo is writing"):
        demo(config)
    assert rooms.calls == []
    demo(config)


def test_evaluations_that_cannot_be_compared_are_refused(rooms: Rooms, config: DemoConfig) -> None:
    rooms.figures["eval int8"] = evaluation(0.9, "q")
    with pytest.raises(DemoError, match="different protocols"):
        demo(config)
    assert not (config.out / "summary.json").exists()


def test_a_missing_figure_is_named(rooms: Rooms, config: DemoConfig) -> None:
    rooms.figures["compress"] = {"size_ratio": 3.9}
    with pytest.raises(DemoError, match=r"int8\.onnx was written without the figure parity_min_cosine"):
        demo(config)


def test_what_is_typed_for_each_stage(tmp_path: Path) -> None:
    handed = {"optimisation": {"updates": 30, "precision": "fp32"}, "streams": ["rgb"]}
    stages = plan(DemoConfig(Path("d"), ("reach", "push"), record={"front": 64}, train=handed, eval={"horizon": 9}))
    typed = {stage.name: " ".join(stage.command_line) for stage in stages}
    settings = "optimisation.updates=30 optimisation.precision=fp32 streams=[rgb]"
    assert typed["train"] == f"foreact train data=d/data/train out=d/train seed=0 {settings}"
    assert "tasks=[reach,push]" in typed["record"] and "front=64" in typed["record"]
    assert "split=calibration" in typed["calibration"] and "front=64" in typed["calibration"]
    assert "data=d/data/calibration" in typed["export"] and "data=d/data/calibration" in typed["compress"]
    assert "horizon=9" in typed["eval"] and "videos" not in typed["eval"]
    assert "policy=d/compress/policy.int8.onnx" in typed["eval int8"] and "videos=0" in typed["eval int8"]
    assert "task=reach" in typed["run"] and "front=64" in typed["run"]


@pytest.mark.parametrize(("flags", "expected"), [(["avx2", "avx512_bf16"], "bf16"), (["avx2"], "fp32")])
def test_training_uses_bf16_where_the_processor_has_it(
    flags: list[str], expected: str, config: DemoConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("foreact.cli.doctor.cpu_flags", lambda: flags)
    train = next(stage for stage in plan(config) if stage.name == "train")
    assert f"optimisation.precision={expected}" in train.overrides


@pytest.mark.parametrize(("changes", "words"), [({"tasks": ()}, "tasks="), ({"demos": 0}, "demos=0")])
def test_values_out_of_range_are_refused(changes: dict[str, Any], words: str, config: DemoConfig) -> None:
    with pytest.raises(ValueError, match=words):
        dataclasses.replace(config, **changes)


def test_a_key_that_the_demo_sets_cannot_be_handed_on(config: DemoConfig) -> None:
    with pytest.raises(ValueError, match=r"eval\.out is set by the demo itself"):
        plan(dataclasses.replace(config, eval={"out": "x"}))


def test_what_a_stopped_command_left_is_removed_where_it_does_not_continue(tmp_path: Path) -> None:
    *others, last = plan(DemoConfig(tmp_path / "d"))
    assert last.scratch == tmp_path / "d" / "run" and not [stage for stage in others if stage.scratch]
    assert last.scratch is not None
    last.scratch.mkdir(parents=True)
    (last.scratch / "run.json").write_text("{}")
    with pytest.raises(ValueError):  # there is no policy to run; the folder is gone by then
        perform(last, quiet)
    assert not (last.scratch / "run.json").exists()
