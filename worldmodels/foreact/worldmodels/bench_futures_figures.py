"""The figures of `foreact bench futures`: what was measured of each model, and what all of it says together."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from foreact.worldmodels.branches import Branches
from foreact.worldmodels.futures import FutureModel
from foreact.worldmodels.model_scores import calibrate, gap_closed, score_model

__all__ = ["Measured", "columns", "figures_of", "rows_of", "scored"]

COLUMNS = ("scene", "model", "energy score [cm]", "gap closed", "min ADE [cm]", "covers 80 %", "CVaR error [cm]")
COLUMNS += ("shuffled actions [cm]",)
SLOW = ("rssm", "tdmpc2", "flow")
CAUTIOUS = "K futures, CVaR"


@dataclass(frozen=True)
class Measured:
    """One model of one scene: its kind (`truth` for the true futures themselves), training seed and scores."""

    scene: str
    kind: str
    seed: int
    scores: Mapping[str, float]


def scored(model: FutureModel, test: Branches, calibration: Branches) -> dict[str, float]:
    """All scores of a model, its intervals calibrated, and its energy score with shuffled actions.

    Args:
        model: Who imagines.
        test: What really happened.
        calibration: Other states, to calibrate on.
    """
    shuffled = score_model(model, test, shuffle_actions=True)["energy_score"]
    return score_model(model, test, calibrate(model, calibration)) | {"energy_score_shuffled": shuffled}


def figures_of(
    measured: Sequence[Measured],
    speeds: Mapping[str, float],
    trials: Mapping[str, Mapping[str, Any]],
    scenes: Sequence[str],
) -> dict[str, Any]:
    """What everything says together; the headline is that of the worst scene.

    Args:
        measured: Of every model.
        speeds: Roll-outs per CPU-second by kind, and the time of a plan.
        trials: Of choosing by risk, of planning and of ranking.
        scenes: In order.
    """
    table = {name: _scene_figures([each for each in measured if each.scene == name]) for name in scenes}
    codes = [table[name]["codes"] for name in scenes]
    ratios = [
        trial["collision_ratio"][CAUTIOUS]["value"]
        for name, trial in trials.items()
        if name.startswith("risk") and trial.get("collision_ratio")
    ]
    gains = _gains(trials)
    return {
        "energy_score_gap_closed": min(each["gap_closed"] for each in codes),
        "coverage_80": max((each["coverage_80"] for each in codes), key=lambda share: abs(share - 0.8)),
        "cvar_error": max(each["cvar_error"] for each in codes),
        "rollouts_per_cpu_second": {"state": speeds["codes"], "pixels": speeds["pixels"]},
        "plan_p99_ms": speeds["plan_p99_ms"],
        "collision_ratio": statistics.fmean(ratios) if ratios else None,
        "ranking_spearman": trials.get("ranking", {}).get("ranking_spearman"),
        "planner_gain": min(gains.values(), default=None),
        "speeds": dict(speeds),
        "state_rollouts_over": {name: speeds["codes"] / speeds[name] for name in SLOW if name in speeds},
        "scenes": table,
        "trials": dict(trials),
    }


def _gains(trials: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """What planning adds to success in each scene, mean over seeds; the names end in scene and seed."""
    found: dict[str, list[float]] = {}
    for name, trial in trials.items():
        if name.startswith("plan-"):
            found.setdefault(name.rpartition("-")[0], []).append(trial["arms"]["futures"]["gain"])
    return {name: statistics.fmean(each) for name, each in found.items()}


def columns() -> tuple[str, ...]:
    """Headings of the table."""
    return COLUMNS


def rows_of(figures: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    """The table: a row for each model of each scene, means over training seeds.

    Args:
        figures: As `figures_of` gives them.
    """
    return tuple(
        (name, kind, *_texts(scores)) for name, models in figures["scenes"].items() for kind, scores in models.items()
    )


def _texts(scores: Mapping[str, Any]) -> tuple[str, ...]:
    spread = "" if scores.get("gap_closed_seeds") is None else " ({:.2f} to {:.2f})".format(*scores["gap_closed_seeds"])
    return (
        _cm(scores, "energy_score"),
        f"{scores['gap_closed']:.2f}{spread}",
        _cm(scores, "min_ade"),
        f"{scores['coverage_80']:.3f}" if "coverage_80" in scores else "",
        _cm(scores, "cvar_error"),
        _cm(scores, "energy_score_shuffled"),
    )


def _cm(scores: Mapping[str, Any], name: str) -> str:
    return f"{100 * scores[name]:.2f}" if name in scores else ""


def _scene_figures(measured: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    """Scores of each kind in one scene, means over seeds; the gap closed with its least and largest seed."""
    floor = next(each.scores["energy_score"] for each in measured if each.kind == "truth")
    single = {each.seed: each.scores["energy_score"] for each in measured if each.kind == "deterministic"}
    found: dict[str, dict[str, Any]] = {"truth": {"energy_score": floor, "gap_closed": 1.0}}
    for kind in dict.fromkeys(each.kind for each in measured if each.kind != "truth"):
        runs = [each for each in measured if each.kind == kind]
        closed = [gap_closed(run.scores["energy_score"], single[run.seed], floor) for run in runs]
        found[kind] = {name: statistics.fmean(run.scores[name] for run in runs) for name in runs[0].scores}
        found[kind] |= {
            "gap_closed": statistics.fmean(closed),
            "gap_closed_seeds": [min(closed), max(closed)],
            "coverage_80_seeds": [run.scores["coverage_80"] for run in runs],
        }
    return found
