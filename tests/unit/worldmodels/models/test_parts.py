"""Parts of models against closed forms."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal, kl_divergence

from foreact.worldmodels.branches import Branches
from foreact.worldmodels.models.batch import gather_sets
from foreact.worldmodels.models.codes import CodesConfig
from foreact.worldmodels.models.ensemble import MeanEnsemble
from foreact.worldmodels.models.layers import Gate, SimNorm
from foreact.worldmodels.models.mixture import mixture_likelihood
from foreact.worldmodels.models.predictor import PredictorConfig, PredictorSizes, build_predictor
from foreact.worldmodels.models.recurrent import gaussian_divergence
from foreact.worldmodels.models.regression import DeterministicConfig

Build = Callable[[Any, Branches], Any]


def test_the_mixture_has_the_likelihood_of_torch() -> None:
    torch.manual_seed(0)
    means, log_scale, truth = torch.randn(2, 3, 4, 5), torch.randn(2, 3, 4, 5) / 3, torch.randn(2, 6, 4, 5)
    log_weights = torch.randn(2, 3).log_softmax(-1)
    parts = Independent(Normal(means.flatten(2), log_scale.exp().flatten(2)), 1)
    mixture = MixtureSameFamily(Categorical(logits=log_weights), parts)
    constant = 20 * 0.5 * torch.log(torch.tensor(2 * torch.pi))
    wanted = torch.stack([mixture.log_prob(truth[:, m].flatten(1)) for m in range(6)], 1) + constant
    found = torch.logsumexp(mixture_likelihood(means, log_scale, log_weights, truth), -1)
    torch.testing.assert_close(found, wanted, atol=1e-3, rtol=1e-4)


def test_the_divergence_is_that_of_torch() -> None:
    torch.manual_seed(0)
    first, second = torch.randn(7, 6), torch.randn(7, 6)

    def normal(raw: torch.Tensor) -> Normal:
        mean, scale = raw.chunk(2, -1)
        return Normal(mean, torch.nn.functional.softplus(scale) + 0.05)

    wanted = kl_divergence(normal(first), normal(second)).sum(-1)
    torch.testing.assert_close(gaussian_divergence(first, second), wanted)


def test_simnorm_makes_probabilities_of_groups() -> None:
    groups = SimNorm(4)(torch.randn(3, 12)).unflatten(-1, (3, 4))
    torch.testing.assert_close(groups.sum(-1), torch.ones(3, 3))


def test_steps_of_the_transformer_do_not_depend_on_later_actions() -> None:
    torch.manual_seed(0)
    config = PredictorConfig(architecture="transformer", width=16, depth=2, codes=3, heads=2)
    predictor = build_predictor(config, PredictorSizes(5, 6, 2, 3, 4))
    context, actions = torch.randn(2, 5), torch.randn(2, 6, 2)
    later = actions.clone()
    later[:, 4:] += 1
    first, second = predictor(context, actions).values, predictor(context, later).values
    assert first.shape == (2, 3, 3, 4)
    assert torch.equal(first[:, :, :2], second[:, :, :2]) and not torch.equal(first[:, :, 2], second[:, :, 2])


def test_members_agree_on_data_and_not_away_from_it() -> None:
    torch.manual_seed(0)
    ensemble = MeanEnsemble(2, 1, members=4, width=16)
    optimiser = torch.optim.Adam([each for each in ensemble.parameters() if each.requires_grad], 1e-2)
    inputs = torch.rand(64, 2) - 0.5
    for _ in range(200):
        optimiser.zero_grad()
        ensemble.loss(inputs, inputs.sum(1, keepdim=True)).backward()
        optimiser.step()
    with torch.no_grad():
        near, far = (ensemble.disagreement(scale * inputs).mean().item() for scale in (1, 10))
    assert far > 5 * near


def test_uncertainty_and_value_are_told_of_each_state(points: Branches, built: Build, configs: Any) -> None:
    model, data = built(configs["codes"], points), gather_sets([points])
    assert model.uncertainty(data.context, data.actions).shape == model.value(data.context).shape == (24,)
    assert (model.uncertainty(data.context, data.actions) >= 0).all()


def test_sizes_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ValueError, match="residual=0 samples=1"):
        CodesConfig(samples=3)
    with pytest.raises(ValueError, match="does not divide among heads"):
        PredictorConfig(architecture="transformer", width=10, heads=4)
    with pytest.raises(ValueError, match=r"predictor.codes=1"):
        DeterministicConfig(predictor=PredictorConfig())


@pytest.mark.parametrize("kind", ["codes", "codes-transformer", "deterministic", "mdn"])
def test_behind_a_closed_gate_nothing_moves(kind: str, points: Branches, built: Build, configs: Any) -> None:
    model, data = built(configs[kind], points), gather_sets([points])
    model.predictor.gate.open.bias.data.fill_(-100)
    values = model.imagine(data.context, data.actions).values
    torch.testing.assert_close(values, data.context[:, None, None].expand_as(values))


def test_a_gate_opens_half_way() -> None:
    gate = Gate(1, 2)
    gate.open.bias.data.zero_()
    values, still = torch.tensor([[3.0, 5.0]]), torch.tensor([1.0, -1.0])
    torch.testing.assert_close(gate(torch.ones(1, 1), values, still), torch.tensor([[2.0, 2.0]]))
