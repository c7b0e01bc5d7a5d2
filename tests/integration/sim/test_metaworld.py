"""Meta-World on current MuJoCo: the weld shim, reproducible layouts, experts that succeed."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("metaworld")

from foreact.sim.demonstration import DemonstrationRules, demonstrate
from foreact.sim.instructions import metaworld_task_names
from foreact.sim.registry import definition
from foreact.sim.seeds import layout_seed

SIX = ("reach", "push", "button-press-topdown", "drawer-open", "window-open", "door-open")
RULES = DemonstrationRules(
    seed=0, split="eval", noise_fraction=0.5, noise_std=0.4, noise_hold=1, frame_every=500, hold_steps=2
)


def test_welds_have_the_numbers_metaworld_means() -> None:
    import mujoco

    model = definition("reach").make()._env.model
    welds = model.eq_data[model.eq_type == mujoco.mjtEq.mjEQ_WELD]
    assert len(welds) > 0
    expected = np.tile([0, 0, 0, 0, 0, 0, -1, 0, 0, 0, 5], (len(welds), 1))
    np.testing.assert_array_equal(welds[:, :11], expected)
    fresh = mujoco.MjModel.from_xml_path(definition("reach").make().model_path())
    np.testing.assert_array_equal(welds[:, 11], fresh.eq_data[fresh.eq_type == mujoco.mjtEq.mjEQ_WELD][:, 11])


@pytest.mark.parametrize("name", SIX)
def test_the_expert_solves_fresh_layouts_with_and_without_noise(name: str) -> None:
    task = definition(name).make()
    made = [demonstrate(task, definition(name).text, index, RULES, ()) for index in (0, 1)]
    assert [m.attempt.noisy for m in made] == [False, True]
    assert [m.attempt.success for m in made] == [True, True]


@pytest.mark.parametrize("name", SIX)
def test_labels_are_the_experts_own_commands_for_the_states_visited(name: str) -> None:
    task = definition(name).make()
    noisy = demonstrate(task, definition(name).text, 1, RULES, ())
    replay = definition(name).make()
    replay.reset(noisy.layout)
    for step in range(noisy.attempt.steps):
        np.testing.assert_array_equal(replay.state(), noisy.state[step])
        np.testing.assert_array_equal(replay.expert_action(), noisy.label[step])
        replay.step(noisy.executed[step])
    assert np.abs(noisy.executed - noisy.label).max() > 0.5


def _trace(task: object, seed: int, steps: int = 3) -> np.ndarray:
    task.reset(seed)  # pyright: ignore[reportAttributeAccessIssue]
    rows = []
    for _ in range(steps):
        rows.append(task.full_observation())  # pyright: ignore[reportAttributeAccessIssue]
        task.step(np.array([0.3, 0.2, -0.4, 1.0], np.float32))  # pyright: ignore[reportAttributeAccessIssue]
    return np.stack(rows)


@pytest.mark.parametrize("name", metaworld_task_names())
def test_a_used_world_equals_a_fresh_one_and_layouts_differ(name: str) -> None:
    used, seeds = definition(name).make(), [layout_seed("eval", 0, index) for index in range(2)]
    first, second = _trace(used, seeds[0]), _trace(used, seeds[1])
    np.testing.assert_array_equal(_trace(used, seeds[0]), first)
    np.testing.assert_array_equal(_trace(definition(name).make(), seeds[1]), second)
    assert not np.array_equal(first, second)
    assert first[0, -3:].any(), "the goal is hidden"


def test_landmarks_are_where_the_simulator_has_them_before_each_step() -> None:
    task = definition("push").make()
    made = demonstrate(task, definition("push").text, 1, replace(RULES, frame_every=1), ())
    replay = definition("push").make()
    replay.reset(made.layout)
    for step in range(made.attempt.steps):
        body, goal = replay._env.data.body("obj").xpos, replay._env._target_pos
        np.testing.assert_allclose(made.landmarks[step, 0], [*body, 1], atol=1e-6)
        np.testing.assert_allclose(made.landmarks[step, 2], [*goal, 1], atol=1e-6)
        replay.step(made.executed[step])
    assert not made.landmarks[:, 1].any(), "push has one object"
    assert np.abs(np.diff(made.landmarks[:, 0, :3], axis=0)).max() > 1e-4, "the puck never moved"
