"""Futures that differ in what a policy cannot see: exact, repeatable, and each parameter acts as its physics says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foreact.sim.classic import TASKS
from foreact.sim.hidden import (
    latency,
    moving_distractor,
    scaled_friction,
    scaled_gain,
    scaled_joint_friction,
    scaled_mass,
    weak_commands,
)
from foreact.sim.random import WorldRandom
from foreact.sim.task import Field, SimTask
from foreact.sim.taskworlds import TaskWorlds

SLIDER = """
<mujoco><option timestep="0.002" gravity="0 0 -10" cone="elliptic"/><worldbody>
  <body name="ball" mocap="true" pos="1 2 3"><geom size="0.05" contype="0" conaffinity="0"/></body>
  <geom name="floor" type="plane" size="5 5 1" friction="0.5 0.1 0.1" priority="1"/>
  <body name="cart" pos="0 0 1"><joint name="x" type="slide" axis="1 0 0"/>
    <geom type="box" size=".1 .1 .1" mass="2" contype="0" conaffinity="0"/></body>
  <body name="sled" pos="0 2 0.02"><freejoint/><geom type="box" size=".3 .3 .02" mass="1"/></body>
</worldbody><actuator><motor name="push" joint="x" ctrlrange="-9 9"/>
<position name="hold" joint="x" kp="0" kv="0" ctrlrange="-9 9"/></actuator></mujoco>"""

TASK = SimTask(
    name="slider", model=SLIDER, substeps=10, limit=1000, observe=(Field("qpos", 0, 1), Field("qvel", 0, 1)),
    reward=((1.0, lambda views: views.last_action[:, 0]),), low=(-9.0, -9.0), high=(9.0, 9.0),
)  # fmt: skip
DT = 0.02  # [s] of a control step


def pushed(worlds: TaskWorlds, forces: list[float]) -> np.ndarray:
    """Speeds of the carts after each step, (T, N)."""
    speeds = []
    for force in forces:
        action = np.zeros((len(worlds), 2), np.float32)
        action[:, 0] = force
        speeds.append(worlds.step(action).observation[:, 1].copy())
    return np.array(speeds)


def forked(*hidden: Any, seed: int = 0) -> TaskWorlds:
    """16 futures of two states."""
    worlds = TaskWorlds(TASK, 3, threads=1)
    worlds.reset(seeds=[1, 2, 3])
    return worlds.fork(np.array([0, 2]), 8, hidden=hidden, seed=seed)


def drawn(seed: int, nworld: int, low: float, high: float) -> np.ndarray:
    return WorldRandom(seed, nworld).uniform(np.arange(nworld), 1, low, high)[:, 0]


def test_a_heavier_cart_gains_less_speed() -> None:
    fork = forked(scaled_mass(["cart"], 0.5, 2.0), seed=4)
    mass = 2 * drawn(4, 16, 0.5, 2.0)
    np.testing.assert_allclose(fork.views.model("body_mass")[:, 2], mass)
    # v = F t / m
    np.testing.assert_allclose(pushed(fork, [3.0] * 5)[-1], 3 * 5 * DT / mass, rtol=1e-5)
    np.testing.assert_allclose(fork.views.model("dof_invweight0")[:, 0], 1 / mass)
    # the inertia of a box of 0.2 m: m (0.2^2 + 0.2^2) / 12
    np.testing.assert_allclose(fork.views.model("body_inertia")[:, 2], np.outer(mass, [0.08 / 12] * 3))


def test_a_stronger_motor_gains_more_speed() -> None:
    fork = forked(scaled_gain(["push"], 0.5, 1.5), seed=2)
    np.testing.assert_allclose(pushed(fork, [3.0] * 5)[-1], 1.5 * 5 * DT * drawn(2, 16, 0.5, 1.5), rtol=1e-5)


def test_a_slippery_floor_brakes_less() -> None:
    fork = forked(scaled_friction(["floor"], 0.2, 1.0), seed=3)
    pushed(fork, [0.0] * 100)  # the sled settles
    fork.views.qvel[:, 1] = 2.0  # along x
    pushed(fork, [0.0] * 10)
    lost = 2.0 - fork.views.qvel[:, 1]
    # Coulomb: mu g t, up to the softness of MuJoCo's contacts
    np.testing.assert_allclose(lost, 0.5 * drawn(3, 16, 0.2, 1.0) * 10 * 10 * DT, rtol=0.05)


def test_late_actions_arrive_after_their_delay() -> None:
    fork = forked(latency(3), seed=5)
    delay = np.floor(drawn(5, 16, 0, 4)).astype(int)
    assert set(delay) == {0, 1, 2, 3}
    forces = [1.0, -2.0, 4.0, 0.5, -3.0, 2.0, 1.0]
    speeds = pushed(fork, forces)
    for world, late in enumerate(delay):
        expected = np.cumsum([0.0] * late + forces)[: len(forces)] * DT / 2
        np.testing.assert_allclose(speeds[:, world], expected, atol=1e-6)


def test_actions_under_way_are_part_of_snapshots_and_forks() -> None:
    fork = forked(latency(2, 2))
    pushed(fork, [1.0, 2.0])
    kept = fork.snapshot()
    first = pushed(fork, [5.0, 5.0, 5.0])
    fork.restore(kept)
    again = fork.fork(np.array([4, 4]), 2, hidden=[latency(4, 2)])  # a longer ring keeps what is under way
    assert np.floor(again.views.hidden["latency"].delay).min() >= 2
    again.views.hidden["latency"].delay[:] = 2
    np.testing.assert_array_equal(pushed(again, [5.0, 5.0, 5.0]), first[:, :4])
    np.testing.assert_array_equal(pushed(fork, [5.0, 5.0, 5.0]), first)
    # 1 and 2 were under way: v = (1 + 2 + 5) t / m
    np.testing.assert_allclose(first[-1], 8 * DT / 2, atol=1e-6)
    fork.restore(kept)
    fork.views.hidden["latency"].restart(np.arange(16))  # without its memory, two actions are lost
    np.testing.assert_allclose(pushed(fork, [5.0, 5.0, 5.0])[-1], 5 * DT / 2, atol=1e-6)


def test_worlds_that_were_not_late_hold_their_last_action() -> None:
    worlds = TaskWorlds(TASK, 2)
    worlds.reset()
    pushed(worlds, [4.0])
    late = worlds.fork(np.array([0, 1]), 1, hidden=[latency(2, 2)])
    np.testing.assert_allclose(pushed(late, [0.0] * 4)[:, 0], np.array([2, 3, 3, 3]) * 4 * DT / 2, atol=1e-6)
    late.reset()
    np.testing.assert_allclose(pushed(late, [4.0] * 3)[:, 0], np.array([0, 0, 1]) * 4 * DT / 2, atol=1e-6)


def test_weak_commands_do_a_share_of_what_is_said() -> None:
    fork = forked(weak_commands(0.25, 0.0, 0.0), seed=6)
    weak = WorldRandom(6, 16).uniform(np.arange(16), 2)[:, 1] < 0.5
    assert 0 < weak.sum() < 16
    np.testing.assert_allclose(pushed(fork, [3.0] * 5)[-1], np.where(weak, 0.25, 1.0) * 3 * 5 * DT / 2, rtol=1e-5)
    other = forked(weak_commands(0.25, 0.0, 0.0, elements=[1]), seed=6)  # that of the other actuator
    np.testing.assert_allclose(pushed(other, [3.0] * 5)[-1], 3 * 5 * DT / 2, rtol=1e-5)


def test_weak_commands_change_over_and_are_noisy_as_often_and_as_much_as_asked() -> None:
    fork = forked(weak_commands(0.0, 0.1, 0.5), seed=6)
    known, switched, sent = fork.views.hidden["weak_commands"], 0, []
    for _ in range(500):
        before = known.weak.copy()
        fork.step(np.full((16, 2), 4.0, np.float32))
        switched += int((before != known.weak).sum())
        sent.append(fork.views.ctrl[:, 0] - np.where(known.weak, 0.0, 4.0))
    assert switched / (500 * 16) == pytest.approx(0.1, abs=0.015)
    assert np.std(sent) == pytest.approx(0.5, rel=0.03) and np.mean(sent) == pytest.approx(0, abs=0.02)


def test_weak_commands_are_part_of_snapshots_and_forks_and_worlds_have_their_own() -> None:
    fork = forked(weak_commands(0.3, 0.3, 0.5), seed=6)
    pushed(fork, [1.0, 2.0])
    kept = fork.snapshot()
    first = pushed(fork, [3.0] * 8)
    fork.restore(kept)
    np.testing.assert_array_equal(pushed(fork, [3.0] * 8), first)
    fork.restore(kept)
    some = fork.fork(np.array([5, 11]), 1)  # what happens in a world does not depend on others
    np.testing.assert_array_equal(pushed(some, [3.0] * 8), first[:, [5, 11]])
    fork.restore(kept)
    fork.views.hidden["weak_commands"].stream.drawn[:] += 1  # without its stream it goes another way
    assert not np.allclose(pushed(fork, [3.0] * 8), first)
    plain = TaskWorlds(TASK, 3, threads=1)
    plain.reset(seeds=[1, 2, 3])
    with pytest.raises(ValueError, match="weak_commands"):
        plain.restore(kept, np.array([0]))


def test_a_rusty_joint_slows_down() -> None:
    rusty = SLIDER.replace('axis="1 0 0"/>', 'axis="1 0 0" damping="3"/>', 1)
    worlds = TaskWorlds(replace(TASK, model=rusty), 1, threads=1)
    worlds.reset()
    fork = worlds.fork(np.array([0]), 16, [scaled_joint_friction(["x"], 2.0, 4.0, chance=0.5)], seed=3)
    draw = WorldRandom(3, 16).uniform(np.arange(16), 2)
    factor = np.where(draw[:, 0] < 0.5, 2 + 2 * draw[:, 1], 1.0)
    assert (factor == 1).any() and (factor > 2).any()
    # the end speed F / b
    np.testing.assert_allclose(pushed(fork, [6.0] * 400)[-1], 6 / (3 * factor), rtol=1e-3)


def test_a_distractor_may_stand_still_or_keep_to_some_headings() -> None:
    fork = forked(moving_distractor("ball", 0.5, 1.0, headings=2, still=0.4), seed=1)
    velocity = fork.views.hidden["distractor.ball"].velocity
    speed = np.linalg.norm(velocity, axis=1)
    assert 0 < (speed == 0).sum() < 16 and ((speed == 0) | (speed >= 0.5)).all()
    np.testing.assert_allclose(velocity[:, [0, 2]], 0, atol=1e-12)
    assert (velocity[:, 1] > 0).any() and (velocity[:, 1] < 0).any()


def test_a_distractor_moves_to_and_fro_at_its_speed() -> None:
    fork = forked(moving_distractor("ball", 0.5, 1.0, reach=0.2), seed=1)
    places = [fork.views.mocap_pos[:, 0].copy()]
    for _ in range(60):
        pushed(fork, [0.0])
        places.append(fork.views.mocap_pos[:, 0].copy())
    path = np.array(places) - [1, 2, 3]
    speed = 0.5 + 0.5 * drawn(1, 16, 0, 1)
    np.testing.assert_allclose(np.linalg.norm(np.diff(path, axis=0), axis=2) / DT, np.tile(speed, (60, 1)), rtol=1e-9)
    distance = np.linalg.norm(path, axis=2)
    assert (distance.max(axis=0) < 0.2 + 2 * DT).all() and (distance.max(axis=0) > 0.2).all()
    assert (path[..., 2] == 0).all()


def test_what_an_earlier_fork_drew_is_gone_when_its_worlds_are_used_again() -> None:
    worlds = TaskWorlds(TASK, 2)
    worlds.reset()
    everything = (
        scaled_mass(["cart"], 0.5, 2),
        scaled_gain(["push"], 0.5, 2),
        latency(3),
        moving_distractor("ball", 1, 2),
    )
    fork = worlds.fork(np.array([0, 1]), 4, hidden=everything)
    first = pushed(fork, [1.0] * 6)
    assert len(np.unique(first[-1])) == 8
    plain = pushed(worlds.fork(np.array([0, 1]), 4, into=fork), [1.0] * 6)
    assert fork.views.hidden == {} and (fork.views.mocap_pos == [1, 2, 3]).all()
    np.testing.assert_allclose(plain[-1], 6 * DT / 2, rtol=1e-5)
    np.testing.assert_array_equal(
        pushed(worlds.fork(np.array([0, 1]), 4, hidden=everything, into=fork), [1.0] * 6), first
    )


def test_a_snapshot_without_hidden_parameters_takes_them_away() -> None:
    worlds = TaskWorlds(TASK, 4)
    worlds.reset()
    kept, every = worlds.snapshot(), np.arange(4)
    weak = weak_commands(0.3, 0.5, 0.5)
    for event in (scaled_mass(["cart"], 0.5, 0.6), weak, latency(2, 2), moving_distractor("ball", 1, 2)):
        event(worlds.views, every, WorldRandom(0, 4))
    pushed(worlds, [1.0] * 4)
    late = worlds.snapshot()
    worlds.restore(kept)
    np.testing.assert_allclose(pushed(worlds, [1.0] * 4)[-1], 4 * DT / 2, rtol=1e-5)
    assert (worlds.views.mocap_pos == [1, 2, 3]).all()
    with pytest.raises(ValueError, match=r"hidden\.latency\.delay.*hidden\.weak_commands\.key"):
        TaskWorlds(TASK, 4).restore(late)
    latency(5)(worlds.views, every, WorldRandom(0, 4))
    with pytest.raises(ValueError, match="hidden.latency.ring3"):
        worlds.restore(late)


def test_hidden_parameters_can_be_drawn_at_every_start() -> None:
    task = SimTask(**{**vars(TASK), "limit": 2, "start": (scaled_mass(["cart"], 0.5, 2.0),)})
    worlds = TaskWorlds(task, 64, seed=1)
    worlds.reset()
    for _ in range(40):  # each episode draws around the model's mass, not around the last one
        pushed(worlds, [0.0])
    mass = worlds.views.model("body_mass")[:, 2]
    assert 1.0 <= mass.min() < 1.3 and 3.5 < mass.max() < 4.0 and len(np.unique(mass)) == 64


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: scaled_mass(["cart"], 0, 1), "0 < low <= high"),
        (lambda: scaled_mass(["kart"], 1, 1), "no such body"),
        (lambda: scaled_friction(["floor"], 2, 1), "0 < low <= high"),
        (lambda: scaled_gain(["pull"], 1, 1), "no such actuator"),
        (lambda: latency(1, 2), "least=2, most=1"),
        (lambda: moving_distractor("ball", 2, 1), "slow <= fast"),
        (lambda: moving_distractor("cart", 1, 1), "not a mocap body"),
        (lambda: moving_distractor("ball", 1, 1, headings=-1), "headings >= 0"),
        (lambda: moving_distractor("ball", 1, 1, still=1.5), "in \\[0, 1\\], got 1.5"),
        (lambda: weak_commands(-0.1), "gain"),
        (lambda: weak_commands(0.3, 2.0), "switch"),
        (lambda: weak_commands(0.3, 0.1, -1), "noise >= 0"),
        (lambda: weak_commands(elements=[2]), "elements \\[2\\] of an action of 2"),
        (lambda: scaled_joint_friction(["x"], 2, 1), "0 < low <= high"),
        (lambda: scaled_joint_friction(["y"], 1, 2), "no such joint"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        forked(make())


def test_futures_of_equal_seeds_are_equal_at_any_number_of_threads() -> None:
    """200 states of 32 futures each."""
    hidden = (scaled_mass(["pole"], 0.5, 2.0), scaled_gain(["slide"], 0.7, 1.3), latency(3))
    seen: list[np.ndarray] = []
    for threads, seed in ((1, 0), (2, 0), (2, 1)):
        worlds = TaskWorlds(TASKS["cartpole"](), 200, threads=threads)
        worlds.reset(seeds=np.arange(200))
        fork = worlds.fork(np.arange(200), 32, hidden=hidden, seed=seed)
        plans = np.random.default_rng(0).uniform(-3, 3, (10, 200, 1)).astype(np.float32)
        seen.append([fork.step(np.repeat(plan, 32, axis=0)).observation.copy() for plan in plans][-1])
    np.testing.assert_array_equal(seen[0], seen[1])
    assert (np.abs(seen[1] - seen[2]).max(axis=1) > 0).mean() > 0.99
    # the same plan in 32 worlds that differ in what is hidden
    spread = seen[0].reshape(200, 32, -1)[:, :, 0].std(axis=1)
    assert spread.min() > 0
