"""A filter learned in seconds fits the grid and prevents failures; its bench goes on where it was killed."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from foreact.episodes.runfolder import RunError
from foreact.worldmodels.safety.bench import SafetyBenchConfig, bench
from foreact.worldmodels.safety.driving import random_drives
from foreact.worldmodels.safety.grid import Grid, Solution, solve
from foreact.worldmodels.safety.latent import LatentConfig
from foreact.worldmodels.safety.learning import LearnConfig, World, fit_world, learn_value
from foreact.worldmodels.safety.margin import MarginConfig
from foreact.worldmodels.safety.parts import SafetyParts
from foreact.worldmodels.safety.systems import DubinsCar
from foreact.worldmodels.safety.trials import chasing, course_across, guard_of, set_figures, values_on
from foreact.worldmodels.safety.value import ValueConfig

CAR = DubinsCar()
QUICK = LearnConfig(
    episodes=800,
    latent=LatentConfig(members=2, width=48, updates=400, batch=128),
    margin=MarginConfig(updates=700),
    value=ValueConfig(width=64, updates=1100),
)


@pytest.fixture(scope="module")
def solution() -> Solution:
    return solve(CAR, Grid.over(CAR, (40, 40, 40)))


@pytest.fixture(scope="module")
def world() -> World:
    torch.set_num_threads(1)
    drives = random_drives(CAR, QUICK.episodes, QUICK.steps, np.random.default_rng(1000))
    return fit_world(CAR, drives, CAR.observe, QUICK, 1000)


@pytest.fixture(scope="module")
def parts(world: World) -> SafetyParts:
    return learn_value(world, 1000)


def sets_of(parts: SafetyParts, solution: Solution, value: torch.nn.Module) -> dict[str, float]:
    points = solution.grid.points()
    return set_figures(solution, points, CAR, values_on(points, parts.model, CAR.observe, value))


def test_seconds_of_learning_find_the_unsafe_set(world: World, parts: SafetyParts, solution: Solution) -> None:
    learned = sets_of(parts, solution, parts.value)
    assert learned["iou"] > 0.8 and learned["missed"] < 0.05
    # the controls: the margin alone, and a value that looks a few steps ahead only
    assert sets_of(parts, solution, world.margin)["iou"] < 0.75
    assert sets_of(parts, solution, learn_value(world, 1000, gamma=0.7).value)["missed"] > 0.1


def test_the_filter_prevents_most_failures_and_the_margin_alone_does_not(
    parts: SafetyParts, solution: Solution
) -> None:
    course, chase = course_across(solution, 150, np.random.default_rng(1000)), chasing(CAR, 1000)
    free = chase(course, None)
    kept = chase(course, guard_of(parts.model, parts.filter(0.3), CAR.observe))
    myopic = chase(course, guard_of(parts.model, parts.filter(0.3, parts.margin), CAR.observe))
    assert free.violated.mean() > 0.9 and free.reached.mean() > 0.95
    assert kept.violated.mean() < 0.3 * free.violated.mean() and kept.reached.mean() > 0.8
    assert myopic.violated.mean() > 0.8
    assert 0.05 < kept.intervened[kept.running].mean() < 0.6


def test_what_was_expected_mends_observations_that_are_blurred(parts: SafetyParts, solution: Solution) -> None:
    course, chase = course_across(solution, 150, np.random.default_rng(1000)), chasing(CAR, 1000)
    left = {}
    for gain in (1.0, 0.25):
        blur = np.random.default_rng(1)

        def observe(states: np.ndarray, blur: np.random.Generator = blur) -> np.ndarray:
            return CAR.observe(states + blur.normal(0.0, (0.1, 0.1, 0.3), states.shape))

        driven = chase(course, guard_of(parts.model, parts.filter(0.3), observe, gain))
        assert driven.reached.mean() > 0.8
        left[gain] = driven.violated.mean()
    assert left[0.25] < 0.6 * left[1.0]


TINY = LearnConfig(
    episodes=60,
    steps=6,
    latent=LatentConfig(latent=4, members=2, width=8, updates=3, batch=16, prior=0.1),
    margin=MarginConfig(width=8, updates=3),
    value=ValueConfig(width=8, updates=3, batch=16),
)


def tiny_bench(out: Path) -> SafetyBenchConfig:
    return SafetyBenchConfig(out=out, seeds=(1000, 1001), grid=16, trials=10, state=TINY, pixels=TINY, unknown=TINY,
                             alpha=0.2)  # fmt: skip


def found(out: Path) -> dict[str, dict[str, object]]:
    files = sorted(out.glob("seed-*/*.json"))
    return {f"{file.parent.name}/{file.stem}": {key: value for key, value in json.loads(file.read_text()).items()
            if key != "cpu_s"} for file in files}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bench") / "run"
    outcome = bench(tiny_bench(out))
    assert outcome.path == out and (out / "values.png").stat().st_size > 10_000
    assert {"state", "pixels", "unknown", "grid_iou"} <= outcome.figures.keys()
    return out


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, {here!r})
from test_learned_filter import tiny_bench
from foreact.worldmodels.safety.bench import bench
if __name__ == "__main__":
    bench(tiny_bench(Path({out!r})))
"""


def test_a_bench_that_was_killed_goes_on_and_finds_the_same(whole: Path, tmp_path: Path) -> None:
    out, script = tmp_path / "run", tmp_path / "start.py"
    script.write_text(SCRIPT.format(here=str(Path(__file__).parent), out=str(out)))
    process = subprocess.Popen([sys.executable, "-P", str(script)], start_new_session=True)
    while process.poll() is None and len(list(out.glob("seed-*/*.json"))) < 2:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = {file: file.stat().st_mtime_ns for file in out.glob("seed-*/*.json")}
    assert before and not (out / "figures.json").exists()
    # where results are written does not make it another run
    bench(dataclasses.replace(tiny_bench(out), results=tmp_path / "results"))
    (file,) = (tmp_path / "results").glob("*-safety.json")
    assert {"pixels", "machine", "config"} <= json.loads(file.read_text()).keys()
    assert found(out) == found(whole)
    assert all(file.stat().st_mtime_ns == stamp for file, stamp in before.items())


def test_a_bench_with_other_settings_or_a_damaged_stage_is_refused(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="trials"):
        bench(dataclasses.replace(tiny_bench(whole), trials=11))
    file = whole / "seed-1000" / "state.json"
    content = file.read_text()
    file.write_text(content[:20])
    with pytest.raises(ValueError, match=r"state.json is damaged.*Delete it"):
        bench(tiny_bench(whole))
    file.write_text(content)
    for wrong in ({"seeds": (1, 1)}, {"grid": 3}, {"alpha": 1.0}, {"target": "sim"}, {"stages": ("states",)}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SafetyBenchConfig(**wrong)  # type: ignore[arg-type]
