"""A planner on a hand-made model whose best chunk is known, with a clock that only the model moves."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from foreact.worldmodels.futures import Futures
from foreact.worldmodels.planner.objective import ObjectiveConfig
from foreact.worldmodels.planner.plan import Imagine, Planner, PlannerConfig
from foreact.worldmodels.planner.proposals import ProposalConfig
from foreact.worldmodels.planner.sources import likeliest, shuffled

LOW, HIGH = np.full(2, -1.0, np.float32), np.full(2, 1.0, np.float32)
PROPOSALS = ProposalConfig(samples=4, shaken=16, straight=4, last=4, moving=(0,))
SAMPLES = np.random.default_rng(3).uniform(-1, 1, (4, 8, 2)).astype(np.float32)


class Model:
    """Two futures; the reward falls with the distance of the chunk to a wanted one, the second future adds a fall."""

    def __init__(self, seconds: float = 0.0, risk: float = 0.0) -> None:
        self.now, self.seconds, self.risk = 0.0, seconds, risk
        self.asked: list[int] = []

    def clock(self) -> float:
        return self.now

    def __call__(self, chunks: Tensor) -> Futures:
        self.now += self.seconds
        self.asked.append(len(chunks))
        miss = (chunks - 0.3).square().mean((1, 2))
        shape = (len(chunks), 2, chunks.shape[1])
        reward = -miss[:, None, None].expand(shape).clone()
        reward[:, 1] -= self.risk * (chunks[:, :1, 0] > 0)
        weights = torch.tensor([0.8, 0.2]).log().expand(len(chunks), 2)
        values = chunks[:, None].expand(-1, 2, -1, -1)
        return Futures(values, weights, torch.zeros(shape), torch.zeros(shape), reward)


def planner(model: Model, **options: Any) -> Planner:
    given = {"objective": ObjectiveConfig(final=0.0), "proposals": PROPOSALS, "refine": 8, "slice": 4} | options
    return Planner(PlannerConfig(**given), LOW, HIGH, clock=model.clock)


def test_the_best_candidate_is_chosen_and_refined() -> None:
    model = Model()
    plain = planner(model, refine=0).plan(model, SAMPLES)
    better = planner(model).plan(model, SAMPLES)
    assert plain.score is not None and better.score is not None
    assert better.score > plain.score > -(SAMPLES[0] - 0.3).__pow__(2).mean()
    assert better.score == pytest.approx(-((better.chunk - 0.3) ** 2).mean(), rel=1e-4)
    assert (better.scored, better.chosen_by, better.late_ms) == (36, "score", 0)
    assert model.asked == [28, 28, 8]  # one call per round where there is no deadline


def test_the_futures_of_the_chosen_chunk_come_with_it() -> None:
    model = Model()
    found = planner(model).plan(model, SAMPLES)
    assert found.futures is not None and found.futures.values.shape == (1, 2, 8, 2)
    np.testing.assert_array_equal(found.futures.values[0, 0].numpy(), found.chunk)


def test_a_plan_follows_from_its_seed_and_number() -> None:
    model = Model()
    first, again = (planner(model).plan(model, SAMPLES, number=5).chunk for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert (first != planner(model).plan(model, SAMPLES, number=6).chunk).any()
    assert (first != planner(model, seed=1).plan(model, SAMPLES, number=5).chunk).any()


# the first is what is wanted but may fall, the second misses by 0.35 and is safe
RISKY_AND_SAFE = np.stack([np.full((8, 2), 0.3), np.full((8, 2), -0.05)]).astype(np.float32)


def chosen_first_action(alpha: float, imagine: Imagine) -> float:
    two = ProposalConfig(samples=2, shaken=0, straight=0, last=0, moving=(0,))
    own = planner(Model(), proposals=two, refine=0, objective=ObjectiveConfig(alpha=alpha))
    return float(own.plan(imagine, RISKY_AND_SAFE).chunk[0, 0])


def test_a_cautious_planner_avoids_the_bad_future_and_one_of_means_does_not() -> None:
    model = Model(risk=0.3)  # the mean loses 0.06, the worst fifth 0.3; the safe one loses 0.1225
    assert chosen_first_action(1.0, model) == pytest.approx(0.3)
    assert chosen_first_action(0.2, model) == pytest.approx(-0.05)


def test_a_planner_with_one_future_does_not_see_the_risk() -> None:
    assert chosen_first_action(0.2, likeliest(Model(risk=0.3))) == pytest.approx(0.3)


def test_futures_of_other_chunks_are_no_help() -> None:
    model = Model()
    own, others = [], []
    for number in range(20):
        own.append(planner(model).plan(model, SAMPLES, number=number).chunk)
        others.append(planner(model).plan(shuffled(model, number), SAMPLES, number=number).chunk)
    miss = [float(((np.array(each) - 0.3) ** 2).mean()) for each in (own, others)]
    assert miss[0] < 0.5 * miss[1]


@pytest.mark.parametrize(("deadline", "scored"), [(9.0, 0), (15.0, 4), (45.0, 16), (1000.0, 36)])
def test_the_deadline_is_kept_to_within_one_slice(deadline: float, scored: int) -> None:
    model = Model(seconds=0.01)
    found = planner(model, deadline_ms=deadline).plan(model, SAMPLES)
    # the first slice is begun in the dark, each later one only if one as long ends in time
    assert found.scored == max(scored, 4)
    assert found.late_ms == pytest.approx(max(0.0, 10 - deadline)) and found.late_ms <= found.slice_ms


def test_without_a_deadline_kept_it_would_be_late() -> None:
    model = Model(seconds=0.01)
    found = planner(model, deadline_ms=15.0, slice=100).plan(model, SAMPLES)
    assert found.scored == 28 and found.slice_ms == pytest.approx(10)  # one slice is all there was time for


def test_no_time_at_all_gives_the_policys_answer() -> None:
    model = Model()
    late = iter([0.0, 1.0, 1.0])
    own = Planner(PlannerConfig(proposals=PROPOSALS, deadline_ms=5.0), LOW, HIGH, clock=lambda: next(late))
    found = own.plan(model, SAMPLES)
    np.testing.assert_array_equal(found.chunk, SAMPLES[0])
    assert (found.chosen_by, found.score, found.scored, found.late_ms) == ("policy", None, 0, pytest.approx(995.0))


def test_an_untrusted_model_is_not_asked_to_choose() -> None:
    model = Model()
    alike = np.concatenate([np.full((3, 8, 2), -0.9), SAMPLES[:1]]).astype(np.float32)
    found = planner(model, calibrated=False).plan(model, alike)
    assert found.chosen_by == "medoid" and (found.chunk == np.float32(-0.9)).all()
    assert model.asked == [1] and found.futures is not None  # only what execution is held against


def test_a_model_that_forgets_chunks_is_refused() -> None:
    model = Model()
    with pytest.raises(ValueError, match="imagined 27 chunks of 28"):
        planner(model).plan(lambda chunks: model(chunks[1:]), SAMPLES)


@pytest.mark.parametrize("wrong", [{"deadline_ms": 0.0}, {"temperature": 0.0}, {"slice": 0}, {"refine": -1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        PlannerConfig(**wrong)
