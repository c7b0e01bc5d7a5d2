"""`foreact replay` names what went wrong first in a dump, draws it, and refuses what is none."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from foreact.cli.app import app
from foreact.sim.classic import TASKS
from foreact.sim.dump import read_dump
from foreact.sim.guard import DumpedFailure, Guard
from foreact.sim.replay import Fault, faults, kept_states
from foreact.sim.task import Field, SimTask, noisy_start
from foreact.sim.taskworlds import TaskWorlds

SPRING = """
<mujoco><option timestep="0.01"/><worldbody><body><joint name="x" type="slide" axis="1 0 0" stiffness="100"/>
<geom size="0.1" mass="1"/></body></worldbody><actuator><motor joint="x" ctrlrange="-1 1"/></actuator></mujoco>"""

TASK = SimTask(
    name="spring", model=SPRING, substeps=2, limit=10_000, observe=(Field("qpos"), Field("qvel")),
    reward=((1.0, lambda views: views.qpos[:, 0]),), start=(noisy_start(0.1),),
)  # fmt: skip


def failed(worlds: TaskWorlds, folder: Path, harm: Callable[[TaskWorlds, Any], None], steps: int = 12) -> Path:
    """The dump of worlds that were harmed before their last step."""
    worlds.reset()
    Guard(worlds, folder, keep=4)
    rng = np.random.default_rng(0)
    with pytest.raises(DumpedFailure) as caught:
        for step in range(steps):
            action = rng.uniform(-1, 1, (worlds.backend.nworld, len(worlds.low))).astype(np.float32)
            if step == steps - 1:
                harm(worlds, action)
            worlds.step(worlds.backend.xp.asarray(action))
    assert str(caught.value).endswith(f"Type: foreact replay {caught.value.folder}")
    return caught.value.folder


@pytest.fixture(scope="module")
def ant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """World 2 of four, a long way from where it was placed, gets an ankle's speed that is none."""

    def far(views: Any, ids: np.ndarray, _: Any) -> None:
        views.qpos[ids, 0] += 50

    def ankle(worlds: TaskWorlds, _: Any) -> None:
        worlds.views.qvel[2, 7] = np.nan

    task = TASKS["ant"]()
    task = replace(task, start=(*task.start, far))
    return failed(TaskWorlds(task, 4, seed=1), tmp_path_factory.mktemp("ant"), ankle)


@pytest.fixture
def copied(ant: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ant, tmp_path / "dump"))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


def typed(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["replay", *map(str, arguments)])


def flat(result: Result) -> str:
    return " ".join((result.stdout + result.stderr).split())


def brown(image: np.ndarray) -> float:
    """Share of the pixels that show the ant."""
    red, _, blue = np.moveaxis(image.astype(int), -1, 0)
    return float((red - blue > 60).mean())


def played(folder: Path) -> list[Fault | None]:
    dump = read_dump(folder)
    backend = dump.make()
    return faults(dump, backend, kept_states(dump, backend))


def test_a_dump_is_played_from_the_line_that_its_error_names(ant: Path, tmp_path: Path) -> None:
    result = typed(ant, "--json", tmp_path / "figures.json")
    assert result.exit_code == 0, result.stderr
    assert "warning bad_qvel" in result.stdout and "before 4 of 4" in result.stdout
    assert "qvel of joint ankle_1 = nan" in result.stdout and "yes" in result.stdout
    figures = json.loads((tmp_path / "figures.json").read_text())["figures"]
    assert figures["same"] is True and figures["backend"] == "cpu"
    assert [call["substeps"] for call in figures["calls"]] == [5] * 4
    (world,) = figures["worlds"]
    assert world["world"] == 2 and len(world["largest_qvel"]) == 4
    assert world["fault"]["time_s"] == pytest.approx(11 * 0.05)
    assert not list(Path.cwd().iterdir())  # neither pictures nor the engine's log


def test_pictures_and_a_report_are_written_where_asked(ant: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "out"
    result = typed(ant, f"out={out}")
    assert result.exit_code == 0, result.stderr
    assert sorted(each.name for each in out.iterdir()) == ["frames.png", "report.json", "states.png"]
    frames = np.asarray(Image.open(out / "frames.png"))
    tiles = [frames[50:220, 10 + 200 * column : 190 + 200 * column] for column in range(4)]
    assert frames.shape[1] == 4 * 200 + 8 and all(brown(tile) > 0.02 for tile in tiles)
    assert (tiles[0] != tiles[3]).any() and "4 of 4" in result.stdout
    assert json.loads((out / "report.json").read_text())["drawn"] == {"2": 4}
    assert typed(ant, f"out={out}", "frames=false").exit_code == 0


def test_the_first_wrong_number_is_named(tmp_path: Path) -> None:
    def control(_: TaskWorlds, action: Any) -> None:
        action[1, 0] = np.nan

    def position(worlds: TaskWorlds, _: Any) -> None:
        worlds.views.qpos[0, 4] = np.inf

    (fault,) = played(failed(TaskWorlds(TASKS["cartpole"](), 2), tmp_path / "pole", control))
    assert fault and (fault.step, fault.substep, fault.element) == (4, 0, "ctrl of actuator slide")
    assert np.isnan(fault.value)
    (fault,) = played(failed(TaskWorlds(TASKS["ant"](), 2), tmp_path / "ant", position))
    assert fault and (fault.element, fault.value, fault.substep) == ("qpos[4] of joint root", np.inf, 0)


def test_what_went_wrong_before_is_not_taken_for_what_went_wrong_now(tmp_path: Path) -> None:
    worlds = TaskWorlds(TASK, 1)
    worlds.reset()
    Guard(worlds, tmp_path, keep=8)
    for place in ("qvel", "qpos"):
        worlds.step(np.zeros((1, 1), np.float32))
        getattr(worlds.views, place)[0] = np.nan
        with pytest.raises(DumpedFailure) as caught:
            worlds.step(np.zeros((1, 1), np.float32))
    (fault,) = played(caught.value.folder)
    assert fault and (fault.step, fault.element) == (4, "qpos of joint x")


@pytest.mark.parametrize("kind", ["cpu", "ref", "warp"])
def test_what_goes_wrong_inside_a_step_is_found_there(kind: Any, tmp_path: Path) -> None:
    huge = 3e38 if kind == "warp" else 9e8  # the next acceleration is too large for the engine

    def push(worlds: TaskWorlds, _: Any) -> None:
        worlds.views.qpos[1] = huge

    (fault,) = played(failed(TaskWorlds(TASK, 2, kind), tmp_path, push))
    assert fault and (fault.step, fault.substep, fault.element) == (4, 1, "qacc of joint x")
    assert not abs(fault.value) <= 1e10 and fault.time_s == pytest.approx(0.22)


def test_states_that_are_not_finite_are_not_drawn(tmp_path: Path) -> None:
    def harm(worlds: TaskWorlds, _: Any) -> None:
        worlds.views.qpos[1] = np.nan

    folder = failed(TaskWorlds(TASK, 2), tmp_path, harm)
    result = typed(folder, f"out={tmp_path / 'out'}")
    assert result.exit_code == 0 and "3 of 4: not finite" in result.stdout, result.stderr
    frames = np.asarray(Image.open(tmp_path / "out" / "frames.png"))
    assert frames[60:220, -190:-10].std() == 0 < frames[60:220, 10:190].std()


def test_a_dump_that_was_changed_is_played_and_told(copied: Path) -> None:
    with np.load(copied / "steps.npz") as file:
        arrays = {name: file[name] for name in file.files}
    arrays["after.state.rows"][0, 3] += 1
    np.savez(copied / "steps.npz", **arrays)
    result = typed(copied)
    assert result.exit_code == 0 and " no " in flat(result)


def cut(folder: Path, name: str) -> None:
    file = folder / name
    file.write_bytes(file.read_bytes()[:-1000])


def turned(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[len(content) // 3] ^= 255
    (folder / name).write_bytes(content)


def about(folder: Path, **changed: Any) -> None:
    file = folder / "about.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changed))


def arrays(folder: Path, **changed: Any) -> None:
    with np.load(folder / "steps.npz") as file:
        kept = {name: file[name] for name in file.files}
    kept |= {name.replace("_", "."): value for name, value in changed.items()}
    np.savez(folder / "steps.npz", **{name: value for name, value in kept.items() if value is not None})


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda folder: shutil.rmtree(folder), "dump does not exist. Check the path"),
        (lambda folder: (shutil.rmtree(folder), folder.write_text("x")), "no format is known that looks like this"),
        (lambda folder: (folder / "model.mjb").unlink(), "is no dump: expected steps.npz, model.mjb and about.json"),
        (lambda folder: cut(folder, "steps.npz"), "steps.npz is damaged: it is no zip file, or was cut short"),
        (lambda folder: turned(folder, "steps.npz"), "steps.npz is damaged: Bad CRC-32"),
        (lambda folder: arrays(folder, before_state_rows=np.array([{}])), "steps.npz is damaged: Object arrays"),
        (lambda folder: arrays(folder, before_state_rows=np.zeros((3, 1, 5))), "does not hold 4 steps of 1 worlds"),
        (
            lambda folder: arrays(folder, before_state_rows=np.zeros((4, 1, 5)), after_state_rows=np.zeros((1, 5))),
            "steps.npz does not fit model.mjb: state.rows is float64 (1, 5), expected float64 (1,",
        ),
        (lambda folder: arrays(folder, before_model_x=np.zeros((4, 1))), "does not hold 4 steps of 1 worlds"),
        (
            lambda folder: arrays(folder, before_model_x=np.zeros((4, 1)), after_model_x=np.zeros(1)),
            "steps.npz does not fit model.mjb: x is not an expandable MjModel field",
        ),
        (
            lambda folder: arrays(folder, before_state_qpos=np.zeros((4, 1)), after_state_qpos=np.zeros(1)),
            "steps.npz does not fit model.mjb: only one of them has state.qpos",
        ),
        (lambda folder: cut(folder, "model.mjb"), "model.mjb is damaged: it is not the file that was written"),
        (lambda folder: cut(folder, "about.json"), "about.json is damaged: not valid JSON"),
        (lambda folder: about(folder, backend="gpu"), "about.json.backend: expected one of ['cpu', 'ref', 'warp']"),
        (lambda folder: about(folder, extra=1), "unknown keys ['extra']"),
        (lambda folder: about(folder, worlds=[2, 2]), "expected different numbers of worlds"),
        (lambda folder: about(folder, messages=[]), "0 messages for 1 worlds"),
        (lambda folder: about(folder, calls=[[10**9, "none"]]), "expected calls of 0 to 100000 sub-steps"),
        (lambda folder: about(folder, mujoco="2.0.0"), "was written with MuJoCo 2.0.0, this is"),
    ],
)  # fmt: skip
def test_what_cannot_be_played_is_refused_in_plain_words(
    copied: Path, tmp_path: Path, harm: Callable[[Path], object], said: str
) -> None:
    harm(copied)
    result = typed(copied, f"out={tmp_path / 'out'}")
    assert result.exit_code == 1 and said in flat(result), result.stderr
    assert "Traceback" not in result.stderr and "foreact itself failed" not in result.stderr
    assert not (tmp_path / "out").exists() and not list(Path.cwd().iterdir())


def test_a_folder_of_dumps_is_told_to_give_one(ant: Path) -> None:
    result = typed(ant.parent)
    assert result.exit_code == 1 and f"it holds 1 dumps, give one: {ant}" in flat(result)


def test_settings_that_do_not_fit_are_refused(ant: Path, tmp_path: Path) -> None:
    assert "a dump of cpu, which has no device=cuda" in flat(typed(ant, "--device", "cuda"))
    assert "worlds=0 is out of range" in flat(typed(ant, "worlds=0"))
    (tmp_path / "file").write_text("kept")
    result = typed(ant, f"out={tmp_path / 'file'}", "frames=false")
    assert result.exit_code == 1 and "File exists" in flat(result) and (tmp_path / "file").read_text() == "kept"


def test_a_dump_of_warp_names_the_missing_package(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about(copied, backend="warp")
    monkeypatch.setitem(sys.modules, "mujoco_warp", None)
    result = typed(copied)
    assert result.exit_code == 1 and "needs the package 'mujoco_warp'" in flat(result)
    assert "pip install 'foreact[sim]'" in flat(result)
