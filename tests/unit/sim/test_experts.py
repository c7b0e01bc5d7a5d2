"""Scripted experts, against commands worked out by hand."""

import warnings

import numpy as np
import pytest

pytest.importorskip("metaworld.policies")

from foreact.sim.experts import expert_for
from foreact.sim.instructions import metaworld_task_names


def _observation(hand: list[float], goal: list[float]) -> np.ndarray:
    observation = np.zeros(39)
    observation[:3], observation[-3:] = hand, goal
    return observation


def test_reach_goes_five_times_the_distance() -> None:
    action = expert_for("reach-v3")(_observation([0.0, 0.6, 0.2], [0.1, 0.7, 0.18]))
    np.testing.assert_allclose(action, [0.5, 0.5, -0.1, 0.0], atol=1e-6)


def test_far_targets_are_clipped_in_silence() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        action = expert_for("reach-v3")(_observation([0.0, 0.4, 0.2], [0.1, 0.9, 0.2]))
    np.testing.assert_allclose(action, [0.5, 1.0, 0.0, 0.0], atol=1e-6)


def test_a_hidden_goal_is_an_error() -> None:
    with pytest.raises(ValueError, match="hides the goal"):
        expert_for("reach-v3")(_observation([0.0, 0.4, 0.2], [0.0, 0.0, 0.0]))


def test_every_task_has_an_expert() -> None:
    for name in metaworld_task_names():
        action = expert_for(name)(np.full(39, 0.1))
        assert action.shape == (4,) and action.dtype == np.float64
        assert (np.abs(action) <= 1).all()
