"""`foreact tasks`."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("mujoco_warp")

from foreact.sim.registry import UnknownTask
from foreact.sim.tasks import TasksConfig, tasks


def test_without_a_name_all_tasks_are_listed() -> None:
    outcome = tasks(TasksConfig())
    assert len(outcome.rows) >= 55
    assert ("push-v3", "push", "push the puck to the goal") in outcome.rows
    assert ("half-cheetah", "", "run forwards") in outcome.rows


def test_a_task_of_many_worlds_is_described() -> None:
    figures = tasks(TasksConfig(("humanoid",))).figures["humanoid"]
    assert isinstance(figures, dict)
    assert figures["actions"] == "17 in -0.4..0.4" and figures["observation"] == "270 numbers"
    assert str(figures["control_rate"]).startswith("66.67 Hz")


def test_a_task_is_described() -> None:
    outcome = tasks(TasksConfig(("push",)))
    facts = outcome.figures["push-v3"]
    assert isinstance(facts, dict)
    assert (facts["scene"], facts["horizon"]) == ("sawyer_push_v3.xml", 500)
    assert facts["reset_low"] == (-0.1, 0.6, 0.02, -0.1, 0.8, 0.01)
    assert ("", "success", "the puck is within 5 cm of the goal on the table") in outcome.rows
    assert ("", "drawn at reset [m]", "-0.1..0.1, 0.6..0.7, 0.02, -0.1..0.1, 0.8..0.9, 0.01..0.02") in outcome.rows


def test_the_sheet_shows_both_views_of_the_chosen_tasks(tmp_path: Path) -> None:
    from PIL import Image

    sheet = tmp_path / "sheets" / "two.png"
    outcome = tasks(TasksConfig(("push", "drawer-open"), sheet, front=32, wrist=32))
    assert outcome.path == sheet
    pixels = np.asarray(Image.open(sheet))
    assert pixels.shape == (8 + 34 + 192 + 8, 2 * (192 + 2 + 192) + 3 * 8, 3)
    views = [pixels[60:200, left : left + 180] for left in (12, 206, 406, 600)]
    assert all(view.std() > 10 for view in views)
    assert not np.array_equal(views[0], views[2])
    assert [path.name for path in sheet.parent.iterdir()] == ["two.png"]


@pytest.mark.parametrize("sheet", ["sheet.jpg", "sheet"])
def test_a_sheet_must_be_a_png(tmp_path: Path, sheet: str) -> None:
    with pytest.raises(ValueError, match="must end in .png"):
        tasks(TasksConfig(("push",), tmp_path / sheet))
    assert not list(tmp_path.iterdir())


def test_an_unknown_task_writes_no_sheet(tmp_path: Path) -> None:
    with pytest.raises(UnknownTask, match="did you mean push-v3"):
        tasks(TasksConfig(("pusch",), tmp_path / "sheet.png"))
    assert not list(tmp_path.iterdir())


def test_the_sheet_shows_tasks_of_many_worlds(tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    tasks(TasksConfig(("cartpole", "arm-lift"), sheet=sheet, front=48, wrist=48))
    with Image.open(sheet) as picture:
        pixels = np.asarray(picture)
    assert pixels.shape[1] > 2 * 2 * 192
    # the cube of arm-lift is in its picture, on the right half
    red = (pixels[..., 0] > 150) & (pixels[..., 1] < 90) & (pixels[..., 2] < 90)
    assert red[:, pixels.shape[1] // 2 :].sum() > 20
