"""Evaluation of an encoder on held-out scenes: retrieval from grey maps, probes, head transfer, a picture."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from foreact.episodes.aligned import AlignedPictures
from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import write_json_atomic
from foreact.perception.omnivorous.checkpoint import load_encoder, read_about
from foreact.perception.omnivorous.memory import PictureMemory
from foreact.perception.omnivorous.model import KINDS, EncoderConfig, OmnivorousEncoder, Seen
from foreact.perception.omnivorous.probe import Hits, interval, probed, token_classes
from foreact.perception.omnivorous.retrieval import FEATURES, VIEWS, cosines, recall_interval, recalls, seen_scenes
from foreact.perception.omnivorous.sheet import write_sheet
from foreact.perception.omnivorous.speed import speed_figures

__all__ = ["EvalEncoderConfig", "evaluate_encoder"]

SHIFT = 1  # of partners in the control; neighbours come from the same family of scenes
MAPS = ("depth", "segmentation")


@dataclass(frozen=True)
class EvalEncoderConfig:
    """What to evaluate.

    Attributes:
        encoder: A run folder of training, or the encoder in it.
        data: A held-out set of aligned pictures.
        out: Folder for `figures.json` and `tokens.png`; its files are replaced.
        teacher: Run of its teacher, if it is not where it was in training.
        feature: What scenes are compared by in the figures on top: cls, pooled or quarters; the others stand below.
        shown: Scenes in the picture.
        device: `cpu`, `cuda` or `cuda:N`.
    """

    encoder: Path
    data: Path
    out: Path
    teacher: Path | None = None
    feature: Literal["cls", "pooled", "quarters"] = "pooled"
    shown: int = 8
    device: str = "cpu"


def evaluate_encoder(config: EvalEncoderConfig, progress: ProgressFn = quiet) -> Outcome:
    """Evaluate an encoder.

    Args:
        config: What.
        progress: Told of each step.

    Raises:
        CheckpointError: The encoder or its teacher is missing or damaged.
        AlignedError: The data are missing or damaged.
        ValueError: The data are what the encoder was trained on, or show too few classes.
    """
    about = read_about(config.encoder)
    _refuse_training_data(config, about)
    encoder = load_encoder(config.encoder, config.device)
    teacher = _teacher(config, about, encoder)
    data = PictureMemory(AlignedPictures.open(config.data), config.device)
    seen: dict[str, dict[str, Seen]] = {}
    for step, view in enumerate(VIEWS):
        progress(step, 5, "see")
        seen[view] = seen_scenes(encoder, data, view)
    progress(3, 5, "see")
    taught = None if teacher is None else seen_scenes(teacher, data)
    figures: dict[str, Any] = {"scenes": len(data), "feature": config.feature, "sha256": about["sha256"]}
    figures |= _retrieval_figures(config, seen, taught)
    progress(4, 5, "probe")
    figures |= _probe_figures(encoder, data, seen, taught) | speed_figures(encoder)
    write_sheet(config.out / "tokens.png", encoder, data, config.shown)
    write_json_atomic(config.out / "figures.json", figures)
    progress(5, 5, "probe")
    return _outcome(config, figures)


def _refuse_training_data(config: EvalEncoderConfig, about: Mapping[str, Any]) -> None:
    used, held = about.get("trained_on"), AlignedPictures.open(config.data)
    if used is None or not Path(used).exists():
        return
    train = AlignedPictures.open(Path(used))
    if held.about == train.about:
        raise ValueError(
            f"data={config.data} holds scenes of the training set {used}; draw others: "
            "foreact record scenes split=eval scenes=256 out=..."
        )


def _teacher(
    config: EvalEncoderConfig, about: Mapping[str, Any], encoder: OmnivorousEncoder
) -> OmnivorousEncoder | None:
    place = config.teacher or (Path(about["teacher"]) if about.get("teacher") else None)
    if place is not None:
        return load_encoder(place, config.device)
    if not encoder.config.trunk.timm:
        return None
    weights = Path(about["weights"]) if about.get("weights") else None
    trunk = dataclasses.replace(encoder.config.trunk, weights=weights)
    return EncoderConfig(trunk).build().to(config.device).eval().requires_grad_(False)


def _retrieval_figures(
    config: EvalEncoderConfig, seen: Mapping[str, Mapping[str, Seen]], taught: Mapping[str, Seen] | None
) -> dict[str, Any]:
    found = {view: recalls(each) for view, each in seen.items()}
    main = dict(found["grey"][config.feature])
    figures: dict[str, Any] = {
        "retrieval_grey_mean": main.pop("mean"), "retrieval_grey": main,
        "retrieval_grey_interval": list(recall_interval(seen["grey"], config.feature)),
        "retrieval": found, "chance": 1 / len(seen["grey"]["rgb"].cls),
        "retrieval_shuffled_mean": recalls(seen["grey"], SHIFT)[config.feature]["mean"],
        "cosines": {name: cosines(seen["grey"], name) for name in FEATURES},
    }  # fmt: skip
    if taught is not None:
        unaligned = recalls(taught)
        figures["retrieval_teacher_grey_mean"] = {name: each["mean"] for name, each in unaligned.items()}
        figures["cosines_teacher"] = {name: cosines(taught, name) for name in FEATURES}
    return figures


def _probe_figures(
    encoder: OmnivorousEncoder,
    data: PictureMemory,
    seen: Mapping[str, Mapping[str, Seen]],
    taught: Mapping[str, Seen] | None,
) -> dict[str, Any]:
    count, rows = len(data.classes), encoder.trunk.grid[0]
    classes = token_classes(data.raw("classes", slice(None)), rows, count)
    tokens = {kind: each.tokens for kind, each in seen["grey"].items()}
    other = {f"{kind}_{view}": seen[view][kind].tokens for kind in MAPS for view in VIEWS if view != "grey"}
    transfer = probed(tokens["rgb"], tokens | other, classes, count)
    own = {kind: probed(tokens[kind], {kind: tokens[kind]}, classes, count)[kind] for kind in KINDS}
    student = own["rgb"]
    figures: dict[str, Any] = {
        "probe_student": student.accuracy, "probe_teacher": None, "probe_drop": None,
        "probe_classes": [name for name, asked in zip(data.classes, student.asked.tolist(), strict=True) if asked],
        "probe": {kind: each.accuracy for kind, each in own.items()},
        "probe_of_class": _by_class(student, data.classes),
        "transfer": {name: each.accuracy for name, each in transfer.items() if name != "rgb"},
    }  # fmt: skip
    if taught is None:
        return figures
    theirs: dict[str, Tensor] = {kind: each.tokens for kind, each in taught.items()}
    judged = probed(theirs["rgb"], theirs, classes, count)
    teacher = judged.pop("rgb")
    figures["transfer_teacher"] = {name: each.accuracy for name, each in judged.items()}
    figures["probe_teacher"] = teacher.accuracy
    figures["probe_drop"] = teacher.accuracy - student.accuracy
    figures["probe_drop_interval"] = list(interval(teacher, student))
    return figures


def _by_class(hits: Hits, names: tuple[str, ...]) -> dict[str, float]:
    shares = (hits.right.sum(0) / hits.all.sum(0).clamp(min=1)).tolist()
    return {name: share for name, share, asked in zip(names, shares, hits.asked.tolist(), strict=True) if asked}


def _outcome(config: EvalEncoderConfig, figures: dict[str, JSON]) -> Outcome:
    retrieval: Any = figures["retrieval"]
    columns = ("R@1 over six pairs", *FEATURES, "probe of colours", "teacher's")
    probe, teacher = figures["probe_student"], figures["probe_teacher"]
    rows = []
    for view in VIEWS:
        each = [f"{retrieval[view][name]['mean']:.3f}" for name in FEATURES]
        said = (f"{probe:.3f}", "-" if teacher is None else f"{teacher:.3f}") if view == "grey" else ("", "")
        rows.append((view, *each, *said))
    return Outcome(config.out, figures, columns, tuple(rows))
