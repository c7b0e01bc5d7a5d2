"""Many worlds of a Meta-World task: the bits of Meta-World's own environment, for all 50."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytest.importorskip("metaworld")

from foreact.sim.experts import expert_for
from foreact.sim.metaworld import default_cameras
from foreact.sim.metaworld_worlds import VectorMetaWorld, VectorStep
from foreact.sim.metaworld_worlds.origin import MODEL_FIELDS
from foreact.sim.metaworld_worlds.own import begin, marker_positions, seeded_environment
from foreact.sim.metaworld_worlds.rules import RULES

SEEDS = (5, 11)


class Own:
    """Meta-World's own environment, begun with a seed."""

    def __init__(self, name: str, seed: int) -> None:
        self.env, self.expert = seeded_environment(name), expert_for(name)
        self.observation = begin(self.env, seed)

    def step(self, action: np.ndarray) -> tuple[float, bool]:
        self.observation, reward, _, _, info = self.env.step(np.clip(np.asarray(action, np.float64), -1, 1))
        return float(reward), bool(info["success"])

    def full_observation(self) -> np.ndarray:
        return self.observation.copy()

    def landmarks(self) -> np.ndarray:
        seen = self.observation  # hand 0..3, object 4..10, second object 11..17 (zeros if none), goal 36..38
        present = (True, seen[11:14].any(), len(marker_positions(self.env)) > 0)
        places = (seen[4:7], seen[11:14], seen[36:39])
        return np.array([[*place, there] for place, there in zip(places, present, strict=True)], np.float32)

    def expert_action(self) -> np.ndarray:
        return np.clip(self.expert(self.observation), -1, 1).astype(np.float32)


def singles(name: str, seeds: tuple[int, ...] = SEEDS) -> list[Own]:
    return [Own(name, seed) for seed in seeds]


def assert_same_views(worlds: VectorMetaWorld, tasks: list[Own]) -> None:
    np.testing.assert_array_equal(worlds.full_observation(), [task.full_observation() for task in tasks])
    np.testing.assert_array_equal(worlds.states(), [task.observation[:4].astype(np.float32) for task in tasks])
    np.testing.assert_array_equal(worlds.landmarks(), [task.landmarks() for task in tasks])
    np.testing.assert_array_equal(worlds.fingertips(), [task.env.tcp_center for task in tasks])
    np.testing.assert_array_equal(worlds.expert_actions(), experts(tasks))


def assert_same_poses(worlds: VectorMetaWorld, tasks: list[Own]) -> None:
    """What is drawn stands where Meta-World has it, at a state that is not its reset's."""
    import mujoco

    model, poses = worlds.shown_model, worlds.poses()
    wrist = worlds.camera_poses(default_cameras()[1:])
    for row, task in enumerate(tasks):
        data, theirs = mujoco.MjData(model), task.env.data
        model.body_pos[:] = poses.fields["body_pos"][row]
        data.qpos[:], data.mocap_pos[:], data.mocap_quat[:] = poses.qpos[row], theirs.mocap_pos, theirs.mocap_quat
        mujoco.mj_kinematics(model, data)
        markers = marker_positions(task.env)
        drawn = data.geom_xpos[: model.ngeom - len(markers)]
        np.testing.assert_array_equal(drawn, theirs.geom_xpos)
        np.testing.assert_array_equal(data.geom_xpos[model.ngeom - len(markers) :], markers)
        np.testing.assert_array_equal(poses.mocap_pos[row], theirs.mocap_pos)
        hand = theirs.body("hand")
        np.testing.assert_allclose(wrist[0][row, 0], hand.xpos + hand.xmat.reshape(3, 3) @ (-0.06, 0, 0.04), atol=1e-12)


def step_both(worlds: VectorMetaWorld, tasks: list[Own], actions: np.ndarray) -> VectorStep:
    seen = worlds.step(actions)
    results = [task.step(action) for task, action in zip(tasks, actions, strict=True)]
    np.testing.assert_array_equal(seen.observation, [task.full_observation() for task in tasks])
    np.testing.assert_allclose(seen.reward, [reward for reward, _ in results], rtol=0, atol=1e-12)
    np.testing.assert_array_equal(seen.success, [success for _, success in results])
    return seen


def experts(tasks: list[Own]) -> np.ndarray:
    return np.stack([task.expert_action() for task in tasks])


@pytest.mark.parametrize("name", RULES)
def test_worlds_give_the_bits_of_metaworlds_own_environment(name: str) -> None:
    worlds, tasks = VectorMetaWorld(name, len(SEEDS)), singles(name)
    worlds.reset((1, 2))  # a used world equals a new one
    worlds.step(np.full((len(SEEDS), 4), 0.5))
    worlds.reset(SEEDS)
    assert_same_views(worlds, tasks)
    random = np.random.default_rng(0)
    for step in range(60):
        # beyond [-1, 1] now and then: both clip
        actions = random.uniform(-1.2, 1.2, (len(SEEDS), 4)) if step < 30 else experts(tasks)
        step_both(worlds, tasks, actions)
    assert_same_views(worlds, tasks)
    assert_same_poses(worlds, tasks)


def test_there_are_fifty_tasks_and_no_other() -> None:
    from metaworld.env_dict import ALL_V3_ENVIRONMENTS

    assert set(RULES) == set(ALL_V3_ENVIRONMENTS)
    assert len(RULES) == 50
    with pytest.raises(ValueError, match="reach-v9"):
        VectorMetaWorld("reach-v9", 1)


@pytest.mark.parametrize(("name", "steps"), [("pick-place-v3", 110), ("door-open-v3", 140), ("hammer-v3", 110)])
def test_success_comes_at_the_same_step(name: str, steps: int) -> None:
    seeds = (5, 12)  # the scripted expert opens the door of 11 never
    worlds, tasks = VectorMetaWorld(name, 2), singles(name, seeds)
    worlds.reset(seeds)
    solved = [step_both(worlds, tasks, experts(tasks)).success.copy() for _ in range(steps)]
    assert not solved[0].any()
    assert np.any(solved, axis=0).all()


def test_a_stick_counts_as_pushed_only_while_both_pads_press_on_it() -> None:
    worlds, tasks = VectorMetaWorld("stick-push-v3", len(SEEDS)), singles("stick-push-v3")
    worlds.reset(SEEDS)
    pushed = [step_both(worlds, tasks, experts(tasks)).success.copy() for _ in range(38)]
    assert pushed[-1].all()
    opened = np.tile([0.0, 0.0, 0.2, -1.0], (len(SEEDS), 1))
    dropped = [step_both(worlds, tasks, opened).success.copy() for _ in range(10)]
    # the stick is still in the air, the fingers are open
    assert worlds._rules.success(worlds._scene).all()
    assert not dropped[-1].any()


@pytest.mark.parametrize("name", ["box-close-v3", "basketball-v3", "lever-pull-v3", "stick-pull-v3"])
def test_resets_change_no_other_field_of_the_model(name: str) -> None:
    from mujoco.batch import MODEL_FIELDS as ALL_FIELDS

    worlds: Any = VectorMetaWorld(name, 1)
    for field in sorted(ALL_FIELDS - set(MODEL_FIELDS)):
        holder = "opt" if field.startswith("opt.") else ""
        compiled, used = worlds._origin.model, worlds._origin._env.model
        if holder:
            field, compiled, used = field[4:], compiled.opt, used.opt
        np.testing.assert_array_equal(getattr(compiled, field, None), getattr(used, field, None), err_msg=field)


def drive(worlds: VectorMetaWorld, steps: int, seed: int, copies: int = 1) -> dict[str, np.ndarray]:
    """Random commands, the same for copies; everything seen, worlds first."""
    random, count = np.random.default_rng(seed), worlds.nworld // copies
    seen, rewards = [worlds.full_observation()], [np.zeros(worlds.nworld)]
    for _ in range(steps):
        step = worlds.step(np.repeat(random.uniform(-1, 1, (count, 4)), copies, axis=0))
        seen.append(step.observation.copy())
        rewards.append(step.reward.copy())
    observed = np.stack(seen, axis=1)
    return {"observation": observed, "steps": worlds.steps.copy(), "reward": np.stack(rewards, axis=1)}


# bin-picking measures a margin of its reward at the first step: forks before it must measure it too
@pytest.mark.parametrize(("name", "before"), [("bin-picking-v3", 0), ("bin-picking-v3", 12), ("button-press-v3", 12)])
def test_forks_go_on_as_their_worlds_do(name: str, before: int) -> None:
    worlds, pair = VectorMetaWorld(name, 3), VectorMetaWorld(name, 2)
    worlds.reset((3, 4, 5))
    pair.reset((7, 8))
    drive(worlds, before, 0)
    fork = worlds.fork(np.array([0, 2]), 2)
    assert worlds.fork(np.array([0, 2]), 2, into=fork) is fork
    np.testing.assert_array_equal(fork.fingertips(), worlds.fingertips()[[0, 0, 2, 2]])
    pair.restore(worlds.snapshot(np.array([0, 2])))
    worlds.reset((9, 9, 9))  # what happens to the worlds they came from is nothing to them
    alone, futures = drive(pair, 25, 1), drive(fork, 25, 1, copies=2)
    for field, values in alone.items():
        np.testing.assert_array_equal(futures[field], np.repeat(values, 2, axis=0), err_msg=field)
    assert futures["steps"].tolist() == [before + 25] * 4
    with pytest.raises(ValueError, match="into"):
        pair.fork(np.array([0]), 3, into=fork)


def test_a_fork_goes_on_as_metaworlds_own_environment_does() -> None:
    task = singles("window-open-v3", (4,))
    worlds = VectorMetaWorld("window-open-v3", 2)
    worlds.reset((3, 4))
    for _ in range(15):
        worlds.step(np.full((2, 4), 0.4))
        task[0].step(np.full(4, 0.4))
    fork = worlds.fork(np.array([1]), 1)
    assert_same_views(fork, task)
    for _ in range(40):
        step_both(fork, task, experts(task))


def test_restored_worlds_repeat_bit_for_bit_and_the_others_go_on() -> None:
    worlds = VectorMetaWorld("pick-place-v3", 3)
    worlds.reset((3, 4, 5))
    drive(worlds, 10, 0)
    kept = worlds.snapshot(np.array([1]))
    first = drive(worlds, 20, 1)
    other = worlds.full_observation()[[0, 2]]
    worlds.restore(kept, np.array([1]))
    np.testing.assert_array_equal(worlds.full_observation()[[0, 2]], other)
    again = drive(worlds, 20, 1)
    for field in ("observation", "reward"):
        np.testing.assert_array_equal(again[field][1], first[field][1])
    assert again["steps"].tolist() == [50, 30, 50]


def test_worlds_outside_the_selection_stand_still_at_any_number_of_threads() -> None:
    worlds, plain = (VectorMetaWorld("push-v3", 4, threads) for threads in (2, 1))
    worlds.reset((1, 2, 3, 4))
    plain.reset((1, 2, 3, 4))
    random, some = np.random.default_rng(0), np.array([0, 3])
    for _ in range(10):
        actions, before = random.uniform(-1, 1, (4, 4)), worlds.full_observation()
        seen = worlds.step(actions, some)
        np.testing.assert_array_equal(seen.observation[[1, 2]], before[[1, 2]])
        assert not seen.reward[[1, 2]].any()
        assert seen.reward[some].all()
        worlds.step(actions, np.array([1, 2]))
        np.testing.assert_array_equal(worlds.full_observation(), plain.step(actions).observation)


def test_a_solved_world_that_stands_still_reports_nothing() -> None:
    worlds, tasks = VectorMetaWorld("reach-v3", len(SEEDS)), singles("reach-v3")
    worlds.reset(SEEDS)
    for _ in range(60):
        step_both(worlds, tasks, experts(tasks))
    assert worlds.step(experts(tasks)).success.all()
    seen = worlds.step(experts(tasks), np.array([1]))
    assert (seen.success.tolist(), seen.reward[0]) == ([False, True], 0.0)


def test_bad_calls_name_what_is_wrong() -> None:
    worlds = VectorMetaWorld("reach-v3", 2, reward=False)
    with pytest.raises(ValueError, match="3 seeds for 2 worlds"):
        worlds.reset((1, 2, 3))
    worlds.reset((1, 2))
    with pytest.raises(ValueError, match=r"\(2, 4\)"):
        worlds.step(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="world 1"):
        worlds.step(np.array([[0.0] * 4, [np.nan] * 4]))
    assert np.isnan(worlds.step(np.zeros((2, 4))).reward).all()
