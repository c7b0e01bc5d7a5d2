"""Scenes by name, and what they say of their numbers."""

import numpy as np
import pytest
import torch

from foreact.sim.taskworlds import TaskWorlds
from foreact.worldmodels.scenes import UnknownScene, scene, scene_names


@pytest.mark.parametrize("name", scene_names())
def test_a_scene_names_what_it_hides_and_what_it_judges(name: str) -> None:
    found = scene(name)
    assert found.name == found.task.name == name
    assert len(found.hidden) == len(found.nominal) == len(found.hidden_names) == len(found.readings) >= 3
    assert len(set(found.columns)) == len(found.columns)
    judged = [found.columns[each] for each in found.tracked]
    assert judged[:3] == ["hand_x", "hand_y", "hand_z"]
    assert all(each.endswith(("_x", "_y", "_z")) for each in judged)


def test_rates_and_actions_are_those_of_the_task() -> None:
    found = scene("arm-reach-passer")
    assert found.task.compile().opt.timestep * found.task.substeps * found.rate_hz == pytest.approx(1)
    assert found.task.low is not None and len(found.actions) == len(found.task.low)


def test_hidden_numbers_are_read_and_undone_and_plain_worlds_have_none() -> None:
    found = scene("arm-drawer")
    worlds = TaskWorlds(found.task, 2, threads=1)
    worlds.reset(seeds=[0, 1])
    with pytest.raises(ValueError, match=r"nothing is hidden in these worlds of arm-drawer.*hidden=scene\.hidden"):
        found.read_hidden(worlds)
    fork = worlds.fork(np.array([0, 1]), 20, hidden=found.hidden)
    drawn = found.read_hidden(fork)
    assert drawn.shape == (40, 3) and set(drawn[:, 0]) == {0.0, 1.0} and set(drawn[:, 1]) == {0.0, 1.0, 2.0}
    rusty = drawn[:, 2] > 1
    assert rusty.any() and not rusty.all() and drawn[rusty, 2].min() >= 30 and drawn[:, 2].max() < 60
    plain = found.read_hidden(fork.fork(np.arange(40), 1, hidden=found.nominal))
    np.testing.assert_array_equal(plain, [[0, 0, 1]] * 40)


def test_what_is_left_to_do_is_a_distance() -> None:
    reach, push = scene("arm-reach"), scene("arm-push")
    seen = np.zeros((2, 5, len(reach.columns)), np.float32)
    seen[..., reach.columns.index("goal_x")], seen[..., reach.columns.index("hand_y")] = 3, 4
    np.testing.assert_allclose(reach.cost(seen), np.full((2, 5), 5.0))
    np.testing.assert_allclose(reach.cost(torch.from_numpy(seen)).numpy(), np.full((2, 5), 5.0))
    seen = np.zeros((1, len(push.columns)), np.float32)
    seen[..., push.columns.index("goal_y")], seen[..., push.columns.index("cube_z")] = 2, 9
    np.testing.assert_allclose(push.cost(seen), [2.0])
    lift = scene("arm-lift")
    seen = np.zeros((3, len(lift.columns)), np.float32)
    seen[:, lift.columns.index("cube_z")] = (0.02, 0.05, 0.3)
    np.testing.assert_allclose(lift.cost(seen), [0.1, 0.07, 0.0], atol=1e-6)


def test_an_unknown_scene_lists_near_ones() -> None:
    with pytest.raises(UnknownScene, match=r"'arm_drawr': did you mean arm-drawer"):
        scene("arm_drawr")
