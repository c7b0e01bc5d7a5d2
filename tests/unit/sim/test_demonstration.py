"""Demonstrations, on worlds without a simulator."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foreact.sim.demonstration import Demonstration, DemonstrationRules, demonstrate, is_noisy
from foreact.sim.instructions import metaworld_text
from foreact.sim.seeds import layout_seed

LABEL = np.array([0.9, -0.25, 0.0, 1.0], np.float32)
RULES = DemonstrationRules(
    seed=3, split="train", noise_fraction=0.5, noise_std=0.4, noise_hold=1, frame_every=4, hold_steps=5
)
TEXT = metaworld_text("reach-v3")


def _demonstrate(worlds: Any, index: int, rules: DemonstrationRules = RULES) -> Demonstration:
    return demonstrate(worlds, TEXT, [index], rules, ())[0]


def test_labels_stay_clean_where_noise_is_executed(stub_worlds: Callable[..., Any]) -> None:
    noisy = _demonstrate(stub_worlds(), 1)
    assert noisy.attempt.noisy
    assert (noisy.label == LABEL).all()
    assert not np.array_equal(noisy.executed, noisy.label)
    assert np.abs(noisy.executed).max() <= 1
    # what was executed, not the label, moved the world
    np.testing.assert_allclose(np.diff(noisy.state, axis=0), noisy.executed[:-1], atol=1e-5)


def test_noise_has_the_standard_deviation_asked_for(stub_worlds: Callable[..., Any]) -> None:
    task = stub_worlds(solved_after=None, time_limit=4000)
    offsets = _demonstrate(task, 1, replace(RULES, noise_std=0.1)).executed - LABEL
    # element 2 is far from the clip at 1: 4000 samples give the deviation to about 1 %
    assert offsets[:, 2].std() == pytest.approx(0.1, rel=0.05)
    assert offsets[:, 2].mean() == pytest.approx(0.0, abs=0.01)


def test_a_clean_attempt_executes_its_labels(stub_worlds: Callable[..., Any]) -> None:
    clean = _demonstrate(stub_worlds(), 0)
    assert not clean.attempt.noisy
    np.testing.assert_array_equal(clean.executed, clean.label)


def test_it_ends_a_few_steps_after_success(stub_worlds: Callable[..., Any]) -> None:
    made = _demonstrate(stub_worlds(solved_after=12), 0)
    assert made.attempt.success
    assert made.attempt.steps == 12 + 5 == len(made.state) == len(made.reward)
    assert made.solved.tolist() == [False] * 11 + [True] * 6
    assert made.reward.tolist() == [float(i) for i in range(1, 18)]


def test_success_near_the_limit_and_no_success_end_at_the_limit(stub_worlds: Callable[..., Any]) -> None:
    late = _demonstrate(stub_worlds(solved_after=28), 0).attempt
    never = _demonstrate(stub_worlds(solved_after=None), 0).attempt
    assert (late.success, late.steps) == (True, 30)
    assert (never.success, never.steps) == (False, 30)


def test_frames_are_taken_before_every_kth_step(stub_worlds: Callable[..., Any]) -> None:
    made = _demonstrate(stub_worlds(), 0)
    assert made.frame_steps.tolist() == [0, 4, 8, 12, 16]
    assert made.poses.qpos.tolist() == [[made.layout, step] for step in made.frame_steps]
    assert made.landmarks[:, 0, 0].tolist() == made.frame_steps.tolist()


def test_an_attempt_depends_on_its_index_and_not_on_what_came_before(stub_worlds: Callable[..., Any]) -> None:
    used = stub_worlds()
    for index in (5, 2):
        _demonstrate(used, index)
    again, fresh = _demonstrate(used, 3), _demonstrate(stub_worlds(), 3)
    np.testing.assert_array_equal(again.executed, fresh.executed)
    np.testing.assert_array_equal(again.state, fresh.state)
    assert again.instruction == fresh.instruction
    assert again.layout == fresh.layout == layout_seed("train", 3, 3)


def test_attempts_side_by_side_are_those_made_alone(stub_worlds: Callable[..., Any]) -> None:
    class Uneven(stub_worlds):  # pyright: ignore[reportGeneralTypeIssues]
        def step(self, actions: np.ndarray, ids: np.ndarray | None = None) -> Any:
            stepped = super().step(actions, ids)
            stepped.success[:] = stepped.success & (self.count >= 12 + self.seed % 7)
            return stepped

    indices = (4, 5, 6)
    together = demonstrate(Uneven(5), TEXT, indices, RULES, ())
    assert len({each.attempt.steps for each in together}) > 1
    for index, each in zip(indices, together, strict=True):
        alone = _demonstrate(Uneven(), index)
        assert alone.attempt == each.attempt
        for name in ("state", "label", "executed", "reward", "solved", "frame_steps", "landmarks"):
            np.testing.assert_array_equal(getattr(alone, name), getattr(each, name), err_msg=name)
        np.testing.assert_array_equal(alone.poses.qpos, each.poses.qpos)


def test_instructions_are_training_sentences_and_all_of_them_occur(stub_worlds: Callable[..., Any]) -> None:
    drawn = {_demonstrate(stub_worlds(solved_after=1), index).instruction for index in range(60)}
    assert drawn == set(TEXT.train)


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0), (0.25, 25), (0.5, 50), (1.0, 100)])
def test_the_share_of_noisy_attempts_is_exact(fraction: float, expected: int) -> None:
    assert sum(is_noisy(index, fraction) for index in range(100)) == expected
