"""Other people's environments behind the interface of worlds give their own numbers."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np
import pytest

from foreact.sim.adapters import EnvPoolWorlds, GymnasiumWorlds, MetaWorldEpisodes, make_worlds
from foreact.sim.taskworlds import TaskWorlds

STEPS = 120


def episodes(known: str, seeds: list[int], actions: np.ndarray) -> list[list[Any]]:
    """What plain environments do, a new episode begun as soon as one ends: (seen, reward, ended, last seen)."""
    told = []
    for world, seed in enumerate(seeds):
        env: Any = gymnasium.make(known)
        rows = [(env.reset(seed=seed)[0], 0.0, False, None)]
        for action in actions[:, world]:
            native = int(action[0]) if isinstance(env.action_space, gymnasium.spaces.Discrete) else action
            seen, reward, terminated, truncated, _ = env.step(native)
            ended = terminated or truncated
            rows.append((env.reset()[0] if ended else seen, reward, ended, seen if ended else None))
        told.append(rows)
    return told


@pytest.mark.parametrize("known", ["InvertedPendulum-v5", "CartPole-v1", "Reacher-v5"])
def test_gymnasium_worlds_are_the_plain_environments(known: str) -> None:
    worlds, seeds, rng = GymnasiumWorlds(known, 3), [4, 9, 2], np.random.default_rng(0)
    actions = rng.uniform(worlds.low, worlds.high, (STEPS, 3, len(worlds.low))).astype(np.float32)
    if known == "CartPole-v1":
        assert (worlds.low, worlds.high) == (0, 1)
        actions = np.rint(actions)
    expected, count = episodes(known, seeds, actions), 0
    seen = worlds.reset(seeds=seeds)
    for index, action in enumerate(actions, 1):
        step = worlds.step(action)
        for world, rows in enumerate(expected):
            first, reward, ended, last = rows[index]
            np.testing.assert_array_equal(step.observation[world], np.float32(first))
            assert step.reward[world] == np.float32(reward)
            assert (step.terminated | step.truncated)[world] == ended == (world in step.ended)
            if ended:
                count += 1
                np.testing.assert_array_equal(step.final[list(step.ended).index(world)], np.float32(last))
    assert seen is worlds.step(actions[0]).observation
    assert count >= 6
    worlds.close()


def test_worlds_without_automatic_resets_wait_for_one() -> None:
    worlds = GymnasiumWorlds("Reacher-v5", 2, autoreset=False, max_episode_steps=3)
    with pytest.raises(ValueError, match="no episode"):
        worlds.step(np.zeros((2, 2)))
    first = worlds.reset().copy()
    np.testing.assert_array_equal(first, worlds.reset(seeds=[0, 1]))
    step = [worlds.step(np.zeros((2, 2))) for _ in range(3)][-1]
    assert step.truncated.all() and not step.terminated.any()
    worlds.reset(np.array([0]))
    with pytest.raises(ValueError, match=r"worlds \[1\] have no episode"):
        worlds.step(np.zeros((2, 2)))


def test_each_world_begins_with_its_own_seed_whichever_is_reset_first() -> None:
    one_by_one, together = (GymnasiumWorlds("Reacher-v5", 2, seed=7) for _ in range(2))
    one_by_one.reset(np.array([1]))
    np.testing.assert_array_equal(one_by_one.reset(np.array([True, False])), together.reset())
    assert together.reset(np.zeros(0)) is together.reset(np.zeros(2, bool))
    with pytest.raises(ValueError, match="1 seeds for 2 worlds"):
        together.reset(seeds=[1])


@pytest.mark.parametrize("action", [np.nan, -1.0, 1.6])
def test_a_discrete_action_out_of_range_is_refused(action: float) -> None:
    worlds = GymnasiumWorlds("CartPole-v1", 2)
    worlds.reset()
    with pytest.raises(ValueError, match=r"\[0.0\] to \[1.0\]"):
        worlds.step(np.array([[0.0], [action]]))


def test_success_and_observations_of_several_parts_are_understood() -> None:
    gymnasium.register("foreact-test/Parts", entry_point=lambda **_: Parts())
    worlds = make_worlds("gymnasium:foreact-test/Parts", 2)
    np.testing.assert_array_equal(worlds.reset(), [[0, 5, 5], [0, 5, 5]])
    step = worlds.step(np.array([[1.4, 0.0], [2.2, 1.0]]))
    np.testing.assert_array_equal(step.observation, [[1, 5, 5], [3, 5, 5]])
    np.testing.assert_array_equal(step.success, [False, True])
    del gymnasium.registry["foreact-test/Parts"]


class Parts(gymnasium.Env[Any, Any]):
    """Sees a sum and an array; solved once the sum is above 2."""

    observation_space = gymnasium.spaces.Dict(
        {"sum": gymnasium.spaces.Discrete(9), "where": gymnasium.spaces.Box(0, 9, (2, 1), np.float32)}
    )
    action_space = gymnasium.spaces.MultiDiscrete([3, 2])

    def seen(self) -> dict[str, Any]:
        return {"sum": self.sum, "where": np.full((2, 1), 5, np.float32)}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[dict[str, Any], dict[str, Any]]:
        self.sum = 0
        return self.seen(), {}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        self.sum += int(action.sum())
        return self.seen(), 0.0, False, False, {"success": self.sum > 2}


def test_names_lead_to_their_worlds() -> None:
    assert isinstance(make_worlds("ant", 2), TaskWorlds)
    assert make_worlds("gymnasium:HalfCheetah-v5", 2).observation_size == 17
    assert isinstance(make_worlds("reach", 2), MetaWorldEpisodes)
    with pytest.raises(ValueError, match="half-cheetah"):
        make_worlds("half-cheeta", 2)


def test_metaworld_episodes_end_and_begin_anew() -> None:
    worlds = MetaWorldEpisodes("reach-v3", 3, seed=5, end_at_success=True)
    first, solved = worlds.reset().copy(), np.zeros(3, int)
    for _ in range(120):
        step = worlds.step(worlds.worlds.expert_actions())
        assert step.terminated.tolist() == step.success.tolist()
        solved[step.ended] += 1
        if len(step.ended):
            world = step.ended[0]
            assert np.linalg.norm(step.final[0, :3] - step.final[0, 36:]) < 0.1, "the hand is at the goal"
            assert worlds.worlds.steps[world] == 0 and not np.array_equal(step.observation[world], first[world])
    assert (solved > 0).all() and not step.truncated.any()  # pyright: ignore[reportPossiblyUnboundVariable]
    np.testing.assert_array_equal(worlds.reset(seeds=[5, 6, 7]), first)
    idle = MetaWorldEpisodes("reach-v3", 1, autoreset=False)
    idle.reset()
    ends = [idle.step(np.zeros((1, 4), np.float32)).truncated[0] for _ in range(500)]
    assert ends == [False] * 499 + [True]


def test_envpool_says_how_to_get_it_or_works() -> None:
    if find_spec("envpool") is None:
        with pytest.raises(ImportError, match="pip install envpool"):
            make_worlds("envpool:Reacher-v5", 2)
        return
    worlds = EnvPoolWorlds("Reacher-v5", 2, seed=3, threads=1)
    np.testing.assert_array_equal(worlds.reset().copy(), worlds.reset(seeds=[3, 4]))
    step = [worlds.step(np.zeros((2, 2), np.float32)) for _ in range(50)][-1]
    np.testing.assert_array_equal(step.ended, [0, 1])
    assert not np.array_equal(step.final, step.observation)
