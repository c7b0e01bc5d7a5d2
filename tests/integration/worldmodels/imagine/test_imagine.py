"""`foreact imagine` with a real scene and a small model: what it writes, what it refuses, when it is killed."""

import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rerun.chunk import RrdReader

from foreact.episodes.outcome import Outcome
from foreact.perception.tensor_folder import CheckpointError
from foreact.worldmodels.branches import BranchError, Branches
from foreact.worldmodels.branching import make_branches
from foreact.worldmodels.checkpoint import load_model
from foreact.worldmodels.imagine import command
from foreact.worldmodels.imagine.command import FIGURES, PAGE, PICTURE, RECORDING, ImagineConfig, imagine
from foreact.worldmodels.imagine.drawing import Painter
from foreact.worldmodels.model_scores import calibrate, score_model
from foreact.worldmodels.models.signature import SignatureError
from foreact.worldmodels.scenes import UnknownScene, scene

ROWS = 3  # of the model's four futures


def config(made: Any, out: Path, **changed: Any) -> ImagineConfig:
    given: dict[str, Any] = {"data": made.states, "shown": 2, "rows": ROWS, "calibrate": 0, "width": 64}
    return ImagineConfig(made.model, out, **(given | changed))


@pytest.fixture(scope="module")
def written(made: Any, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return imagine(config(made, tmp_path_factory.mktemp("written") / "out"))


def test_the_folder_holds_page_recording_picture_and_figures(written: Outcome) -> None:
    folder = written.path.parent
    assert sorted(each.name for each in folder.iterdir()) == sorted([PAGE, RECORDING, PICTURE, FIGURES])
    assert json.loads((folder / FIGURES).read_text()) == written.figures
    with Image.open(folder / PICTURE) as picture:
        assert picture.width > 1000 and np.asarray(picture.convert("L")).std() > 20
    assert (folder / PICTURE).stat().st_size < 400_000


def test_the_page_has_a_row_per_future_and_needs_nothing_else(written: Outcome) -> None:
    page = written.path.read_text()
    assert page.count('<tr class="imagined">') == 2 * ROWS
    assert page.count('<tr class="truth">') == page.count('class="charts" src="data:image/png') == 2
    assert not re.findall(r'(?:src|href)="(?!data:)', page) and "<script" not in page
    assert page.count("1 more imagined future") == 2
    instruction = scene("arm-reach-passer").task.instruction
    assert f"“{instruction}”" in page and "foreact imagine worldmodel=" in page
    assert page.count("touches") >= 2 and "uncalibrated" in page
    probabilities = [int(each) for each in re.findall(r'<td class="number">(\d+) %<span class="bar"', page)]
    assert len(probabilities) == 2 * ROWS
    assert all(np.diff(probabilities[part : part + ROWS]).max() <= 0 for part in (0, ROWS)), "most probable first"


def test_the_recording_has_paths_pictures_and_numbers_of_every_step(written: Outcome) -> None:
    rows: dict[str, int] = {}
    for chunk in RrdReader(written.path.parent / RECORDING).stream():
        if "chunk_time" in chunk.timeline_names:
            rows[chunk.entity_path] = rows.get(chunk.entity_path, 0) + chunk.num_rows
    shown: Any = written.figures["shown"]
    for number in shown:
        root = f"/state-{number:04d}"
        for place in ("space/happened/hand", "space/imagined/A/hand", "space/imagined/D/passer"):
            assert rows[f"{root}/{place}"] == 16
        assert rows[f"{root}/space/happened/hand_now"] == 17
        assert rows[f"{root}/distance_cm/nearest"] == rows[f"{root}/chances/contact_true"] == 16
        assert rows[f"{root}/pictures/happened"] == rows[f"{root}/pictures/imagined_C"] == 5


def test_the_figures_are_those_of_the_benchmark(made: Any, written: Outcome) -> None:
    figures: Any = written.figures
    expected = score_model(load_model(made.model), Branches.open(made.states))
    for name in ("energy_score", "coverage_80", "cvar_error"):
        assert figures[name] == pytest.approx(expected[name], rel=1e-5)
    assert figures["energy_score_floor"] < figures["energy_score"] < figures["energy_score_shuffled"]
    assert 0 < figures["nearest"] <= figures["likeliest"]
    assert len(written.rows) == 3 and written.rows[-1][0] == "all 12"


def test_imagining_what_happened_draws_what_happened(made: Any) -> None:
    chosen, states = scene("arm-reach-passer"), Branches.open(made.states)
    painter = Painter(chosen, "front", 64)
    first, again, other = painter.draw(states.futures[[0, 0, 0], [0, 0, 1], [15, 15, 3]])
    assert (first == again).all() and (first != other).any()
    # the goal, a green ball, is where the projection says it is
    goal = states.context[:1, [chosen.columns.index(f"goal_{axis}") for axis in "xyz"]]
    near = Painter(chosen, "front", 320, np.concatenate([goal - 0.02, goal + 0.02]))
    right, down = near.project(goal[0]).round().astype(int)
    red, green, blue = near.draw(states.context[:1])[0, down, right].astype(int)
    assert green > 1.5 * max(red, blue)


def test_a_calibration_in_the_models_folder_is_used(made: Any, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for file in made.model.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    others = make_branches(scene("arm-reach-passer"), "calibrate", 30, 4, seed=1000)
    calibrate(load_model(made.model), others).save(folder / command.CALIBRATION)
    found = imagine(ImagineConfig(folder, tmp_path / "out", data=made.states, show=(3,), rows=1, width=64))
    assert found.figures["calibrated"] is True and found.figures["shown"] == [3]
    assert "80% band, uncalibrated" not in (tmp_path / "out" / PAGE).read_text()
    (folder / command.CALIBRATION).write_text("{}")
    with pytest.raises(ValueError, match=r"calibration\.json is not a calibration"):
        imagine(ImagineConfig(folder, tmp_path / "again", data=made.states))


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"worldmodel": Path("nowhere")}, CheckpointError, "no checkpoint in nowhere"),
        ({"scene": "arm-reech"}, UnknownScene, "did you mean arm-reach"),
        ({"scene": "arm-lift"}, BranchError, "holds states of arm-reach-passer, not of arm-lift"),
        ({"scene": "arm-lift", "data": None, "states": 2, "futures": 2}, SignatureError, "task is arm-lift, expected"),
        ({"data": Path("nowhere")}, BranchError, "nowhere is not a set of true futures"),
        ({"show": (12,)}, ValueError, "there are 12 states, numbered from 0"),
        ({"camera": "wrist"}, ValueError, "'wrist' moves with the robot"),
        ({"data": None, "seed": 1 << 28}, ValueError, "seed 268435456 is outside"),
        ({"width": 30}, ValueError, "multiple of 4"),
        ({"device": "cuda"}, ValueError, "no CUDA device"),
    ],
)
def test_what_cannot_be_shown_is_refused_and_nothing_is_written(
    made: Any, tmp_path: Path, changed: dict[str, Any], error: type[Exception], message: str
) -> None:
    if changed.get("device") == "cuda":
        import torch

        if torch.cuda.is_available():
            changed, message = {"device": "cuda:99"}, ""
    given = {"worldmodel": made.model, "out": tmp_path / "out", "data": made.states, "width": 64} | changed
    with pytest.raises(error, match=message):
        imagine(ImagineConfig(**given))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("changed", [{"states": 1}, {"futures": 1}, {"rows": 0}, {"show": (1, 1)}, {"seed": -1}])
def test_numbers_out_of_range_are_refused(made: Any, tmp_path: Path, changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changed))):
        config(made, tmp_path / "out", **changed)


def test_a_folder_that_exists_is_left_alone(made: Any, written: Outcome) -> None:
    before = written.path.read_bytes()
    with pytest.raises(FileExistsError, match="choose another out="):
        imagine(config(made, written.path.parent))
    assert written.path.read_bytes() == before


def test_a_kill_while_it_writes_leaves_nothing_half(made: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = f"""
import time
from pathlib import Path
from foreact.worldmodels.imagine import command
def stuck(path, *_):
    Path(path).write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(100)
command.write_recording = stuck
command.imagine(command.ImagineConfig(Path({str(made.model)!r}), Path({str(out)!r}), data=Path({str(made.states)!r}),
    show=(0,), rows=1, calibrate=0, width=64))
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and "writing" in process.stdout.read(8)
        assert not out.exists() and [each.name.startswith(".") for each in tmp_path.iterdir()] == [True]
        os.kill(process.pid, signal.SIGKILL)
    assert not out.exists()
    imagine(config(made, out, show=(0,), rows=1))
    assert [each.name for each in tmp_path.iterdir()] == ["out"], "what the dead one left is gone"
    assert Image.open(io.BytesIO((out / PICTURE).read_bytes())).size[0] > 1000
