"""Films and the Rerun recording of a real evaluation: reproduced, resumable, and refused when they would lie."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from rerun.chunk import RrdReader

from foreact.episodes.film import read_film
from foreact.vla import showcase
from foreact.vla.evaluate import EvalConfig, evaluate, load_results
from foreact.vla.reenactment import ReenactmentError, frame_steps, reenact


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two successes of the expert on one task, one of them cut short so that it is a failure."""
    out = tmp_path_factory.mktemp("showcase") / "eval"
    evaluate(EvalConfig(out, ("reach",), agent="expert", episodes=2, workers=1, videos=0))
    file = out / "episodes" / "reach-v3-00001.json"
    row = json.loads(file.read_text())
    row |= {"success": False, "steps": 9, "actions": row["actions"][:9]}
    file.write_text(json.dumps(row))
    return out


def recorded_rows(path: Path) -> dict[str, int]:
    """Rows on the clock of the simulation, by entity."""
    rows: dict[str, int] = {}
    for chunk in RrdReader(path).stream():
        if "sim_time" in chunk.timeline_names:
            rows[chunk.entity_path] = rows.get(chunk.entity_path, 0) + chunk.num_rows
    return rows


@pytest.fixture
def copy(evaluation: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(evaluation, tmp_path / "eval"))


def test_a_success_and_a_failure_are_filmed_and_recorded(copy: Path) -> None:
    films = showcase.film(copy, 1)
    assert [(made.file, made.success) for made in films] == [
        ("reach-v3-00000-success.mp4", True),
        ("reach-v3-00001-failure.mp4", False),
    ]
    assert showcase.load_films(copy) == films
    for made in films:
        shown = read_film(copy / "videos" / made.file)
        assert shown.shape == (made.frames, showcase.SIDE, showcase.SIDE, 3)
        assert shown[0].std() > 20, "a picture, not one colour"
    short = films[1]
    assert (short.steps, short.rate_hz, short.frames) == (9, 16.0, 3 + 13)
    rows = recorded_rows(copy / "episodes.rrd")
    assert rows["/reach-v3/success-00000/view"] == len(frame_steps(films[0].steps, 5))
    assert rows["/reach-v3/success-00000/action/delta_z"] == films[0].steps
    assert rows["/reach-v3/failure-00001/state/hand_x"] == 9 + 1
    assert rows["/reach-v3/failure-00001/view"] == 3
    assert sorted(entry.name for entry in (copy / "videos").iterdir()) == ["films.json", films[0].file, short.file]


def test_the_films_show_the_hand_at_the_goal_at_the_end(copy: Path) -> None:
    row = load_results(copy)[0]
    played = reenact(row, 4)
    assert played.states.shape == (row["steps"] + 1, 4) and len(played.poses) == len(played.steps)
    goal = played.worlds.landmarks()[0, 2, :3]
    assert np.linalg.norm(played.states[-1, :3] - goal) < 0.06 < np.linalg.norm(played.states[0, :3] - goal)


def test_filming_again_keeps_films_and_makes_what_is_missing(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    films = showcase.film(copy, 1)
    kept, lost = (copy / "videos" / made.file for made in films)
    before, content = kept.stat().st_mtime_ns, lost.read_bytes()
    lost.unlink()
    (copy / "episodes.rrd").unlink()
    (copy / "videos" / "films.json").unlink()
    assert showcase.film(copy, 1) == films
    assert kept.stat().st_mtime_ns == before and lost.read_bytes() == content and (copy / "episodes.rrd").exists()

    monkeypatch.setattr(showcase, "reenact", lambda *_: pytest.fail("everything is there already"))
    assert showcase.film(copy, 1) == films


@pytest.mark.parametrize("recorded", [True, False])
def test_an_episode_that_goes_another_way_is_refused(copy: Path, recorded: bool) -> None:
    index = int(recorded)  # the failure claimed as a success, the success claimed as a failure
    file = copy / "episodes" / f"reach-v3-{index:05d}.json"
    row = json.loads(file.read_text()) | {"success": recorded}
    file.write_text(json.dumps(row))
    with pytest.raises(ReenactmentError, match=f"reach-v3 number {index}.*recorded as"):
        showcase.film(copy, 2)
    assert not (copy / "episodes.rrd").exists() and not showcase.load_films(copy)
