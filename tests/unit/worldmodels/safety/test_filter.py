"""The filter: what passes, what is replaced, what is refused; and its form in NumPy."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from foreact.perception.tensor_folder import CheckpointError
from foreact.worldmodels.futures import Futures
from foreact.worldmodels.safety.filter import FuturePenalty, FutureScore, SafetyFilter
from foreact.worldmodels.safety.latent import LatentConfig, LatentModel
from foreact.worldmodels.safety.margin import Margin
from foreact.worldmodels.safety.parts import SafetyParts, load_parts, save_parts
from foreact.worldmodels.safety.tiny import TinyFilter
from foreact.worldmodels.safety.uncertainty import DoubtConfig, fit_doubt
from foreact.worldmodels.safety.value import Value

CHOICES = torch.tensor([[-1.0], [0.0], [1.0]])


def score(states: Tensor, actions: Tensor) -> Tensor:
    """Safe as long as the action goes away from the state's side."""
    return -states[:, 0] * actions[:, 0]


def test_what_is_safe_passes_and_the_rest_becomes_the_safest_choice() -> None:
    states, proposed = torch.tensor([[1.0], [1.0], [-2.0]]), torch.tensor([[-0.3], [0.2], [-0.5]])
    found = SafetyFilter(score, CHOICES)(states, proposed)
    assert found.actions.squeeze(1).tolist() == pytest.approx([-0.3, -1.0, 1.0])
    assert found.intervened.tolist() == [False, True, True]
    assert found.proposed.tolist() == pytest.approx([0.3, -0.2, -1.0])
    assert found.taken.tolist() == pytest.approx([0.3, 1.0, 2.0])
    assert SafetyFilter(score, CHOICES, delta=0.4)(states, proposed).intervened.all()


def test_what_is_not_finite_or_of_another_shape_is_refused() -> None:
    safety = SafetyFilter(score, CHOICES)
    with pytest.raises(ValueError, match="not finite"):
        safety(torch.ones(1, 1), torch.tensor([[float("nan")]]))
    with pytest.raises(ValueError, match=r"expected proposals \(1, 1\)"):
        safety(torch.ones(1, 1), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="expected choices"):
        SafetyFilter(score, torch.zeros(0, 1))


class TwoGains:
    """x' = x + g a per step, with g = 1 or 3."""

    horizon, futures = 2, 2

    def imagine(self, context: Tensor, actions: Tensor) -> Futures:
        way = actions.cumsum(dim=1)[:, None] * torch.tensor([1.0, 3.0]).view(1, 2, 1, 1)
        values = context[:, None, None] + way
        flat = torch.zeros(values.shape[:3])
        return Futures(values, torch.log(torch.tensor([[0.75, 0.25]])).expand(len(context), 2), flat, flat, flat)


def distance_left(values: Tensor) -> Tensor:
    """A wall at 1."""
    return 1 - values[..., 0]


def test_chunks_are_judged_by_the_worst_futures_of_any_model() -> None:
    context, chunk = torch.zeros(1, 1), torch.full((1, 2, 1), 0.2)
    # smallest distance: 1 - 0.4 and 1 - 1.2; the mean of all, of the worst quarter, of the worst half
    for alpha, wanted in ((1.0, 0.75 * 0.6 - 0.25 * 0.2), (0.25, -0.2), (0.5, 0.2)):
        assert FutureScore(TwoGains(), distance_left, alpha)(context, chunk).item() == pytest.approx(wanted)
    choices = torch.tensor([-0.1, 0.0])[:, None, None].expand(2, 2, 1)
    found = SafetyFilter(FutureScore(TwoGains(), distance_left), choices)(context, chunk)
    assert found.intervened.item() and torch.allclose(found.actions, torch.full((1, 2, 1), -0.1))
    kept = SafetyFilter(FutureScore(TwoGains(), distance_left, 1.0), choices)(context, chunk)
    assert not kept.intervened.item()


def test_a_planner_loses_by_how_far_futures_leave_the_safe_set() -> None:
    futures = TwoGains().imagine(torch.zeros(1, 1), torch.full((1, 2, 1), 0.2)).values
    assert FuturePenalty(distance_left)(futures).tolist() == [pytest.approx([0.0, 0.2])]
    assert FuturePenalty(distance_left, delta=0.7)(futures).tolist() == [pytest.approx([0.1, 0.9])]


@pytest.fixture
def parts() -> SafetyParts:
    torch.manual_seed(0)
    config = LatentConfig(members=3, width=8, prior=0.3)
    model = LatentModel((4,), 1, config).eval()
    model.encoder.learn(torch.randn(20, 4) * 3 + 1)
    return SafetyParts(model, config, Margin(4, 8).eval(), Value(4, 8).eval(), CHOICES, limit=0.8)


@pytest.mark.parametrize(("limit", "features"), [(None, 0), (2.0, 0), (0.9, 16)])
def test_the_form_in_numpy_does_the_same(
    parts: SafetyParts, limit: float | None, features: int, tmp_path: Path
) -> None:
    doubt = fit_doubt(torch.randn(30, 4), DoubtConfig(features=features), 0) if features else None
    parts = dataclasses.replace(parts, limit=limit, doubt=doubt)
    save_parts(tmp_path / "filter", parts, (4,), {})
    observations, proposed = torch.randn(40, 4), torch.rand(40, 1) * 2 - 1
    latents = parts.model.encode(observations)
    scores = parts.filter().score(latents, proposed)
    delta = float(scores.unique().quantile(0.51))  # some of them are replaced
    wanted, tiny = parts.filter(delta)(latents, proposed), TinyFilter.load(tmp_path / "filter", delta)
    assert 5 < wanted.intervened.sum() < 35
    for row in range(40):
        one, action = observations[row].numpy(), proposed[row].numpy()
        assert tiny.scores(one, action[None])[0] == pytest.approx(float(scores[row]), abs=1e-4)
        done, intervened = tiny(one, action)
        assert intervened == bool(wanted.intervened[row])
        assert done == pytest.approx(wanted.actions[row].numpy(), abs=1e-5)
    with pytest.raises(ValueError, match="not finite"):
        tiny(np.full(4, np.nan, np.float32), np.zeros(1, np.float32))
    with pytest.raises(ValueError, match="got observation"):
        tiny(np.zeros(3, np.float32), np.zeros(1, np.float32))


def test_a_saved_filter_comes_back_and_a_damaged_one_is_refused(parts: SafetyParts, tmp_path: Path) -> None:
    folder = tmp_path / "filter"
    save_parts(folder, parts, (4,), {"seed": 0})
    save_parts(folder, parts, (4,), {"seed": 0})
    back, observations = load_parts(folder), torch.randn(5, 4)
    assert torch.equal(back.at(observations), parts.at(observations)) and back.limit == 0.8
    content = (folder / "safety.safetensors").read_bytes()
    (folder / "safety.safetensors").write_bytes(content[:-4])
    for load in (load_parts, TinyFilter.load):
        with pytest.raises(ValueError, match="truncated or altered"):
            load(folder)
    (folder / "safety.json").unlink()
    with pytest.raises(CheckpointError, match=r"safety.json"):
        load_parts(folder)
