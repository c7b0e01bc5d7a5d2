"""Closed loop on worlds without a simulator: a world is solved once its summed first action element passes its seed."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from foreact.episodes.contract import PolicyContract
from foreact.sim.worlds import WorldSteps
from foreact.vla.rollout import Lateness, Trial, run_actor

ON_TIME = Lateness()


class CountingWorlds:
    def __init__(self, count: int) -> None:
        self.names = ("reach-v3",) * count
        self.drawn: list[list[int]] = []
        self.progress = np.zeros(count)

    def __len__(self) -> int:
        return len(self.names)

    def reset(self, seeds: list[int]) -> None:
        self.goal, self.progress = np.array(seeds, float), np.zeros(len(seeds))

    def states(self) -> np.ndarray:
        return np.repeat(self.progress[:, None], 4, axis=1).astype(np.float32)

    def render(self, mask: np.ndarray) -> dict[str, np.ndarray]:
        self.drawn.append(np.flatnonzero(mask).tolist())
        rgb, depth = np.zeros((len(self), 16, 16, 3), np.uint8), np.zeros((len(self), 16, 16), np.uint16)
        return {
            f"camera.{name}.{kind}": rgb if kind == "rgb" else depth
            for name in ("front", "wrist")
            for kind in ("rgb", "depth")
        }

    def step(self, actions: np.ndarray, mask: np.ndarray) -> WorldSteps:
        self.progress = self.progress + np.where(mask, actions[:, 0], 0)
        return WorldSteps(np.zeros(len(self)), mask & (self.progress >= self.goal))


class Walker:
    """Steps forward by 1, then 2, then 3, then 4 within each chunk."""

    def __init__(self, contract: PolicyContract) -> None:
        self.contract, self.noise = contract, []

    def act(self, observation: Mapping[str, np.ndarray], noise: np.ndarray) -> np.ndarray:
        assert set(observation) == set(self.contract.input_names)
        self.noise.append(noise)
        chunk = np.arange(1, 5, dtype=np.float32)[None, :, None]
        return np.broadcast_to(chunk, (len(noise), 4, 4)).copy()


class ToldWalker(Walker):
    """A walker that remembers what it was told and goes on from there."""

    prefix = 2

    def __init__(self, contract: PolicyContract) -> None:
        super().__init__(contract)
        self.told: list[list[float]] = []

    def act(
        self,
        observation: Mapping[str, np.ndarray],
        noise: np.ndarray,
        prefix: np.ndarray | None = None,
        delay: np.ndarray | None = None,
    ) -> np.ndarray:
        chunk = super().act(observation, noise)
        if prefix is not None and delay is not None:
            assert prefix.shape == noise.shape and delay.shape == (len(noise),)
            self.told.append(prefix[0, : delay[0], 0].tolist())
        return chunk


def trials(*seeds: int) -> list[Trial]:
    return [Trial("reach-v3", index, seed, "reach the ball") for index, seed in enumerate(seeds)]


def run(
    contract: PolicyContract,
    seeds: tuple[int, ...],
    horizon: int = 20,
    execute: int = 2,
    lateness: Lateness = ON_TIME,
    kind: type[Walker] = Walker,
) -> tuple[list[Any], Any, Any]:
    worlds, actor = CountingWorlds(len(seeds)), kind(contract)
    results = run_actor(worlds, trials(*seeds), actor, horizon, execute, lateness)  # pyright: ignore[reportArgumentType]
    return results, worlds, actor


def test_only_the_first_actions_of_each_chunk_are_executed(contract: PolicyContract) -> None:
    results, _, _ = run(contract, (6,))
    assert results[0].success
    assert results[0].actions[:, 0].tolist() == [1, 2, 1, 2]  # 1 + 2 + 1 + 2 = 6, never the 3 of the chunk


def test_a_solved_world_is_neither_drawn_nor_stepped_again(contract: PolicyContract) -> None:
    results, worlds, _ = run(contract, (3, 8))
    assert worlds.drawn == [[0, 1], [1], [1]]
    assert [len(result.actions) for result in results] == [2, 6]


def test_the_horizon_ends_an_episode_inside_a_chunk(contract: PolicyContract) -> None:
    results, _, _ = run(contract, (1000,), horizon=5)
    assert not results[0].success
    assert len(results[0].actions) == 5


def test_noise_belongs_to_the_episode_and_decision_alone(contract: PolicyContract) -> None:
    _, _, pair = run(contract, (3, 8))
    _, _, alone = run(contract, (8,))
    for together, single in zip(pair.noise, alone.noise, strict=True):
        assert np.array_equal(together[-1], single[0])


def test_reordering_worlds_reorders_results(contract: PolicyContract) -> None:
    forward, _, _ = run(contract, (3, 8, 5))
    backward, _, _ = run(contract, (5, 8, 3))
    for left, right in zip(forward, reversed(backward), strict=True):
        assert np.array_equal(left.actions, right.actions)


@pytest.mark.parametrize("execute", [1, 3, 4])
def test_executing_more_of_a_chunk_looks_less_often(contract: PolicyContract, execute: int) -> None:
    _, worlds, _ = run(contract, (1000,), horizon=12, execute=execute)
    assert len(worlds.drawn) == 12 // execute


def test_a_late_chunk_enters_at_the_row_that_its_delay_names(contract: PolicyContract) -> None:
    results, _, _ = run(contract, (1000,), horizon=6, lateness=Lateness(1))
    # the first chunk is waited for; then row 2 of the old one bridges the step until row 1 of the new one
    assert results[0].actions[:, 0].tolist() == [1, 2, 3, 2, 3, 2]
    results, _, _ = run(contract, (1000,), horizon=6, lateness=Lateness(2))
    assert results[0].actions[:, 0].tolist() == [1, 2, 3, 4, 3, 4]


def test_a_policy_that_can_be_told_is_told_what_is_being_executed(contract: PolicyContract) -> None:
    _, _, told = run(contract, (1000,), horizon=6, lateness=Lateness(2), kind=ToldWalker)
    assert told.told == [[3, 4], [3, 4]]
    for lateness in (Lateness(2, told=False), Lateness(0)):
        _, _, untold = run(contract, (1000,), horizon=6, lateness=lateness, kind=ToldWalker)
        assert untold.told == []


def test_a_policy_without_pictures_and_words_gets_its_state_alone(contract: PolicyContract) -> None:
    import dataclasses

    blind = dataclasses.replace(contract, cameras=(), language=None)
    results, worlds, _ = run(blind, (3,))
    assert results[0].success and worlds.drawn == []
