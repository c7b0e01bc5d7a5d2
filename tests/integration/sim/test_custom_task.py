"""The file printed in docs/custom_task.md works as it stands."""

from __future__ import annotations

import re
import runpy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.sim.taskworlds import TaskWorlds

PAGE = Path(__file__).parents[3] / "docs" / "custom_task.md"


@pytest.fixture
def printed(tmp_path: Path) -> Path:
    """The page's one Python block as a file."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 1 and len(blocks[0].splitlines()) < 60
    path = tmp_path / "slide_puck.py"
    path.write_text(blocks[0])
    return path


def test_it_runs_as_printed_and_says_what_the_page_says(printed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(printed))
    said = capsys.readouterr().out.strip()
    assert said == "1.00 of 64 layouts solved" and f"`{said}`" in PAGE.read_text()
    # the control that the page names: without a push nothing is solved
    source = printed.read_text()
    assert source.count("expert(worlds.views)") == 1
    printed.write_text(source.replace("expert(worlds.views)", "np.zeros((64, 2))"))
    runpy.run_path(str(printed))
    assert capsys.readouterr().out.strip() == "0.00 of 64 layouts solved"


def test_what_the_page_says_about_it_is_true(printed: Path, tmp_path: Path) -> None:
    names = runpy.run_path(str(printed))
    task, model = names["task"]("slide-puck"), tmp_path / "slide_puck.xml"
    model.write_text(names["MODEL"])
    text, file, plain = (made(each, *kind) for each, *kind in ((task,), (replace(task, model=model),), (task, "ref")))
    for _ in range(30):
        actions = names["expert"](text.views)
        seen = text.step(actions).observation
        np.testing.assert_array_equal(file.step(actions).observation, seen)
        np.testing.assert_array_equal(plain.step(actions).observation, seen)
    fork = text.fork(np.array([3]), 1)
    for _ in range(30):
        seen = text.step(names["expert"](text.views)).observation[3].copy()
        np.testing.assert_array_equal(fork.step(names["expert"](fork.views)).observation[0], seen)


def made(task: Any, backend: Any = "cpu") -> TaskWorlds:
    worlds = TaskWorlds(task, 4, backend, autoreset=False)
    worlds.reset(seeds=[0, 1, 2, 3])
    return worlds
