"""Snapshots: every simulated task repeats the next 200 steps bit for bit, in the same worlds and in new ones.

Half of the worlds get random actions, the others those of the task's scripted expert, which touch more. Episodes end
and begin on the way, so random streams, counters and commands must come back too.
"""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from foreact.sim.experts import expert_for
from foreact.sim.families import expert
from foreact.sim.instructions import metaworld_task_names
from foreact.sim.metaworld_worlds import VectorMetaWorld
from foreact.sim.registry import names, sim_task
from foreact.sim.task import SimTask
from foreact.sim.taskworlds import TaskWorlds

BURN_IN, STEPS = 20, 200
LIMIT, EVERY = 90, 40  # control steps of an episode and between commands: both fall into the 200
SIM_TASKS = [name for name in names() if name not in metaworld_task_names()]
FIELDS = ("observation", "reward", "terminated", "truncated", "success", "ended", "final")

Bits = dict[str, bytes]


def brief(name: str) -> SimTask:
    """The task with short episodes."""
    if name.startswith("aloha") and find_spec("gym_aloha") is None:
        pytest.skip("needs models: pip install --no-deps gym-aloha==0.1.5")
    task = sim_task(name)
    assert task is not None, f"{name} is no task of many worlds: cover it here in its own way"
    commands = {word: replace(each, every=min(each.every, EVERY)) for word, each in task.commands.items()}
    return replace(task, limit=min(task.limit, LIMIT), commands=commands)


def played(worlds: TaskWorlds, plan: np.ndarray, script: Any = None) -> Bits:
    """Everything seen and everything that decides what comes next; a script's actions are written into the plan."""
    seen: dict[str, list[np.ndarray]] = {field: [] for field in FIELDS}
    for actions in plan:
        if script is not None:
            actions[1::2] = script(worlds.views)[1::2]
        step = worlds.step(actions)
        if script is not None and len(step.ended):
            script.reset(worlds.views, step.ended)
        for field in FIELDS:
            seen[field].append(getattr(step, field).copy())
    kept = worlds.snapshot()
    left = {**kept.arrays, **kept.engine.state, **kept.engine.model}
    return {field: np.concatenate(values).tobytes() for field, values in seen.items()} | {
        f"left.{name}": values.tobytes() for name, values in left.items()
    }


def begun(name: str, nworld: int = 4) -> tuple[TaskWorlds, np.ndarray, Any]:
    """Worlds after some steps, whose episodes began at different times, with a plan for more and the task's script."""
    worlds, script = TaskWorlds(brief(name), nworld, seed=3, threads=1), expert(name)
    shape = (BURN_IN + STEPS, nworld, len(worlds.low))
    plan = np.random.default_rng(0).uniform(worlds.low, worlds.high, shape).astype(np.float32)
    worlds.reset()
    if script is not None:
        script.reset(worlds.views, np.arange(nworld))
    played(worlds, plan[: BURN_IN // 2], script)
    worlds.reset(np.array([0, 1]))
    if script is not None:
        script.reset(worlds.views, np.array([0, 1]))
    played(worlds, plan[BURN_IN // 2 : BURN_IN], script)
    return worlds, plan[BURN_IN:], script


def differing(one: Bits, other: Bits) -> list[str]:
    return [field for field in one.keys() | other.keys() if one.get(field) != other.get(field)]


@pytest.mark.parametrize("name", SIM_TASKS)
def test_every_task_repeats_the_next_200_steps(name: str) -> None:
    worlds, plan, script = begun(name)
    kept = worlds.snapshot()
    first = played(worlds, plan, script)
    assert np.frombuffer(first["ended"], np.int64).size >= len(worlds)
    worlds.restore(kept)
    assert not differing(played(worlds, plan), first)
    fresh = TaskWorlds(worlds.task, len(worlds), seed=4, threads=2)
    fresh.restore(kept)
    assert not differing(played(fresh, plan), first)


@pytest.mark.parametrize(
    ("name", "lost"),
    [("reacher", "steps"), ("cartpole", "drawn"), ("cartpole", "key"), ("quadruped-velocity", "command.velocity")],
)
def test_a_snapshot_that_lost_something_leads_elsewhere(name: str, lost: str) -> None:
    worlds, plan, script = begun(name, 2)
    kept = worlds.snapshot()
    first = played(worlds, plan, script)
    worlds.restore(replace(kept, arrays={each: values for each, values in kept.arrays.items() if each != lost}))
    assert "observation" in differing(played(worlds, plan), first)


def performed(worlds: VectorMetaWorld, plan: np.ndarray, script: Any = None) -> Bits:
    """The same for Meta-World, which starts no episodes by itself: the first world does so half way."""
    seen = []
    for count, actions in enumerate(plan):
        if count == len(plan) // 2:
            worlds.reset((7,), np.array([0]))
        if script is not None:
            actions[1] = script(worlds.full_observation()[1])
        step = worlds.step(actions)
        seen.append(np.column_stack([step.observation, step.reward, step.success]))
    kept = worlds.snapshot()
    left = {**kept.arrays, **kept.engine.state, **kept.engine.model}
    return {"seen": np.stack(seen).tobytes()} | {f"left.{name}": values.tobytes() for name, values in left.items()}


@pytest.mark.parametrize("name", metaworld_task_names())
def test_every_meta_world_task_repeats_the_next_200_steps(name: str) -> None:
    pytest.importorskip("metaworld")
    worlds, script = VectorMetaWorld(name, 2), expert_for(name)
    plan = np.random.default_rng(0).uniform(-1, 1, (BURN_IN + STEPS, 2, 4))
    worlds.reset((3, 4))
    performed(worlds, plan[:BURN_IN], script)
    kept = worlds.snapshot()
    first = performed(worlds, plan[BURN_IN:], script)
    worlds.restore(kept)
    assert not differing(performed(worlds, plan[BURN_IN:]), first)
    fresh = VectorMetaWorld(name, 2, threads=2)
    fresh.restore(kept)
    assert not differing(performed(fresh, plan[BURN_IN:]), first)


@pytest.mark.parametrize("lost", ["previous", "kept.obj_init", "field.site_pos"])
def test_a_meta_world_snapshot_that_lost_something_leads_elsewhere(lost: str) -> None:
    pytest.importorskip("metaworld")
    worlds, plan = VectorMetaWorld("pick-place-v3", 2), np.random.default_rng(0).uniform(-1, 1, (10, 2, 4))
    worlds.reset((3, 4))
    performed(worlds, plan)
    kept = worlds.snapshot()
    first = performed(worlds, plan)
    worlds.restore(replace(kept, arrays={**kept.arrays, lost: np.zeros_like(kept.arrays[lost])}))
    assert differing(performed(worlds, plan), first)
