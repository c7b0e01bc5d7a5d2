"""Evaluation of a model of pictures on held-out pictured futures: figures, a table, a picture to look at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import write_json_atomic
from foreact.worldmodels.branches import BranchError
from foreact.worldmodels.pixels.checkpoint import load_pixel_model
from foreact.worldmodels.pixels.latents import encoded
from foreact.worldmodels.pixels.pictures import PixelBranches
from foreact.worldmodels.pixels.report import (
    collapse_figures,
    energy_figures,
    error_figures,
    forecasts,
    picture_figures,
    segment_figures,
    swap_figures,
    swapped,
)
from foreact.worldmodels.pixels.sheet import write_sheet
from foreact.worldmodels.pixels.speed import speed_figures
from foreact.worldmodels.scenes import scene

__all__ = ["PixelEvaluationConfig", "evaluate_pixels"]


@dataclass(frozen=True)
class PixelEvaluationConfig:
    """What to evaluate.

    Attributes:
        model: A run folder of training, or the model in it.
        data: Held-out pictured futures, at least two of each state.
        train: Pictured futures for training, which the linear baseline and the read-out of positions are fitted on.
        out: Folder for `figures.json` and `futures.png`; its files are replaced.
        kinds: Kinds of pictures that the model may see; none for all it knows.
        shown: States in the picture.
        speed: Also measure roll-outs and frames per CPU-second.
        seed: Of the swapped actions.
    """

    model: Path
    data: Path
    train: Path
    out: Path
    kinds: tuple[str, ...] = ()
    shown: int = 3
    speed: bool = True
    seed: int = 0


def evaluate_pixels(config: PixelEvaluationConfig, progress: ProgressFn = quiet) -> Outcome:
    """Evaluate a model of pictures.

    Args:
        config: What.
        progress: Told of each step.

    Raises:
        CheckpointError, BranchError, SignatureError: Model or data are missing, damaged or do not fit.
        ValueError: A kind of pictures is unknown to the model.
    """
    model = load_pixel_model(config.model)
    data, train = PixelBranches.open(config.data), PixelBranches.open(config.train)
    for name, each, purposes in (("data", data, ("test", "calibrate")), ("train", train, ("train",))):
        if each.branches.spec.purpose not in purposes:
            raise BranchError(f"{name} is for {each.branches.spec.purpose!r}, expected {' or '.join(purposes)}")
    if data.pictured < 2:
        raise BranchError(f"data={config.data} pictures {data.pictured} future of each state; draw two or more")
    kinds = config.kinds or model.config.encoder.kinds
    if unknown := set(kinds) - set(model.config.encoder.kinds):
        raise ValueError(f"kinds: the model has not learnt to see {', '.join(sorted(unknown))}")
    progress(0, 4, "encode")
    known, learnt = encoded(model, data, kinds), encoded(model, train, kinds)
    progress(1, 4, "forecast")
    found = forecasts(model, known, learnt)
    figures: dict[str, Any] = {
        "task": data.branches.spec.task, "states": len(data), "pictured": data.pictured, "kinds": list(kinds),
        "side_px": data.spec.side, "error_over_copy_last": error_figures(found, known), **energy_figures(found, known),
        **swap_figures(model, known, config.seed),
        **collapse_figures(known, learnt, _positions(data), _positions(train), _tracked(data)),
    }  # fmt: skip
    progress(2, 4, "decode")
    figures |= picture_figures(model, data, known, found)
    judged = {name: found[name] for name in ("model", "deterministic")}
    judged["swapped actions"] = swapped(model, known, config.seed)
    figures |= segment_figures(model, data, known, judged, _things(data))
    write_sheet(config.out / "futures.png", model, data, found["model"], _telling(data, config.shown))
    progress(3, 4, "time")
    if config.speed:
        figures |= speed_figures(model)
    write_json_atomic(config.out / "figures.json", figures)
    progress(4, 4, "time")
    return _outcome(config, figures)


def _positions(data: PixelBranches) -> np.ndarray:
    """Tracked positions at the pictured moments [m], (S, P, F, E)."""
    steps = [step - 1 for step in data.spec.moments(data.branches.actions.shape[1])]
    return data.branches.positions[:, : data.pictured, steps]


def _things(data: PixelBranches) -> dict[str, int]:
    """Numbers of the segments that have a name and are no part of the world itself, such as the cube's."""
    model = scene(data.branches.spec.task).task.compile()
    geoms = [model.geom(number) for number in range(model.ngeom)]
    shown = set(np.unique(data.later["segmentation"]).tolist())
    return {geom.name: geom.id + 1 for geom in geoms if geom.name and geom.bodyid[0] and geom.id + 1 in shown}


def _tracked(data: PixelBranches) -> list[str]:
    spec = data.branches.spec
    return [spec.columns[column] for column in spec.tracked]


def _telling(data: PixelBranches, count: int) -> list[int]:
    """States whose true futures lie farthest apart at the end, one of each ten, so that there is something to see."""
    last = torch.from_numpy(_positions(data)[:, :, -1])
    apart = (last - last.mean(1, keepdim=True)).norm(dim=-1).mean(1)
    return torch.argsort(apart, descending=True)[: max(1, len(data) // 10)][: max(1, count)].tolist()


def _outcome(config: PixelEvaluationConfig, figures: dict[str, JSON]) -> Outcome:
    errors: Any = figures["error_over_copy_last"]
    energy: Any = figures["energy_score"]
    decibels: Any = figures["psnr_moved_db"]
    columns = ("forecast", "error over copy-last, last moment", "energy score", "PSNR of moved pixels [dB]")
    rows = []
    for name in ("model", "deterministic", "linear", "copy_last", "floor"):
        error = f"{errors[name][-1]:.3f}" if name in errors else ("1" if name == "copy_last" else "-")
        picture = decibels.get({"copy_last": "last frame", "floor": "true latents"}.get(name, name))
        rows.append((name, error, f"{energy[name]:.3f}", "-" if picture is None else f"{picture:.1f}"))
    return Outcome(config.out, figures, columns, tuple(rows))
