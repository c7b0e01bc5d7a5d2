"""Every model answers `FutureModel`, refuses what is not its own, and resumes bit for bit."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from foreact.worldmodels.branches import Branches
from foreact.worldmodels.models.batch import Draws, gather_sets
from foreact.worldmodels.models.registry import MODELS, config_class, config_from_json
from foreact.worldmodels.models.signature import Signature, SignatureError
from foreact.worldmodels.points import make_points
from foreact.worldmodels.trainer import OptimisationConfig, Trainer

Build = Callable[[Any, Branches], Any]
OPTIMISATION = OptimisationConfig(updates=4, batch=8, warmup=2, futures=3)


def test_every_model_gives_futures_with_probabilities(config: Any, points: Branches, built: Build) -> None:
    model, data = built(config, points), gather_sets([points])
    futures = model.imagine(data.context[:5], data.actions[:5])
    assert futures.values.shape == (5, model.futures, 4, 3)
    for values in (futures.success, futures.contact, futures.reward):
        assert values.shape == (5, model.futures, 4) and torch.isfinite(values).all()
    torch.testing.assert_close(futures.log_weights.exp().sum(1), torch.ones(5))
    assert ((futures.success >= 0) & (futures.success <= 1)).all()


def test_what_never_changes_is_predicted_exactly(config: Any, points: Branches, built: Build) -> None:
    model, data = built(config, points), gather_sets([points])
    goal = model.imagine(data.context, data.actions).values[..., 2]
    torch.testing.assert_close(goal, torch.zeros_like(goal))


def test_the_same_question_has_the_same_answer(config: Any, points: Branches, built: Build) -> None:
    model, data = built(config, points), gather_sets([points])
    first, second = (model.imagine(data.context, data.actions).values for _ in range(2))
    assert torch.equal(first, second)


def test_every_loss_is_finite_and_reaches_every_weight(config: Any, points: Branches, built: Build) -> None:
    model, data = built(config, points), gather_sets([points])
    terms = model.losses(data, Draws(torch.Generator().manual_seed(0), torch.device("cpu")))
    torch.stack(list(terms.values())).sum().backward()
    unreached = [name for name, each in model.named_parameters() if each.grad is None]
    assert not unreached
    assert all(torch.isfinite(value) for value in terms.values())


def test_two_updates_resume_two_updates_equal_four(config: Any, points: Branches, built: Build) -> None:
    def fresh() -> Trainer:
        return Trainer(built(config, points), gather_sets([points]), OPTIMISATION, seed=5)

    straight, first, second = fresh(), fresh(), fresh()
    for _ in range(4):
        straight.update()
    for _ in range(2):
        first.update()
    captured = first.capture()
    second.restore(dataclasses.replace(captured, tensors={k: v.clone() for k, v in captured.tensors.items()}))
    for _ in range(2):
        second.update()
    expected, resumed = straight.capture().tensors, second.capture().tensors
    assert expected.keys() == resumed.keys() and second.step == 4
    for name, value in expected.items():
        assert torch.equal(value, resumed[name]), name


@pytest.mark.parametrize(
    ("context", "actions", "message"),
    [
        (torch.zeros(2, 4), torch.zeros(2, 4, 2), "context: expected"),
        (torch.zeros(2, 3), torch.zeros(2, 5, 2), "actions: expected"),
        (torch.zeros(2, 3), torch.zeros(1, 4, 2), "actions: expected"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 4, 2), "floating point"),
    ],
)
def test_arguments_of_another_shape_are_refused(
    context: torch.Tensor, actions: torch.Tensor, message: str, points: Branches, built: Build, configs: Any
) -> None:
    with pytest.raises(SignatureError, match=message):
        built(configs["codes"], points).imagine(context, actions)


def test_data_of_another_task_are_refused(points: Branches) -> None:
    other = dataclasses.replace(points, spec=dataclasses.replace(points.spec, task="plane"))
    with pytest.raises(SignatureError, match="task is plane, expected point"):
        Signature.of(points).require(Signature.of(other), "it")


def test_configurations_come_back_from_json(config: Any) -> None:
    assert config_from_json(dataclasses.asdict(config)) == config


def test_every_name_has_its_configuration() -> None:
    assert {kind: config_class(kind)().kind for kind in MODELS} == {kind: kind for kind in MODELS}


def test_unknown_names_and_fields_are_refused() -> None:
    with pytest.raises(ValueError, match="did you mean: codes"):
        config_class("code")
    with pytest.raises(ValueError, match="has no widht"):
        config_from_json({"kind": "flow", "widht": 3})


def test_processes_draw_the_rows_of_one() -> None:
    def draw(rank: int, world: int) -> torch.Tensor:
        return Draws(torch.Generator().manual_seed(3), torch.device("cpu"), rank, world).normal(4 // world, 2)

    assert torch.equal(torch.cat([draw(0, 2), draw(1, 2)]), draw(0, 1))


def test_linear_data_are_predicted_exactly(configs: Any, built: Build) -> None:
    points = make_points(200, 1, seed=1000, horizon=4)
    still = points.futures.copy()
    still[..., :2] = points.context[:, None, None, :2] + 0.3 * points.actions[:, None].cumsum(2)
    model = built(dataclasses.replace(configs["linear"], ridge=1e-9), dataclasses.replace(points, futures=still))
    data = gather_sets([points])
    np.testing.assert_allclose(model.imagine(data.context, data.actions).values.numpy(), still, atol=1e-4)
