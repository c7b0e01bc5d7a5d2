import json
from pathlib import Path

import pytest

from foreact.episodes.runfolder import RunError
from foreact.sim.registry import UnknownTask
from foreact.vla.actors import ActorError
from foreact.vla.evaluate import EvalConfig, EvalError, evaluate, load_results


def config(out: Path, **changes: object) -> EvalConfig:
    fields = {"out": out, "tasks": ("reach",), "agent": "zero", "episodes": 2, "horizon": 3, "workers": 1, "videos": 0}
    return EvalConfig(**{**fields, **changes})


def test_a_controller_is_evaluated_and_reported_with_intervals(tmp_path: Path) -> None:
    outcome = evaluate(config(tmp_path / "run"))
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert report["success_mean"] == 0.0
    assert report["success_per_task"]["reach-v3"]["interval"][1] == pytest.approx(0.6576, abs=1e-3)  # 0 of 2
    assert outcome.figures["protocol_hash"] == report["protocol_hash"]
    assert [row["steps"] for row in load_results(tmp_path / "run")] == [3, 3]


def test_finished_episodes_are_kept_and_lost_ones_run_again(tmp_path: Path) -> None:
    out = tmp_path / "run"
    evaluate(config(out))
    files = sorted((out / "episodes").glob("*.json"))
    marked = json.loads(files[0].read_text())
    files[0].write_text(json.dumps({**marked, "success": True}))
    lost = files[1].read_bytes()
    files[1].unlink()
    outcome = evaluate(config(out))
    assert files[1].read_bytes() == lost
    assert outcome.figures["success_mean"] == 0.5  # the kept episode was not run again


def test_the_protocol_hash_changes_with_what_matters_and_only_then(tmp_path: Path) -> None:
    def digest(name: str, **changes: object) -> object:
        return evaluate(config(tmp_path / name, **changes)).figures["protocol_hash"]

    base = digest("base")
    assert digest("worlds", worlds=1) == base
    assert digest("horizon", horizon=4) != base
    assert digest("seed", seed=1) != base
    assert digest("sentence", instruction="held_out") != base


def test_another_evaluation_in_the_same_folder_is_refused(tmp_path: Path) -> None:
    evaluate(config(tmp_path / "run"))
    with pytest.raises(RunError, match="horizon"):
        evaluate(config(tmp_path / "run", horizon=4))


def test_bad_requests_leave_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(EvalError, match="policy=PATH"):
        config(out, agent=None)
    with pytest.raises(EvalError, match="episodes=0"):
        config(out, episodes=0)
    with pytest.raises(UnknownTask, match="reach"):
        evaluate(config(out, tasks=("raech",)))
    with pytest.raises(ActorError, match="foreact train"):
        evaluate(config(out, agent=None, policy=tmp_path / "nothing"))
    assert not out.exists()
