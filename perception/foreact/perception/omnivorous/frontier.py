"""How much alignment costs: students of one teacher by weight of the anchor, frozen blocks, seed; and a control."""

from __future__ import annotations

import dataclasses
import itertools
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foreact.episodes.outcome import Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import write_json_atomic
from foreact.perception.omnivorous.checkpoint import load_encoder, read_about
from foreact.perception.omnivorous.evaluate import EvalEncoderConfig, evaluate_encoder
from foreact.perception.omnivorous.learners import AlignConfig
from foreact.perception.omnivorous.model import EncoderConfig
from foreact.perception.omnivorous.train import EncoderTrainConfig, train_encoder
from foreact.perception.omnivorous.trainer import EncoderOptimisation

__all__ = ["FrontierConfig", "frontier"]

COLUMNS = ("lambda", "frozen", "pairs", "seeds", "grey R@1", "probe drop", "cos of kinds", "cos of scenes")


@dataclass(frozen=True)
class FrontierConfig:
    """What to compare.

    Attributes:
        data: Training set of aligned pictures.
        held_out: Another one, for evaluation.
        teacher: A run of the stage `teacher`.
        out: Folder with a run for each student; finished ones are not trained again.
        anchors: Weights of the anchor (lambda); 0 is the control that may drift anywhere.
        frozen: Numbers of first blocks that do not learn.
        seeds: Of weights and sampling.
        shuffled: Also train on maps of other scenes, the control that must stay at chance, with the first of both.
        objective: All else of the alignment.
        optimisation: How weights are fitted.
        device: `cpu`, `cuda` or `cuda:N`.

    Raises:
        ValueError: Nothing to compare.
    """

    data: Path
    held_out: Path
    teacher: Path
    out: Path
    anchors: tuple[float, ...] = (0.0, 0.3, 1.0, 3.0, 10.0)
    frozen: tuple[int, ...] = (0, 1, 2)
    seeds: tuple[int, ...] = (1000, 1001, 1002)
    shuffled: bool = True
    objective: AlignConfig = field(default_factory=AlignConfig)
    optimisation: EncoderOptimisation = field(default_factory=EncoderOptimisation)
    device: str = "cpu"

    def __post_init__(self) -> None:
        if not (self.anchors and self.frozen and self.seeds):
            raise ValueError("frontier: give one or more of anchors, frozen and seeds")


@dataclass(frozen=True)
class _Student:
    anchor: float
    frozen: int
    shuffled: bool = False

    def folder(self, out: Path, seed: int) -> Path:
        return out / f"lambda-{self.anchor:g}-frozen-{self.frozen}{'-shuffled' * self.shuffled}-seed-{seed}"


def frontier(config: FrontierConfig, progress: ProgressFn = quiet) -> Outcome:
    """Train and evaluate every student, or go on where a killed run stopped.

    Args:
        config: What to compare.
        progress: Told of students done, and of updates within one.

    Raises:
        AlignedError, CheckpointError, RunError: Data, teacher or a run are missing, damaged or others.
        ValueError: The configuration contradicts itself.
    """
    students = [_Student(*each) for each in itertools.product(config.anchors, config.frozen)]
    if config.shuffled:
        students.append(_Student(config.anchors[0], config.frozen[0], True))
    found: list[dict[str, Any]] = []
    for number, student in enumerate(students):
        judged = [_judged(config, student, seed, progress) for seed in config.seeds]
        found.append({**dataclasses.asdict(student), "seeds": list(config.seeds), **_gathered(judged)})
        write_json_atomic(config.out / "figures.json", {"students": found})
        progress(number + 1, len(students), "students")
    return Outcome(config.out, {"students": found}, COLUMNS, tuple(_row(each) for each in found))


def _judged(config: FrontierConfig, student: _Student, seed: int, progress: ProgressFn) -> dict[str, Any]:
    run = student.folder(config.out, seed)
    trunk = dataclasses.replace(load_encoder(config.teacher).config.trunk, frozen=student.frozen)
    objective = dataclasses.replace(config.objective, anchor=student.anchor, shuffled=student.shuffled)
    train_encoder(
        EncoderTrainConfig(
            config.data, run, EncoderConfig(trunk), "align", config.teacher, objective=objective,
            optimisation=config.optimisation, seed=seed, device=config.device,
        ),
        progress,
    )  # fmt: skip
    file = run / "eval" / "figures.json"
    if file.exists() and (known := json.loads(file.read_text()))["sha256"] == read_about(run)["sha256"]:
        return known
    evaluate_encoder(EvalEncoderConfig(run, config.held_out, run / "eval", device=config.device))
    return json.loads(file.read_text())


def _gathered(judged: list[dict[str, Any]]) -> dict[str, list[float]]:
    """Figures seed by seed."""
    cosines = [each["cosines"][each["feature"]] for each in judged]
    return {
        "retrieval_grey_mean": [each["retrieval_grey_mean"] for each in judged],
        "probe_drop": [each["probe_drop"] for each in judged],
        "probe_teacher": [each["probe_teacher"] for each in judged],
        "cosine_of_kinds": [each["rgb_depth"] for each in cosines],
        "cosine_of_scenes": [each["rgb_other_scene"] for each in cosines],
    }


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    names = ("retrieval_grey_mean", "probe_drop", "cosine_of_kinds", "cosine_of_scenes")
    pairs = "shuffled" if each["shuffled"] else "right"
    columns = [each[name] for name in names]
    spread = [f"{sum(of) / len(of):.3f} ({min(of):.3f} to {max(of):.3f})" for of in columns]
    return (f"{each['anchor']:g}", str(each["frozen"]), pairs, str(len(each["seeds"])), *spread)
