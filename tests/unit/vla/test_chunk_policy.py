"""What every policy promises to training, export and evaluation, for each architecture."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from foreact.episodes.contract import PolicyContract
from foreact.vla.checkpoint import load_policy, save_policy
from foreact.vla.chunk_policy import ChunkPolicy, run_stages

Observe = Callable[..., dict[str, np.ndarray]]
Make = Callable[[str], Any]
Fitting = Callable[[str, PolicyContract], PolicyContract]
PREFIXED = ["keypoints-l1-prefix", "keypoints-flow-prefix", "transformer-l1-prefix", "transformer-flow-prefix"]
KINDS = ["keypoints-l1", "keypoints-flow", "transformer-l1", "transformer-flow", "mlp", *PREFIXED]


def inputs_of(policy: ChunkPolicy, observation: Mapping[str, np.ndarray], delay: int = 0) -> dict[str, Tensor]:
    """Everything that the policy takes, by name and in order."""
    batch = len(observation["state"])
    generator = torch.Generator().manual_seed(1)
    shape = (batch, policy.contract.chunk_length, *policy.contract.action.shape)
    values: dict[str, Tensor] = {name: torch.from_numpy(observation[name]) for name in policy.contract.input_names}
    values["noise"] = torch.randn(shape, generator=generator)
    values["prefix"] = torch.rand(shape, generator=generator) * 2 - 1
    values["delay"] = torch.full((batch,), delay)
    return {name: values[name] for name in policy.input_names}


def moved(policy: ChunkPolicy) -> ChunkPolicy:
    """Weights away from their start, where modulations and new layers do nothing."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for weights in policy.parameters():
            weights.add_(0.2 * torch.randn(weights.shape, generator=generator))
    return policy.eval()


@pytest.mark.parametrize("kind", KINDS)
def test_stages_in_order_give_what_forward_gives(
    kind: str, contract: PolicyContract, fitting: Fitting, make_config: Make, make_observation: Observe
) -> None:
    policy = moved(make_config(kind).build(fitting(kind, contract)))
    values = inputs_of(policy, make_observation(contract, 2), delay=min(2, policy.prefix))
    expected = policy(*values.values())
    stages = policy.stages()
    order = [stage.name for stage in stages]
    assert order == sorted(order, key=["context", "vision", "action_step", "finish"].index)
    assert torch.equal(run_stages(stages, values)["action"], expected)
    assert torch.equal(policy.act(values, *(values.get(name) for name in ("noise", "prefix", "delay"))), expected)


@pytest.mark.parametrize("kind", PREFIXED)
def test_given_rows_come_back_and_rows_after_them_have_no_influence(
    kind: str, contract: PolicyContract, make_config: Make, make_observation: Observe
) -> None:
    policy = moved(make_config(kind).build(contract))
    values = inputs_of(policy, make_observation(contract, 2))
    values["delay"] = torch.tensor([1, 2])
    chunk = policy(*values.values())
    assert torch.equal(chunk[0, :1], values["prefix"][0, :1]) and torch.equal(chunk[1, :2], values["prefix"][1, :2])
    known = torch.arange(4)[None, :, None] < values["delay"][:, None, None]
    unknown = {**values, "prefix": torch.where(known, values["prefix"], torch.nan)}
    assert torch.equal(policy(*unknown.values()), chunk)
    other = {**values, "prefix": values["prefix"].flip(0)}
    assert (policy(*other.values())[1, 2:] - chunk[1, 2:]).abs().max() > 1e-4, "what is given changes what follows"


@pytest.mark.parametrize("kind", [kind for kind in PREFIXED if "flow" in kind])
def test_noise_of_given_rows_has_no_influence(
    kind: str, contract: PolicyContract, make_config: Make, make_observation: Observe
) -> None:
    policy = moved(make_config(kind).build(contract))
    values = inputs_of(policy, make_observation(contract, 1), delay=2)
    other = {**values, "noise": values["noise"].index_fill(1, torch.tensor([0, 1]), 5.0)}
    assert torch.equal(policy(*other.values()), policy(*values.values()))


@pytest.mark.parametrize("kind", PREFIXED)
def test_a_delay_of_0_is_the_same_as_being_told_nothing(
    kind: str, contract: PolicyContract, make_config: Make, make_observation: Observe
) -> None:
    policy = moved(make_config(kind).build(contract))
    values = inputs_of(policy, make_observation(contract, 2))
    told = policy.act(values, values.get("noise"), values["prefix"], values["delay"])
    assert torch.equal(policy.act(values, values.get("noise")), told)


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_policy_of_any_architecture_comes_back_whole(
    kind: str, contract: PolicyContract, fitting: Fitting, make_config: Make, make_observation: Observe, tmp_path: Path
) -> None:
    policy = moved(make_config(kind).build(fitting(kind, contract)))
    save_policy(tmp_path / "p", policy)
    loaded = load_policy(tmp_path / "p")
    assert (type(loaded), loaded.config, loaded.contract) == (type(policy), policy.config, policy.contract)
    values = inputs_of(policy, make_observation(contract, 1))
    assert torch.equal(loaded(*values.values()), policy(*values.values()))


def test_delays_that_were_not_trained_for_are_refused(
    contract: PolicyContract, make_config: Make, make_observation: Observe
) -> None:
    policy = make_config("keypoints-l1-prefix").build(contract)
    values = inputs_of(policy, make_observation(contract, 1))
    with pytest.raises(ValueError, match=r"delay=\[3\].*trained for 0 to 2"):
        policy.act(values, None, values["prefix"], torch.tensor([3]))
    with pytest.raises(ValueError, match="go together"):
        policy.act(values, None, values["prefix"])
    plain = make_config("keypoints-l1").build(contract)
    with pytest.raises(ValueError, match=r"delay=\[1\].*trained for 0 to 0"):
        plain.act(values, None, values["prefix"], torch.tensor([1]))


def test_a_prefix_as_long_as_the_chunk_is_refused(contract: PolicyContract, make_config: Make) -> None:
    import dataclasses

    config = make_config("keypoints-l1")
    with pytest.raises(ValueError, match="prefix=4 must be 0 to 3: chunks have 4 actions"):
        dataclasses.replace(config, head=dataclasses.replace(config.head, prefix=4)).build(contract)
