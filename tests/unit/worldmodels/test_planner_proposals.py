"""Candidates: how many of which kind, bounded, and the same for the same seed."""

import numpy as np
import pytest

from foreact.worldmodels.planner.proposals import ProposalConfig, coloured_noise, propose, shifted
from foreact.worldmodels.planner.selection import medoid_of_largest, refined

CONFIG = ProposalConfig(samples=3, shaken=4, straight=2, last=3, spread=0.3)
LOW, HIGH = np.full(4, -1.0, np.float32), np.full(4, 1.0, np.float32)
SAMPLES = np.random.default_rng(0).uniform(-1, 1, (5, 16, 4)).astype(np.float32)
LAST = np.full((16, 4), 0.25, np.float32)


def drawn(samples: np.ndarray = SAMPLES, last: np.ndarray | None = LAST, seed: int = 0) -> np.ndarray:
    return propose(samples, CONFIG, LOW, HIGH, np.random.default_rng(seed), last)


def test_the_kinds_stand_in_their_order() -> None:
    found = drawn()
    assert found.shape == (12, 16, 4) and found.dtype == np.float32
    np.testing.assert_array_equal(found[:3], SAMPLES[:3])
    straight, last = found[7:9], found[9:]
    assert (straight[0, :, :3] == 0).all() and (straight[1, :, :3] == straight[1, 0, :3]).all()
    np.testing.assert_array_equal(straight[1, :, 3], SAMPLES[0, :, 3])  # the jaws follow the policy
    np.testing.assert_array_equal(last[0], LAST)
    assert not (last[1] == LAST).all() and abs(last[1] - LAST).max() < 1.5


@pytest.mark.parametrize(("samples", "last"), [(SAMPLES, None), (SAMPLES[:1], LAST), (SAMPLES[:1], None)])
def test_what_is_missing_is_made_up_for(samples: np.ndarray, last: np.ndarray | None) -> None:
    assert len(drawn(samples, last)) == CONFIG.candidates == 12


def test_they_stay_in_range_and_follow_from_the_seed() -> None:
    found = drawn(3 * SAMPLES)
    assert found.min() == -1 and found.max() == 1
    np.testing.assert_array_equal(found, drawn(3 * SAMPLES))
    assert (found != drawn(3 * SAMPLES, seed=1)).any()


def test_noise_keeps_its_size_and_its_memory() -> None:
    noise = coloured_noise((4000, 16, 2), 0.5, 0.9, np.random.default_rng(0))
    assert noise.std(0) == pytest.approx(np.full((16, 2), 0.5), abs=0.03)
    after = (noise[:, 1:] * noise[:, :-1]).mean() / noise[:, :-1].var()
    assert after == pytest.approx(0.9, abs=0.02)


def test_a_plan_gone_on_with_holds_its_last_action() -> None:
    plan = np.arange(5.0)[:, None]
    assert shifted(plan, 2)[:, 0].tolist() == [2, 3, 4, 4, 4]
    assert shifted(plan, 9)[:, 0].tolist() == [4, 4, 4, 4, 4]


@pytest.mark.parametrize("wrong", [SAMPLES[0], SAMPLES[:0], np.full((2, 16, 4), np.nan)])
def test_samples_that_are_none_are_refused(wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match="the policy's samples"):
        drawn(wrong)


def test_a_last_plan_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="the last plan has shape"):
        drawn(last=LAST[:8])


def test_moving_elements_must_be_there() -> None:
    with pytest.raises(ValueError, match=r"moving=\(0, 4\), but actions have 4 elements"):
        propose(SAMPLES, ProposalConfig(moving=(0, 4)), LOW, HIGH, np.random.default_rng(0))


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"spread": -1.0}, {"memory": 1.0}, {"last": -1}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ProposalConfig(**wrong)  # type: ignore[arg-type]


def test_the_refinement_is_the_weighted_mean() -> None:
    chunks = np.array([0.0, 1.0, 5.0]).reshape(3, 1, 1)
    scores = np.array([0.0, 1.0, -50.0])
    scale = 0.1 * scores.std()
    share = 1 / (1 + np.exp(-1 / scale))  # of the second; the third is nothing
    found = refined(chunks, scores, 500, 0.1, 2.0, 0.0, np.random.default_rng(0))
    assert found[0].item() == pytest.approx(share, rel=1e-5)
    assert found[1:].mean() == pytest.approx(share, abs=0.1)
    assert found[1:].std() == pytest.approx(2 * np.sqrt(share * (1 - share)), rel=0.1)


def test_equal_scores_refine_to_the_plain_mean() -> None:
    found = refined(SAMPLES, np.zeros(5), 2, 0.3, 0.0, 0.9, np.random.default_rng(0))
    np.testing.assert_allclose(found, np.broadcast_to(SAMPLES.mean(0), found.shape), atol=1e-6)


def test_the_medoid_is_of_the_larger_cluster() -> None:
    two = np.array([0.0, 0.1, 0.2, 10.0, 10.1]).reshape(5, 1, 1)
    assert medoid_of_largest(two) == 1
    assert medoid_of_largest(two[::-1]) == 3


def test_without_two_clusters_it_is_the_medoid_of_all() -> None:
    one = np.array([0.0, 1.0, 2.1, 3.0, 9.0]).reshape(5, 1, 1)  # a lone chunk is no cluster
    assert medoid_of_largest(one) == 2
    assert medoid_of_largest(np.zeros((4, 16, 4))) == 0
    assert medoid_of_largest(SAMPLES[:1]) == 0
