"""Scenes by name, and what they say of their numbers."""

import numpy as np
import pytest
import torch

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
