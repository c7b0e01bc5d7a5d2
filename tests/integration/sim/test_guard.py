"""The guard names the worlds that blow up, and what it writes blows up again, bit for bit."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foreact.sim.classic import TASKS
from foreact.sim.dump import replay_dump
from foreact.sim.guard import DumpedFailure, Guard
from foreact.sim.task import Field, SimTask, noisy_start
from foreact.sim.taskworlds import TaskWorlds

SPRING = """
<mujoco><option timestep="0.01"/><worldbody><body><joint name="x" type="slide" axis="1 0 0" stiffness="100"/>
<geom size="0.1" mass="1"/></body></worldbody><actuator><motor joint="x" ctrlrange="-1 1"/></actuator></mujoco>"""

TASK = SimTask(
    name="spring", model=SPRING, substeps=2, limit=10_000, observe=(Field("qpos"), Field("qvel")),
    reward=((1.0, lambda views: views.qpos[:, 0]),), start=(noisy_start(0.1),),
)  # fmt: skip


def blown_up(kind: Any, folder: Path, keep: int = 4) -> tuple[TaskWorlds, DumpedFailure, int]:
    """Worlds 1 and 3 of four have springs too stiff for their time step: dt > 2 / sqrt(k / m)."""
    worlds = TaskWorlds(TASK, 4, kind, seed=3)
    worlds.reset()
    worlds.views.model("jnt_stiffness")[:, 0] = worlds.backend.xp.asarray([100.0, 45_000.0, 100.0, 46_000.0])
    Guard(worlds, folder, keep)
    actions = worlds.backend.xp.asarray(np.random.default_rng(0).uniform(-1, 1, (400, 4, 1)), dtype=worlds.steps.dtype)
    for step, action in enumerate(actions):
        try:
            worlds.step(action)
        except DumpedFailure as failure:
            return worlds, failure, step
    raise AssertionError("nothing failed")


@pytest.mark.parametrize("kind", ["cpu", "ref", "warp"])
def test_a_dump_fails_again_bit_for_bit(kind: Any, tmp_path: Path) -> None:
    worlds, failure, step = blown_up(kind, tmp_path)
    assert {each.world for each in failure.errors} <= {1, 3} and step > 4
    assert f"{failure.folder}" in str(failure) and "world" in str(failure)
    again = replay_dump(failure.folder)
    assert again.same and again.worlds.tolist() == [each.world for each in failure.errors]
    # MuJoCo puts a world back whose numbers pass 1e10; Warp lets them grow until they are none
    wrong = "its state is not finite" if kind == "warp" else "warning bad_q"
    assert all(message.startswith(wrong) for message in again.messages)
    assert {len(values) for values in again.before.values()} == {4}
    assert np.isfinite(worlds.views.qpos[0].item()) and not list(tmp_path.glob(".*"))


def test_a_dump_that_was_changed_does_not_give_the_same(tmp_path: Path) -> None:
    _, failure, _ = blown_up("cpu", tmp_path)
    with np.load(failure.folder / "steps.npz") as file:
        arrays = {name: file[name] for name in file.files}
    arrays["before.model.jnt_stiffness"][-1] *= 0.5
    np.savez(failure.folder / "steps.npz", **arrays)
    assert not replay_dump(failure.folder).same


def test_states_before_the_failure_are_those_that_were(tmp_path: Path) -> None:
    worlds = TaskWorlds(TASKS["half-cheetah"](), 5)
    worlds.reset(seeds=np.arange(5))
    Guard(worlds, tmp_path, keep=8)
    seen = []
    rng = np.random.default_rng(0)
    with pytest.raises(DumpedFailure) as caught:
        for step in range(12):
            seen.append(worlds.views.qpos[2].copy())
            if step == 9:
                worlds.views.qvel[2, 3] = np.nan
            worlds.step(rng.uniform(-1, 1, (5, 6)).astype(np.float32))
    assert len(seen) == 10 and [each.world for each in caught.value.errors] == [2]
    replay = replay_dump(caught.value.folder)
    rows = replay.before["state.rows"]  # time, qpos, qvel, ...
    assert rows.shape[:2] == (8, 1) and replay.same and replay.messages == ("warning bad_qvel",)
    np.testing.assert_array_equal(rows[:, 0, 1:10], seen[2:])


def test_a_world_that_fails_twice_is_told_twice(tmp_path: Path) -> None:
    worlds = TaskWorlds(TASK, 3)
    worlds.reset()
    guard = Guard(worlds, tmp_path)
    still = np.zeros((3, 1), np.float32)
    for told in ("in 1 worlds: world 1: warning bad_qpos", "in 1 worlds: world 1: the engine put it back"):
        for _ in range(3):
            worlds.step(still)
        worlds.views.qpos[1] = np.inf
        with pytest.raises(DumpedFailure, match=told):
            worlds.step(still)
    assert sorted(path.name[-3:] for path in tmp_path.iterdir()) == ["000", "001"]
    guard.close()
    worlds.views.qpos[1] = np.inf
    worlds.step(still)


CROWD = """
<mujoco><size memory="8K"/><worldbody><geom type="plane" size="1 1 1"/>BODIES</worldbody></mujoco>""".replace(
    "BODIES", "".join(f'<body pos="{x} 0 1"><freejoint/><geom type="box" size=".1 .1 .1"/></body>' for x in range(6))
)


def test_an_error_of_the_engine_is_dumped_too(tmp_path: Path) -> None:
    task = replace(TASK, model=CROWD, start=(), low=(), high=())
    worlds = TaskWorlds(task, 3)
    worlds.reset()
    Guard(worlds, tmp_path)
    nothing = np.zeros((3, 0), np.float32)
    worlds.step(nothing)
    worlds.views.qpos[1, 2::7] = 0.09  # 24 contacts at once, for which there is no memory
    with pytest.raises(DumpedFailure, match="in 1 worlds: world 1: .*stack") as caught:
        worlds.step(nothing)
    replay = replay_dump(caught.value.folder)
    assert replay.same and "stack" in replay.messages[0]


def test_guarded_worlds_do_the_same(tmp_path: Path) -> None:
    plain, guarded = (TaskWorlds(TASKS["ant"](), 4, seed=2) for _ in range(2))
    Guard(guarded, tmp_path)
    ends = []
    for worlds in (plain, guarded):
        worlds.reset()
        for action in np.random.default_rng(0).uniform(-1, 1, (30, 4, 8)).astype(np.float32):
            worlds.step(action)
        fork = worlds.fork(np.array([1]), 2)
        fork.step(np.ones((2, 8), np.float32))
        ends.append(np.concatenate([worlds.views.qpos, fork.views.qpos]))
    np.testing.assert_array_equal(ends[0], ends[1])
    assert not list(tmp_path.iterdir())


def test_what_is_no_dump_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no dump: expected steps.npz, model.mjb and about.json"):
        replay_dump(tmp_path)
    _, failure, _ = blown_up("cpu", tmp_path)
    about = failure.folder / "about.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "mujoco": "2.0.0"}))
    with pytest.raises(ValueError, match=r"MuJoCo 2.0.0, this is"):
        replay_dump(failure.folder)
    with pytest.raises(ValueError, match="keep=0"):
        Guard(TaskWorlds(TASK, 1), tmp_path, keep=0)
