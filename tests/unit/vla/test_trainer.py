import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch

from foreact.episodes.contract import PolicyContract
from foreact.episodes.store import EpisodeStore
from foreact.vla.dataset import load_demonstrations
from foreact.vla.policy import PolicyConfig
from foreact.vla.trainer import OptimisationConfig, Trainer

Tiny = Callable[..., PolicyConfig]
Make = Callable[[str], Any]
Fitting = Callable[[str, PolicyContract], PolicyContract]
CONFIG = OptimisationConfig(updates=4, batch=4, warmup=2, shift=1)


def trainer(store: EpisodeStore, contract: PolicyContract, make: Make, kind: str = "keypoints-l1") -> Trainer:
    torch.manual_seed(1)
    policy = make(kind).build(contract)
    return Trainer(policy, load_demonstrations(store, store.keys(), contract), CONFIG, seed=5)


def test_the_schedule_warms_up_and_ends_near_zero() -> None:
    config = OptimisationConfig(updates=100, learning_rate=1.0, warmup=10)
    assert config.rate(0) == pytest.approx(0.1)
    assert config.rate(50) == pytest.approx(0.5)
    assert config.rate(99) < 1e-3


@pytest.mark.parametrize(
    "kind", ["keypoints-l1", "keypoints-flow-prefix", "transformer-l1-prefix", "transformer-flow", "mlp"]
)
def test_two_updates_resume_two_updates_equal_four(
    kind: str, store: EpisodeStore, contract: PolicyContract, make_config: Make, fitting: Fitting
) -> None:
    contract = fitting(kind, contract)
    straight = trainer(store, contract, make_config, kind)
    for _ in range(4):
        straight.update()
    first = trainer(store, contract, make_config, kind)
    first.update()
    first.update()
    captured = first.capture()
    kept = dataclasses.replace(captured, tensors={name: value.clone() for name, value in captured.tensors.items()})
    second = trainer(store, contract, make_config, kind)
    second.restore(kept)
    second.update()
    second.update()
    assert second.step == 4
    expected = straight.capture().tensors
    resumed = second.capture().tensors
    assert expected.keys() == resumed.keys()
    for name, value in expected.items():
        assert torch.equal(value, resumed[name]), name


def test_updates_fit_the_demonstrations(store: EpisodeStore, contract: PolicyContract, tiny_config: Tiny) -> None:
    torch.manual_seed(1)
    config = dataclasses.replace(CONFIG, updates=60, batch=16, learning_rate=5e-3, shift=0)
    demonstrations = load_demonstrations(store, store.keys(), contract)
    fit = Trainer(tiny_config().build(contract), demonstrations, config, seed=5)
    losses = [fit.update().loss for _ in range(60)]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])


def test_the_average_follows_slowly_after_its_start(
    store: EpisodeStore, contract: PolicyContract, make_config: Make
) -> None:
    fit = trainer(store, contract, make_config)
    before = next(fit.average.parameters()).clone()
    fit.update()
    weights, average = next(fit.policy.parameters()), next(fit.average.parameters())
    # the first update has decay (1 + 0) / (10 + 0)
    assert torch.allclose(average, before + 0.9 * (weights - before), atol=1e-7)


def test_a_batch_that_does_not_divide_is_refused(
    store: EpisodeStore, contract: PolicyContract, tiny_config: Tiny
) -> None:
    demonstrations = load_demonstrations(store, store.keys(), contract)
    with pytest.raises(ValueError, match="batch=4 does not divide among 3"):
        Trainer(tiny_config().build(contract), demonstrations, CONFIG, seed=0, rank=0, world=3)


def test_delays_are_drawn_from_none_to_the_longest_and_only_for_policies_that_take_them(
    store: EpisodeStore, contract: PolicyContract, make_config: Make
) -> None:
    fit = trainer(store, contract, make_config, "keypoints-l1-prefix")
    draws = fit._draws(torch.Size((600, 4, 4)), torch.Generator().manual_seed(0))
    assert draws.delay is not None
    assert (draws.delay.bincount() / 600).tolist() == pytest.approx([1 / 3] * 3, abs=0.06)
    plain = trainer(store, contract, make_config)._draws(torch.Size((600, 4, 4)), torch.Generator().manual_seed(0))
    assert plain.delay is None and torch.equal(plain.noise, draws.noise)
    assert draws.told is None, "the bits of training without that noise stay"
    fit.policy.prefix_noise = 0.5
    blurred = fit._draws(torch.Size((600, 4, 4)), torch.Generator().manual_seed(0))
    assert blurred.told is not None and torch.equal(blurred.delay, draws.delay)  # pyright: ignore[reportArgumentType]
