"""Built-in agents on simulated tasks."""

import numpy as np
import pytest

from foreact.sim.agents import run_agent
from foreact.sim.registry import WrongKind, definition, sim_task


def test_an_episode_does_not_depend_on_how_many_run() -> None:
    few, many = run_agent("ant", "random", 2, seed=3, horizon=60), run_agent("ant", "random", 6, seed=3, horizon=60)
    np.testing.assert_array_equal(few.returns, many.returns[:2])
    np.testing.assert_array_equal(few.steps, many.steps[:2])


def test_returns_are_sums_over_the_episode_alone() -> None:
    episodes = run_agent("cartpole", "random", 20, seed=0)
    # one for each step but the one in which the pole falls
    np.testing.assert_array_equal(episodes.returns, episodes.steps - 1)
    assert 2 < episodes.steps.mean() < 30 and episodes.success is None


def test_a_missing_expert_is_said() -> None:
    with pytest.raises(ValueError, match="humanoid has no scripted expert"):
        run_agent("humanoid", "expert", 1, seed=0)


def test_kinds_of_tasks_are_not_mixed_up() -> None:
    assert sim_task("reach") is None and sim_task("ant") is not None
    with pytest.raises(WrongKind, match="--agent random"):
        definition("ant")
