"""Policies ranked inside a model whose truth is known, on the scene that is nothing but the hand's motion."""

import functools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from foreact.worldmodels.futures import Futures
from foreact.worldmodels.ranking import command
from foreact.worldmodels.ranking.command import RankingConfig, ranking
from foreact.worldmodels.ranking.episodes import EpisodeRules, imagined_success, simulated_success, starts_of
from foreact.worldmodels.ranking.policies import (
    CloneConfig,
    ClonedPolicy,
    Demonstrations,
    clone,
    demonstrate,
    faulty,
)
from foreact.worldmodels.scenes import scene

HAND, GOAL = slice(18, 21), slice(24, 27)
STEP = 0.02  # [m] at a command of 1


class Hand:
    """Two futures: commands do what they say, or a part of it."""

    horizon, futures = 16, 2

    def __init__(self, part: float = 0.3) -> None:
        self.part = part

    def imagine(self, context: Tensor, actions: Tensor) -> Futures:
        values = context[:, None, None].repeat(1, 2, 16, 1)
        way = STEP * actions[..., :3].cumsum(1)
        values[..., HAND] += torch.stack([way, self.part * way], 1)
        miss = (values[..., HAND] - values[..., GOAL]).norm(dim=-1)
        zeros = torch.zeros_like(miss)
        return Futures(values, torch.full((len(context), 2), 0.5).log(), (miss < 0.02).float(), zeros, zeros)


@functools.cache
def demonstrations() -> Demonstrations:
    return demonstrate(scene("arm-reach"), CloneConfig(episodes=200, seed=1000))


@pytest.fixture(scope="module")
def stages() -> dict[int, ClonedPolicy]:
    return dict(clone(demonstrations(), CloneConfig(seed=1000), (0, 30, 400)))


def rates(policies: Sequence[ClonedPolicy]) -> list[float]:
    place, rules = scene("arm-reach"), EpisodeRules(episodes=30)
    starts = starts_of(place, rules)
    return [float(simulated_success(place, starts, policy, rules).mean()) for policy in policies]


def test_demonstrations_end_where_the_task_is_solved() -> None:
    seen, chunks = demonstrations().observations, demonstrations().chunks
    assert seen.dtype == chunks.dtype == np.float32
    assert chunks.shape == (len(seen), 16, 4)
    assert np.abs(chunks).max() <= 1
    miss = np.linalg.norm(seen[:, HAND] - seen[:, GOAL], axis=1)
    assert (miss > 0.02).mean() > 0.99, "no step after the first solved one"


def test_training_makes_better_policies_and_the_same_seed_the_same(stages: dict[int, ClonedPolicy]) -> None:
    none, few, many = rates(list(stages.values()))
    assert none <= few <= many
    assert none < 0.2 < 0.7 < many
    again = clone(demonstrations(), CloneConfig(seed=1000), (30,))[30]
    seen = torch.from_numpy(demonstrations().observations[:5])
    assert torch.equal(again(seen), stages[30](seen))


def test_samples_lie_around_the_policys_own(stages: dict[int, ClonedPolicy]) -> None:
    seen = torch.from_numpy(demonstrations().observations[:3])
    drawn = stages[400].sample(seen, 6, torch.Generator().manual_seed(0))
    assert drawn.shape == (3, 6, 16, 4)
    assert torch.equal(drawn[:, 0], stages[400](seen))
    assert torch.equal(drawn[..., 3], stages[400](seen)[:, None, :, 3].expand(3, 6, 16))
    assert (drawn[:, 1:, :, :3] != drawn[:, :1, :, :3]).any()


def test_imagined_success_is_a_probability_and_knows_faults(stages: dict[int, ClonedPolicy]) -> None:
    place, rules = scene("arm-reach"), EpisodeRules(episodes=20, repeats=3)
    starts = starts_of(place, rules)
    good = imagined_success(Hand(), place, starts, stages[400], rules)
    asleep = imagined_success(Hand(), place, starts, faulty(stages[400], "asleep"), rules)
    assert good.shape == (20,)
    assert 0.3 < good.mean() <= 1
    assert asleep.mean() < 0.1
    with pytest.raises(ValueError, match="execute=17"):
        imagined_success(Hand(), place, starts, stages[400], EpisodeRules(execute=17))
    with pytest.raises(ValueError, match="choose from weak"):
        faulty(stages[400], "drunk")


def test_what_is_hidden_stays_in_an_imagined_episode(stages: dict[int, ClonedPolicy]) -> None:
    place, rules = scene("arm-reach"), EpisodeRules(episodes=40, repeats=10)
    starts = starts_of(place, rules)
    # one future in two never moves: who is in it never gets there, unless it is drawn anew
    stuck, drawn = (
        imagined_success(Hand(0.0), place, starts, stages[400], replace(rules, persistent=each)).mean()
        for each in (True, False)
    )
    free = imagined_success(Hand(1.0), place, starts, stages[400], rules).mean()
    assert stuck == pytest.approx(free / 2, abs=0.05)
    assert drawn > 0.8 * free


def test_the_command_orders_policies_and_its_control_does_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "model_of", lambda folder, task: Hand())
    config = RankingConfig(
        models=(tmp_path / "model",),
        out=tmp_path / "out",
        scene="arm-reach",
        episodes=24,
        repeats=2,
        stages=(0, 30, 80, 150, 400, 800),
        clones=1,
    )
    figures: Any = ranking(config).figures
    assert figures["policies"] == 12
    assert figures["ranking_spearman"] > 0.7
    (control,) = figures["shuffled_actions"]
    assert control["spearman"] < 0.6
    assert json.loads((tmp_path / "out" / "ranking.json").read_text())["policies"] == 12
    assert (tmp_path / "out" / "ranking.png").stat().st_size > 5000
