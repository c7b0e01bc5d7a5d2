"""`foreact bench futures` from sets to figures, small, and typed again."""

import json
from pathlib import Path
from typing import Any

import pytest

from foreact.worldmodels import bench_futures as module
from foreact.worldmodels.bench_futures import FuturesBenchConfig, bench_futures
from foreact.worldmodels.bench_futures_figures import Measured, figures_of
from foreact.worldmodels.trainer import OptimisationConfig

KEYS = {
    "energy_score_gap_closed", "coverage_80", "cvar_error", "rollouts_per_cpu_second", "plan_p99_ms", "collision_ratio",
    "ranking_spearman",
}  # fmt: skip


def test_it_measures_everything_and_goes_on_where_it_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = FuturesBenchConfig(
        work=tmp_path / "work", out=tmp_path / "results", scenes=("arm-reach",), models=("linear",), seeds=(1000,),
        optimisation=OptimisationConfig(updates=30), train=48, calibrate=40, test=16, seed=1000, plans=100, risky=0,
        ranked=0, planned=0, workers=1,
    )  # fmt: skip
    outcome = bench_futures(config)
    figures: Any = outcome.figures
    assert figures.keys() >= KEYS
    assert {row[1] for row in outcome.rows} == {"truth", "codes", "deterministic", "linear"}
    table = figures["scenes"]["arm-reach"]
    assert table["truth"]["energy_score"] < table["codes"]["energy_score"] < table["deterministic"]["energy_score"]
    assert table["codes"]["energy_score_shuffled"] > table["codes"]["energy_score"]
    assert figures["rollouts_per_cpu_second"].keys() == {"state", "pixels"}
    assert json.loads(outcome.path.read_text())["machine"]["cores"]

    def again(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(module, "train_worldmodel", again)
    assert bench_futures(config).figures["energy_score_gap_closed"] == figures["energy_score_gap_closed"]


def test_the_headline_is_that_of_the_worst_scene() -> None:
    def runs(scene: str, codes: float, covered: float) -> list[Measured]:
        floor = Measured(scene, "truth", 0, {"energy_score": 1.0})
        single = Measured(scene, "deterministic", 0, {"energy_score": 3.0, "coverage_80": 0.8, "cvar_error": 0.0})
        return [floor, single, Measured(scene, "codes", 0, {
            "energy_score": codes, "coverage_80": covered, "cvar_error": codes,
        })]  # fmt: skip

    speeds = {"codes": 1.0, "rssm": 0.1, "pixels": 2.0, "plan_p99_ms": 3.0}
    trials = {
        "risk-0": {"collision_ratio": {"K futures, CVaR": {"value": 0.4}}},
        "plan-a-0": {"arms": {"futures": {"gain": 0.2}}},
        "plan-a-1": {"arms": {"futures": {"gain": 0.4}}},
        "plan-b-0": {"arms": {"futures": {"gain": 0.5}}},
    }
    figures = figures_of([*runs("a", 1.5, 0.82), *runs("b", 2.0, 0.77)], speeds, trials, ("a", "b"))
    # (3 - 1.5) / (3 - 1) and (3 - 2) / (3 - 1)
    assert figures["energy_score_gap_closed"] == pytest.approx(0.5)
    assert figures["coverage_80"] == 0.77
    assert (figures["cvar_error"], figures["collision_ratio"]) == (2.0, 0.4)
    assert figures["planner_gain"] == pytest.approx(0.3)
    assert figures["state_rollouts_over"] == {"rssm": 10.0}


@pytest.mark.parametrize(
    ("fields", "match"),
    [
        ({"target": "past"}, "expected futures"),
        ({"scenes": ("arm-reech",)}, "arm-reach"),
        ({"models": ("gan",)}, "choose from codes"),
        ({"scenes": ("arm-push",)}, "arm-reach-passer is not among"),
        ({"plans": 3}, "plans"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        FuturesBenchConfig(**fields)
