"""Meta-World on current MuJoCo: the weld shim, reproducible layouts, experts that succeed."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("metaworld")

from foreact.sim.demonstration import DemonstrationRules, demonstrate
from foreact.sim.metaworld_worlds import VectorMetaWorld
from foreact.sim.metaworld_worlds.own import begin, seeded_environment
from foreact.sim.registry import definition
from foreact.sim.seeds import layout_seed

SIX = ("reach", "push", "button-press-topdown", "drawer-open", "window-open", "door-open")
RULES = DemonstrationRules(
    seed=0, split="eval", noise_fraction=0.5, noise_std=0.4, noise_hold=1, frame_every=500, hold_steps=2
)


def test_welds_have_the_numbers_metaworld_means() -> None:
    import mujoco

    env = seeded_environment("reach-v3")
    begin(env, 0)
    model = env.model
    welds = model.eq_data[model.eq_type == mujoco.mjtEq.mjEQ_WELD]
    assert len(welds) > 0
    expected = np.tile([0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5], (len(welds), 1))
    np.testing.assert_array_equal(welds[:, :11], expected)
    fresh = mujoco.MjModel.from_xml_path(env.fullpath)
    np.testing.assert_array_equal(welds[:, 11], fresh.eq_data[fresh.eq_type == mujoco.mjtEq.mjEQ_WELD][:, 11])


@pytest.mark.parametrize("name", SIX)
def test_the_expert_solves_fresh_layouts_with_and_without_noise(name: str) -> None:
    made = demonstrate(definition(name).make(2), definition(name).text, (0, 1), RULES, ())
    assert [m.attempt.noisy for m in made] == [False, True]
    assert [m.attempt.success for m in made] == [True, True]


@pytest.mark.parametrize("name", SIX)
def test_labels_are_the_experts_own_commands_for_the_states_visited(name: str) -> None:
    noisy = demonstrate(definition(name).make(3), definition(name).text, (0, 1), RULES, ())[1]
    replay = definition(name).make(1)
    replay.reset([noisy.layout])
    for step in range(noisy.attempt.steps):
        np.testing.assert_array_equal(replay.states()[0], noisy.state[step])
        np.testing.assert_array_equal(replay.expert_actions()[0], noisy.label[step])
        replay.step(noisy.executed[step : step + 1])
    assert np.abs(noisy.executed - noisy.label).max() > 0.5


def _trace(worlds: VectorMetaWorld, seed: int, steps: int = 3) -> np.ndarray:
    worlds.reset([seed])
    rows = []
    for _ in range(steps):
        rows.append(worlds.full_observation()[0])
        worlds.step(np.array([[0.3, 0.2, -0.4, 1.0]], np.float32))
    return np.stack(rows)


# all 50 are compared with Meta-World's own environment, after use, in test_metaworld_worlds.py
@pytest.mark.parametrize("name", SIX)
def test_a_used_world_equals_a_fresh_one_and_layouts_differ(name: str) -> None:
    used, seeds = VectorMetaWorld(f"{name}-v3", 1), [layout_seed("eval", 0, index) for index in range(2)]
    first, second = _trace(used, seeds[0]), _trace(used, seeds[1])
    np.testing.assert_array_equal(_trace(used, seeds[0]), first)
    np.testing.assert_array_equal(_trace(VectorMetaWorld(f"{name}-v3", 1), seeds[1]), second)
    assert not np.array_equal(first, second)
    assert first[0, -3:].any(), "the goal is hidden"


def test_landmarks_are_where_the_simulator_has_them_before_each_step() -> None:
    made = demonstrate(definition("push").make(1), definition("push").text, [1], replace(RULES, frame_every=1), ())[0]
    replay = seeded_environment("push-v3")
    begin(replay, made.layout)
    for step in range(made.attempt.steps):
        body, goal = replay.data.body("obj").xpos, replay._target_pos
        np.testing.assert_allclose(made.landmarks[step, 0], [*body, 1], atol=1e-6)
        np.testing.assert_allclose(made.landmarks[step, 2], [*goal, 1], atol=1e-6)
        replay.step(made.executed[step].astype(np.float64))
    assert not made.landmarks[:, 1].any(), "push has one object"
    assert np.abs(np.diff(made.landmarks[:, 0, :3], axis=0)).max() > 1e-4, "the puck never moved"
