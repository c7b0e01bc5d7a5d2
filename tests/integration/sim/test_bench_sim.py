"""The benchmark's parts: raw stepping does the very same physics, rivals have the very same model, figures add up."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np
import pytest

from foreact.sim.bench import SimBenchConfig, bench
from foreact.sim.bench_metaworld import SEEDS, MetaWorldPair
from foreact.sim.bench_meter import Window, ratio, spread, window_steps
from foreact.sim.bench_pixels import picture_side
from foreact.sim.bench_raw import Log, RawDiffers, RawWindow, log_window
from foreact.sim.bench_rivals import GYMNASIUM, GymnasiumSide, envpool_interpreter, write_model
from foreact.sim.bench_served import ServedSide, SideEnded
from foreact.sim.bench_worlds import OwnAndRaw
from foreact.sim.classic import TASKS
from foreact.sim.taskworlds import TaskWorlds


def actions(worlds: TaskWorlds, steps: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.uniform(worlds.low, worlds.high, (len(worlds), len(worlds.low))) for _ in range(steps)]


def test_ratios_are_paired_by_round() -> None:
    ours = [Window(100, 1.0, 2.0), Window(100, 2.0, 2.0), Window(100, 4.0, 2.0)]
    theirs = [Window(50, 1.0, 1.0), Window(50, 2.0, 1.0), Window(100, 1.0, 1.0)]
    found = ratio(ours, theirs)  # 2, 2, 1/4
    assert (found.median, found.lower, found.upper) == (2.0, 1.125, 2.0)
    assert spread([1.0, 2.0, 3.0, 4.0, 5.0]).median == 3 and ours[0].per_second == 50
    # 100 steps took 2 s: 0.5 s are 25 steps, shared by 5 worlds
    assert window_steps(ours[0], 5, 0.5) == 5 and window_steps(ours[0], 500, 0.5) == 2


@pytest.mark.parametrize("name", ["cartpole", "ant"])
def test_raw_stepping_repeats_the_worlds_bit_for_bit_through_resets(name: str) -> None:
    worlds = TaskWorlds(dataclasses.replace(TASKS[name](), limit=7), 5, threads=1)
    worlds.reset(seeds=np.arange(5))
    log = log_window(worlds, actions(worlds, 20))
    raw = RawWindow(worlds, log)
    raw.check()
    lengths = [each.inputs.shape[1] // worlds.task.substeps for each in raw._pieces]
    counts = [len(each.start) for each in raw._pieces]
    assert np.dot(lengths, counts) == 5 * 20 and max(lengths) <= 7
    if name == "ant":  # it does not fall in seven steps, so all end at the limit: 7 + 7 + 6
        assert lengths == [6, 7] and counts == [5, 10]
    wrong = Log(log.before, log.after + 1e-12, log.substeps)
    with pytest.raises(RawDiffers):
        RawWindow(worlds, wrong).check()


def test_raw_stepping_knows_other_inputs_and_masses_of_worlds() -> None:
    def push(views: Any, ids: np.ndarray, random: Any) -> None:
        views.qfrc_applied[:, 0] = random.uniform(ids, 1)[:, 0]

    def heavier(views: Any, ids: np.ndarray, random: Any) -> None:
        views.model("body_mass")[ids] = 2 + random.uniform(ids, 1)

    task = dataclasses.replace(TASKS["half-cheetah"](), each_step=(push,))
    worlds = TaskWorlds(task, 4, threads=1)
    heavier(worlds.views, np.arange(4), worlds.random)
    worlds.reset(seeds=np.arange(4))
    raw = RawWindow(worlds, log_window(worlds, actions(worlds, 6)))
    raw.check()
    assert raw._spec == mujoco.mjtState.mjSTATE_CTRL | mujoco.mjtState.mjSTATE_QFRC_APPLIED
    assert len({id(model) for each in raw._pieces for model in each.models}) == 4


def test_a_log_leaves_the_worlds_where_they_would_have_been() -> None:
    one, other = (TaskWorlds(TASKS["reacher"](), 3, threads=1) for _ in range(2))
    one.reset(seeds=[1, 2, 3])
    other.reset(seeds=[1, 2, 3])
    log = log_window(one, actions(one, 60))
    for action in actions(other, 60):
        other.step(action)
    np.testing.assert_array_equal(one.views.qpos, other.views.qpos)
    assert log.before.shape[:2] == (60, 3)


def test_windows_go_on_from_one_another() -> None:
    side = OwnAndRaw(TASKS["half-cheetah"](), 3, 0, 0.001)
    assert side._burnt.worlds.views.time.min() == pytest.approx(1.0)  # burnt in for a second
    full, raw = side.windows(raw_first=False)
    assert full.steps == raw.steps == 3 * side._burnt.length
    assert side._burnt.worlds.views.time.max() == pytest.approx(1 + side._burnt.length * 0.05)


@pytest.mark.parametrize("name", GYMNASIUM)
def test_rivals_have_the_same_model_and_terms(name: str, tmp_path: Path) -> None:
    task = TASKS[name]()
    file = write_model(task, tmp_path)
    ours, theirs = task.compile(), mujoco.MjModel.from_xml_path(str(file))
    for option in ("integrator", "timestep", "disableflags"):
        assert getattr(ours.opt, option) == getattr(theirs.opt, option)
    for field in ("body_mass", "body_inertia", "qpos0", "dof_damping", "geom_friction", "actuator_gear", "jnt_range"):
        np.testing.assert_allclose(getattr(theirs, field), getattr(ours, field), rtol=1e-5, err_msg=field)
    side = GymnasiumSide(task, file, "sync", 0.001)
    env: Any = side._env.envs[0].unwrapped
    assert env.observation_space.shape == (TaskWorlds(task, 1).observation_size,)
    assert env.frame_skip == task.substeps and env.model.opt.integrator == ours.opt.integrator
    assert side.window().steps == 8 * side._length
    side.close()


def test_the_benchmark_writes_what_it_measured(tmp_path: Path) -> None:
    seen: list[tuple[int, int, str]] = []
    config = SimBenchConfig(tasks=("cartpole",), out=tmp_path, repeats=2, worlds=4, seconds=0.002, pixels=False)
    report = bench(config, lambda done, total, text: seen.append((done, total, text)))
    assert report.path is not None and json.loads(report.path.read_text()) == report.figures
    for key in ("cartpole.steps_per_second", "fraction_of_raw.cartpole", "vs_async_vector_env.cartpole"):
        lower, upper = report.figures["quartiles"][key]
        assert 0 < lower <= report.figures[key] <= upper
    assert report.figures["machine"]["cores"] >= 1
    assert [len(row) for row in report.rows] == [len(report.columns)]
    assert seen[0] == (0, 2, "timing cartpole") and seen[-1] == (2, 2, "timing cartpole")
    again = bench(dataclasses.replace(config, repeats=1, rivals=False, tasks=("reacher",)))
    assert again.path is not None and again.path != report.path
    assert not [key for key in again.figures if key.startswith("vs_")] and again.rows[0][4:] == ("",) * 5


def test_meta_world_is_timed_on_the_same_episodes() -> None:
    pair = MetaWorldPair("reach-v3", 8, 0)
    ours, theirs = pair.windows()
    assert ours.steps == theirs.steps == 40 * SEEDS
    # both sides end where the last layout's episode is after 1 s + 40 steps
    env: Any = pair._env
    np.testing.assert_allclose(env._get_obs()[:18], pair._worlds.full_observation()[-1, :18], atol=1e-9)
    first = pair._worlds.full_observation()
    pair.windows()
    np.testing.assert_array_equal(first, pair._worlds.full_observation())


SERVER = """
from foreact.sim.bench_meter import Window
from foreact.sim.bench_served import serve
serve(Window(10, 1.0, 2.0), lambda rounds: Window(5 * rounds, 0.5, 1.0))
"""


def test_a_served_side_does_as_many_rounds_as_its_burn_in_says() -> None:
    side = ServedSide([sys.executable, "-P", "-c", SERVER], 5, 4.0)
    # 10 steps took 2 s: 4 s are 20 steps, 4 rounds of 5
    assert side.window() == side.window() == Window(20, 0.5, 1.0)
    side.close()


def test_a_served_side_that_ends_leaves_its_last_words() -> None:
    with pytest.raises(SideEnded, match="ValueError: no such thing"):
        ServedSide([sys.executable, "-P", "-c", "raise ValueError('no such thing')"], 1, 1.0)


def test_pictures_are_drawn_by_a_process() -> None:
    side = picture_side("raytracer", 0.01)
    assert side.window().steps % 16 == 0
    side.close()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tasks": ("reach", "reach-v3")}, "more than once"),
        ({"tasks": ("half-cheeta",)}, "half-cheetah"),
        ({"envpool_python": Path("false")}, "cannot import envpool"),
        ({"envpool_python": Path("no-such-python")}, "cannot be run"),
    ],
)
def test_mistakes_are_told_before_anything_is_timed(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bench(SimBenchConfig(**given))


def test_wrong_figures_are_refused() -> None:
    with pytest.raises(ValueError, match="repeats is 0"):
        SimBenchConfig(repeats=0)
    with pytest.raises(ValueError, match="expected sim"):
        SimBenchConfig(target="kernels")


def test_an_interpreter_with_envpool_is_taken_as_given(monkeypatch: pytest.MonkeyPatch) -> None:
    done = SimpleNamespace(returncode=0, stderr="")
    monkeypatch.setattr("foreact.sim.bench_rivals.subprocess.run", lambda *_, **__: done)
    assert envpool_interpreter(Path("python-of-mine")) == Path("python-of-mine")
