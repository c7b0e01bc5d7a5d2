"""`foreact imagine`: futures of a world model beside true ones, as a page, a recording and a picture to pass on."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from foreact.episodes.outcome import JSON, Outcome, ProgressFn, quiet
from foreact.episodes.runfolder import write_bytes_atomic, write_json_atomic, write_text_atomic
from foreact.episodes.staging import remove_stale, staged_folder
from foreact.worldmodels.branches import BranchError, Branches
from foreact.worldmodels.branching import make_branches
from foreact.worldmodels.calibration import Calibration
from foreact.worldmodels.checkpoint import load_model, read_about
from foreact.worldmodels.futures import FutureModel
from foreact.worldmodels.imagine.comparison import Compared, State, chosen_states, compare
from foreact.worldmodels.imagine.drawing import Painter
from foreact.worldmodels.imagine.page import Shown, page
from foreact.worldmodels.imagine.recording import write_recording
from foreact.worldmodels.imagine.sheets import chart_sheet, film_rows, poster
from foreact.worldmodels.model_scores import calibrate
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.scenes import Scene, scene

__all__ = ["CALIBRATION", "PAGE", "PICTURE", "RECORDING", "ImagineConfig", "imagine", "show"]

PAGE, RECORDING, PICTURE, FIGURES = "futures.html", "futures.rrd", "futures.png", "figures.json"
CALIBRATION = "calibration.json"
"""In a model's folder: the calibration that is used if there is one."""

CALIBRATION_FUTURES = 8
LARGE = 2  # the picture with the paths is so many times as wide as the others
COLUMNS = (
    "state", "energy score [cm]", "floor", "shuffled chunks", "nearest [cm]", "its probability", "in the 80 % band",
)  # fmt: skip


@dataclass(frozen=True)
class ImagineConfig:
    """Whose futures to show, and of which states.

    Attributes:
        worldmodel: Folder of a trained world model, or its run folder.
        out: Folder to write: page, recording, picture and figures; it must not be there yet.
        scene: Name of the scene; empty for the one that the model was trained on.
        data: A set of true futures to take the states from; without it they are made.
        states: How many are made; all count in the figures.
        futures: True futures of each that are made; the first is what happened.
        shown: States that are drawn: of the half whose true futures part most, from the best imagined to the worst.
        show: Numbers of the states to draw instead.
        rows: Imagined futures of a state that are drawn, the most probable first.
        seed: Of the states that are made.
        calibrate: States to calibrate the band on if the model's folder holds none; 0 for the bare band.
        camera: Name of a camera of the scene that stands still.
        width: Of the pictures [px].
        device: Where the model computes: `cpu`, `cuda` or `cuda:N`.

    Raises:
        ValueError: A number is out of range.
    """

    worldmodel: Path
    out: Path
    scene: str = ""
    data: Path | None = None
    states: int = 64
    futures: int = 32
    shown: int = 3
    show: tuple[int, ...] = ()
    rows: int = 8
    seed: int = 0
    calibrate: int = 100
    camera: str = "front"
    width: int = 320
    device: str = "cpu"

    def __post_init__(self) -> None:
        for name, least in (("states", 2), ("futures", 2), ("shown", 1), ("rows", 1), ("seed", 0), ("calibrate", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)} is out of range; give {least} or more")
        if len(set(self.show)) < len(self.show) or any(each < 0 for each in self.show):
            raise ValueError(f"show={list(self.show)}: give numbers of states from 0, none twice")


def imagine(config: ImagineConfig, progress: ProgressFn = quiet) -> Outcome:
    """Show what a trained model imagines.

    Args:
        config: Whose futures, and of which states.
        progress: Told of states made and drawn.

    Raises:
        CheckpointError: The model is missing or damaged.
        UnknownScene, SignatureError, BranchError, CalibrationError: Scene, set or calibration do not fit the model.
        ValueError: A number of a state, a camera or the device is not there.
        FileExistsError: `out` exists.
    """
    if config.out.exists():
        raise FileExistsError(f"{config.out} exists; choose another out=..., or delete it")
    _check_device(config.device)
    model = load_model(config.worldmodel, config.device)
    chosen = scene(config.scene or model.signature.task)
    branches = _states(config, chosen, model.horizon, progress)
    model.signature.require(Signature.of(branches), f"scene {chosen.name}")
    about = {key: str(value) for key, value in read_about(config.worldmodel).items()}
    calibration = _calibration(config, model, chosen, progress)
    return show(config, model, chosen, branches, calibration, about, progress)


def show(
    config: ImagineConfig,
    model: FutureModel,
    chosen: Scene,
    branches: Branches,
    calibration: Calibration | None,
    about: Mapping[str, str],
    progress: ProgressFn = quiet,
) -> Outcome:
    """Show what anything imagines; the folder appears whole or not at all.

    Args:
        config: What to draw, and where to write.
        model: Who imagines.
        chosen: The scene.
        branches: States with their true futures.
        calibration: Of the model, if there is one.
        about: What the page says of the model.
        progress: Told of states drawn.
    """
    numbers = config.show or None
    if numbers is not None and max(numbers) >= len(branches):
        raise ValueError(f"show={list(numbers)}: there are {len(branches)} states, numbered from 0")
    Painter(chosen, config.camera, config.width)  # what cannot be drawn is refused before anything is imagined
    compared = compare(model, branches, chosen, calibration)
    numbers = numbers or chosen_states(compared, config.shown)
    figures = _figures(compared, calibration is not None) | {"shown": list(numbers)}
    shown = []
    for done, number in enumerate(numbers):
        progress(done, len(numbers), f"draw {chosen.name}")
        shown.append(_shown(compared.state(number), config, calibration is not None))
    progress(len(numbers), len(numbers), f"draw {chosen.name}")
    config.out.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(config.out.parent)
    with staged_folder(config.out) as folder:
        text = page(shown, figures | {"chosen": _chosen(config)}, _about(config, branches, about))
        write_text_atomic(folder / PAGE, text)
        write_recording(folder / RECORDING, f"imagine-{chosen.name}-{branches.spec.seed}", shown)
        write_bytes_atomic(folder / PICTURE, shown[0].poster)
        write_json_atomic(folder / FIGURES, figures)
    return Outcome(config.out / PAGE, figures, COLUMNS, _rows(compared, numbers))


def _states(config: ImagineConfig, chosen: Scene, horizon: int, progress: ProgressFn) -> Branches:
    if config.data is None:
        return make_branches(
            chosen, "test", config.states, config.futures, config.seed, horizon=horizon, progress=progress
        )
    found = Branches.open(config.data)
    if found.spec.task != chosen.name:
        raise BranchError(f"{config.data} holds states of {found.spec.task}, not of {chosen.name}")
    return found


def _calibration(config: ImagineConfig, model: FutureModel, chosen: Scene, progress: ProgressFn) -> Calibration | None:
    """That of the model's folder, or one made now, or none if the user wants none."""
    for folder in (config.worldmodel, config.worldmodel / "model"):
        if (folder / CALIBRATION).exists():
            return Calibration.open(folder / CALIBRATION)
    if not config.calibrate:
        return None
    made = make_branches(
        chosen, "calibrate", config.calibrate, CALIBRATION_FUTURES, config.seed, horizon=model.horizon,
        progress=progress,
    )  # fmt: skip
    return calibrate(model, made)


def _shown(state: State, config: ImagineConfig, calibrated: bool) -> Shown:
    small, large = (
        Painter(state.scene, config.camera, config.width * times, state.extent) for times in (1, LARGE)
    )  # fmt: skip
    films = film_rows(state, small, config.rows)
    return Shown(state, films, chart_sheet(state, large, calibrated), poster(state, large, films, calibrated))


def _figures(compared: Compared, calibrated: bool) -> dict[str, JSON]:
    scores, values, branches = compared.scores, compared.imagined.values, compared.branches
    return {
        "scene": compared.scene.name, "states": len(branches), "futures": branches.futures.shape[1],
        "imagined": values.shape[1], "steps": values.shape[2], "calibrated": calibrated,
        "tracked": [compared.scene.columns[each] for each in compared.scene.tracked],
        "energy_score": float(scores.energy.mean()), "energy_score_floor": float(scores.floor.mean()),
        "energy_score_shuffled": float(scores.shuffled.mean()),
        "nearest": float(scores.nearest.mean()), "likeliest": float(scores.likeliest.mean()),
        "probability_of_nearest": float(scores.nearest_weight.mean()), "coverage_80": float(scores.inside.mean()),
        "cvar_error": float(np.abs(scores.risk - scores.true_risk).mean()),
    }  # fmt: skip


def _rows(compared: Compared, numbers: tuple[int, ...]) -> tuple[tuple[str, ...], ...]:
    scores = compared.scores

    def row(name: str, rows: Any) -> tuple[str, ...]:
        lengths = [100 * float(each[rows].mean()) for each in (scores.energy, scores.floor, scores.shuffled)]
        near, weight = 100 * float(scores.nearest[rows].mean()), float(scores.nearest_weight[rows].mean())
        inside = float(scores.inside[rows].mean())
        return (name, *(f"{each:.2f}" for each in (*lengths, near)), f"{weight:.0%}", f"{inside:.0%}")

    return (*(row(str(each), [each]) for each in numbers), row(f"all {len(compared.branches)}", slice(None)))


def _chosen(config: ImagineConfig) -> str:
    if config.show:
        return "The states below were asked for by number."
    return (
        "Of the half of the states whose true futures part most, the ones below run from the best imagined to the worst"
        " (energy score relative to how far true futures part)."
    )


def _about(config: ImagineConfig, branches: Branches, about: Mapping[str, str]) -> dict[str, str]:
    given = [each for each in fields(config) if getattr(config, each.name) != each.default]
    words = []
    for each in given:
        value = getattr(config, each.name)
        text = f"[{','.join(map(str, value))}]" if isinstance(value, tuple) else str(value)
        words.append(f"{each.name}={text}")
    spec = branches.spec
    states = f"{len(branches)} made to {spec.purpose}, seed {spec.seed}, {branches.futures.shape[1]} true futures each"
    model = {f"model, {key.replace('_', ' ')}": value for key, value in about.items()}
    return {"command": shlex.join(["foreact", "imagine", *words]), "states": states, **model}


def _check_device(device: str) -> None:
    import torch

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(f"device={device}: this machine has no CUDA device for torch; type device=cpu")
