"""Evaluation of a trained world model against true futures, beside the floor and beside its own shuffled actions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.worldmodels.branches import BranchError, Branches
from foreact.worldmodels.checkpoint import load_model, read_about
from foreact.worldmodels.model_scores import calibrate, energy_floor, gap_closed, score_model
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.throughput import rollouts_per_cpu_second

__all__ = ["EvalWorldModelConfig", "evaluate_worldmodel"]

SHOWN = ("energy_score", "crps", "min_ade", "min_fde", "coverage_80", "cvar_error", "code_usage")


@dataclass(frozen=True)
class EvalWorldModelConfig:
    """Which model, against what.

    Attributes:
        worldmodel: Its folder, or its run folder.
        data: A set of true futures it was not trained on.
        calibration: A set made to calibrate on; without it coverage is that of the model's own intervals.
        baseline: Folder of a one-future model of the same task; with it the share of the gap that is closed is told.
        throughput: Measure roll-outs per CPU-second too.
    """

    worldmodel: Path
    data: Path
    calibration: Path | None = None
    baseline: Path | None = None
    throughput: bool = True


def evaluate_worldmodel(config: EvalWorldModelConfig, progress: ProgressFn = quiet) -> Outcome:
    """Score a model.

    Args:
        config: Which, against what.
        progress: Told of the stages.

    Raises:
        CheckpointError, BranchError, SignatureError: Model or data are missing, damaged, or do not fit each other.
    """
    model = load_model(config.worldmodel)
    branches = Branches.open(config.data)
    if branches.spec.purpose == "train":
        raise BranchError(f"data={config.data} was made to train on; give a set made to test")
    model.signature.require(Signature.of(branches), str(config.data))
    progress(0, 4, "evaluate")
    calibration = None
    if config.calibration is not None:
        before = Branches.open(config.calibration)
        model.signature.require(Signature.of(before), str(config.calibration))
        calibration = calibrate(model, before)
    progress(1, 4, "evaluate")
    scores = score_model(model, branches, calibration)
    shuffled = score_model(model, branches, shuffle_actions=True)["energy_score"]
    progress(2, 4, "evaluate")
    figures: dict[str, float] = dict(scores)
    figures |= {"energy_score_shuffled_actions": shuffled, "energy_score_floor": energy_floor(branches)}
    if config.baseline is not None:
        figures["energy_score_gap_closed"] = _gap(config.baseline, branches, figures)
    progress(3, 4, "evaluate")
    if config.throughput:
        figures["rollouts_per_cpu_second"] = rollouts_per_cpu_second(model, model.signature).per_cpu_second
    progress(4, 4, "evaluate")
    return _outcome(config, figures)


def _gap(folder: Path, branches: Branches, figures: dict[str, float]) -> float:
    baseline = load_model(folder)
    baseline.signature.require(Signature.of(branches), str(folder))
    if baseline.futures != 1:
        raise ValueError(
            f"baseline={folder} gives {baseline.futures} futures; give a model with one, such as deterministic"
        )
    score = score_model(baseline, branches)["energy_score"]
    return gap_closed(figures["energy_score"], score, figures["energy_score_floor"])


def _outcome(config: EvalWorldModelConfig, figures: dict[str, float]) -> Outcome:
    kind = str(read_about(config.worldmodel)["kind"])
    shown = [*SHOWN, "energy_score_floor", "energy_score_shuffled_actions"]
    shown += [name for name in ("energy_score_gap_closed", "rollouts_per_cpu_second") if name in figures]
    rows = tuple((name.replace("_", " "), f"{figures[name]:,.4g}") for name in shown)
    return Outcome(config.worldmodel, {"model": kind, **figures}, (kind, "figure"), rows)
