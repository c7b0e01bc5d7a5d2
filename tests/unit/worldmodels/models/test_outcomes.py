"""Outcomes are read from observations by a network of its own, which changes nothing about the futures."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from foreact.worldmodels.branches import Branches
from foreact.worldmodels.models.batch import Batch, Draws, gather_sets
from foreact.worldmodels.models.layers import perceptron
from foreact.worldmodels.models.normaliser import Normaliser
from foreact.worldmodels.models.outcomes import FAR, OutcomeNetwork, outcome_errors
from foreact.worldmodels.models.signature import Signature
from foreact.worldmodels.trainer import OptimisationConfig, Trainer

Build = Callable[[Any, Branches], Any]


def test_distances_and_far_off_elements_are_those_worked_out_by_hand(points: Branches) -> None:
    normaliser = Normaliser(Signature.of(points))
    normaliser.context_mean.copy_(torch.tensor([1.0, 2.0, 0.0]))
    normaliser.context_scale.copy_(torch.tensor([2.0, 4.0, 1.0]))
    network = OutcomeNetwork(3, distances=1, width=1)
    for layer in (network.apart, network.hidden, network.told):
        layer.weight.data.copy_(torch.eye(*layer.weight.shape))
        layer.bias.data.zero_()
    # (7 - 1) / 2 = 3, (18 - 2) / 4 = 4, 12 counts as FAR; the layer between is a SiLU
    seen = torch.tensor([[[7.0, 18.0, 0.0], [1.0, 2.0, 2 * FAR]]])
    wanted = torch.nn.functional.silu(torch.tensor([5.0, FAR]))
    torch.testing.assert_close(network(seen, normaliser), torch.stack([wanted, 0 * wanted, 0 * wanted], -1)[None])


def test_a_radius_is_told_that_a_perceptron_of_that_width_misses(points: Branches) -> None:
    def error(network: Any, read: Callable[[Any, torch.Tensor], torch.Tensor]) -> float:
        torch.manual_seed(2)
        optimiser = torch.optim.Adam(network.parameters(), 2e-2)
        loss = torch.tensor(0.0)
        for _ in range(80):
            seen = torch.randn(128, 6)
            near = ((seen[:, :3] - seen[:, 3:]).norm(dim=1) < 1.0).float()
            wanted = torch.stack([near, 1 - near, near], -1)[:, None]
            loss = outcome_errors(read(network, seen)[:, None], wanted).mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        return loss.item()

    normaliser = Normaliser(dataclasses.replace(Signature.of(points), columns=tuple("abcdef")))
    torch.manual_seed(1)
    distances = error(OutcomeNetwork(6), lambda network, seen: network(seen, normaliser))
    plain = error(perceptron(6, 24, 3), lambda network, seen: network(seen))
    assert distances < 0.7 * plain


def test_no_gradient_of_outcomes_reaches_the_futures(config: Any, points: Branches, built: Build) -> None:
    model, data = built(config, points), gather_sets([points])
    model.losses(data, Draws(torch.Generator().manual_seed(0), torch.device("cpu")))["outcomes"].backward()
    reached = {name for name, each in model.named_parameters() if each.grad is not None and each.grad.any()}
    assert reached == {name for name, _ in model.named_parameters() if name.startswith("outcomes.")}


def test_futures_do_not_depend_on_what_outcomes_are_told(config: Any, points: Branches, built: Build) -> None:
    def futures(data: Batch) -> torch.Tensor:
        trainer = Trainer(built(config, points), data, OptimisationConfig(updates=3, batch=8, warmup=1), seed=5)
        for _ in range(3):
            trainer.update()
        with torch.no_grad():
            return trainer.model.imagine(data.context, data.actions).values

    data = gather_sets([points])
    told = dataclasses.replace(data, success=1 - data.success, contact=1 - data.contact)
    assert torch.equal(futures(data), futures(told))
