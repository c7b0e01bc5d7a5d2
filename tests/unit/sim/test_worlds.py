"""Several worlds together, on stub tasks."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from foreact.sim import worlds as worlds_module
from foreact.sim.controllers import controller
from foreact.sim.worlds import Worlds

NAMES = ("reach-v3", "push-v3", "reach-v3", "drawer-open-v3")


@pytest.fixture
def make(monkeypatch: pytest.MonkeyPatch, stub_worlds: Callable[..., Any]) -> Callable[..., Worlds]:
    """Builds Worlds of stub tasks."""

    def stub(name: str) -> SimpleNamespace:
        return SimpleNamespace(name=name, make=lambda nworld: stub_worlds(nworld, name))

    monkeypatch.setattr(worlds_module, "definition", stub)
    return lambda names=NAMES: Worlds(names)


def _rollout(worlds: Worlds, seeds: list[int], steps: int = 15) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    policy = controller("random", seeds)
    worlds.reset(seeds)
    states, rewards, solved = [], [], []
    for _ in range(steps):
        result = worlds.step(policy(worlds, np.ones(len(worlds), bool)))
        states.append(worlds.states())
        rewards.append(result.reward)
        solved.append(result.success)
    return np.stack(states, 1), np.stack(rewards, 1), np.stack(solved, 1)


def test_one_at_a_time_equals_all_at_once(make: Callable[..., Worlds]) -> None:
    seeds = [11, 12, 13, 14]
    together = _rollout(make(), seeds)
    for index, name in enumerate(NAMES):
        alone = _rollout(make([name]), [seeds[index]])
        for all_worlds, one in zip(together, alone, strict=True):
            np.testing.assert_array_equal(all_worlds[index], one[0])


def test_permuting_worlds_permutes_results(make: Callable[..., Worlds]) -> None:
    seeds, order = [11, 12, 13, 14], [2, 0, 3, 1]
    plain = _rollout(make(), seeds)
    permuted = _rollout(make([NAMES[i] for i in order]), [seeds[i] for i in order])
    for one, other in zip(plain, permuted, strict=True):
        np.testing.assert_array_equal(one[order], other)


def test_masked_worlds_stand_still(make: Callable[..., Worlds]) -> None:
    worlds = make()
    worlds.reset([1, 2, 3, 4])
    before = worlds.states()
    mask = np.array([True, False, True, False])
    result = worlds.step(np.full((4, 4), 0.5, np.float32), mask)
    np.testing.assert_array_equal(worlds.states() - before, np.where(mask, 0.5, 0.0)[:, None] * np.ones((1, 4)))
    np.testing.assert_array_equal(result.reward, mask.astype(np.float32))
    worlds.reset([9, 9, 9, 9], ~mask)
    assert worlds.states()[:, 0].tolist() == [1.5, 9.0, 3.5, 9.0]


def test_success_and_reward_are_each_worlds_own(make: Callable[..., Worlds]) -> None:
    worlds = make()
    worlds.reset([1, 2, 3, 4])
    mask = np.array([True, True, True, False])
    for _ in range(11):
        assert not worlds.step(np.zeros((4, 4), np.float32), mask).success.any()
    result = worlds.step(np.zeros((4, 4), np.float32), mask)
    assert result.success.tolist() == [True, True, True, False]
    assert result.reward.tolist() == [12.0, 12.0, 12.0, 0.0]


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (4,)])
def test_actions_of_another_shape_are_refused(make: Callable[..., Worlds], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected actions of shape \(4, 4\)"):
        make().step(np.zeros(shape, np.float32))


def test_an_action_that_is_not_finite_names_its_world(make: Callable[..., Worlds]) -> None:
    actions = np.zeros((4, 4), np.float32)
    actions[3, 1] = np.nan
    worlds = make()
    with pytest.raises(ValueError, match=r"world 3 \(drawer-open-v3\) is not finite"):
        worlds.step(actions)
    worlds.step(actions, np.array([True, True, True, False]))


def test_a_wrong_mask_no_world_and_missing_seeds_are_refused(make: Callable[..., Worlds]) -> None:
    worlds = make()
    with pytest.raises(ValueError, match="bool mask"):
        worlds.reset([1, 2, 3, 4], np.array([0, 1, 2, 3]))
    with pytest.raises(ValueError, match="3 seeds for 4 worlds"):
        worlds.reset([1, 2, 3])
    with pytest.raises(ValueError, match="no task given"):
        make([])


def test_controllers(make: Callable[..., Worlds]) -> None:
    worlds, mask = make(), np.array([True, False, True, True])
    worlds.reset([1, 2, 3, 4])
    assert not controller("zero", [1, 2, 3, 4])(worlds, mask).any()
    expert = controller("expert", [1, 2, 3, 4])(worlds, mask)
    np.testing.assert_array_equal(expert, mask[:, None] * np.array([0.9, -0.25, 0.0, 1.0], np.float32))
    drawn = controller("random", [1, 2, 3, 4])(worlds, mask)
    assert (np.abs(drawn) <= 1).all()
    assert drawn.any(axis=1).tolist() == mask.tolist()
    assert len(np.unique(drawn)) == 3 * 4 + 1, "each world draws its own numbers"
    with pytest.raises(ValueError, match="zero, random, expert"):
        controller("human", [1])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="2 seeds for 4 worlds"):
        controller("random", [1, 2])(worlds, mask)
